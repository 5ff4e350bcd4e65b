//! `sealwire ca`: an authority of the site's own, and the certificate that it makes for the site.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use data_dir::DataDir;
use tls::{Authority, Identity, own_identity};

use crate::{
    cli::{CaArguments, CaCommand},
    output,
};

pub(crate) fn run(arguments: &CaArguments) -> Result<()> {
    let folder = &arguments.data_dir;
    match &arguments.command {
        CaCommand::Init => {
            let name = DataDir::name_of(folder).unwrap_or_else(|_| String::from("a new site"));
            let authority = Authority::create(folder, &name)?;
            output::lines(&format!(
                "Created the authority of {name}.\n\
                 Clients must trust its certificate: {}\n\
                 Now make the site's certificate: sealwire ca issue --host NAME",
                output::quoted(&authority.certificate())
            ));
        }
        CaCommand::Issue { hosts } => {
            made(&Authority::open(folder)?.issue(hosts, clock::now())?);
        }
        CaCommand::Renew => made(&Authority::open(folder)?.renew(clock::now())?),
        CaCommand::Show => show(folder)?,
    }
    Ok(())
}

fn made(identity: &Identity) {
    output::line(&format!("Made a certificate {}.", described(identity)));
}

fn show(folder: &Path) -> Result<()> {
    let authority = Authority::open(folder)?;
    match own_identity(folder) {
        Some(path) => {
            let identity = Identity::read(&path, &path)?;
            output::line(&format!("The site has a certificate {}.", described(&identity)));
        }
        None => output::line("The site has no certificate yet: sealwire ca issue --host NAME"),
    }
    let path = authority.certificate();
    let pem =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    output::line("Clients must trust this certificate of the authority:");
    output::lines(pem.trim_end());
    Ok(())
}

/// Names and end of a certificate.
fn described(identity: &Identity) -> String {
    let names: Vec<_> = identity.names().iter().map(ToString::to_string).collect();
    format!("for {}, until {}", names.join(", "), identity.validity().1)
}

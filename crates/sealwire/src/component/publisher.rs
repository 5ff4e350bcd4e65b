//! A publisher's key: its seed in a file that only its owner can read, and its verifier key in a
//! file beside it, which has the publisher's name.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tlog::{KeyName, Signer, VerifierKey};

/// Largest file with a verifier key in bytes.
const VKEY_BYTES_MAX: u64 = 4 << 10;

/// Makes a key. Replaces no file.
pub(super) fn create(file: &Path, name: KeyName) -> Result<Signer> {
    registry::check_publisher(&name)?;
    let public = public_of(file);
    let failed = || format!("cannot create {}", public.display());
    let mut beside = File::create_new(&public).with_context(failed)?;
    let made = || -> Result<Signer> {
        if fs::symlink_metadata(file).is_ok() {
            bail!("{} exists, and no key is replaced", file.display());
        }
        let signer = Signer::from_seed(name, &durable::create_seed(file)?);
        writeln!(beside, "{}", signer.vkey()).with_context(failed)?;
        beside.sync_all().with_context(failed)?;
        durable::sync_folder_of(&public).with_context(failed)?;
        Ok(signer)
    };
    made().inspect_err(|_error| {
        let _stays = fs::remove_file(&public);
    })
}

/// Reads a key and its name.
pub(super) fn load(file: &Path) -> Result<Signer> {
    let public = public_of(file);
    let failed = || format!("cannot read {}, which names the publisher", public.display());
    let mut text = String::new();
    let opened = File::open(&public).with_context(failed)?;
    opened.take(VKEY_BYTES_MAX).read_to_string(&mut text).with_context(failed)?;
    let vkey = VerifierKey::parse(text.trim_end()).with_context(failed)?;
    let signer = Signer::from_seed(vkey.name().clone(), &durable::load_seed(file)?);
    if *signer.vkey() != vkey {
        let (file, public) = (file.display(), public.display());
        bail!("the key in {file} is another one than that in {public}");
    }
    Ok(signer)
}

fn public_of(file: &Path) -> PathBuf {
    let mut public = file.to_owned().into_os_string();
    public.push(".pub");
    public.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_the_one_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let name = || KeyName::parse("plant.example/ci").unwrap();
        let (file, other) = (folder.path().join("ci.key"), folder.path().join("other.key"));
        let made = create(&file, name()).unwrap();
        assert_eq!(load(&file).unwrap().vkey(), made.vkey());
        assert!(create(&file, name()).is_err());
        assert_eq!(load(&file).unwrap().vkey(), made.vkey(), "nothing is replaced");
        fs::write(&other, "seed").unwrap();
        assert!(create(&other, name()).is_err() && !public_of(&other).exists());

        let another = create(&folder.path().join("3.key"), name()).unwrap();
        fs::write(public_of(&file), format!("{}\n", another.vkey())).unwrap();
        let refusal = load(&file).unwrap_err().to_string();
        assert!(refusal.contains("is another one"), "{refusal}");
    }
}

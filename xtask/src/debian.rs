//! Debian's packages, where they can be installed.

use anyhow::Result;

use crate::shell::{command, output, run};

/// Installs a package. The answer is whether this could be tried: as root on Debian.
pub(crate) fn install(package: &str) -> Result<bool> {
    let is_root = output("id", &["-u"]).as_deref() == Some("0");
    if !is_root || output("apt-get", &["--version"]).is_none() {
        return Ok(false);
    }
    run("looking for packages", command("apt-get").args(["update", "--quiet=2"]))?;
    let mut install = command("apt-get");
    install.args(["install", "--yes", "--quiet=2", "--no-install-recommends", package]);
    run(&format!("installing {package}"), install.env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(true)
}

//! Debian's packages, where they can be installed.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::shell::{command, output, run, target};

/// Installs packages. The answer is whether this could be tried: as root on Debian.
pub(crate) fn install(packages: &[&str]) -> Result<bool> {
    if !can_install() {
        return Ok(false);
    }
    run("looking for packages", command("apt-get").args(["update", "--quiet=2"]))?;
    apt_get(&format!("installing {}", packages.join(", ")), "install", packages)?;
    Ok(true)
}

/// Path of a program, unpacked from a package that is not installed, because the package's service
/// would start by itself; `None` if the system does not know the package.
pub(crate) fn unpack(package: &str, program: &str) -> Result<Option<PathBuf>> {
    let name = program.rsplit('/').next().unwrap_or(program);
    let folder = target().join(name);
    let unpacked = folder.join(program);
    if unpacked.exists() {
        return Ok(Some(unpacked));
    }
    if output("apt-cache", &["show", package]).is_none_or(|known| known.is_empty()) {
        return Ok(None);
    }
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let fetch = ["download", "--quiet=2", package];
    run(&format!("fetching {name}"), command("apt-get").current_dir(&folder).args(fetch))?;
    let unpack = r#"dpkg-deb --fsys-tarfile "$0"_*.deb | tar --extract "./$1""#;
    run(
        &format!("unpacking {name}"),
        command("sh").current_dir(&folder).args(["-ec", unpack, package, program]),
    )?;
    Ok(Some(unpacked))
}

/// Installs what a package depends on, and not the package itself. The answer is whether this could
/// be tried.
pub(crate) fn install_dependencies(package: &str) -> Result<bool> {
    let depends = output("apt-cache", &["show", "--no-all-versions", package]);
    let depends = depends.as_deref().and_then(|fields| {
        fields.lines().find_map(|line| line.strip_prefix("Depends: ")).map(String::from)
    });
    let (Some(depends), true) = (depends, can_install()) else { return Ok(false) };
    apt_get(&format!("installing what {package} depends on"), "satisfy", &[&depends])?;
    Ok(true)
}

fn can_install() -> bool {
    output("id", &["-u"]).as_deref() == Some("0") && output("apt-get", &["--version"]).is_some()
}

fn apt_get(what: &str, order: &str, words: &[&str]) -> Result<()> {
    let mut apt_get = command("apt-get");
    apt_get.args([order, "--yes", "--quiet=2", "--no-install-recommends"]).args(words);
    run(what, apt_get.env("DEBIAN_FRONTEND", "noninteractive"))
}

//! The project's own Python environments, below `target`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell::{command, run, target};

/// Folder of the programs of an environment in which `pip install` ran with these arguments.
/// `pinned` lists everything on which it depends. The environment is created once, and again when
/// `pinned` changes.
pub(crate) fn environment(name: &str, arguments: &[&str], pinned: &str) -> Result<PathBuf> {
    let folder = target().join(name);
    let programs = folder.join("bin");
    let installed = folder.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|text| text == pinned) {
        return Ok(programs);
    }
    // `--clear` removes what an interrupted installation left.
    let venv = command("python3").args(["-m", "venv", "--clear"]).arg(&folder).output();
    let made = venv.context("cannot start python3: install Python 3 with pip")?;
    if !made.status.success() {
        bail!(
            "python3 -m venv fails; on Debian install python3-venv:\n{}",
            String::from_utf8_lossy(&made.stdout)
        );
    }
    run(
        &format!("installing Python packages into {}", folder.display()),
        command(&programs.join("python").to_string_lossy())
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(arguments),
    )?;
    fs::write(&installed, pinned).context("cannot note what is installed")?;
    Ok(programs)
}

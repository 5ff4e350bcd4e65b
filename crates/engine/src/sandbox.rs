//! Limits what an engine sees of the machine to its own folder and the files that every program
//! must read. Uses Landlock, which the kernel enforces for the engine and every process it starts.
//!
//! The engines serve others: a host mounts any folder that an order names, and a server receives
//! bytes from every device. Neither needs the log, its key or anyone's home. Landlock also prevents
//! an engine from inspecting or signalling other processes.

use std::path::Path;
#[cfg(target_os = "linux")]
use std::{fs, path::PathBuf};

/// System folders and files that an engine may read and execute.
#[cfg(target_os = "linux")]
const PROGRAMS: [&str; 8] =
    ["/bin", "/gnu/store", "/lib", "/lib32", "/lib64", "/nix/store", "/sbin", "/usr"];
/// System folders and files that an engine may read: names and addresses, certificates, time zones,
/// and what the kernel reports about the machine and the engine. The list has the folders with
/// certificates, but not those beside them with the secret keys of other servers, which an engine
/// that runs as root could read.
#[cfg(target_os = "linux")]
const READABLE: [&str; 23] = [
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/resolv.conf",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
];
#[cfg(target_os = "linux")]
const WRITABLE: [&str; 1] = ["/dev/null"];

/// Whether this kernel supports Landlock.
#[must_use]
#[cfg(target_os = "linux")]
pub fn is_available() -> bool {
    use landlock::{
        ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    };
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}

/// Whether this kernel supports Landlock.
#[must_use]
#[cfg(not(target_os = "linux"))]
pub const fn is_available() -> bool {
    false
}

/// Confines this thread, and the program that it becomes: it may write only in `folder`, and read
/// only that, the system's files and `program`. It cannot see anything beside `folder`, not even if
/// that is among the system's files. Does nothing if the kernel does not support Landlock.
///
/// # Errors
/// The kernel supports Landlock, but refuses the rules.
#[cfg(target_os = "linux")]
pub fn enter(folder: &Path, program: &Path) -> Result<(), landlock::RulesetError> {
    use landlock::{
        ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, Scope, path_beneath_rules,
    };
    /// Newest version of Landlock that this code knows. The kernel enforces as much of it as it
    /// supports.
    const KNOWN: ABI = ABI::V9;
    let hidden = folder.parent().unwrap_or(folder);
    let seen = |paths: &[&str]| -> Vec<PathBuf> {
        let found = paths.iter().filter_map(|path| fs::canonicalize(path).ok());
        found.flat_map(|path| without(path, hidden)).collect()
    };
    let run = AccessFs::from_read(KNOWN);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?
        .create()?
        .add_rules(path_beneath_rules(seen(&PROGRAMS), run))?
        .add_rules(path_beneath_rules([program], run))?
        .add_rules(path_beneath_rules(seen(&READABLE), read))?
        .add_rules(path_beneath_rules(WRITABLE, read | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules([folder], AccessFs::from_all(KNOWN) & !AccessFs::Execute))?
        .restrict_self()?;
    Ok(())
}

/// Does nothing, because this kernel has no Landlock.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub const fn enter(_folder: &Path, _program: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The path itself or, if it contains `hidden`, every path below it that does not contain it.
/// Landlock has no exceptions, so this lists everything else.
#[cfg(target_os = "linux")]
fn without(path: PathBuf, hidden: &Path) -> Vec<PathBuf> {
    if path.starts_with(hidden) {
        return Vec::new();
    }
    if !hidden.starts_with(&path) {
        return vec![path];
    }
    let Ok(below) = fs::read_dir(&path) else { return Vec::new() };
    below.flatten().flat_map(|entry| without(entry.path(), hidden)).collect()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io;

    use super::*;

    /// The result of `attempt` in a thread that is confined to `folder`.
    fn inside<T: Send>(folder: &Path, attempt: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let kept = scope.spawn(|| {
                enter(folder, Path::new("/bin/true")).unwrap();
                attempt()
            });
            kept.join().unwrap()
        })
    }

    #[test]
    fn an_engine_sees_its_own_folder_and_not_what_lies_beside_it() {
        assert!(is_available(), "the tests need a kernel with Landlock");
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let (own, other, key) = (home.join("wash"), home.join("ledger"), home.join("site.key"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(&key, "secret").unwrap();
        fs::write(own.join("config"), "mine").unwrap();
        std::os::unix::fs::symlink(&key, own.join("way-out")).unwrap();
        inside(&own, || {
            let refused = |done: io::Result<()>| {
                assert_eq!(done.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            };
            refused(fs::read(&key).map(drop));
            refused(fs::read(own.join("way-out")).map(drop));
            refused(fs::read(own.join("../site.key")).map(drop));
            refused(fs::read_dir(&home).map(drop));
            refused(fs::write(other.join("00.seg"), ""));
            refused(fs::rename(&other, own.join("ledger")));
            refused(fs::remove_file(&key));
            refused(fs::write("/usr/sealwire-was-here", ""));
            for keys in ["/etc/ssl/private", "/etc/pki/tls/private"].map(Path::new) {
                if keys.exists() {
                    refused(fs::read_dir(keys).map(drop));
                }
            }
            assert_eq!(fs::read(own.join("config")).unwrap(), b"mine");
            fs::write(own.join("new"), "").unwrap();
            fs::read("/proc/self/status").unwrap();
        });
        assert_eq!(fs::read(&key).unwrap(), b"secret");
    }

    #[test]
    fn a_site_among_the_systems_files_is_left_out_of_them() {
        let system = tempfile::tempdir().unwrap();
        let system = system.path().canonicalize().unwrap();
        for folder in ["lib", "local/bin", "local/site/wash", "local/site/ledger"] {
            fs::create_dir_all(system.join(folder)).unwrap();
        }
        let mut seen = without(system.clone(), &system.join("local/site"));
        seen.sort();
        assert_eq!(seen, [system.join("lib"), system.join("local/bin")]);
        assert_eq!(without(system.join("lib"), &system.join("local/site")), [system.join("lib")]);
        assert!(without(system.join("local/site/wash"), &system.join("local/site")).is_empty());
    }

    #[test]
    fn an_engine_looks_into_no_other_process_and_ends_none() {
        let home = tempfile::tempdir().unwrap();
        let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&other);
        let (files, signalled) = inside(home.path(), || {
            let files = fs::read_dir(format!("/proc/{}/root", pid.as_raw_nonzero()));
            (files.map(drop), rustix::process::kill_process(pid, rustix::process::Signal::TERM))
        });
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(files.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        // Kernels before 6.12 do not block signals.
        assert!(signalled.is_err() || kernel() < (6, 12), "the process was signalled");
    }

    fn kernel() -> (u32, u32) {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

//! Raises the limit of open files. Each connection is a file, and many systems start with a limit
//! of 1,024, which is less than the connections of one port.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows the process, and the engines that it starts, to have `needed` files open.
///
/// # Errors
/// The system does not allow that many. The process must not run with fewer: a flood of connections
/// would then take the files that the log needs, and stop it.
pub(crate) fn allow(needed: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        bail!(
            "this process may open only {maximum} files, but needs {needed} to serve its maximum \
             number of connections: raise the hard limit (`ulimit -Hn {needed}`, or \
             LimitNOFILE={needed} in a systemd unit)"
        );
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .with_context(|| format!("cannot raise the limit on open files to {needed}"))
}

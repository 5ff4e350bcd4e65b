//! Lets operators of this machine reach the site's service on the hosts' server: their certificate
//! is in the data directory for as long as the site runs.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use engine::{Authority, accounts};

/// Folder in the data directory.
const FOLDER: &str = "operator";

/// The files, which are removed with this value. Only the account of the site can read them.
#[derive(Debug)]
pub(crate) struct OperatorFiles(PathBuf);

impl OperatorFiles {
    /// Writes a new certificate and key, and a file that a shell reads so that NATS' tools find the
    /// server at `address`, whose certificate an authority made that has the certificate `ca_pem`.
    ///
    /// # Errors
    /// The folder cannot be written, or no certificate can be made.
    pub(crate) fn write(
        data_dir: &Path,
        (address, ca_pem): (SocketAddr, &str),
        authority: &Authority,
    ) -> io::Result<Self> {
        let files = Self(data_dir.join(FOLDER));
        let folder = &files.0;
        durable::create_folder(folder)?;
        let identity = accounts::operator(authority).map_err(io::Error::other)?;
        let mut variables = format!("export NATS_URL='tls://{address}'\n");
        for (variable, name, pem) in [
            ("NATS_CA", "ca.pem", ca_pem.to_owned()),
            ("NATS_CERT", "operator.pem", identity.certificate_pem()),
            ("NATS_KEY", "operator.key", identity.key_pem()),
        ] {
            let path = folder.join(name);
            durable::write_secret(&path, pem.as_bytes())?;
            variables.push_str(&format!("export {variable}={}\n", quoted(&path)));
        }
        durable::write_secret(&folder.join("env"), variables.as_bytes())?;
        Ok(files)
    }
}

impl Drop for OperatorFiles {
    fn drop(&mut self) {
        // If they stay, they open nothing: the next start makes other certificates.
        let _stays = fs::remove_dir_all(&self.0);
    }
}

/// A path as a shell reads it. What is not UTF-8 is lost; the files themselves are there.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_what_nats_tools_need_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("it's a plant");
        fs::create_dir(&data_dir).unwrap();
        let address = "127.0.0.1:4333".parse().unwrap();
        let authority = Authority::new().unwrap();
        let pem = authority.pem();
        let files = OperatorFiles::write(&data_dir, (address, &pem), &authority).unwrap();
        let script = r#". "$1/env" && echo "$NATS_URL" && cat "$NATS_CA" "$NATS_CERT" "$NATS_KEY""#;
        let folder = data_dir.join(FOLDER);
        let read = Command::new("sh").args(["-c", script, "sh"]).arg(&folder).output().unwrap();
        let text = String::from_utf8(read.stdout).unwrap();
        assert!(text.starts_with("tls://127.0.0.1:4333\n-----BEGIN CERTIFICATE"), "{text}");
        assert!(text.contains("PRIVATE KEY"), "{text}");
        drop(files);
        assert!(!folder.exists());
    }
}

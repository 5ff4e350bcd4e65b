//! The files that a start reads from a site's folder, apart from the log. One function reads each
//! file, for the start and for `doctor`.
//!
//! A start reads all of them before it changes anything, so that a wrong file shows while someone
//! is watching. `doctor` reads them too and reports the same errors. [`read_cosigning`] reads what
//! can be judged only together with the log; `doctor` has checks of its own for the keys and the
//! log.

use std::path::{Path, PathBuf};

use access::{
    AccessToken, ApiTokens, Hosts, hosts_path_in,
    sensors::{SensorCredentials, credentials_path_in},
};
use data_dir::{
    DataDir,
    doctor::{Start, StartError, StartFile},
    folder::{
        ACCESS_TOKEN, HOSTS_KEY, PANGEA, RETENTION, WITNESS_POLICY, index_can_lie, is_folder,
        is_no_folder,
    },
    retention::Retention,
    run_file,
};
use engine::{Authority, nats_server, wash_host};
use ledger::WriteError;
use orders::{
    SiteLog, SiteLogError, apps,
    site_time::{self, Left, OwnTime},
};
use services::cosigning::{self, Cosigning, CosigningError, read_policy, read_witnessed};
use tlog::Policy;
use tls::Identity;

use crate::{
    error::{EngineError, IoFailure, ServiceEnded, UpError},
    own_host,
};

/// Error when the site cannot listen for orders.
pub(crate) const NO_ORDERS: &str = "cannot listen for orders at orders.sock in the data directory";
/// Error when the site cannot write the file with its addresses.
pub(crate) const NO_RUN_FILE: &str = "cannot write run.json into the data directory";

/// The files that can be read by themselves.
const FILES: [StartFile; 14] = [
    StartFile {
        check: "retention",
        read: |folder| {
            Retention::load(&folder.join(RETENTION))?;
            Ok(String::from("the rules, if any, are valid"))
        },
        remedy: "correct the line: no site can start with it",
    },
    StartFile {
        check: "programs",
        read: |folder| {
            let tokens = ApiTokens::load(access::path_in(folder)).map_err(SiteLogError::Tokens)?;
            Ok(format!("{} API tokens", tokens.all().len()))
        },
        remedy: "put the file back from a copy, or remove it and create new tokens (`sealwire token create`): no site can start with it",
    },
    StartFile {
        check: "credentials",
        read: |folder| {
            let credentials = SensorCredentials::load(credentials_path_in(folder));
            let credentials = credentials.map_err(SiteLogError::Credentials)?;
            Ok(match credentials.look(|book| book.describe().len()) {
                0 => String::from("there are none: every device on this machine is let in"),
                count => format!("{count} credentials of devices"),
            })
        },
        remedy: "put the file back from a copy, or remove it and make new credentials (`sealwire sensor add`): no site can start with it",
    },
    StartFile {
        check: "hosts",
        read: |folder| {
            let hosts = Hosts::load(hosts_path_in(folder)).map_err(SiteLogError::Hosts)?;
            Authority::find(&folder.join(HOSTS_KEY))?;
            Ok(format!("{} hosts on other machines", hosts.all().len()))
        },
        remedy: "put the file back from a copy, or remove it and add the hosts on other machines again (`sealwire host add`): no site can start with it",
    },
    StartFile {
        check: "pangea",
        read: |folder| {
            pangea_http::Config::load(&folder.join(PANGEA))?;
            Ok(String::from("the schema, if any, is valid"))
        },
        remedy: "correct the file: no site can start with it",
    },
    StartFile {
        check: "saved",
        read: |folder| {
            pangea_http::Saved::look(folder)?;
            Ok(String::from("saved searches and results can be read"))
        },
        remedy: "stop the site and remove the file: programs must search or export again",
    },
    StartFile {
        check: "registry",
        read: |folder| {
            let manifests = registry::look(&registry::folder_in(folder))?;
            Ok(format!("{manifests} manifests that others published"))
        },
        remedy: "move the folder `registry` away, and publish again what was in it: no site can start with it",
    },
    StartFile {
        check: "apps",
        read: |folder| Ok(format!("{} deployments", apps::look(folder)?)),
        remedy: "stop the site and move the file `apps.json` away: the next start runs the site's own components",
    },
    StartFile {
        check: "token",
        read: |folder| match AccessToken::load(&folder.join(ACCESS_TOKEN))? {
            Some(_) => Ok(format!("only the owner can read {ACCESS_TOKEN}")),
            None => Ok(format!("there is no {ACCESS_TOKEN}; the next start creates it")),
        },
        remedy: "stop the site and delete the file: the next start creates a new token, and clients that read envelopes need it",
    },
    StartFile {
        check: "certificate",
        read: |folder| match tls::own_identity(folder) {
            Some(path) => {
                let (_, end) = Identity::read(&path, &path)?.validity();
                Ok(format!("the site's own is valid until {end}"))
            }
            None => Ok(String::from("the site's own authority has made none")),
        },
        remedy: "make a new one (`sealwire ca issue --host NAME`): no site can start with it",
    },
    StartFile {
        check: "time",
        read: |folder| {
            let path = folder.join(site_time::NAME);
            let left = Left::read(&path).map_err(|source| SiteLogError::Clock { path, source })?;
            Ok(match left {
                Left::Nothing => {
                    String::from("the next start takes the time of the newest envelope")
                }
                Left::Time(OwnTime { time, in_doubt: false, .. }) => {
                    format!("the site's own time was {time}")
                }
                Left::Time(_) | Left::Damaged => String::from(
                    "it is in doubt: nothing is erased because of its age until `sealwire log confirm-clock`",
                ),
            })
        },
        remedy: "stop the site and remove whatever is in the file's place: the next start takes the time of the newest envelope",
    },
    StartFile {
        check: "orders",
        read: |folder| {
            orders::is_there(folder).map_err(IoFailure::of(NO_ORDERS))?;
            Ok(String::from("the socket can be created"))
        },
        remedy: "stop the site and remove whatever is in the socket's place",
    },
    StartFile {
        check: "run file",
        read: |folder| {
            is_no_folder(&run_file::path_in(folder)).map_err(IoFailure::of(NO_RUN_FILE))?;
            Ok(String::from("it can be written"))
        },
        remedy: "stop the site and remove whatever is in its place",
    },
    StartFile {
        check: "engines",
        read: |folder| {
            for (name, inner) in [
                (nats_server::DEVICES, "nats"),
                (nats_server::HOSTS, "hosts"),
                (wash_host::NAME, own_host::FOLDER),
                (wash_host::GUESTS, own_host::GUESTS_FOLDER),
            ] {
                is_folder(&folder.join(inner)).map_err(|source| EngineError { name, source })?;
            }
            Ok(String::from("the folders can be used"))
        },
        remedy: "stop the site and remove whatever is in the folder's place: the next start creates the folder",
    },
];

/// What a start reads from the data directory.
pub const START: Start<'static> = Start {
    files: &FILES,
    read_policy: |folder, log| {
        let policy = read_cosigning(folder, log)?;
        Ok(policy.map(|policy| policy.witnesses().len()))
    },
};

/// Reads all files as a start does. A start opens the index later.
pub(crate) fn read_all(folder: &Path) -> Result<(), UpError> {
    let read = || {
        FILES.iter().try_for_each(|file| (file.read)(folder).map(drop))?;
        index_can_lie(folder).map_err(StartError::from)
    };
    read().map_err(UpError::Folder)
}

/// Reads the witness policy and the last checkpoint that satisfied it, together with the log.
/// Returns `None` if there is no policy.
pub(crate) fn read_cosigning(
    folder: &Path,
    log: &impl cosigning::Log,
) -> Result<Option<Policy>, CosigningFailure> {
    let Some(policy) =
        read_policy(&folder.join(WITNESS_POLICY), &log.vkey()).map_err(CosigningFailure)?
    else {
        return Ok(None);
    };
    read_witnessed(&DataDir::witnessed_of(folder), &policy, log).map_err(CosigningFailure)?;
    Ok(Some(policy))
}

/// Opens a site's log and reads the files that belong to it, as a start does.
pub(crate) async fn open_log(
    data_dir: &DataDir,
    key_file: Option<PathBuf>,
) -> Result<(SiteLog, Option<Cosigning>), UpError> {
    let log = SiteLog::open(data_dir, key_file).map_err(UpError::folder)?;
    let (policy, witnessed) = (data_dir.witness_policy(), data_dir.witnessed());
    match Cosigning::open(&policy, &witnessed, log.ledger.clone()) {
        Ok(cosigning) => Ok((log, cosigning)),
        Err(error) => {
            log.writer.close().await.map_err(ledger_stopped)?;
            Err(UpError::folder(CosigningFailure(error)))
        }
    }
}

/// The site cannot ask its witnesses.
#[derive(Debug, thiserror::Error)]
#[error("the site's witnesses cannot be asked")]
pub(crate) struct CosigningFailure(#[source] CosigningError);

/// The log's writer has failed.
pub(crate) fn ledger_stopped(failure: WriteError) -> UpError {
    UpError::Service(ServiceEnded { name: "the ledger", why: Some(failure.into()) })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use data_dir::doctor::{self, Request, Verdict};
    use ledger::Batch;
    use model::{Event, Timestamp, error_chain};
    use services::indexing;
    use tempfile::TempDir;

    use super::*;

    /// Ways to damage a file of a stopped site.
    #[derive(Clone, Copy, Debug)]
    enum Damage {
        Is(&'static str),
        Bytes(&'static [u8]),
        IsAFolder,
        Mode(u32),
        Missing,
    }

    impl Damage {
        fn befall(self, file: &Path) {
            match self {
                Self::Is(text) => fs::write(file, text).unwrap(),
                Self::Bytes(bytes) => fs::write(file, bytes).unwrap(),
                Self::IsAFolder => {
                    let _there = fs::remove_file(file);
                    fs::create_dir(file).unwrap();
                }
                Self::Mode(mode) => {
                    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
                }
                Self::Missing => fs::remove_file(file).unwrap(),
            }
            if matches!(self, Self::Is(_) | Self::Bytes(_)) {
                fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }

    /// The folder of a stopped site, with a log, an index and every file that a start reads.
    async fn folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        let data_dir = DataDir::open(folder.path(), Some("plant")).unwrap();
        let SiteLog { ledger, writer, operator: _ } = SiteLog::open(&data_dir, None).unwrap();
        let event = Event::site("TEST", "test", String::from("m"), Timestamp::from_unix_micros(0));
        ledger.append(Batch::of(vec![event])).await.unwrap();
        ledger.publish_checkpoint().await.unwrap();
        indexing::catch_up(&data_dir.index(), &ledger).unwrap();
        AccessToken::load_or_create(&data_dir.access_token()).unwrap();
        let authority = tls::Authority::create(folder.path(), "plant").unwrap();
        authority.issue(&["plant.example".parse().unwrap()], clock::now()).unwrap();
        Authority::kept(&data_dir.hosts_key()).unwrap();
        fs::create_dir_all(folder.path().join("registry/repositories")).unwrap();
        writer.close().await.unwrap();
        folder
    }

    /// Reads a folder as a start does, in the same order. Returns the error if the start refuses
    /// it.
    async fn refusal(folder: &Path) -> Option<String> {
        let read = async {
            let data_dir = DataDir::open_existing(folder).map_err(UpError::folder)?;
            read_all(data_dir.path())?;
            let (log, _cosigning) = open_log(&data_dir, None).await?;
            let _index = indexing::open(&data_dir.index(), &log.ledger).map_err(UpError::folder)?;
            log.writer.close().await.map_err(ledger_stopped)
        };
        let refused: Result<(), UpError> = read.await;
        refused.err().map(|error| error_chain(&error))
    }

    fn failed(folder: &Path) -> Vec<String> {
        let now = Timestamp::from_unix_micros(4_102_444_800_000_000);
        let request =
            Request { data_dir: folder, key_file: None, against: None, now, start: START };
        let found = doctor::examine(request, &mut |_| {});
        let failed = found.into_iter().filter(|finding| finding.verdict == Verdict::Failed);
        failed.map(|finding| finding.found).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_start_refuses_the_doctor_finds_in_the_same_words() {
        use Damage::{Bytes, Is, IsAFolder, Missing, Mode};
        let sound = folder().await;
        assert_eq!((refusal(sound.path()).await, failed(sound.path())), (None, vec![]));
        let policy = "witness w w.test+1f2e3d4c+AQ http://localhost:1\nquorum w\n";
        for (file, damage) in [
            ("site.json", Is("{")),
            ("site.json", Is(r#"{"version":99,"name":"plant"}"#)),
            ("site.json", Missing),
            ("site.key", Is("no key")),
            ("site.key", Is("00000000000000000000000000000000000000000000000000000000000000ff")),
            ("site.key", Mode(0o644)),
            ("site.key", Missing),
            ("site.key.next", Is("no key")),
            ("retention", Is("SENSOR_READING soon")),
            ("retention", IsAFolder),
            ("retention", Bytes(b"\xff")),
            ("api-tokens", Is("[{}]")),
            ("api-tokens", IsAFolder),
            ("sensor-credentials", Is("[{}]")),
            ("sensor-credentials", IsAFolder),
            ("host-credentials", Is("[{}]")),
            ("host-credentials", IsAFolder),
            ("tls/hosts.key", Is("no key")),
            ("tls/hosts.key", Mode(0o640)),
            ("pangea.json", Is("{\"root\":1}")),
            ("pangea.json", IsAFolder),
            ("pangea-searches", IsAFolder),
            ("pangea-requests", IsAFolder),
            ("registry/blobs", Is("a file")),
            ("registry/repositories/a.json", Is("{")),
            ("registry/repositories/a.json", IsAFolder),
            ("apps.json", Is("{")),
            ("apps.json", IsAFolder),
            ("access-token", Is("short")),
            ("access-token", Mode(0o640)),
            ("access-token", IsAFolder),
            ("tls/site.pem", Is("no certificate")),
            ("tls/site.pem", Mode(0o640)),
            ("clock", IsAFolder),
            ("orders.sock", Is("a file")),
            ("orders.sock", IsAFolder),
            ("run.json", IsAFolder),
            ("nats", Is("a file")),
            ("hosts", Is("a file")),
            ("wash", Is("a file")),
            ("guests", Is("a file")),
            ("index.sqlite", IsAFolder),
            ("witness-policy", Is("quorum")),
            ("witness-policy", Is(policy)),
            ("witness-policy", IsAFolder),
        ] {
            let folder = folder().await;
            damage.befall(&folder.path().join(file));
            let found = failed(folder.path());
            let refused = refusal(folder.path()).await;
            let refused = refused.unwrap_or_else(|| panic!("{file} {damage:?}: a start takes it"));
            assert!(found.contains(&refused), "{file} {damage:?}: {refused}\nnot in {found:#?}");
        }
        // A file that a start accepts or creates is not a failure.
        for (file, damage) in [
            ("pangea-searches", Bytes(b"\xff\n{")),
            ("access-token", Missing),
            ("tls/site.pem", Missing),
            ("index.sqlite", Is("no index")),
            ("index.sqlite", Missing),
            ("clock", Is("{")),
            ("clock", Missing),
            ("run.json", Is("{")),
            ("lock", Missing),
        ] {
            let folder = folder().await;
            damage.befall(&folder.path().join(file));
            let found = failed(folder.path());
            assert_eq!((refusal(folder.path()).await, found), (None, vec![]), "{file} {damage:?}");
        }
    }
}

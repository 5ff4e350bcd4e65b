//! Has witnesses cosign the log's checkpoints, and keeps the newest checkpoint that satisfies the
//! site's policy.
//!
//! [`Gathering`] decides whom to ask and when; this module sends the requests, on threads of their
//! own, and writes the file. Sealing and checkpoints continue whether or not witnesses answer. The
//! site shows a cosigned checkpoint only after its file is durable, so the shown checkpoint never
//! goes back, not even after a restart.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ledger::{
    Ledger, LogReader, Published, ReadError,
    disk::{self, RealDisk},
};
use tlog::{
    AddCheckpoint, Checkpoint, Growth, Hash, Policy, PolicyError, SignedNote, VerifierKey,
    verify_consistency,
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use witness::{Action, Answer, Ask, AskError, Client, Gathering, Witnessed};
use work::Service;

/// The newest checkpoint that satisfies the policy, or `None` before the first.
pub type WatchWitnessed = watch::Receiver<Option<Arc<Witnessed>>>;

/// Number of leaves in the newest checkpoint that satisfies the policy, 0 before the first one;
/// `None` without a policy.
pub fn witnessed_leaves(witnessed: Option<&WatchWitnessed>) -> Option<u64> {
    witnessed.map(|watch| watch.borrow().as_ref().map_or(0, |witnessed| witnessed.size.get()))
}

/// Asks witnesses to cosign, under the site's policy, and keeps the last checkpoint that satisfied
/// it.
#[derive(Debug)]
pub struct Cosigning {
    ledger: Ledger,
    policy: Policy,
    /// File that holds the last checkpoint that satisfied the policy.
    file: PathBuf,
    witnessed: watch::Sender<Option<Arc<Witnessed>>>,
}

impl Cosigning {
    /// Reads the policy and the last checkpoint that satisfied it. Returns `None` if there is no
    /// policy. Blocks on the disk.
    ///
    /// # Errors
    /// The policy cannot be read or cannot be satisfied, or witnesses have cosigned a checkpoint
    /// that the log does not contain.
    pub fn open(
        policy: &Path,
        file: &Path,
        ledger: Ledger,
    ) -> Result<Option<Self>, CosigningError> {
        let Some(policy) = read_policy(policy, &ledger.vkey())? else { return Ok(None) };
        let kept = read_witnessed(file, &policy, &ledger)?;
        let witnessed = watch::Sender::new(kept.map(Arc::new));
        Ok(Some(Self { ledger, policy, file: file.to_owned(), witnessed }))
    }

    /// Watches the newest checkpoint that satisfies the policy.
    pub fn watch(&self) -> WatchWitnessed {
        self.witnessed.subscribe()
    }

    /// Makes a checkpoint durable, and only then shows it.
    async fn publish(&self, witnessed: Witnessed) -> Result<(), JoinError> {
        let (file, text) = (self.file.clone(), witnessed.note.to_string());
        // This keeps the ledger, and so the lock on its folder, until the file is written.
        let kept = self.ledger.orders().keep();
        match work::blocking(kept, move || replace(&file, &text)).await? {
            Ok(()) => {
                self.witnessed.send_replace(Some(Arc::new(witnessed)));
            }
            // The next round tries again. Until then the site shows the checkpoint that is durable.
            Err(failure) => {
                error!(%failure, file = %self.file.display(), "cannot write a cosigned checkpoint; the previous one stays");
            }
        }
        Ok(())
    }

    /// Number of leaves by which the cosigned checkpoint is behind the log's own.
    fn lag(&self) -> u64 {
        let signed = self.witnessed.borrow().as_ref().map_or(0, |witnessed| witnessed.size.get());
        self.ledger.published().checkpoint.size.get().saturating_sub(signed)
    }
}

impl Service for Cosigning {
    const NAME: &'static str = "cosigning";
    /// A bug: a task panicked.
    type Error = JoinError;

    /// Asks witnesses until `shutdown`.
    async fn run(self, shutdown: CancellationToken) -> Result<(), JoinError> {
        let mut gathering = Gathering::new(self.policy.clone());
        let mut published = self.ledger.watch_published();
        published.mark_changed();
        let (client, mut asking) = (Client::new(), JoinSet::new());
        loop {
            while let Some(action) = gathering.poll_action() {
                match action {
                    Action::Ask(ask) => {
                        let (client, ledger) = (client.clone(), self.ledger.clone());
                        asking.spawn(work::blocking((), move || {
                            let answer = ask_witness(&client, &ledger, &ask);
                            (ask, answer)
                        }));
                    }
                    Action::Publish(witnessed) => self.publish(witnessed).await?,
                    Action::Away { witness, failure } => {
                        let source = std::error::Error::source(&failure);
                        warn!(witness, %failure, source, lag = self.lag(), "a witness does not answer; the site keeps asking it");
                    }
                    Action::Back { witness } => info!(witness, "a witness answers again"),
                }
            }
            let timeout = gathering.poll_timeout();
            tokio::select! {
                // Requests under way end by themselves, at the client's timeout at the latest.
                () = shutdown.cancelled() => return Ok(()),
                Some(answered) = asking.join_next() => {
                    let (ask, answer) = answered??;
                    gathering.handle_answer(ask.peer, ask.size, answer, Instant::now());
                }
                // The sender lives as long as the ledger, of which we hold a handle.
                Ok(()) = published.changed() => {
                    let newest = Arc::clone(&published.borrow_and_update());
                    let (size, note) = (newest.checkpoint.size, parse(&newest));
                    gathering.handle_checkpoint(size, note, Instant::now());
                }
                () = sleep_until(timeout.unwrap_or_else(Instant::now).into()), if timeout.is_some() => {
                    gathering.handle_timeout(Instant::now());
                }
            }
        }
    }
}

/// Sends a witness the checkpoint and a proof that the log only grew. Blocks.
fn ask_witness(client: &Client, ledger: &Ledger, ask: &Ask) -> Result<Answer, AskError> {
    let unproved = |source| AskError::Proof { old_size: ask.old_size, source };
    let growth = ask.size.extends(ask.old_size).map_err(|error| unproved(error.into()))?;
    let proof = ledger.prove_growth(growth).map_err(|error| unproved(error.into()))?;
    let request =
        AddCheckpoint { old_size: ask.old_size, proof, checkpoint: ask.checkpoint.clone() };
    client.ask(&ask.url, &request)
}

fn parse(published: &Published) -> SignedNote {
    SignedNote::parse(&published.note).expect("we signed this note ourselves")
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let (Some(folder), Some(name)) =
        (file.parent(), file.file_name().and_then(|name| name.to_str()))
    else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    disk::replace(&RealDisk, folder, name, text.as_bytes())
}

/// A log that a site writes, or that a tool only reads.
pub trait Log {
    /// The key that signs the log's checkpoints now.
    fn vkey(&self) -> VerifierKey;
    /// The log's newest checkpoint.
    fn newest(&self) -> Checkpoint;
    /// Proves that the log only grew; see [`Ledger::prove_growth`].
    fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError>;
}

impl Log for Ledger {
    fn vkey(&self) -> VerifierKey {
        self.vkey()
    }
    fn newest(&self) -> Checkpoint {
        self.published().checkpoint.clone()
    }
    fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError> {
        self.prove_growth(growth)
    }
}

impl Log for LogReader {
    fn vkey(&self) -> VerifierKey {
        self.keys().at(self.size()).clone()
    }
    fn newest(&self) -> Checkpoint {
        self.published().checkpoint.clone()
    }
    fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError> {
        self.prove_growth(growth)
    }
}

/// Reads the policy file, if there is one.
///
/// # Errors
/// The file cannot be read, or a site whose log has this key cannot satisfy the policy.
pub fn read_policy(path: &Path, vkey: &VerifierKey) -> Result<Option<Policy>, CosigningError> {
    let failed = |source| CosigningError::Io { path: path.to_owned(), source };
    let Some(bytes) = disk::read_small(&RealDisk, path).map_err(failed)? else { return Ok(None) };
    let policy = Policy::parse(&bytes)
        .map_err(|source| CosigningError::Policy { path: path.to_owned(), source })?;
    if !policy.logs().is_empty() && !policy.logs().iter().any(|log| log.key == *vkey) {
        let (path, vkey) = (path.to_owned(), vkey.to_string());
        return Err(CosigningError::NotThisLog { path, vkey });
    }
    let is_url = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    for witness in policy.witnesses() {
        if let Some(url) = witness.url.as_deref().filter(|url| !is_url(url)) {
            let (path, witness, url) = (path.to_owned(), witness.name.clone(), url.to_owned());
            return Err(CosigningError::Url { path, witness, url });
        }
    }
    if !policy.is_satisfied_if(|witness| witness.url.is_some()) {
        let (path, quorum) = (path.to_owned(), policy.quorum().to_owned());
        return Err(CosigningError::NobodyToAsk { path, quorum });
    }
    Ok(Some(policy))
}

/// Reads the last checkpoint that satisfied the policy, if it still satisfies it.
///
/// # Errors
/// The file cannot be read, or the log does not contain that checkpoint, which it once published.
pub fn read_witnessed(
    path: &Path,
    policy: &Policy,
    log: &impl Log,
) -> Result<Option<Witnessed>, CosigningError> {
    let failed = |source| CosigningError::Io { path: path.to_owned(), source };
    let not_ours = || CosigningError::NotOfThisLog { path: path.to_owned() };
    let Some(bytes) = disk::read_small(&RealDisk, path).map_err(failed)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_not_text| not_ours())?;
    let note = SignedNote::parse(&text).map_err(|_not_a_note| not_ours())?;
    let Some((checkpoint, witnessed)) = Witnessed::open(note, policy) else {
        info!(file = %path.display(), "the newest cosigned checkpoint does not satisfy the current policy");
        return Ok(None);
    };
    let newest = log.newest();
    let growth = newest.size.extends(checkpoint.size).map_err(|_shrunk| not_ours())?;
    // A read error does not prove a different history.
    let proof = log.prove_growth(growth).map_err(CosigningError::Log)?;
    verify_consistency(growth, &checkpoint.root, &newest.root, &proof)
        .map_err(|_inconsistent| not_ours())?;
    Ok(Some(witnessed))
}

/// Why the site cannot ask witnesses.
#[derive(Debug, thiserror::Error)]
pub enum CosigningError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The policy file does not hold a policy.
    #[error("{} is not a policy (C2SP tlog-policy)", path.display())]
    Policy {
        /// Path of the policy file.
        path: PathBuf,
        /// The rule that the text breaks.
        source: PolicyError,
    },
    /// The policy names logs, and this site's log is not one of them.
    #[error("{} names logs, but not the log of this site: add `log {vkey}`, or remove the log lines", path.display())]
    NotThisLog {
        /// Path of the policy file.
        path: PathBuf,
        /// The verifier key of the site's log.
        vkey: String,
    },
    /// The policy gives a witness a URL that is not HTTP.
    #[error("{}: the witness `{witness}` has the URL `{url}`: use one that begins with http:// or https://", path.display())]
    Url {
        /// Path of the policy file.
        path: PathBuf,
        /// Name of the witness.
        witness: String,
        /// The URL as the policy has it.
        url: String,
    },
    /// The witnesses with a URL are too few for the quorum.
    #[error("{}: the witnesses that have a URL cannot reach the quorum `{quorum}`: add URLs of more witnesses", path.display())]
    NobodyToAsk {
        /// Path of the policy file.
        path: PathBuf,
        /// Name of the quorum.
        quorum: String,
    },
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[source] ReadError),
    /// The checkpoint is cosigned, but the log does not contain it.
    #[error(
        "{} is not a checkpoint of this log in its current state: if the log was restored from an \
         older copy, its witnesses will refuse it; restore a newer copy, or remove the file to \
         continue without the witnesses", path.display()
    )]
    NotOfThisLog {
        /// Path of the file with the cosigned checkpoint.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ledger::Writer;
    use tempfile::TempDir;
    use tlog::{Cosigner, KeyName, PosixTime, Signer, TreeSize};

    use super::*;

    const LOG: &str = "sealwire.local/test";

    fn log(folder: &Path) -> (Ledger, Writer) {
        let signer = Signer::from_seed(KeyName::parse(LOG).unwrap(), &[1; 32]);
        Ledger::open(&folder.join("ledger"), signer).unwrap()
    }

    fn cosigner() -> Cosigner {
        Cosigner::from_seed(KeyName::parse("w.test").unwrap(), &[2; 32])
    }

    /// Returns the error for a policy with these lines, given the checkpoint cosigned before.
    #[track_caller]
    fn refusal(folder: &Path, ledger: &Ledger, lines: &str) -> String {
        let policy = folder.join("witness-policy");
        fs::write(&policy, lines).unwrap();
        let refused = Cosigning::open(&policy, &folder.join("witnessed"), ledger.clone());
        model::error_chain(&refused.expect_err("the policy should be refused"))
    }

    #[tokio::test]
    async fn a_policy_that_the_site_cannot_satisfy_is_refused() {
        let folder = TempDir::new().unwrap();
        let (ledger, writer) = log(folder.path());
        let (vkey, witness) = (ledger.vkey(), format!("witness w {}", cosigner().vkey()));
        let other = Signer::from_seed(KeyName::parse(LOG).unwrap(), &[3; 32]);
        for (lines, reason) in [
            ("quorum\n".to_owned(), "line 1: the line does not have the words"),
            (
                format!("log {}\nquorum none\n", other.vkey()),
                "names logs, but not the log of this site: add `log sealwire.local/test+",
            ),
            (
                format!("{witness} w.test:80\nquorum none\n"),
                "the witness `w` has the URL `w.test:80`",
            ),
            (
                format!("{witness}\nquorum w\n"),
                "the witnesses that have a URL cannot reach the quorum `w`",
            ),
        ] {
            let said = refusal(folder.path(), &ledger, &lines);
            assert!(said.contains("witness-policy") && said.contains(reason), "{said}");
        }
        let policy = folder.path().join("witness-policy");
        let open = || Cosigning::open(&policy, &folder.path().join("witnessed"), ledger.clone());
        fs::write(&policy, format!("log {vkey}\n{witness} http://w.test\nquorum w\n")).unwrap();
        assert_eq!(witnessed_leaves(open().unwrap().map(|it| it.watch()).as_ref()), Some(0));
        fs::remove_file(&policy).unwrap();
        assert!(open().unwrap().is_none(), "without a policy nobody is asked");
        writer.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_was_cosigned_before_must_be_of_this_log_and_satisfy_the_policy_as_it_is() {
        let folder = TempDir::new().unwrap();
        let (ledger, writer) = log(folder.path());
        let lines = format!("witness w {} http://w.test\nquorum w\n", cosigner().vkey());
        let (policy, file) =
            (folder.path().join("witness-policy"), folder.path().join("witnessed"));
        fs::write(&policy, &lines).unwrap();
        let published = ledger.published().checkpoint.clone();
        let signer = Signer::from_seed(KeyName::parse(LOG).unwrap(), &[1; 32]);
        let keep = |checkpoint: &Checkpoint| {
            let mut note = SignedNote::parse(&checkpoint.sign(&signer)).unwrap();
            note.put_signature(cosigner().cosign(checkpoint, PosixTime::new(1).unwrap()));
            fs::write(&file, note.to_string()).unwrap();
        };
        let leaves = || {
            let opened = Cosigning::open(&policy, &file, ledger.clone()).unwrap().unwrap();
            witnessed_leaves(Some(&opened.watch())).unwrap()
        };
        keep(&published);
        assert_eq!(leaves(), 1);
        // A fork, and a checkpoint of a log that was longer.
        let fork = Checkpoint { root: Hash::sha256(b"fork"), ..published.clone() };
        let longer = Checkpoint { size: TreeSize::new(9), ..published };
        for bad in [fork, longer] {
            keep(&bad);
            let said = refusal(folder.path(), &ledger, &lines);
            assert!(
                said.contains("is not a checkpoint of this log in its current state"),
                "{said}"
            );
        }
        fs::write(&file, "torn").unwrap();
        assert!(refusal(folder.path(), &ledger, &lines).contains("is not a checkpoint"));
        // Only the log signed this one: it no longer satisfies the policy, and does no harm.
        fs::write(&file, &ledger.published().note).unwrap();
        assert_eq!(leaves(), 0);
        writer.close().await.unwrap();
    }
}

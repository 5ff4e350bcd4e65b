//! A site and two witnesses, each a process: cosigned checkpoints, an outage, a restart, a fork.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde::Deserialize;
use tempfile::TempDir;
use tlog::{
    AddCheckpoint, Checkpoint, Cosigner, CosignerKey, Hash, KeyName, PosixTime, SignedNote, Signer,
    TreeSize,
};
use witness::{Answer, AskError, Client};

use crate::{
    refusal::refused,
    site::{Site, sealwire, until},
};

/// A running `sealwire witness`. Dropping it kills it.
pub(crate) struct Witness {
    folder: TempDir,
    child: Child,
    pub(crate) at: Address,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Address {
    pub(crate) url: String,
    pub(crate) vkey: String,
}

impl Witness {
    /// Starts a witness that cosigns the log of this key.
    pub(crate) fn start(name: &str, log: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("logs"), format!("logs/v0\n\nvkey {log}\n")).unwrap();
        let (child, at) = spawn(&folder, &["--name", name, "--listen", "127.0.0.1:0"]);
        Self { folder, child, at }
    }

    pub(crate) fn start_again(&mut self) {
        let listen = self.at.url.trim_start_matches("http://").to_owned();
        let (child, at) = spawn(&self.folder, &["--listen", &listen]);
        assert_eq!(at.vkey, self.at.vkey, "it keeps its key");
        self.child = child;
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn key(&self) -> CosignerKey {
        CosignerKey::parse(&self.at.vkey).unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // It may already have been killed.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn spawn(folder: &TempDir, arguments: &[&str]) -> (Child, Address) {
    let ready = folder.path().join("ready.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sealwire"))
        .arg("witness")
        .arg("--data-dir")
        .arg(folder.path())
        .arg("--ready-file")
        .arg(&ready)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let text = until("the witness is ready", || {
        assert_eq!(child.try_wait().unwrap(), None, "the witness ended");
        fs::read(&ready).ok()
    });
    fs::remove_file(&ready).unwrap();
    (child, serde_json::from_slice(&text).unwrap())
}

/// A checkpoint of the log port: the note and its content.
fn checkpoint(site: &Site, path: &str) -> Option<(SignedNote, Checkpoint)> {
    let (status, text) = site.get_log(path, "localhost");
    (status == 200).then(|| {
        let note = SignedNote::parse(&text).unwrap();
        let checkpoint = Checkpoint::parse(note.unverified_text()).unwrap();
        (note, checkpoint)
    })
}

fn size(site: &Site, path: &str) -> u64 {
    checkpoint(site, path).map_or(0, |(_, checkpoint)| checkpoint.size.get())
}

/// Content of a key file.
fn seed(path: &Path) -> [u8; 32] {
    ledger::load_or_create_seed(path).unwrap()
}

/// A different checkpoint of this size, signed by the log's own key.
fn fork(site: &Site, checkpoint: &Checkpoint) -> SignedNote {
    let seed = seed(&site.data_dir().join("site.key"));
    let name = KeyName::parse(checkpoint.origin.as_str()).unwrap();
    let fork = Checkpoint { root: Hash::sha256(b"another history"), ..checkpoint.clone() };
    SignedNote::parse(&fork.sign(&Signer::from_seed(name, &seed))).unwrap()
}

#[test]
fn a_site_s_checkpoints_are_cosigned_whatever_dies_in_between() {
    let mut site = Site::start(&["--simulate", "4"]);
    let log = site.addresses.vkey.clone();
    site.stop();
    let mut one = Witness::start("one.test", &log);
    let mut two = Witness::start("two.test", &log);
    let policy = site.data_dir().join("witness-policy");
    let lines = format!(
        "log {log}\nwitness one {} {}\nwitness two {} {}\ngroup both all one two\nquorum both\n",
        one.at.vkey, one.at.url, two.at.vkey, two.at.url
    );

    // A bad policy is refused with its file and line.
    fs::write(&policy, lines.replace("witness two", "withness two")).unwrap();
    let said = refused(&site.data_dir(), &[], &[]);
    assert!(
        said.contains(
            "witness-policy is not a policy (C2SP tlog-policy): line 3: a line of a policy cannot begin with `withness`"
        ),
        "{said}"
    );
    fs::write(&policy, lines).unwrap();
    site.start_again();

    // Both witnesses sign, and continue to sign.
    let keys = [one.key(), two.key()];
    let first = until("both witnesses have cosigned", || checkpoint(&site, "/checkpoint"));
    assert_eq!(first.0.cosignatures(&keys).unwrap().len(), 2);
    until("a later checkpoint is cosigned", || {
        (size(&site, "/checkpoint") > first.1.size.get()).then_some(())
    });

    // One is away: the log continues, the witnessed checkpoint stays, and its lag is shown.
    two.kill();
    let before = size(&site, "/checkpoint/unwitnessed");
    let beyond = before + 20;
    until("the log goes on without a quorum", || {
        (size(&site, "/checkpoint/unwitnessed") > beyond).then_some(())
    });
    let witnessed = size(&site, "/checkpoint");
    assert!(witnessed <= before, "{witnessed} leaves are witnessed without a quorum");
    let (_, answer) = site.get("/api/site");
    assert_eq!(answer["witnessed_leaves"], witnessed);
    assert!(answer["leaves"].as_u64().unwrap() > witnessed);

    // It is back, and the witnessed checkpoint catches up.
    two.start_again();
    until("the witnessed checkpoint has caught up", || {
        (size(&site, "/checkpoint") > beyond).then_some(())
    });
    let policy = policy.to_str().unwrap();
    let (code, printed, _) = sealwire(&["verify", &site.addresses.log, "--policy", policy]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("the witness one cosigned the checkpoint at 20"), "{printed}");
    assert!(printed.contains("the witness two cosigned the checkpoint at 20"), "{printed}");
    assert!(printed.contains("quorum `both`"), "{printed}");

    // The site dies and restarts while the witnesses are away: the checkpoint that they signed is
    // still there.
    one.kill();
    two.kill();
    let (_, signed) = checkpoint(&site, "/checkpoint").unwrap();
    site.kill();
    site.start_again();
    assert!(size(&site, "/checkpoint") >= signed.size.get());
    one.start_again();
    two.start_again();
    site.stop();
    let (_, recorded) = witnessed_in_folder(&site);

    // A second history of the log, signed with the log's key, is not cosigned.
    let client = Client::new();
    let ask = |old_size: TreeSize, checkpoint: SignedNote| {
        client.ask(&one.at.url, &AddCheckpoint { old_size, proof: vec![], checkpoint })
    };
    let Ok(Answer::Conflict(latest)) = ask(TreeSize::EMPTY, fork(&site, &recorded)) else {
        panic!("the witness does not say what it has")
    };
    assert!(latest >= recorded.size);
    let forked = Checkpoint { size: latest, ..recorded };
    match ask(latest, fork(&site, &forked)) {
        Err(AskError::Refused { status: 422, .. }) => {}
        answer => panic!("{answer:?}"),
    }

    // The folder verifies too, but not with a policy that requires more.
    let folder = site.data_dir();
    let folder = folder.to_str().unwrap();
    let (code, printed, _) = sealwire(&["verify", folder, "--policy", policy]);
    assert_eq!(code, Some(0), "{printed}");
    let stranger = "witness.example/w1+aa4a09d1+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
    let wants_more = one.folder.path().join("policy");
    fs::write(&wants_more, format!("witness w1 {stranger}\nquorum w1\n")).unwrap();
    let wants_more = wants_more.to_str().unwrap();
    let (code, printed, _) = sealwire(&["verify", folder, "--policy", wants_more]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed
            .contains("does not reach the policy's quorum `w1`; these witnesses signed it: none"),
        "{printed}"
    );

    // Evidence contains the cosignatures.
    let bundle = one.folder.path().join("bundle");
    let bundle = bundle.to_str().unwrap();
    let proof = two.folder.path().join("proof");
    let proof = proof.to_str().unwrap();
    let common = ["--data-dir", folder, "--witnessed", "--output"];
    let (code, _, errors) = sealwire(&[&["export"], &common[..], &[bundle]].concat());
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = sealwire(&[&["prove", "1"], &common[..], &[proof]].concat());
    assert_eq!(code, Some(0), "{errors}");
    for (words, satisfied) in [([policy], true), ([wants_more], false)] {
        for kind in [["bundle", bundle], ["proof", proof]] {
            let (code, printed, _) =
                sealwire(&[&["verify"], &kind[..], &["--vkey", &log, "--policy"], &words].concat());
            assert_eq!(code, Some(if satisfied { 0 } else { 1 }), "{printed}");
            assert_eq!(
                printed.contains("the witness two cosigned the checkpoint"),
                satisfied,
                "{printed}"
            );
        }
    }
    let (code, printed, _) = sealwire(&["doctor", "--data-dir", folder]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("the policy names 2 witnesses and can be satisfied"), "{printed}");

    // If a log was restored from a copy older than what its witnesses signed, the site does not
    // continue it silently.
    let kept = site.data_dir().join("witnessed-checkpoint");
    fs::write(&kept, with_witnesses(&fork(&site, &first.1), &[&one, &two])).unwrap();
    let said = refused(&site.data_dir(), &[], &[]);
    assert!(said.contains("is not a checkpoint of this log in its current state"), "{said}");
}

fn witnessed_in_folder(site: &Site) -> (SignedNote, Checkpoint) {
    let text = fs::read_to_string(site.data_dir().join("witnessed-checkpoint")).unwrap();
    let note = SignedNote::parse(&text).unwrap();
    let checkpoint = Checkpoint::parse(note.unverified_text()).unwrap();
    (note, checkpoint)
}

/// A checkpoint as if these witnesses had cosigned it.
fn with_witnesses(note: &SignedNote, witnesses: &[&Witness]) -> String {
    let checkpoint = Checkpoint::parse(note.unverified_text()).unwrap();
    let mut note = note.clone();
    for witness in witnesses {
        let seed = seed(&witness.folder.path().join("witness.key"));
        let cosigner = Cosigner::from_seed(witness.key().name().clone(), &seed);
        let at = PosixTime::new(1_700_000_000).unwrap();
        note.put_signature(cosigner.cosign(&checkpoint, at));
    }
    note.to_string()
}

//! Each kind of damage has its line.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use data_dir::{
    DataDir,
    doctor::{Finding, Request, Verdict, examine},
};
use ledger::Erasure;
use model::{LogId, Timestamp};
use services::indexing;
use tempfile::TempDir;
use tlog::{KeyName, Signer};

use super::{Plant, back_up, content, copy, damage, segments};

/// A time long after everything that the tests seal.
fn now() -> Timestamp {
    Timestamp::from_unix_micros(4_102_444_800_000_000)
}

fn findings(data_dir: &Path, against: Option<&Path>) -> Vec<Finding> {
    let before = content(data_dir);
    let found = examine(
        Request { data_dir, key_file: None, against, now: now(), start: site::START },
        &mut |_| {},
    );
    assert!(content(data_dir) == before, "nothing may be changed");
    found
}

/// The only finding that is neither ok nor skipped.
#[track_caller]
fn complaint(data_dir: &Path, against: Option<&Path>) -> Finding {
    let mut found = findings(data_dir, against);
    found.retain(|finding| matches!(finding.verdict, Verdict::Warn | Verdict::Failed));
    let [complaint] = found.as_slice() else { panic!("not one complaint: {found:#?}") };
    complaint.clone()
}

/// A closed site's folder, copied and changed for each damage.
struct Sound(TempDir);

impl Sound {
    async fn new() -> Self {
        let plant = Plant::new().await;
        back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
        Self(plant.close().await)
    }

    fn backup(&self) -> PathBuf {
        self.0.path().join("backup")
    }

    fn changed(&self, change: impl FnOnce(&Path)) -> TempDir {
        let folder = TempDir::new().unwrap();
        copy(&self.0.path().join("data"), folder.path());
        change(folder.path());
        folder
    }

    /// A copy in the form that [`Plant::open`] expects.
    fn changed_site(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        copy(&self.0.path().join("data"), &folder.path().join("data"));
        folder
    }

    #[track_caller]
    fn complaint(&self, change: impl FnOnce(&Path)) -> Finding {
        complaint(self.changed(change).path(), None)
    }
}

#[tokio::test]
async fn a_sound_folder_has_nothing_to_complain_of() {
    let sound = Sound::new().await;
    let folder = sound.changed(|_| {});
    let found = findings(folder.path(), Some(&sound.backup()));
    assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok), "{found:#?}");
    assert!(found.len() > 10, "{found:#?}");
}

#[tokio::test]
async fn a_folder_in_use_is_judged_as_far_as_it_can_be() {
    let plant = Plant::new().await;
    let _in_use = DataDir::open(&plant.data_dir(), None).unwrap();
    let data_dir = &plant.data_dir();
    let request =
        Request { data_dir, key_file: None, against: None, now: now(), start: site::START };
    let found = examine(request, &mut |_| {});
    assert!(found.iter().all(|finding| finding.verdict < Verdict::Warn), "{found:#?}");
    assert!(found.iter().any(|finding| finding.verdict == Verdict::Skipped), "{found:#?}");
}

/// What can happen to a file.
enum Damage {
    Missing,
    Is(&'static str),
    /// Its last byte is changed.
    Changed,
    /// It is followed by bytes that a crash left.
    Torn,
    Mode(u32),
}

impl Damage {
    fn befall(&self, file: &Path) {
        match self {
            Self::Missing if file.is_dir() => fs::remove_dir_all(file).unwrap(),
            Self::Missing => fs::remove_file(file).unwrap(),
            Self::Is(text) => fs::write(file, text).unwrap(),
            Self::Changed => damage(file),
            Self::Torn => {
                let bytes = [fs::read(file).unwrap(), b"SWgr torn".to_vec()].concat();
                fs::write(file, bytes).unwrap();
            }
            Self::Mode(mode) => {
                fs::set_permissions(file, fs::Permissions::from_mode(*mode)).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn each_damage_has_its_line_and_its_remedy() {
    use Damage::{Changed, Is, Missing, Mode, Torn};
    use Verdict::{Failed, Warn};
    const FIRST: &str = "ledger/segments/00000000000000000000.seg";
    const SECOND: &str = "ledger/segments/00000000000000000041.seg";
    const NEWEST: &str = "ledger/segments/00000000000000000082.seg";
    const WRITE: &str = r#"write {"version":1,"name":"plant"} to"#;
    const VERSION_9: &str = r#"{"version":9,"name":"plant"}"#;
    const OTHER_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";
    let sound = Sound::new().await;
    //  (file, what happens to it, how much it matters, which check finds it, words of its remedy)
    for (file, damage, verdict, check, remedy) in [
        ("site.json", Missing, Failed, "layout", WRITE),
        ("site.json", Is("rubbish"), Failed, "layout", WRITE),
        ("site.json", Is(VERSION_9), Failed, "layout", "the sealwire that wrote it"),
        ("site.key", Missing, Failed, "key", "put it back"),
        ("site.key", Is("rubbish"), Failed, "key", "put the key file back"),
        ("site.key", Is(OTHER_KEY), Failed, "key", "put it back"),
        ("site.key", Mode(0o644), Failed, "key", "chmod 600"),
        ("access-token", Is("rubbish"), Failed, "token", "delete"),
        ("retention", Is("TEST for ever"), Failed, "retention", "correct the line"),
        ("ledger/checkpoint", Missing, Failed, "checkpoint", "put back the newest checkpoint"),
        (
            "ledger/checkpoint",
            Is("rubbish"),
            Failed,
            "checkpoint",
            "put back the newest checkpoint",
        ),
        ("ledger/state", Missing, Warn, "state", "the next start rebuilds it"),
        (
            "ledger/state",
            Is("rubbish"),
            Failed,
            "state",
            "ledger/state: the next start rebuilds it",
        ),
        ("ledger/tree", Missing, Warn, "tree", "the next start rebuilds them"),
        ("ledger/tree/entries", Missing, Warn, "tree", "the next start rebuilds them"),
        ("ledger/tree/entries", Is(""), Warn, "tree", "the next start rebuilds them"),
        ("ledger/tree/entries", Changed, Failed, "tree", "ledger/tree: the next start rebuilds it"),
        ("ledger/tree/nodes-4", Changed, Failed, "tree", "ledger/tree: the next start rebuilds it"),
        ("ledger/tree/blocks-00000000000000000041", Changed, Failed, "tree", "search the segment"),
        (FIRST, Changed, Failed, "segments", "from a backup"),
        (FIRST, Missing, Failed, "segments", "from a backup"),
        (SECOND, Missing, Failed, "segments", "from a backup"),
        (NEWEST, Changed, Failed, "segments", "from a backup"),
        (NEWEST, Missing, Failed, "segments", "from a backup"),
        (NEWEST, Torn, Warn, "torn end", "the next start cuts it off"),
        ("ledger/segments/notes.txt", Is(""), Failed, "segments", "not a segment"),
        ("ledger/checkpoint.next", Is(""), Warn, "leftovers", "may delete them"),
        ("run.json", Is("{}"), Warn, "leftovers", "may delete them"),
        ("index.sqlite", Is("this is no database"), Warn, "index", "the next start rebuilds it"),
    ] {
        let found = sound.complaint(|folder| damage.befall(&folder.join(file)));
        assert_eq!((found.verdict, found.check), (verdict, check), "{file}: {found:#?}");
        assert!(found.remedy.as_ref().unwrap().contains(remedy), "{file}: {found:#?}");
    }
}

#[tokio::test]
async fn a_backup_says_which_of_its_segments_can_be_taken() {
    let sound = Sound::new().await;
    for number in 0..3 {
        let folder = sound.changed(|folder| damage(&segments(folder)[number]));
        let damaged = segments(folder.path())[number].clone();
        let taken = &segments(&sound.backup())[number];
        let Finding { check, remedy, .. } = complaint(folder.path(), Some(&sound.backup()));
        assert_eq!(check, "segments");
        let folder_of = damaged.parent().unwrap().display();
        let expected = format!("stop the site and copy {} to {folder_of}", taken.display());
        assert_eq!(remedy.unwrap(), expected);
        fs::copy(taken, &damaged).unwrap();
        let found = findings(folder.path(), None);
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok), "{found:#?}");
    }
    let folder = sound.changed(|folder| {
        segments(folder).iter().take(2).for_each(|segment| fs::remove_file(segment).unwrap());
    });
    let remedy = complaint(folder.path(), Some(&sound.backup())).remedy.unwrap();
    assert!(remedy.contains("000.seg, ") && remedy.contains("041.seg to "), "{remedy}");
    // The log has grown since then, so the newest segment in the backup ends earlier.
    let grown = Plant::open(sound.changed_site());
    grown.seal(10).await;
    let folder = grown.close().await;
    let data_dir = folder.path().join("data");
    damage(&segments(&data_dir)[2]);
    let remedy = complaint(&data_dir, Some(&sound.backup())).remedy.unwrap();
    assert!(remedy.contains("holds only the leaves 82 to 122"), "{remedy}");

    // Another log, and a different history under the same key.
    let other = Sound::new().await;
    let forked = Plant::open(sound.changed_site());
    forked.seal(9).await;
    back_up(&forked.data_dir(), &forked.backup_dir()).unwrap();
    for (data_dir, copy) in
        [(other.0.path().join("data"), sound.backup()), (data_dir, forked.backup_dir())]
    {
        let mut found = findings(&data_dir, Some(&copy));
        found.retain(|finding| finding.check == "backup");
        assert_eq!(found.remove(0).verdict, Verdict::Failed);
    }
}

#[tokio::test]
async fn several_damages_are_all_named() {
    let sound = Sound::new().await;
    let folder = sound.changed(|folder| {
        damage(&segments(folder)[0]);
        damage(&segments(folder)[2]);
        fs::remove_file(folder.join("site.key")).unwrap();
    });
    let mut found = findings(folder.path(), None);
    found.retain(|finding| finding.verdict == Verdict::Failed);
    let checks: Vec<&str> = found.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["segments", "segments", "key"]);
}

#[tokio::test]
async fn an_erasure_that_was_not_finished_is_told() {
    let plant = Plant::new().await;
    // Something else has the name of the file to which the segment must be written.
    let next = segments(&plant.data_dir())[0].with_extension("seg.next");
    fs::create_dir(&next).unwrap();
    let leaves = "5-9".parse().unwrap();
    let (actor, reason) = (String::from("tester"), String::from("a test"));
    let erasure = Erasure { leaves, actor, reason };
    plant.ledger.erase(erasure, Timestamp::from_unix_micros(0)).await.unwrap_err();
    fs::remove_dir(&next).unwrap();
    // In a backup the erasure is finished.
    let done = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert_eq!(done.verified.erased, 2 + 5);
    assert_eq!(done.copied.segments_erased, 1);
    let folder = plant.close().await;
    let found = complaint(&folder.path().join("data"), None);
    assert_eq!((found.verdict, found.check), (Verdict::Warn, "erasure"));
    assert!(found.found.starts_with("5 envelopes"), "{found:#?}");
}

#[tokio::test]
async fn an_envelope_that_came_back_from_a_copy_is_erased_again() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    plant.erase(5).await;
    let folder = plant.close().await;
    let data_dir = folder.path().join("data");
    for file in ["segments/00000000000000000000.seg", "tree/blocks-00000000000000000000"] {
        let backup = folder.path().join("backup/ledger");
        fs::copy(backup.join(file), data_dir.join("ledger").join(file)).unwrap();
    }
    let found = complaint(&data_dir, None);
    assert_eq!((found.verdict, found.check), (Verdict::Failed, "erasure"));
    let state = data_dir.join("ledger/state");
    assert!(
        found.remedy.unwrap().starts_with(&format!("stop the site and delete {}", state.display()))
    );
    fs::remove_file(state).unwrap();
    let folder = Plant::open(folder).close().await;
    let found = findings(&folder.path().join("data"), None);
    assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok), "{found:#?}");
}

#[tokio::test]
async fn a_key_rotation_that_was_not_finished_is_told() {
    let plant = Plant::new().await;
    let seed = [7; 32];
    let name = KeyName::parse("sealwire.local/plant").unwrap();
    plant.ledger.rotate_key(Signer::from_seed(name, &seed), "tester").await.unwrap();
    let folder = plant.close().await;
    let data_dir = folder.path().join("data");
    let found = complaint(&data_dir, None);
    assert_eq!((found.verdict, found.check), (Verdict::Failed, "key"));
    let next = data_dir.join("site.key.next");
    fs::write(&next, "07".repeat(32)).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
    let found = complaint(&data_dir, None);
    assert_eq!((found.verdict, found.check), (Verdict::Warn, "key"));
}

#[tokio::test]
async fn a_clock_that_went_back_is_told() {
    let sound = Sound::new().await;
    let (data_dir, past) = (sound.0.path().join("data"), Timestamp::from_unix_micros(0));
    let request = Request {
        data_dir: &data_dir,
        key_file: None,
        against: None,
        now: past,
        start: site::START,
    };
    let found = examine(request, &mut |_| {});
    let clock = found.iter().find(|finding| finding.check == "clock").unwrap();
    assert_eq!(clock.verdict, Verdict::Warn, "{clock:#?}");
}

#[tokio::test]
async fn an_index_is_held_against_its_log() {
    let plant = Plant::new().await;
    let log_id = plant.ledger.log_id();
    let (size, data_dir) = (plant.ledger.size(), plant.data_dir());
    let index = data_dir.join("index.sqlite");
    let folder = DataDir::open_existing(&data_dir).unwrap();
    indexing::catch_up(&folder.index(), &plant.ledger).unwrap();
    drop(folder);
    let whole = fs::read(&index).unwrap();
    plant.seal(3).await;
    let _folder = plant.close().await;
    let verdict = || {
        let found = findings(&data_dir, None);
        found.into_iter().find(|finding| finding.check == "index").unwrap()
    };
    let says = |expected: Verdict, words: &str| {
        let found = verdict();
        assert_eq!(found.verdict, expected, "{found:#?}");
        assert!(found.found.contains(words), "{found:#?}");
    };
    says(Verdict::Ok, "is 3 leaves behind");
    let changed = |change: &str| {
        fs::write(&index, &whole).unwrap();
        let connection = rusqlite::Connection::open(&index).unwrap();
        assert!(connection.execute(change, []).unwrap() > 0, "{change}");
    };
    changed("UPDATE term SET text = 'x' WHERE text = 'LOG_CREATED'");
    says(Verdict::Failed, "it differs from the log: ");
    says(Verdict::Failed, "search terms of leaves from 0 to");
    changed("UPDATE log SET last_entry = randomblob(32)");
    says(Verdict::Failed, "the entry of leaves");
    changed("INSERT INTO passed_over VALUES (2, 'no reason')");
    says(Verdict::Ok, "it matches the log");
    let found = findings(&data_dir, None);
    let named = found.iter().find(|it| it.check == "index" && it.verdict == Verdict::Warn).unwrap();
    assert!(
        named
            .found
            .contains("it lacks 1 leaves that it could not index; the newest are 2 (no reason)"),
        "{named:#?}"
    );

    let stand = |log: LogId, next_leaf: u64| {
        let mut indexer = index::Indexer::open(&index, log, |_| Ok(Some([0; 32]))).unwrap();
        let mut batch = index::IndexBatch::new(indexer.next_leaf());
        batch.extend((indexer.next_leaf()..next_leaf).map(|_| None));
        indexer.apply(&batch, [0; 32]).unwrap();
    };
    stand(LogId::from_sha256([2; LogId::LEN]), 1);
    says(Verdict::Warn, "another log");
    stand(log_id, size + 9);
    says(Verdict::Warn, "restored from a copy");
    let mut bytes = fs::read(&index).unwrap();
    // Not the first page: the next start would notice that and rebuild the file.
    let last_page = bytes.len() - 4_096;
    bytes[last_page..].fill(7);
    fs::write(&index, bytes).unwrap();
    assert_eq!(verdict().verdict, Verdict::Failed);
}

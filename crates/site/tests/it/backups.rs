//! Backup and restore.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use data_dir::{
    backup::{BackupError, Request, backup},
    restore::{Restore, RestoreError, Restored, restore},
};
use durable::Stop;
use ledger::{Ledger, disk::RealDisk, verify::verify_folder};
use tempfile::TempDir;

use super::{Plant, back_up, content, copy, damage, segments, signer};

fn restore_to(backup: &Path, data_dir: &Path) -> Result<Restored, RestoreError> {
    restore(&of(backup, data_dir, &Stop::default()), &mut |_| {})
}

fn of<'a>(backup: &'a Path, data_dir: &'a Path, stop: &'a Stop) -> Restore<'a> {
    Restore { backup, data_dir, vkey: None, key: None, known_checkpoint: None, take: &[], stop }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[tokio::test]
async fn a_backup_is_restored_and_gone_on_with() {
    let plant = Plant::new().await;
    fs::write(plant.data_dir().join("index.sqlite"), "not needed").unwrap();
    fs::write(plant.data_dir().join("retention"), "TEST 9d").unwrap();
    let (data_dir, target) = (&plant.data_dir(), &plant.backup_dir());
    let request =
        Request { data_dir, target, with_keys: true, key_file: None, stop: &Stop::default() };
    let done = backup(request, &mut |_| {}).unwrap();
    assert_eq!(done.verified.leaves, plant.ledger.size());
    assert_eq!((done.keys, done.left_out), (vec!["site.key"], vec!["index.sqlite".to_owned()]));
    let described = fs::read_to_string(plant.backup_dir().join("backup.json")).unwrap();
    assert!(described.ends_with("}\n"), "{described}");
    let key = plant.backup_dir().join("site.key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(plant.backup_dir()).unwrap().permissions().mode() & 0o777, 0o700);

    let new = TempDir::new().unwrap();
    let data_dir = new.path().join("data");
    let restored = restore_to(&plant.backup_dir(), &data_dir).unwrap();
    assert_eq!((restored.name.as_str(), restored.has_key), ("plant", true));
    assert_eq!(fs::read_to_string(data_dir.join("retention")).unwrap(), "TEST 9d");
    let again = Plant::open(new);
    assert_eq!(again.ledger.size(), plant.ledger.size());
    again.seal(3).await;
    again.close().await;
}

#[tokio::test]
async fn without_a_key_the_log_stands_still_until_it_is_there() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert!(!plant.backup_dir().join("site.key").exists());
    let data_dir = plant.folder.path().join("new");
    assert!(!restore_to(&plant.backup_dir(), &data_dir).unwrap().has_key);
    fs::remove_dir_all(&data_dir).unwrap();

    let (key, from) = (plant.data_dir().join("site.key"), plant.backup_dir());
    let stop = Stop::default();
    let request = Restore { key: Some(&key), ..of(&from, &data_dir, &stop) };
    assert!(restore(&request, &mut |_| {}).unwrap().has_key);
    Ledger::open(&data_dir.join("ledger"), signer(&data_dir)).unwrap();
    fs::remove_dir_all(&data_dir).unwrap();

    let other = plant.folder.path().join("other.key");
    fs::write(&other, "07".repeat(32)).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    let request = Restore { key: Some(&other), ..of(&from, &data_dir, &stop) };
    let refusal = restore(&request, &mut |_| {}).unwrap_err();
    assert!(matches!(refusal, RestoreError::OtherKey { .. }), "{refusal}");
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn a_second_backup_copies_only_what_is_not_there() {
    let plant = Plant::new().await;
    let first = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert_eq!(
        (first.copied.segments, first.copied.segments_kept, first.size_before),
        (3, 0, None)
    );
    let kept = inode(&segments(&plant.backup_dir())[0]);
    plant.seal(7).await;
    let second = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert_eq!((second.copied.segments, second.copied.segments_kept), (1, 2));
    assert_eq!(second.size_before, Some(first.verified.leaves));
    assert_eq!(second.verified.leaves, plant.ledger.size());
    assert_eq!(inode(&segments(&plant.backup_dir())[0]), kept);
    assert_eq!(fs::read_dir(plant.folder.path()).unwrap().count(), 2, "nothing is left beside it");

    // What was erased since then is erased in the backup too.
    plant.erase(50).await;
    let third = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert_eq!(third.verified.erased, 3);
}

#[tokio::test]
async fn a_backup_that_was_damaged_is_made_whole() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    damage(&segments(&plant.backup_dir())[0]);
    let done = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert_eq!((done.copied.segments, done.copied.segments_kept), (3, 0));
}

#[tokio::test]
async fn a_damaged_log_leaves_the_backup_as_it_was() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    plant.seal(5).await;
    let before = content(&plant.backup_dir());
    damage(segments(&plant.data_dir()).last().unwrap());
    let refusal = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap_err();
    assert!(matches!(refusal, BackupError::Copy(_)), "{refusal}");
    assert_eq!(content(&plant.backup_dir()), before);
    assert_eq!(fs::read_dir(plant.folder.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing_and_changes_nothing() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    plant.seal(5).await;
    let before = content(&plant.backup_dir());
    let (data_dir, target) = (&plant.data_dir(), &plant.backup_dir());
    for step in ["copying the log", "verifying the copy"] {
        let stop = &Stop::default();
        let mut asks = |at: &str| {
            if at == step {
                stop.ask();
            }
        };
        let request = Request { data_dir, target, with_keys: false, key_file: None, stop };
        backup(request, &mut asks).unwrap_err();
        assert!(stop.is_asked());
        assert_eq!(content(&plant.backup_dir()), before, "{step}");
        assert_eq!(fs::read_dir(plant.folder.path()).unwrap().count(), 2, "{step}");

        let (restored, stop) = (plant.folder.path().join("restored"), Stop::default());
        let mut asks = |at: &str| {
            if at == step {
                stop.ask();
            }
        };
        restore(&of(target, &restored, &stop), &mut asks).unwrap_err();
        assert_eq!(fs::read_dir(plant.folder.path()).unwrap().count(), 2, "{step}");
    }
}

#[tokio::test]
async fn a_backup_never_goes_back() {
    let plant = Plant::new().await;
    let old = plant.folder.path().join("old");
    copy(&plant.data_dir(), &old);
    plant.seal(5).await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    let refusal = back_up(&old, &plant.backup_dir()).unwrap_err();
    assert!(matches!(refusal, BackupError::Behind { .. }), "{refusal}");

    // The old state is continued, which is a fork.
    let (ledger, writer) = Ledger::open(&old.join("ledger"), signer(&old)).unwrap();
    let forked = Plant { folder: TempDir::new().unwrap(), ledger, writer };
    forked.seal(20).await;
    let refusal = back_up(&old, &plant.backup_dir()).unwrap_err();
    assert!(matches!(refusal, BackupError::Diverged { .. }), "{refusal}");
}

#[tokio::test]
async fn what_is_not_a_backup_is_left_alone() {
    let plant = Plant::new().await;
    fs::create_dir(plant.backup_dir()).unwrap();
    fs::write(plant.backup_dir().join("thesis.tex"), "").unwrap();
    let refusal = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap_err();
    assert!(matches!(refusal, BackupError::NotEmpty { .. }), "{refusal}");
    let refusal = back_up(&plant.backup_dir(), &plant.folder.path().join("b")).unwrap_err();
    assert!(matches!(refusal, BackupError::DataDir(_)), "{refusal}");
    let in_the_way = plant.folder.path().join("b.next");
    copy(&plant.backup_dir(), &in_the_way);
    let refusal = back_up(&plant.data_dir(), &plant.folder.path().join("b")).unwrap_err();
    assert!(refusal.to_string().contains("is in the way"), "{refusal}");
    assert_eq!(content(&in_the_way).len(), 1);

    let other = TempDir::new().unwrap();
    drop(data_dir::DataDir::open(other.path(), Some("other")).unwrap());
    let target = plant.folder.path().join("c");
    back_up(&plant.data_dir(), &target).unwrap();
    let refusal = back_up(other.path(), &target).unwrap_err();
    assert!(matches!(refusal, BackupError::OtherSite { .. }), "{refusal}");
    let refusal = restore_to(&target, &plant.data_dir()).unwrap_err();
    assert!(matches!(refusal, RestoreError::NotEmpty { .. }), "{refusal}");
    let refusal = restore_to(&plant.backup_dir(), &plant.folder.path().join("d")).unwrap_err();
    assert!(matches!(refusal, RestoreError::Backup(BackupError::NotABackup { .. })), "{refusal}");
}

#[tokio::test]
async fn what_an_interrupted_backup_left_is_cleared_away() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    // Between the two renames of a replacement.
    let aside = plant.folder.path().join("backup.being-replaced");
    fs::rename(plant.backup_dir(), &aside).unwrap();
    let unfinished = plant.folder.path().join("backup.next");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("copy.lock"), "").unwrap();
    fs::write(unfinished.join("part"), "").unwrap();
    let done = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert_eq!(done.copied.segments_kept, 2);
    assert_eq!(fs::read_dir(plant.folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_link_to_a_backup_stays_one() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    let link = plant.folder.path().join("newest");
    std::os::unix::fs::symlink(plant.backup_dir(), &link).unwrap();
    plant.seal(3).await;
    let done = back_up(&plant.data_dir(), &link).unwrap();
    assert!(link.is_symlink());
    let backed_up = verify_folder(&RealDisk, &plant.backup_dir().join("ledger"), None, &mut |_| {});
    assert_eq!(backed_up.unwrap().leaves, done.verified.leaves);
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    damage(&segments(&plant.backup_dir())[1]);
    let data_dir = plant.folder.path().join("new");
    let refusal = restore_to(&plant.backup_dir(), &data_dir).unwrap_err();
    assert!(matches!(refusal, RestoreError::Verify { .. }), "{refusal}");
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn a_known_checkpoint_tells_a_fork_before_it_happens() {
    let plant = Plant::new().await;
    back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    let data_dir = plant.folder.path().join("new");
    let (known, from) = (plant.folder.path().join("known"), plant.backup_dir());
    let stop = Stop::default();
    let restored = |note: &str| {
        fs::write(&known, note).unwrap();
        let request = Restore { known_checkpoint: Some(&known), ..of(&from, &data_dir, &stop) };
        restore(&request, &mut |_| {})
    };
    let published = plant.ledger.published();
    plant.seal(1).await;
    let refusal = restored(&plant.ledger.published().note).unwrap_err();
    assert!(matches!(refusal, RestoreError::Behind { .. }), "{refusal}");
    let refusal = restored("no checkpoint").unwrap_err();
    assert!(matches!(refusal, RestoreError::NoCheckpoint { .. }), "{refusal}");
    let unsigned = published.note.replace("plant\n1", "plant\n2");
    assert!(restored(&unsigned).is_err());
    // Signed by the log's key for a different history.
    let mut other = published.checkpoint.clone();
    other.root = tlog::Hash::sha256(b"another history");
    let refusal = restored(&other.sign(&signer(&plant.data_dir()))).unwrap_err();
    assert!(matches!(refusal, RestoreError::Differs { .. }), "{refusal}");
    assert!(!data_dir.exists());
    assert_eq!(restored(&published.note).unwrap().known.unwrap(), published.checkpoint);
    verify_folder(&RealDisk, &data_dir.join("ledger"), None, &mut |_| {}).unwrap();
}

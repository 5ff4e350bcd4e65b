//! A backup from a place where others can write: what no signature covers is not believed.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use data_dir::{
    backup::{BackupError, Fate, Request, backup},
    restore::{Restore, RestoreError, Restored, restore},
};
use durable::Stop;
use ledger::KeyFiles;
use tlog::{Hash, KeyName};

use super::{Plant, back_up, copy, segments, signer};

const RETENTION: &str = "TEST 400d\n";

/// A site with rules, and a backup of it that the log's key signed.
async fn backed_up() -> (Plant, PathBuf) {
    let plant = Plant::new().await;
    fs::write(plant.data_dir().join("retention"), RETENTION).unwrap();
    let done = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert_eq!((done.configuration, done.unsigned), (vec!["retention"], None));
    let backup = plant.backup_dir();
    (plant, backup)
}

fn restore_with(backup: &Path, take: &[Hash]) -> (PathBuf, Result<Restored, RestoreError>) {
    let data_dir = backup.with_file_name("restored");
    let _earlier = fs::remove_dir_all(&data_dir);
    let request = Restore {
        backup,
        data_dir: &data_dir,
        vkey: None,
        key: None,
        known_checkpoint: None,
        take,
        stop: &Stop::default(),
    };
    let restored = restore(&request, &mut |_| {});
    (data_dir, restored)
}

/// Each configuration file, with whether it was restored or why not.
#[track_caller]
fn fates(backup: &Path, take: &[Hash]) -> Vec<(&'static str, Fate)> {
    let (data_dir, restored) = restore_with(backup, take);
    let restored = restored.unwrap();
    for file in &restored.configuration {
        let is_there = data_dir.join(file.name).exists();
        assert_eq!(is_there, matches!(file.fate, Fate::Signed | Fate::AskedFor), "{file:?}");
    }
    restored.configuration.into_iter().map(|file| (file.name, file.fate)).collect()
}

#[track_caller]
fn assert_left_out(fates: &[(&'static str, Fate)], name: &str, why: &str) {
    let fate = fates.iter().find(|(file, _)| *file == name).map(|(_, fate)| fate);
    let Some(Fate::LeftOut { reason }) = fate else { panic!("{name}: {fate:?}") };
    assert!(reason.contains(why), "{name}: {reason}");
}

#[tokio::test]
async fn an_older_backup_that_takes_the_place_of_the_newer_one_meanwhile_is_not_restored() {
    let (plant, backup) = backed_up().await;
    let older = backup.with_file_name("older");
    copy(&backup, &older);
    plant.seal(5).await;
    back_up(&plant.data_dir(), &backup).unwrap();
    let published = backup.with_file_name("published");
    fs::write(&published, &plant.ledger.published().note).unwrap();

    let data_dir = backup.with_file_name("restored");
    let request = Restore {
        backup: &backup,
        data_dir: &data_dir,
        vkey: None,
        key: None,
        known_checkpoint: Some(&published),
        take: &[],
        stop: &Stop::default(),
    };
    let refusal = restore(&request, &mut |step| {
        if step == "copying the log" {
            fs::remove_dir_all(backup.join("ledger")).unwrap();
            copy(&older.join("ledger"), &backup.join("ledger"));
        }
    });
    let refusal = refusal.unwrap_err();
    assert!(matches!(refusal, RestoreError::Changed { .. }), "{refusal}");
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn only_what_the_logs_key_signed_is_restored_unasked() {
    let (_plant, backup) = backed_up().await;
    assert_eq!(fates(&backup, &[]), [("retention", Fate::Signed)]);

    // The first start would erase by the one file, and show the log by the other.
    let (planted, config) = ("TEST 1h\n", r#"{"roots":"unpublished"}"#);
    fs::write(backup.join("retention"), planted).unwrap();
    fs::write(backup.join("pangea.json"), config).unwrap();
    let left_out = fates(&backup, &[]);
    assert_left_out(&left_out, "retention", "signed a different file");
    assert_left_out(&left_out, "pangea.json", "had no such file");

    let asked = [Hash::sha256(planted.as_bytes())];
    let taken = fates(&backup, &asked);
    assert!(taken.contains(&("retention", Fate::AskedFor)), "{taken:?}");
    assert_left_out(&taken, "pangea.json", "had no such file");
    let (data_dir, refusal) = restore_with(&backup, &[Hash::sha256(RETENTION.as_bytes())]);
    let refusal = refusal.unwrap_err().to_string();
    assert!(refusal.contains("no configuration file in"), "{refusal}");
    assert!(!data_dir.exists());

    // Missing files are reported too.
    fs::remove_file(backup.join("retention")).unwrap();
    assert!(fates(&backup, &[]).contains(&("retention", Fate::Gone)));
}

#[tokio::test]
async fn a_manifest_vouches_for_its_own_backup_alone() {
    let (plant, backup) = backed_up().await;
    let manifest = backup.join("manifest");
    let old = fs::read(&manifest).unwrap();

    // The key is rotated between two backups: each is signed by the key of its time.
    let name = KeyName::parse("sealwire.local/plant").unwrap();
    let keys = KeyFiles::new(plant.data_dir().join("site.key"));
    plant.ledger.rotate_key(keys.create_next(name).unwrap(), "tester").await.unwrap();
    keys.settle(&plant.ledger.vkey()).unwrap();
    plant.ledger.publish_checkpoint().await.unwrap();
    assert_eq!(fates(&backup, &[]), [("retention", Fate::Signed)]);
    let done = back_up(&plant.data_dir(), &backup).unwrap();
    assert_eq!(done.unsigned, None);
    assert_eq!(fates(&backup, &[]), [("retention", Fate::Signed)]);

    let new = fs::read(&manifest).unwrap();
    fs::write(&manifest, old).unwrap();
    assert_left_out(&fates(&backup, &[]), "retention", "it is not signed by");
    // Signed by the same key, but for another backup.
    plant.seal(1).await;
    back_up(&plant.data_dir(), &backup).unwrap();
    fs::write(&manifest, new).unwrap();
    assert_left_out(&fates(&backup, &[]), "retention", "belongs to another backup");
    // A checkpoint is signed by that key too, but says nothing about files.
    fs::copy(backup.join("ledger/checkpoint"), &manifest).unwrap();
    assert_left_out(&fates(&backup, &[]), "retention", "malformed");
    fs::remove_file(&manifest).unwrap();
    assert_left_out(&fates(&backup, &[]), "retention", "no manifest");
}

#[tokio::test]
async fn without_the_key_a_backup_says_that_nothing_signs_it() {
    let plant = Plant::new().await;
    fs::write(plant.data_dir().join("retention"), RETENTION).unwrap();
    let elsewhere = plant.folder.path().join("key-elsewhere");
    fs::rename(plant.data_dir().join("site.key"), &elsewhere).unwrap();
    let done = back_up(&plant.data_dir(), &plant.backup_dir()).unwrap();
    assert!(done.unsigned.unwrap().contains("name its file with --key-file"));
    assert_left_out(&fates(&plant.backup_dir(), &[]), "retention", "no manifest");
    let (data_dir, target) = (&plant.data_dir(), &plant.backup_dir());
    let request = Request {
        data_dir,
        target,
        with_keys: false,
        key_file: Some(&elsewhere),
        stop: &Stop::default(),
    };
    assert_eq!(backup(request, &mut |_| {}).unwrap().unsigned, None);
    assert_eq!(fates(&plant.backup_dir(), &[]), [("retention", Fate::Signed)]);
}

#[tokio::test]
async fn nothing_in_a_backup_leads_elsewhere() {
    let (plant, backup) = backed_up().await;
    let theirs = plant.folder.path().join("theirs");
    fs::write(&theirs, "TEST 1h\n").unwrap();
    let segment = segments(&backup).remove(0);
    type Planting<'a> = &'a dyn Fn(&Path);
    let plant: [(&str, Planting<'_>); 2] = [
        ("is a symbolic link", &|path| symlink(&theirs, path).unwrap()),
        ("is a pipe", &|path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
    ];
    let places =
        ["retention", "witness-policy", "manifest", "backup.json", "site.key", "ledger/state"];
    for place in places.map(|place| backup.join(place)).iter().chain([&segment]) {
        let kept = fs::read(place).ok();
        for (kind, plant) in plant {
            let _kept = fs::remove_file(place);
            plant(place);
            let (data_dir, refusal) = restore_with(&backup, &[]);
            let refusal = refusal.unwrap_err().to_string();
            let named = format!("{} {kind}", place.display());
            assert!(refusal.contains(&named), "{named}: {refusal}");
            assert!(!data_dir.exists());
        }
        fs::remove_file(place).unwrap();
        kept.into_iter().for_each(|kept| fs::write(place, kept).unwrap());
    }
    // A hard link can be changed under its other name, so it is refused even when asked for.
    fs::remove_file(backup.join("retention")).unwrap();
    fs::hard_link(&theirs, backup.join("retention")).unwrap();
    assert_left_out(&fates(&backup, &[]), "retention", "signed a different file");
    let (_, refusal) = restore_with(&backup, &[Hash::sha256(b"TEST 1h\n")]);
    assert!(refusal.unwrap_err().to_string().contains("retention has 2 hard links"));
}

#[tokio::test]
async fn what_lies_in_an_earlier_backup_decides_nothing() {
    let (plant, backup) = backed_up().await;
    // A planted key does not make a later backup include the log's own key.
    let key = backup.join("site.key");
    for planted in ["07".repeat(32), String::from("no key at all")] {
        fs::write(&key, planted).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let done = back_up(&plant.data_dir(), &backup).unwrap();
        assert!(done.keys.is_empty() && !key.exists());
    }
    // A segment that could be changed later under another name is copied instead of linked.
    let segment = segments(&backup).remove(0);
    let theirs = plant.folder.path().join("theirs");
    fs::hard_link(&segment, &theirs).unwrap();
    back_up(&plant.data_dir(), &backup).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_ne!(inode(&theirs), inode(&segment));
    assert_eq!(fs::read(&theirs).unwrap(), fs::read(&segment).unwrap());
    // A link is neither followed nor kept.
    fs::remove_file(&segment).unwrap();
    symlink(&theirs, &segment).unwrap();
    let refusal = back_up(&plant.data_dir(), &backup).unwrap_err();
    assert!(matches!(refusal, BackupError::Plain(_)), "{refusal}");
}

#[tokio::test]
async fn a_restored_site_has_its_own_name_and_its_own_key_alone() {
    let plant = Plant::new().await;
    let (data_dir, target) = (&plant.data_dir(), &plant.backup_dir());
    let request =
        Request { data_dir, target, with_keys: true, key_file: None, stop: &Stop::default() };
    backup(request, &mut |_| {}).unwrap();
    let planted = target.join("site.key.next");
    fs::write(&planted, "07".repeat(32)).unwrap();
    fs::set_permissions(&planted, fs::Permissions::from_mode(0o600)).unwrap();
    let (restored_dir, restored) = restore_with(target, &[]);
    assert!(restored.unwrap().has_key);
    assert_eq!(signer(&restored_dir).vkey(), &plant.ledger.vkey());
    assert!(!restored_dir.join("site.key.next").exists());

    let renamed = plant.folder.path().join("renamed");
    copy(target, &renamed);
    fs::write(renamed.join("backup.json"), r#"{"version":1,"name":"other"}"#).unwrap();
    let (_, refusal) = restore_with(&renamed, &[]);
    assert!(matches!(refusal, Err(RestoreError::OtherName { .. } | RestoreError::Backup(_))));
}

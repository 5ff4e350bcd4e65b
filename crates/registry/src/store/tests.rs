//! The store on a disk that fails, fills up and loses power at every step.

use durable::simulated_disk::{Fault, Loss, Plan, SimulatedDisk};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{limits::UPLOAD_IDLE_MAX, manifest::IMAGE, uploads::Uploads};

const FOLDER: &str = "/data/registry";

/// A store, and what is on its way there.
struct Site {
    runtime: Runtime,
    store: Store,
    uploads: Uploads,
}

impl Site {
    fn open(disk: &SimulatedDisk) -> Result<Self, StoreError> {
        let store = Store::open(Arc::new(disk.clone()), Path::new(FOLDER))?;
        let runtime = Builder::new_current_thread().build().unwrap();
        Ok(Self { runtime, store, uploads: Uploads::default() })
    }

    fn changing(&self) -> Changing {
        self.runtime.block_on(self.store.change())
    }

    fn push_blob(&self, blob: &[u8]) -> Result<(), Refusal> {
        let (repository, publisher) = (app(), "ada".parse().unwrap());
        let id = self.uploads.begin(&self.store, &repository, &publisher)?;
        let mut writing = self.uploads.take(id, &repository, &publisher)?;
        for piece in blob.chunks(700) {
            writing.append(&self.store, piece)?;
        }
        let sent = (&writing, &Digest::of(blob));
        self.uploads.finish(&self.store, &self.changing(), id, sent)
    }

    /// Pushes an image of one layer under a tag.
    fn push(&self, tag: &str, layer: &[u8]) -> Result<(), Refusal> {
        self.push_blob(b"{}")?;
        self.push_blob(layer)?;
        let (changing, bytes) = (self.changing(), manifest_of(layer));
        let manifest = Manifest::parse(IMAGE, &bytes)?;
        let prepared =
            self.store.prepare(&changing, &app(), &by(tag), (manifest, bytes.as_slice()))?;
        self.store.commit(&changing, prepared, None)
    }

    /// Whether a tag names the image of this layer, and all of it can be pulled.
    fn has(&self, tag: &str, layer: &[u8]) -> bool {
        let Some((digest, manifest)) = self.store.manifest(&app(), &by(tag)) else { return false };
        assert_eq!(self.store.read(&digest).unwrap(), manifest_of(layer), "{tag}");
        for (blob, size) in &manifest.blobs {
            let bytes = self.store.read(blob).unwrap();
            assert_eq!((Digest::of(&bytes), bytes.len() as u64), (*blob, *size), "{tag}");
        }
        true
    }

    /// All content has the bytes that its name says, and is counted.
    fn assert_sound(&self) {
        let state = self.store.state();
        let mut bytes = 0;
        for (digest, content) in &state.content {
            let read = self.store.read(digest).unwrap();
            assert_eq!((Digest::of(&read), read.len() as u64), (*digest, content.size));
            bytes += content.size;
        }
        assert_eq!(state.bytes, bytes);
    }
}

fn app() -> Repository {
    "plant/app".parse().unwrap()
}

fn by(tag: &str) -> Reference {
    tag.parse().unwrap()
}

fn manifest_of(layer: &[u8]) -> Vec<u8> {
    let descriptor = |bytes: &[u8]| {
        let digest = Digest::of(bytes).to_string();
        json!({ "mediaType": "a/b", "digest": digest, "size": bytes.len() })
    };
    json!({ "schemaVersion": 2, "config": descriptor(b"{}"), "layers": [descriptor(layer)] })
        .to_string()
        .into_bytes()
}

fn layer(seed: u8) -> Vec<u8> {
    (0..2_000_u32).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// A disk with an image under the tag `old`, and whoever used it gone.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new(Path::new("/data"));
    Site::open(&disk).unwrap().push("old", &layer(1)).unwrap();
    disk.restart()
}

/// Operations of opening a store and pushing an image.
fn operations() -> usize {
    let disk = disk();
    let before = disk.operation_count();
    Site::open(&disk).unwrap().push("new", &layer(2)).unwrap();
    disk.operation_count() - before
}

#[test]
fn whatever_fails_nothing_is_lost_and_nothing_is_half_there() {
    let operations = operations();
    assert!(operations > 20, "{operations}");
    let losses = [Loss::Nothing, Loss::Everything, Loss::Some(1), Loss::Some(2), Loss::Some(3)];
    for at in 0..operations {
        for fault in [Fault::Error, Fault::ErrorButDone, Fault::Torn, Fault::NoSpace] {
            for loss in losses {
                let disk = disk();
                disk.plan(Plan { at: disk.operation_count() + at, fault, gate: None });
                let opened = Site::open(&disk);
                let pushed = opened.is_ok_and(|site| {
                    let pushed = site.push("new", &layer(2)).is_ok();
                    assert!(site.has("old", &layer(1)) && site.has("new", &layer(2)) == pushed);
                    pushed
                });
                let after = SimulatedDisk::with(disk.restart().contents().after(loss));
                let site = Site::open(&after).unwrap_or_else(|error| {
                    panic!("{at} {fault:?} {loss:?}: {}", model::error_chain(&error))
                });
                site.assert_sound();
                assert!(site.has("old", &layer(1)), "{at} {fault:?} {loss:?}");
                let is_new = site.has("new", &layer(2));
                assert!(is_new || !pushed, "{at} {fault:?} {loss:?}: what was told is gone");
                // Whatever it was, pushing again works.
                site.push("new", &layer(2)).unwrap();
                assert!(site.has("new", &layer(2)));
                site.assert_sound();
            }
        }
    }
}

#[test]
fn a_blob_that_was_acknowledged_survives_before_its_manifest_comes() {
    let disk = disk();
    Site::open(&disk).unwrap().push_blob(&layer(2)).unwrap();
    let after = SimulatedDisk::with(disk.restart().contents().after(Loss::Everything));
    let site = Site::open(&after).unwrap();
    assert_eq!(site.store.read(&Digest::of(&layer(2))).unwrap(), layer(2));
}

#[test]
fn a_full_disk_is_named_and_room_makes_it_well() {
    let disk = disk();
    let site = Site::open(&disk).unwrap();
    disk.plan(Plan { at: disk.operation_count(), fault: Fault::NoSpace, gate: None });
    let refusal = site.push("new", &layer(2)).unwrap_err();
    assert_eq!(refusal.status, axum::http::StatusCode::INSUFFICIENT_STORAGE);
    assert!(refusal.message.contains("disk is full"), "{refusal:?}");
    assert!(site.has("old", &layer(1)));
    disk.make_room();
    site.push("new", &layer(2)).unwrap();
    assert!(site.has("new", &layer(2)));
}

#[test]
fn what_nobody_needs_goes_after_a_while_and_what_somebody_asks_for_stays() {
    let disk = disk();
    let site = Site::open(&disk).unwrap();
    let (asked, unasked) = (layer(3), layer(4));
    site.push_blob(&asked).unwrap();
    site.push_blob(&unasked).unwrap();
    let (repository, publisher) = (app(), "ada".parse().unwrap());
    let id = site.uploads.begin(&site.store, &repository, &publisher).unwrap();
    let begun = Instant::now();
    let clean = |now| {
        let changing = site.changing();
        site.uploads.clean(&site.store, now);
        site.store.clean(&changing, now);
    };
    let is_here = |blob: &[u8]| site.store.state().content.contains_key(&Digest::of(blob));
    clean(begun + UPLOAD_IDLE_MAX);
    assert!(site.uploads.take(id, &repository, &publisher).is_err(), "the upload was idle");
    assert!(is_here(&asked) && is_here(&unasked));

    let later = begun + GRACE;
    site.store.state().content.get_mut(&Digest::of(&asked)).unwrap().asked = later;
    clean(later + std::time::Duration::from_secs(1));
    assert!(is_here(&asked) && !is_here(&unasked));
    assert!(site.has("old", &layer(1)), "what a manifest needs stays");
    clean(later + GRACE);
    assert!(!is_here(&asked) && site.has("old", &layer(1)));
    // A manifest that nobody needs any more releases what it needed.
    let (digest, _) = site.store.manifest(&app(), &by("old")).unwrap();
    site.store.delete(&site.changing(), &app(), &Reference::Digest(digest)).unwrap();
    clean(later + GRACE + GRACE);
    assert_eq!(site.store.state().bytes, 0);
    assert_eq!(site.store.repositories(), []);
    site.assert_sound();
}

#[test]
fn what_is_damaged_is_named_and_not_passed_over() {
    let file = Path::new(FOLDER).join("repositories/plant+app.json");
    let manifest = Digest::of(&manifest_of(&layer(1)));
    let manifest_file = Path::new(FOLDER).join(CONTENT).join(manifest.hex());
    for (path, at, words) in
        [(&file, 0, "it is not understood"), (&manifest_file, 40, "has changed")]
    {
        let damaged = SimulatedDisk::with(disk().contents().with_flipped_bit(path, at, 0));
        let refusal = Store::open(Arc::new(damaged.clone()), Path::new(FOLDER)).unwrap_err();
        let refusal = model::error_chain(&refusal);
        assert!(refusal.contains("plant+app.json") && refusal.contains(words), "{refusal}");
        let looked = Store::look(&damaged, Path::new(FOLDER)).unwrap_err();
        assert_eq!(model::error_chain(&looked), refusal);
    }
    assert_eq!(Store::look(&disk(), Path::new(FOLDER)).unwrap(), 1);
    assert_eq!(Store::look(&SimulatedDisk::new(Path::new("/data")), Path::new(FOLDER)).unwrap(), 0);
}

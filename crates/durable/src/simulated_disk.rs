//! A disk in memory that fails, tears and forgets on demand.
//!
//! For each file it stores what processes see, what was fsynced, and every change between the two.
//! It does the same for each folder's entries, which only an fsync of the folder makes durable.
//! Every operation has a number, and a [`Plan`] says which operation fails in which way. A loss of
//! power keeps what was fsynced and, of the rest, what a [`Loss`] says: whole sectors of writes, in
//! any combination.
//!
//! A killed process has no handles: [`SimulatedDisk::restart`] makes the old handles fail without
//! effect.
//!
//! Only tests have this disk: it panics if a test asks for what cannot be.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a disk of tests, which fail by panicking, and whose files are small"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, mpsc},
};

use crate::disk::{Disk, DiskFile, Mode};

/// Bytes that a disk writes completely or not at all.
const SECTOR: usize = 512;
/// Bytes that a disk still accepts while it fills up. The write that reaches the end is written in
/// part.
const LAST_ROOM: u64 = 17;

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The operation fails and does nothing. A failed fsync forgets what it should write.
    Error,
    /// The operation fails although all of it is done.
    ErrorButDone,
    /// Fewer bytes are read or written than were asked for, without an error.
    Short,
    /// A part is written, and then the operation fails.
    Torn,
    /// From here on there is no room for new files or more bytes, until
    /// [`SimulatedDisk::make_room`].
    NoSpace,
    /// The operation hangs until the gate is opened.
    Slow,
}

impl Fault {
    /// Whether such an operation can have this fault.
    pub fn can_happen_to(self, operation: Operation) -> bool {
        match self {
            Self::Error | Self::Slow => true,
            Self::ErrorButDone => !matches!(operation, Operation::Read | Operation::List),
            Self::Short => matches!(operation, Operation::Read | Operation::Write),
            Self::Torn => operation == Operation::Write,
            Self::NoSpace => matches!(operation, Operation::Write | Operation::Open),
        }
    }
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    CreateFolder,
    SyncFolder,
    List,
    Open,
    Rename,
    Remove,
    Read,
    Write,
    SetLen,
    Sync,
}

/// Which operation goes wrong, and how.
#[derive(Debug)]
pub struct Plan {
    pub at: usize,
    pub fault: Fault,
    /// For [`Fault::Slow`]: is told when the operation begins, and decides when it may continue.
    pub gate: Option<Gate>,
}

/// Delays an operation.
#[derive(Debug)]
pub struct Gate {
    pub reached: mpsc::Sender<()>,
    pub open: mpsc::Receiver<()>,
}

/// What a loss of power removes of the changes that were not fsynced.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Nothing: only the process was killed.
    Nothing,
    Everything,
    /// A random part, determined by the seed.
    Some(u64),
}

/// One process's view of the disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    world: Arc<Mutex<World>>,
    process: u64,
}

#[derive(Debug, Default)]
struct World {
    contents: Contents,
    process: u64,
    operations: Vec<Operation>,
    plan: Option<Plan>,
    /// Bytes that the disk still accepts, if they are limited.
    room: Option<u64>,
    /// The contents before each operation, if they are kept.
    history: Option<Vec<Contents>>,
    /// The contents that other processes leave before the operations of these numbers.
    switches: BTreeMap<usize, Contents>,
    /// Called before each operation.
    hook: Option<fn(Operation)>,
    /// Whether a test looks at the disk unnoticed.
    is_calm: bool,
}

/// What is on the disk.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    seen: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    /// Changes of entries that no fsync of their folder has made durable.
    entry_changes: Vec<EntryChange>,
    files: Vec<FileContents>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Folder,
    File(usize),
}

#[derive(Clone, Debug)]
struct EntryChange {
    folder: PathBuf,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Entry)>,
}

#[derive(Clone, Debug, Default)]
struct FileContents {
    seen: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Changes since the last fsync.
    changes: Vec<FileChange>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Write(usize, Arc<[u8]>),
    SetLen(usize),
}

impl SimulatedDisk {
    /// A disk with one folder.
    pub fn new(folder: &Path) -> Self {
        let mut contents = Contents::default();
        for folder in folder.ancestors() {
            contents.seen.insert(folder.to_owned(), Entry::Folder);
        }
        contents.durable = contents.seen.clone();
        Self::with(contents)
    }

    /// A disk with these contents.
    pub fn with(contents: Contents) -> Self {
        let world = World { contents, ..World::default() };
        Self { world: Arc::new(Mutex::new(world)), process: 0 }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Plans a fault.
    pub fn plan(&self, plan: Plan) {
        self.world().plan = Some(plan);
    }

    /// Plans that other processes leave these contents before the operation of this number. Open
    /// files stay open, so `contents` must come from the same disk.
    pub fn switch(&self, at: usize, contents: Contents) {
        self.world().switches.insert(at, contents);
    }

    /// Calls `hook` before each operation from now on. It may use the disk.
    pub fn before_each(&self, hook: fn(Operation)) {
        self.world().hook = Some(hook);
    }

    /// Looks at the disk unnoticed: meanwhile the disk counts no operation, fails none, and calls
    /// no hook.
    pub fn calmly<T>(&self, look: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut self.world().is_calm, true);
        let found = look();
        self.world().is_calm = before;
        found
    }

    /// Keeps the contents before every operation from now on.
    pub fn keep_history(&self) {
        self.world().history = Some(Vec::new());
    }

    /// The contents before every operation, and finally the present contents.
    pub fn history(&self) -> Vec<Contents> {
        let mut world = self.world();
        let mut history = world.history.take().unwrap_or_default();
        history.push(world.contents.clone());
        history
    }

    /// What is on the disk now.
    pub fn contents(&self) -> Contents {
        self.world().contents.clone()
    }

    /// The operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.world().operations.clone()
    }

    /// Number of operations so far.
    pub fn operation_count(&self) -> usize {
        self.world().operations.len()
    }

    /// Whether the planned fault is still to come.
    pub fn is_plan_open(&self) -> bool {
        self.world().plan.is_some()
    }

    /// Makes room on a full disk.
    pub fn make_room(&self) {
        self.world().room = None;
    }

    /// Kills the processes that use the disk, removes the fault, and returns a view for the next
    /// process.
    pub fn restart(&self) -> Self {
        let mut world = self.world();
        world.process += 1;
        (world.plan, world.room) = (None, None);
        Self { world: Arc::clone(&self.world), process: world.process }
    }

    /// Counts the operation and decides its outcome.
    fn begin(&self, operation: Operation) -> io::Result<(MutexGuard<'_, World>, Option<Fault>)> {
        let world = self.world();
        let hook = world.hook.filter(|_| !world.is_calm && world.process == self.process);
        drop(world);
        if let Some(hook) = hook {
            hook(operation);
        }
        let mut world = self.world();
        if world.process != self.process {
            return Err(io::Error::other("the process was killed"));
        }
        if world.is_calm {
            return Ok((world, None));
        }
        let number = world.operations.len();
        world.operations.push(operation);
        if let Some(contents) = world.switches.remove(&number) {
            world.contents = contents;
        }
        let World { history, contents, .. } = &mut *world;
        history.iter_mut().for_each(|history| history.push(contents.clone()));
        let is_due = world.plan.as_ref().is_some_and(|plan| plan.at == number);
        let Some(Plan { fault, gate, .. }) = world.plan.take_if(|_| is_due) else {
            return Ok((world, None));
        };
        match (fault, gate) {
            // What a failed fsync did not write is not written by the next one either, which is
            // what Linux does.
            (Fault::Error, _) if operation == Operation::Sync => Ok((world, Some(fault))),
            (Fault::Error, _) => Err(broken()),
            (Fault::NoSpace, _) => {
                world.room = Some(LAST_ROOM);
                Ok((world, None))
            }
            (Fault::Slow, Some(Gate { reached, open })) => {
                drop(world);
                reached.send(()).unwrap();
                // If the test has failed, nothing opens the gate.
                let _opened = open.recv();
                Ok((self.world(), None))
            }
            (other, _) => Ok((world, Some(other))),
        }
    }
}

fn broken() -> io::Error {
    // EIO, which a later attempt may not meet again.
    io::Error::from_raw_os_error(5)
}

/// The result of an operation that was done.
fn done<T>(fault: Option<Fault>, answer: T) -> io::Result<T> {
    if fault == Some(Fault::ErrorButDone) { Err(broken()) } else { Ok(answer) }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl World {
    /// How many of these further bytes there is room for.
    fn take_room(&mut self, bytes: u64) -> u64 {
        let taken = self.room.map_or(bytes, |room| room.min(bytes));
        self.room = self.room.map(|room| room - taken);
        taken
    }

    fn file(&mut self, id: usize) -> &mut FileContents {
        &mut self.contents.files[id]
    }
}

impl Contents {
    fn change(&mut self, folder: &Path, removed: Option<&Path>, added: Option<(PathBuf, Entry)>) {
        let change =
            EntryChange { folder: folder.to_owned(), removed: removed.map(Path::to_owned), added };
        change.apply(&mut self.seen);
        self.entry_changes.push(change);
    }

    /// What is left after a loss of power.
    pub fn after(mut self, loss: Loss) -> Self {
        let mut dice = match loss {
            Loss::Nothing => return self,
            Loss::Everything => Dice { state: 0, kept_of_8: 0 },
            // Whether little or much is kept is random too.
            Loss::Some(seed) => Dice { state: seed, kept_of_8: 1 + seed % 7 },
        };
        for file in &mut self.files {
            for change in std::mem::take(&mut file.changes) {
                change.apply_sectors(Arc::make_mut(&mut file.durable), &mut || dice.keeps());
            }
            file.seen = Arc::clone(&file.durable);
        }
        for change in std::mem::take(&mut self.entry_changes) {
            if dice.keeps() {
                change.apply(&mut self.durable);
            }
        }
        // If a folder is lost, its content is lost.
        let folders: BTreeSet<PathBuf> = self
            .durable
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Folder))
            .map(|(path, _)| path.clone())
            .collect();
        self.durable
            .retain(|path, _| path.ancestors().skip(1).all(|above| folders.contains(above)));
        self.seen = self.durable.clone();
        self
    }

    /// The files that are not empty, each with its length.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let len = |entry: &Entry| match entry {
            Entry::Folder => 0,
            Entry::File(id) => self.files[*id].seen.len(),
        };
        let files = self.seen.iter().map(|(path, entry)| (path.clone(), len(entry)));
        files.filter(|(_, len)| *len > 0).collect()
    }

    /// The same with one bit of a file flipped.
    pub fn with_flipped_bit(mut self, path: &Path, at: usize, bit: u8) -> Self {
        let Some(Entry::File(id)) = self.seen.get(path) else { panic!("{path:?} is no file") };
        Arc::make_mut(&mut self.files[*id].seen)[at] ^= 1 << bit;
        self
    }

    /// Names of the files in a folder.
    pub fn names(&self, folder: &Path) -> Vec<String> {
        let inside = self.seen.keys().filter(|path| path.parent() == Some(folder));
        inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

impl EntryChange {
    fn apply(&self, entries: &mut BTreeMap<PathBuf, Entry>) {
        if let Some(removed) = &self.removed {
            entries.remove(removed);
        }
        if let Some((path, entry)) = &self.added {
            entries.insert(path.clone(), *entry);
        }
    }
}

impl FileChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        self.apply_sectors(bytes, &mut || true);
    }

    /// Applies the change. Of a write, applies only the sectors that are kept.
    fn apply_sectors(&self, bytes: &mut Vec<u8>, keeps: &mut impl FnMut() -> bool) {
        match self {
            Self::SetLen(len) => {
                if keeps() {
                    bytes.resize(*len, 0);
                }
            }
            Self::Write(at, written) => {
                for Range { start, end } in sectors(*at, written.len()) {
                    if keeps() {
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[start..end].copy_from_slice(&written[start - at..end - at]);
                    }
                }
            }
        }
    }
}

/// The parts of a write in different sectors.
fn sectors(at: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = at + len;
    let mut next = at;
    std::iter::from_fn(move || {
        let start = next;
        next = end.min((start / SECTOR + 1) * SECTOR);
        (start < end).then_some(start..next)
    })
}

/// Random choice of what is kept: SplitMix64.
struct Dice {
    state: u64,
    kept_of_8: u64,
}

impl Dice {
    fn keeps(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 8 < self.kept_of_8
    }
}

impl Disk for SimulatedDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let (mut world, fault) = self.begin(Operation::CreateFolder)?;
        let missing: Vec<&Path> =
            folder.ancestors().filter(|path| !world.contents.seen.contains_key(*path)).collect();
        for path in missing.into_iter().rev() {
            let above = path.parent().unwrap();
            world.contents.change(above, None, Some((path.to_owned(), Entry::Folder)));
        }
        done(fault, ())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let (mut world, fault) = self.begin(Operation::SyncFolder)?;
        let Contents { durable, entry_changes, .. } = &mut world.contents;
        for change in entry_changes.extract_if(.., |change| change.folder == folder) {
            change.apply(durable);
        }
        done(fault, ())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let (world, fault) = self.begin(Operation::List)?;
        done(fault, world.contents.names(folder))
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let (mut world, fault) = self.begin(Operation::Open)?;
        let id = match world.contents.seen.get(path) {
            Some(Entry::File(id)) => *id,
            Some(Entry::Folder) => return Err(io::ErrorKind::IsADirectory.into()),
            None if mode == Mode::Read => return Err(not_found()),
            None if world.room.is_some() => return Err(io::ErrorKind::StorageFull.into()),
            None => {
                let folder = path.parent().unwrap();
                if !world.contents.seen.contains_key(folder) {
                    return Err(not_found());
                }
                let id = world.contents.files.len();
                world.contents.files.push(FileContents::default());
                world.contents.change(folder, None, Some((path.to_owned(), Entry::File(id))));
                id
            }
        };
        if mode == Mode::Empty {
            world.file(id).change(FileChange::SetLen(0));
        }
        done(fault, Arc::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut world, fault) = self.begin(Operation::Rename)?;
        assert_eq!(from.parent(), to.parent(), "the ledger renames within a folder only");
        let entry = *world.contents.seen.get(from).ok_or_else(not_found)?;
        let folder = from.parent().unwrap();
        world.contents.change(folder, Some(from), Some((to.to_owned(), entry)));
        done(fault, ())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut world, fault) = self.begin(Operation::Remove)?;
        if !world.contents.seen.contains_key(path) {
            return Err(not_found());
        }
        world.contents.change(path.parent().unwrap(), Some(path), None);
        done(fault, ())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: usize,
}

impl FileContents {
    fn change(&mut self, change: FileChange) {
        change.apply(Arc::make_mut(&mut self.seen));
        self.changes.push(change);
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let (mut world, fault) = self.disk.begin(Operation::Read)?;
        let rest = world.file(self.id).seen.get(at as usize..).unwrap_or_default();
        let mut len = rest.len().min(buffer.len());
        if fault == Some(Fault::Short) {
            // 0 bytes would mean the end of the file.
            len = len.div_ceil(2);
        }
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let (mut world, fault) = self.disk.begin(Operation::Write)?;
        let at = at as usize;
        let within = world.file(self.id).seen.len().saturating_sub(at).min(bytes.len());
        let room = world.take_room((bytes.len() - within) as u64) as usize;
        let mut len = within + room;
        if len == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if matches!(fault, Some(Fault::Short | Fault::Torn)) {
            len = len.div_ceil(2);
        }
        world.file(self.id).change(FileChange::Write(at, bytes[..len].into()));
        if fault == Some(Fault::Torn) { Err(broken()) } else { done(fault, len) }
    }

    fn len(&self) -> io::Result<u64> {
        let (mut world, fault) = self.disk.begin(Operation::Read)?;
        done(fault, world.file(self.id).seen.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut world, fault) = self.disk.begin(Operation::SetLen)?;
        world.file(self.id).change(FileChange::SetLen(len as usize));
        done(fault, ())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut world, fault) = self.disk.begin(Operation::Sync)?;
        let FileContents { durable, changes, .. } = world.file(self.id);
        let unwritten = std::mem::take(changes);
        if fault == Some(Fault::Error) {
            return Err(broken());
        }
        let durable = Arc::make_mut(durable);
        unwritten.iter().for_each(|change| change.apply(durable));
        done(fault, ())
    }
}

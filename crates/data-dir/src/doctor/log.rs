//! Checks the log: segments, tree files, checkpoint, state and erasures.

use std::{ops::Range, path::Path};

use ledger::{
    OpenError,
    disk::RealDisk,
    examine::{
        ExaminedSegment, ExaminedSegments, StateClaims, claimed_checkpoint, claimed_state,
        examine_segments, log_root, newest_received_at, tree_covers, tree_root,
    },
    verify::{VerifiedFolder, VerifyError},
};
use model::{LogId, Timestamp, error_chain};
use tlog::{Checkpoint, TreeSize};

use super::findings::Findings;
use crate::backup::{Backup, verify};

/// Name of the segments' check.
const SEGMENTS: &str = "segments";

/// What the check learned about the log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Verifier key that the log has now.
    pub(super) vkey: Option<String>,
    /// Id of the log.
    pub(super) id: Option<LogId>,
    /// Number of leaves.
    pub(super) leaves: Option<u64>,
    /// When the newest envelope was received.
    pub(super) received_at: Option<Timestamp>,
}

impl Log {
    pub(super) fn examine(
        folder: &Path,
        is_running: bool,
        against: Option<&Path>,
        findings: &mut Findings,
        progress: &mut dyn FnMut(&str),
    ) -> Self {
        let claims = Claims::read(folder, findings);
        let mut log = Self {
            vkey: claims.vkey.clone(),
            leaves: claims.state_size,
            received_at: newest_received_at(&RealDisk, folder).ok().flatten(),
            ..Self::default()
        };
        let copy =
            against.and_then(|backup| Copy::open(backup, folder, &claims, findings, progress));
        match verify(&RealDisk, folder, None, progress) {
            Ok(verified) => {
                sound(&verified, &claims, is_running, findings);
                log.vkey = Some(verified.vkey.to_string());
                log.id = Some(verified.keys.log_id());
                log.leaves = Some(verified.leaves);
            }
            Err(error) => Unsound { folder, claims: &claims, copy: copy.as_ref(), is_running }
                .explain(&error, findings),
        }
        erasures(&claims, is_running, findings);
        log
    }
}

/// What the files beside the segments say, not yet verified.
struct Claims {
    checkpoint: Option<(Checkpoint, String)>,
    state_size: Option<u64>,
    vkey: Option<String>,
    /// Number of leaves whose erasure is not complete.
    erasing: u64,
    /// Whether reading these files found no fault. Each fault is reported as it is found.
    is_sound: bool,
}

impl Claims {
    fn read(folder: &Path, findings: &mut Findings) -> Self {
        let complaints = |findings: &Findings| findings.0.len();
        let before = complaints(findings);
        let checkpoint = read_checkpoint(folder, findings);
        let state = read_state(folder, findings);
        let signed = checkpoint.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size.get());
        look_at_tree(folder, signed, findings);
        Self {
            checkpoint,
            state_size: state.as_ref().map(|state| state.size),
            vkey: state.as_ref().map(|state| state.vkey.clone()),
            erasing: state.map_or(0, |state| state.erasing.count()),
            is_sound: complaints(findings) == before,
        }
    }

    /// Number of leaves that must exist.
    fn promised(&self) -> u64 {
        let signed = self.checkpoint.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size.get());
        signed.max(self.state_size.unwrap_or_default())
    }
}

fn read_checkpoint(folder: &Path, findings: &mut Findings) -> Option<(Checkpoint, String)> {
    let put_back = "put back the newest checkpoint that anyone has kept, as ledger/checkpoint";
    match claimed_checkpoint(&RealDisk, folder) {
        Ok(Some(found)) => return Some(found),
        Ok(None) => {
            let found = "it is missing, so nothing proves that the segments hold what was signed";
            let remedy = format!(
                "{put_back}; without it, a start accepts only leaves with a MAC under the site's key"
            );
            findings.failed("checkpoint", found, remedy);
        }
        Err(error) => {
            let remedy = format!("{put_back}; the site cannot start with this one");
            findings.failed("checkpoint", format!("cannot read it: {error}"), remedy);
        }
    }
    None
}

fn read_state(folder: &Path, findings: &mut Findings) -> Option<StateClaims> {
    match claimed_state(&RealDisk, folder) {
        Ok(Some(state)) => return Some(state),
        Ok(None) => {
            let remedy = "the next start rebuilds it by reading the whole log";
            findings.warn("state", "it is missing", remedy);
        }
        Err(error) => {
            let found = format!("cannot read it: {error}");
            findings.failed("state", found, remake(&folder.join("state")));
        }
    }
    None
}

fn look_at_tree(folder: &Path, signed: u64, findings: &mut Findings) {
    let found = match tree_covers(&RealDisk, folder, TreeSize::new(signed)) {
        Ok(true) => return,
        Ok(false) => format!("the files have fewer than the {signed} leaves of the checkpoint"),
        Err(error) => format!("cannot read the files: {error}"),
    };
    findings.warn("tree", found, "the next start rebuilds them from the segments");
}

fn remake(path: &Path) -> String {
    format!("stop the site and delete {}: the next start rebuilds it", path.display())
}

/// Reports on a log that verifies.
fn sound(verified: &VerifiedFolder, claims: &Claims, is_running: bool, findings: &mut Findings) {
    let envelopes = verified.checkpoint.size.get() - verified.erased;
    let segments = verified.segments;
    findings.ok(SEGMENTS, format!("{envelopes} envelopes in {segments} segments match the log"));
    findings.ok("tree", "the tree files match the segments");
    let size = verified.checkpoint.size;
    findings.ok("checkpoint", format!("its {size} leaves hash to the root that it signs"));
    if claims.state_size.is_some() {
        findings.ok("state", "it matches the log");
    }
    beyond(verified, findings);
    if verified.torn_bytes > 0 {
        torn(is_running, findings);
    }
}

/// Reports on the leaves that no signature covers yet.
fn beyond(verified: &VerifiedFolder, findings: &mut Findings) {
    let found = format!("{} leaves lie beyond the checkpoint", verified.beyond());
    match (&verified.fault_beyond, verified.beyond()) {
        (Some(fault), _) => {
            let remedy = "no start accepts them: restore the newest segment from a copy";
            findings.failed(
                "beyond",
                format!("{found}, and do not belong to this log: {fault}"),
                remedy,
            );
        }
        (None, 0) => findings.ok("beyond", "the checkpoint covers all leaves"),
        (None, _) => {
            let found =
                format!("{found}; a start signs them if they carry a MAC under the site's key");
            findings.ok("beyond", found);
        }
    }
}

fn torn(is_running: bool, findings: &mut Findings) {
    let found = "the newest segment ends in an unfinished write";
    if is_running {
        findings.ok("torn end", format!("{found}, which is still in progress"));
    } else {
        let remedy = "harmless: it was never acknowledged, and the next start cuts it off";
        findings.warn("torn end", found, remedy);
    }
}

fn erasures(claims: &Claims, is_running: bool, findings: &mut Findings) {
    let found = format!(
        "{} envelopes were ordered to be erased, but segments may still hold them",
        claims.erasing
    );
    match (claims.erasing, is_running) {
        (0, _) if findings.0.iter().any(|finding| finding.check == "erasure") => {}
        (0, _) => findings.ok("erasure", "no erasure is unfinished"),
        (_, true) => findings.ok("erasure", format!("{found}: the site is erasing them")),
        (_, false) => findings.warn("erasure", found, "the next start erases them"),
    }
}

/// A log that does not verify.
struct Unsound<'a> {
    folder: &'a Path,
    claims: &'a Claims,
    copy: Option<&'a Copy>,
    is_running: bool,
}

impl Unsound<'_> {
    fn explain(&self, error: &VerifyError, findings: &mut Findings) {
        let size = self.claims.checkpoint.as_ref().map_or(TreeSize::EMPTY, |(found, _)| found.size);
        let examined = match examine_segments(&RealDisk, self.folder, size) {
            Ok(examined) => examined,
            Err(error) => {
                let remedy =
                    "remove from the folder what is not a segment, and make all files readable";
                return findings.failed(SEGMENTS, error_chain(&error), remedy);
            }
        };
        if !self.segments(&examined, findings) {
            return;
        }
        let leads_to_root = match &self.claims.checkpoint {
            Some((checkpoint, _)) => examined.root == Some(checkpoint.root),
            None => false,
        };
        let found = error_chain(error);
        if leads_to_root {
            let count = examined.segments.len();
            findings.ok(
                SEGMENTS,
                format!("{count} segments hash to the root that the checkpoint signs"),
            );
            self.derived(error, found, findings);
        } else if self.claims.checkpoint.is_some() {
            self.wrong_root(&examined, found, findings);
        } else {
            let count = examined.segments.len();
            findings.ok(SEGMENTS, format!("{count} segments can be read to the end"));
        }
    }

    /// Reports segments that are missing or cannot be read. Returns whether there is none.
    fn segments(&self, examined: &ExaminedSegments, findings: &mut Findings) -> bool {
        let before = findings.0.iter().filter(|finding| finding.check == SEGMENTS).count();
        for Range { start, end } in examined.missing() {
            let found = format!("no segment holds the leaves {start} to {}", end - 1);
            findings.failed(SEGMENTS, found, self.replacement(start, Some(end)));
        }
        let promised = self.claims.promised();
        let mut segments = examined.segments.iter().peekable();
        let mut reached = 0;
        while let Some(ExaminedSegment { path, leaves, damage, .. }) = segments.next() {
            let next = segments.peek().map(|next| next.leaves.start);
            reached = leaves.end;
            match damage {
                Some(_) if next.is_none() && reached >= promised => torn(self.is_running, findings),
                Some(damage) => {
                    let found =
                        format!("{} is damaged at leaf {reached}: {damage}", path.display());
                    findings.failed(SEGMENTS, found, self.replacement(leaves.start, next));
                    // This segment may hold the rest.
                    reached = next.unwrap_or(promised);
                }
                None => {}
            }
        }
        if reached < promised {
            let found = format!(
                "they end at leaf {reached}, but the checkpoint or the state has {promised} leaves"
            );
            let newest = examined.segments.last().map_or(0, |newest| newest.leaves.start);
            findings.failed(SEGMENTS, found, self.replacement(newest, None));
        }
        findings.0.iter().filter(|finding| finding.check == SEGMENTS).count() == before
    }

    /// Reports on segments that can all be read, but do not lead to the signed root.
    fn wrong_root(&self, examined: &ExaminedSegments, found: String, findings: &mut Findings) {
        let signed = self.claims.checkpoint.as_ref().map(|(checkpoint, _)| checkpoint);
        let tree_is_right = signed.is_some_and(|signed| {
            let root = tree_root(&RealDisk, self.folder, signed.size);
            root.ok().flatten() == Some(signed.root)
        });
        let changed = examined.segments.iter().enumerate();
        let changed = changed.filter(|(_, segment)| tree_is_right && segment.differs.is_some());
        let mut any = false;
        for (position, ExaminedSegment { path, leaves, differs, .. }) in changed {
            any = true;
            let leaf = differs.unwrap_or(leaves.start);
            let next = examined.segments.get(position + 1).map(|next| next.leaves.start);
            let found =
                format!("{}: leaf {leaf} is not the envelope that was sealed", path.display());
            findings.failed(SEGMENTS, found, self.replacement(leaves.start, next));
        }
        if !any {
            let remedy = "neither the segments nor the tree files hash to the root that the checkpoint signs: restore the data directory from a backup";
            findings.failed(SEGMENTS, found, remedy);
        }
    }

    /// Reports on a file beside the segments that is wrong, where the segments lead to the signed
    /// root.
    fn derived(&self, error: &VerifyError, found: String, findings: &mut Findings) {
        let tree = self.folder.join("tree");
        match error {
            VerifyError::Derived { path, .. } if is_block_index(path) => {
                let remedy = format!(
                    "stop the site and delete {}: readers then search the segment instead",
                    path.display()
                );
                findings.failed("tree", found, remedy);
            }
            VerifyError::Derived { .. } | VerifyError::Envelope { .. } => {
                findings.failed("tree", found, remake(&tree));
            }
            VerifyError::NotErased { .. } => {
                let remedy = format!(
                    "stop the site and delete {}: the next start reads the orders again and erases the envelopes",
                    self.folder.join("state").display()
                );
                findings.failed("erasure", found, remedy);
            }
            // The fault is reported already, and with it everything beside the segments.
            _ if !self.claims.is_sound => {}
            VerifyError::Io { path, .. } if path.starts_with(&tree) => {
                findings.failed("tree", found, remake(&tree));
            }
            VerifyError::State { path, .. } => findings.failed("state", found, remake(path)),
            VerifyError::EnvelopesMissing { .. } => {
                let remedy = "the next start rebuilds them from the segments";
                findings.warn("tree", "the tree files have more leaves than the segments", remedy);
            }
            VerifyError::Checkpoint(_) | VerifyError::OtherKey { .. } => {
                let remedy = "put back the newest checkpoint that the log's key signed, as ledger/checkpoint";
                findings.failed("checkpoint", found, remedy);
            }
            _ => {
                let remedy = "the fault is in the log itself, so nothing can be rebuilt: restore the data directory from a backup that verifies";
                findings.failed("log", found, remedy);
            }
        }
    }

    /// What can replace the leaves from `first_leaf` on, up to `next` if another segment follows.
    fn replacement(&self, first_leaf: u64, next: Option<u64>) -> String {
        let Some(copy) = self.copy else {
            return String::from(
                "take its file from a backup (`sealwire doctor --against BACKUP` tells whether it fits), or restore the data directory from one",
            );
        };
        let end = next.unwrap_or_else(|| self.claims.promised());
        let taken: Vec<&ExaminedSegment> = copy
            .segments
            .iter()
            .filter(|own| (first_leaf..end).contains(&own.leaves.start))
            .collect();
        let (Some(first), Some(last)) = (taken.first(), taken.last()) else {
            return String::from(
                "the backup has no segment that begins there; another copy may have one",
            );
        };
        let fits = first.leaves.start == first_leaf
            && next.map_or(last.leaves.end >= end, |next| last.leaves.end == next);
        let files: Vec<String> = taken.iter().map(|own| own.path.display().to_string()).collect();
        let files = files.join(", ");
        if fits {
            let folder = self.folder.join("segments");
            format!("stop the site and copy {files} to {}", folder.display())
        } else {
            let (from, to) = (first.leaves.start, last.leaves.end.saturating_sub(1));
            format!(
                "the backup holds only the leaves {from} to {to} ({files}); another copy may hold more"
            )
        }
    }
}

/// A backup that can replace segments.
struct Copy {
    segments: Vec<ExaminedSegment>,
}

impl Copy {
    /// Opens and verifies a backup, which must be of the log in `folder`.
    fn open(
        backup: &Path,
        folder: &Path,
        claims: &Claims,
        findings: &mut Findings,
        progress: &mut dyn FnMut(&str),
    ) -> Option<Self> {
        match Self::verified(backup, folder, claims, progress) {
            Ok((copy, leaves)) => {
                let backup = backup.display();
                findings.ok(
                    "backup",
                    format!("{backup} verifies and holds {leaves} leaves of this log"),
                );
                Some(copy)
            }
            Err(found) => {
                findings.failed("backup", found, "name another backup with --against");
                None
            }
        }
    }

    fn verified(
        backup: &Path,
        folder: &Path,
        claims: &Claims,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(Self, u64), String> {
        let ledger = Backup::open(backup).map_err(|error| error_chain(&error))?.ledger();
        let verified = verify(&RealDisk, &ledger, None, progress).map_err(|error| {
            format!("{} does not verify: {}", backup.display(), error_chain(&error))
        })?;
        let read = |error| error_chain(&error);
        if !is_same_log(folder, claims, &ledger, &verified).map_err(read)? {
            return Err(format!("{} is not a backup of this log", backup.display()));
        }
        let examined = examine_segments(&RealDisk, &ledger, TreeSize::EMPTY).map_err(read)?;
        Ok((Self { segments: examined.segments }, verified.leaves))
    }
}

/// Whether the verified log in `copy` and the log in `folder` have the same history, as far as the
/// checkpoint and tree files of the latter can be read.
fn is_same_log(
    folder: &Path,
    claims: &Claims,
    copy: &Path,
    verified: &VerifiedFolder,
) -> Result<bool, OpenError> {
    let own = &verified.checkpoint;
    if let Some((signed, _)) = &claims.checkpoint {
        if signed.size.get() <= verified.leaves {
            return Ok(log_root(&RealDisk, copy, signed.size)? == Some(signed.root));
        }
        if let Ok(Some(root)) = tree_root(&RealDisk, folder, own.size) {
            return Ok(root == own.root);
        }
    }
    Ok(claims
        .vkey
        .as_ref()
        .is_none_or(|vkey| verified.keys.iter().any(|(_, key)| key.to_string() == *vkey)))
}

fn is_block_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("blocks-"))
}

//! Files that are there whole or not at all.

use std::{
    fs::{File, Permissions},
    io::{BufWriter, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

/// What any new file gets, less what the user's mask takes away.
const MODE: u32 = 0o666;

/// Writes a file beside its place, and gives it its name when it is durable. Where `content` fails, what had that name is left alone.
pub(crate) fn write<T>(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> Result<T>,
) -> Result<T> {
    let failed = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let next = tempfile::Builder::new()
        .prefix(".sealwire-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)
        .with_context(failed)?;
    let mut out = BufWriter::new(next.as_file().try_clone().with_context(failed)?);
    let answer = content(&mut out)?;
    out.flush().with_context(failed)?;
    next.as_file().sync_all().with_context(failed)?;
    next.persist(path).with_context(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
    Ok(answer)
}

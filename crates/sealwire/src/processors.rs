//! Reads the file that lists a site's processors.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result};
use site::Processors;

/// Reads the processors that a file lists.
pub(crate) fn read(path: &Path) -> Result<Processors> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(Processors::FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    let text =
        read().with_context(|| format!("cannot read the processors in {}", path.display()))?;
    toml::from_str(&text)
        .with_context(|| format!("the processors in {} cannot be followed", path.display()))
}

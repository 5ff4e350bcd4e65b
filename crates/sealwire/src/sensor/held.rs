//! Reads the files of credentials again, for devices that are simulated.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::{output, sensor::made::Content};

/// Largest file of a credential in bytes: twice what one with the most sensors takes.
const FILE_BYTES_MAX: u64 = 512 << 10;

/// The credentials in a file, or in all files of a folder that end with `.json`.
pub(crate) fn read_all(path: &Path) -> Result<Vec<Content>> {
    let shown = output::quoted(path);
    let cannot = || format!("cannot read {shown}");
    if !fs::metadata(path).with_context(cannot)?.is_dir() {
        return Ok(vec![read(path)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    // The same folder is the same fleet in every run.
    files.sort();
    ensure!(!files.is_empty(), "{shown} has no credentials: `sealwire sensor add` writes them");
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<Content> {
    let shown = output::quoted(file);
    let cannot = || format!("cannot read {shown}");
    let mut json = Vec::new();
    let opened = File::open(file).with_context(cannot)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut json).with_context(cannot)?;
    ensure!(json.len() as u64 <= FILE_BYTES_MAX, "{shown} is larger than {FILE_BYTES_MAX} bytes");
    let content: Content = serde_json::from_slice(&json)
        .with_context(|| format!("{shown} is not a file of `sealwire sensor add`"))?;
    ensure!(
        !content.sensors.is_empty(),
        "{shown} is of a rotation and names no sensors: add those of the first file to it"
    );
    Ok(content)
}

#[cfg(test)]
mod tests {
    use access::sensors::{Sensor, Topics};

    use super::*;
    use crate::sensor::made::{self, Made, Secrets};

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, sensors: &[&str]| Made {
            name: name.parse().unwrap(),
            reporting: None,
            sensors: sensors
                .iter()
                .map(|alias| Sensor {
                    alias: alias.parse().unwrap(),
                    id: made::random_id(),
                    topics: Topics::below(&alias.parse().unwrap()),
                })
                .collect(),
            secrets: Secrets::random(),
        };
        made::write(folder.path(), &[made("b", &["b"]), made("a", &["c", "d"])], true).unwrap();
        let read = read_all(folder.path()).unwrap();
        let names: Vec<(&str, usize)> =
            read.iter().map(|content| (content.name.as_str(), content.sensors.len())).collect();
        assert_eq!(names, [("a", 2), ("b", 1)]);
        assert_eq!(read_all(&folder.path().join("b.json")).unwrap().len(), 1);
        let rotated = tempfile::tempdir().unwrap();
        made::write(rotated.path(), &[made("a", &[])], false).unwrap();
        for wrong in
            [rotated.path().to_owned(), folder.path().join("a.nk"), folder.path().join("x")]
        {
            assert!(read_all(&wrong).is_err(), "{}", wrong.display());
        }
    }
}

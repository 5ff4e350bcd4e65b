//! How the API shows the log: the file `pangea.json` in the data directory.

use std::{collections::BTreeMap, fs, io, path::Path};

use pangea::{
    Schema,
    schema::{Field, InvalidSchema},
};
use serde::Deserialize;

/// What the file says.
#[derive(Debug)]
pub(crate) struct Config {
    pub(super) schema: Schema,
    pub(super) roots: Roots,
}

/// Whether events are shown as covered by a published root.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Roots {
    /// They are: the checkpoint is public. Clients that verify consistency then ask arweave.net before they ask here.
    #[default]
    Published,
    /// They are not, so that no client asks anyone but us. Membership can be verified, consistency cannot.
    Unpublished,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    roots: Roots,
    #[serde(default)]
    fields: Vec<Field>,
    /// Regular expressions by field.
    #[serde(default)]
    redact: BTreeMap<String, Vec<String>>,
}

impl Config {
    /// The file's; the contract's fields and published roots where there is none.
    pub(crate) fn load(path: &Path) -> Result<Self, PangeaConfigError> {
        let failed = |problem| PangeaConfigError { path: path.display().to_string(), problem };
        let file: File = match fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| failed(Problem::Json(error)))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(failed(Problem::Io(error))),
        };
        let schema = Schema::with(file.fields)
            .and_then(|schema| schema.redacting(file.redact))
            .map_err(|error| failed(Problem::Schema(error)))?;
        Ok(Self { schema, roots: file.roots })
    }
}

/// A file that does not say how the API shows the log.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the file {path}")]
pub struct PangeaConfigError {
    path: String,
    #[source]
    problem: Problem,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// It is not what is expected.
    #[error(
        "it is JSON such as {{\"roots\":\"published\",\"fields\":[{{\"id\":\"batch\",\"type\":\"string\"}}]}}"
    )]
    Json(#[source] serde_json::Error),
    /// Fields that cannot be.
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_found_before_anyone_asks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pangea.json");
        assert_eq!(Config::load(&path).unwrap().roots, Roots::Published);
        fs::write(&path, r#"{"roots":"unpublished","fields":[{"id":"batch","type":"integer"}]}"#)
            .unwrap();
        let config = Config::load(&path).unwrap();
        assert!(config.roots == Roots::Unpublished && config.schema.field("batch").is_some());
        for text in
            ["", "7", r#"{"root":"published"}"#, r#"{"fields":[{"id":"message","type":"string"}]}"#]
        {
            fs::write(&path, text).unwrap();
            assert!(Config::load(&path).is_err(), "{text}");
        }
    }
}

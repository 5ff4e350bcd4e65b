//! Configuration of the API: the file `pangea.json` in the data directory.

use std::{collections::BTreeMap, fs, io, path::Path};

use axum::http::Uri;
use pangea::{
    Schema,
    schema::{Definition, Field, InvalidSchema},
};
use serde::Deserialize;

/// The content of the file: custom fields, redactions, and the URL of the API.
#[derive(Debug)]
pub struct Config {
    definition: Definition,
    pub(crate) schema: Schema,
    pub(crate) roots: Roots,
    pub(crate) public_url: Option<PublicUrl>,
}

/// URL of a proxy in front of the site under which clients find the API, without a slash at the
/// end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) struct PublicUrl(String);

impl PublicUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = InvalidPublicUrl;

    fn try_from(text: String) -> Result<Self, InvalidPublicUrl> {
        let url: Uri = text.parse().map_err(|_| InvalidPublicUrl)?;
        let is_web = matches!(url.scheme_str(), Some("http" | "https"));
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        if is_web && has_host && !text.contains(['@', '?', '#']) {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err(InvalidPublicUrl)
        }
    }
}

/// A text that is not such a URL.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "`public_url` is where clients find the API, such as https://log.plant.example: `http` or `https`, a host, and perhaps a port and a path"
)]
pub(crate) struct InvalidPublicUrl;

/// Whether answers say that a published root covers an event.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Roots {
    /// They do, because the checkpoint is public. Clients that verify consistency then ask
    /// arweave.net before they ask the site.
    #[default]
    Published,
    /// They do not, so clients ask only the site. They can verify membership, but not consistency.
    Unpublished,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    roots: Roots,
    public_url: Option<PublicUrl>,
    #[serde(default)]
    fields: Vec<Field>,
    /// Regular expressions by field.
    #[serde(default)]
    redact: BTreeMap<String, Vec<String>>,
}

impl Config {
    /// Reads the file. Without a file, the log has the contract's fields and published roots.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or names fields that are not allowed.
    pub fn load(path: &Path) -> Result<Self, PangeaConfigError> {
        let failed = |problem| PangeaConfigError { path: path.display().to_string(), problem };
        let file: File = match fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| failed(Problem::Json(error)))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(failed(Problem::Io(error))),
        };
        let definition = Definition { fields: file.fields, redact: file.redact };
        let schema =
            Schema::try_from(definition.clone()).map_err(|error| failed(Problem::Schema(error)))?;
        Ok(Self { definition, schema, roots: file.roots, public_url: file.public_url })
    }

    /// What the file says of the log's fields, as `event-logger` takes it.
    #[must_use]
    pub fn fields_json(&self) -> String {
        serde_json::to_string(&self.definition).expect("a definition has only text keys")
    }
}

/// The configuration file is invalid.
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
    #[error("cannot read it")]
    Io(#[source] io::Error),
    #[error(
        "use JSON such as {{\"roots\":\"published\",\"fields\":[{{\"id\":\"batch\",\"type\":\"string\"}}]}}"
    )]
    Json(#[source] serde_json::Error),
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
        fs::write(&path, r#"{"public_url":"https://plant.example:8443/log/"}"#).unwrap();
        let public_url = Config::load(&path).unwrap().public_url.unwrap();
        assert_eq!(public_url.as_str(), "https://plant.example:8443/log");
        for text in [
            "",
            "7",
            r#"{"root":"published"}"#,
            r#"{"fields":[{"id":"message","type":"string"}]}"#,
            r#"{"public_url":"plant.example"}"#,
            r#"{"public_url":"ftp://plant.example"}"#,
            r#"{"public_url":"https://"}"#,
            r#"{"public_url":"https://ada@plant.example"}"#,
            r#"{"public_url":"https://plant.example/?a=b"}"#,
            r#"{"public_url":"https://plant.example/a b"}"#,
        ] {
            fs::write(&path, text).unwrap();
            assert!(Config::load(&path).is_err(), "{text}");
        }
    }
}

//! The page's files, as built.

use rust_embed::RustEmbed;

/// The output of `npm run build` in `web/dist`.
#[derive(Debug, RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// One file of the page.
#[derive(Debug)]
pub struct File {
    /// Content of the file.
    pub body: Vec<u8>,
    /// Media type of the file.
    pub media_type: String,
    /// SHA-256 of the content in hex.
    pub digest: String,
    /// Whether the file's name changes whenever its content does.
    pub immutable: bool,
}

/// The file at `path`, which begins with `/`; `None` if there is none.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let name = file_name(path);
    let embedded = Dist::get(name)?;
    let guessed = embedded.metadata.mimetype();
    let text = guessed.starts_with("text/") || guessed.ends_with("javascript");
    Some(File {
        media_type: if text { format!("{guessed}; charset=utf-8") } else { guessed.to_owned() },
        digest: hex::encode(embedded.metadata.sha256_hash()),
        immutable: name.starts_with("assets/"),
        body: embedded.data.into_owned(),
    })
}

fn file_name(path: &str) -> &str {
    let name = path.trim_start_matches('/');
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains('.') { name } else { "index.html" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_within_the_page_are_the_page() {
        for (path, name) in [
            ("/", "index.html"),
            ("/sensor/a3b3c3d3", "index.html"),
            ("/assets/app-1f2e.js", "assets/app-1f2e.js"),
            ("/favicon.svg", "favicon.svg"),
            ("/..", ".."), // no such file was ever embedded
        ] {
            assert_eq!(file_name(path), name, "{path}");
        }
    }
}

//! The components that `cargo xtask build` left in `target/components`, embedded in the binary.

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../target/components"]
#[allow_missing = true]
struct Built;

/// Name and bytes of each component that existed when this binary was built.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let component = |file: &str| {
        let name = file.strip_suffix(".wasm")?;
        Some((name.to_owned(), Built::get(file)?.data.into_owned()))
    };
    Built::iter().filter_map(|file| component(&file)).collect()
}

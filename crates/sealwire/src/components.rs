//! The components that `cargo xtask build` left in `target/components` and, for benchmarks, in
//! `target/test-components`, embedded in the binary.

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../target/components"]
#[allow_missing = true]
struct Built;

#[derive(RustEmbed)]
#[folder = "../../target/test-components"]
#[allow_missing = true]
struct ForTests;

/// The processor that benchmarks run, if it existed when this binary was built.
pub(crate) fn test_processor() -> Option<Vec<u8>> {
    Some(ForTests::get("test-processor.wasm")?.data.into_owned())
}

/// Name and bytes of each component that existed when this binary was built.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let component = |file: &str| {
        let name = file.strip_suffix(".wasm")?;
        Some((name.to_owned(), Built::get(file)?.data.into_owned()))
    };
    Built::iter().filter_map(|file| component(&file)).collect()
}

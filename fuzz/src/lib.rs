//! Fuzz targets: whatever is read from outside, and what must hold for any input.
//!
//! A target is a module with a function `run`, which panics where something does not hold; a row in
//! [`TARGETS`]; and a folder of inputs in `fuzz/corpus`. `cargo xtask fuzz` looks for new inputs
//! with libFuzzer, and the tests of this crate run every kept input.

#![expect(clippy::unwrap_used, reason = "a panic is how a target says that something fails")]

mod add_checkpoint;
mod answer;
mod checkpoint;
mod completeness;
mod entry_bundle;
mod envelope;
mod evidence;
mod heartbeat;
mod manifest;
mod note;
mod order;
mod pangea_request;
mod policy;
mod pushed;
mod query;
mod question;
mod retention;
mod schema;
mod sealed;
mod segment;
mod tile;
mod tlog_proof;
mod vkey;

/// What is fuzzed.
#[derive(Debug)]
pub struct Target {
    /// Name of the target and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    input: Input,
}

/// What a target takes.
#[derive(Debug)]
enum Input {
    Bytes(fn(&[u8])),
    /// As much of the input as is UTF-8.
    Text(fn(&str)),
}

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    Target::of_text("add_checkpoint", add_checkpoint::run),
    Target::of_bytes("answer", answer::run),
    Target::of_text("checkpoint", checkpoint::run),
    Target::of_bytes("completeness", completeness::run),
    Target::of_bytes("entry_bundle", entry_bundle::run),
    Target::of_bytes("envelope", envelope::run),
    Target::of_bytes("evidence", evidence::run),
    Target::of_bytes("heartbeat", heartbeat::run),
    Target::of_text("manifest", manifest::run),
    Target::of_text("note", note::run),
    Target::of_bytes("order", order::run),
    Target::of_bytes("pangea_request", pangea_request::run),
    Target::of_bytes("policy", policy::run),
    Target::of_bytes("pushed", pushed::run),
    Target::of_text("query", query::run),
    Target::of_text("question", question::run),
    Target::of_text("retention", retention::run),
    Target::of_bytes("schema", schema::run),
    Target::of_bytes("segment", segment::run),
    Target::of_bytes("tile", tile::run),
    Target::of_text("tlog_proof", tlog_proof::run),
    Target::of_text("vkey", vkey::run),
];

impl Target {
    const fn of_bytes(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, input: Input::Bytes(run) }
    }

    const fn of_text(name: &'static str, run: fn(&str)) -> Self {
        Self { name, input: Input::Text(run) }
    }

    /// Runs the target with one input.
    ///
    /// # Panics
    /// Something does not hold for this input.
    pub fn run(&self, input: &[u8]) {
        match self.input {
            Input::Bytes(run) => run(input),
            Input::Text(run) => run(input.utf8_chunks().next().map_or("", |text| text.valid())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        panic::{AssertUnwindSafe, catch_unwind},
        path::PathBuf,
    };

    use super::*;

    fn corpus() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
    }

    #[test]
    fn what_holds_for_a_target_holds_for_each_kept_input() {
        for target in TARGETS {
            let inputs = fs::read_dir(corpus().join(target.name)).unwrap();
            let mut count = 0;
            for path in inputs.map(|input| input.unwrap().path()) {
                let input = fs::read(&path).unwrap();
                let held = catch_unwind(AssertUnwindSafe(|| target.run(&input)));
                assert!(held.is_ok(), "{} fails with {}", target.name, path.display());
                count += 1;
            }
            assert!(count > 0, "{} has no inputs", target.name);
        }
    }

    #[test]
    fn each_folder_of_inputs_is_that_of_a_target() {
        let folders = fs::read_dir(corpus()).unwrap();
        let mut folders: Vec<_> =
            folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        folders.sort();
        assert_eq!(folders, TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
    }
}

//! Feeds libFuzzer's inputs to the target that `SEALWIRE_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("SEALWIRE_FUZZ_TARGET").unwrap_or_default();
    fuzz::TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        panic!("SEALWIRE_FUZZ_TARGET names none of {}", names.join(", "))
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.run(bytes));

//! Reads a user's component, and holds what it imports and exports against the world in
//! `wit/processor.wit`.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};
use wit_component::DecodedWasm;

use crate::output;

/// Largest component in bytes: many times the largest that a host can compile in its time.
const BYTES_MAX: u64 = 128 << 20;

/// What a processor exports: nothing else is called.
const HANDLER: &str = "wasmcloud:messaging/handler@0.2.0";
/// What a processor may import: what its world names, and what standard libraries of languages
/// import whether or not they use it. A host gives a processor no files, so those are empty.
const ALLOWED: [&str; 7] = [
    "wasmcloud:messaging/",
    "wasi:config/store@",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
];

/// Reads a user's component, and checks that a site could ask it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let shown = output::quoted(path);
    let failed = || format!("cannot read {shown}");
    let mut component = Vec::new();
    let file = File::open(path).with_context(failed)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut component).with_context(failed)?;
    if component.len() as u64 > BYTES_MAX {
        bail!("{shown} has more than {BYTES_MAX} bytes, which is the limit for a component");
    }
    check(&component).with_context(|| format!("{shown} is no processor"))?;
    Ok(component)
}

/// Checks that a site can ask the component, and that it asks the host for nothing that it does not
/// get.
fn check(component: &[u8]) -> Result<()> {
    let decoded = wit_component::decode(component).context("it is no WebAssembly component")?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        bail!("it is a package of interfaces, and has no code");
    };
    let world = resolve.worlds.get(world).context("it has no world")?;
    let mut exports = world.exports.keys().map(|key| resolve.name_world_key(key));
    if !exports.any(|name| name == HANDLER) {
        bail!("it does not export {HANDLER}, so nobody could ask it");
    }
    let imports = world.imports.keys().map(|key| resolve.name_world_key(key));
    let is_allowed = |name: &String| ALLOWED.iter().any(|allowed| name.starts_with(allowed));
    let others: Vec<String> = imports.filter(|name| !is_allowed(name)).collect();
    if !others.is_empty() {
        bail!(
            "it imports {}: a processor gets messages and its configuration, and no network",
            others.join(", ")
        );
    }
    Ok(())
}

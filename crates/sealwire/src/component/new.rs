//! `sealwire component new`: writes a project from a template.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::{Language, NewArguments},
    output,
};

/// Name of the projects in the templates.
const PLACEHOLDER: &str = "my-processor";

/// A file of a project: its path, and its text with the placeholder.
type File = (&'static str, &'static str);

/// The interface, in each project.
const WIT: [File; 3] = [
    ("wit/processor.wit", include_str!("../../../../wit/processor.wit")),
    ("wit/deps/messaging.wit", include_str!("../../../../wit/messaging.wit")),
    ("wit/deps/config.wit", include_str!("../../../../wit/config.wit")),
];

/// Makes the rows of a template's files. A name in the project may differ from that in the
/// template, where the latter would mean something.
macro_rules! template {
    ($folder:literal: $($path:literal $(= $kept:literal)?),+ $(,)?) => {
        &[$(($path, include_str!(template!(@ $folder, $path $(, $kept)?)))),+]
    };
    (@ $folder:literal, $path:literal) => { concat!("../../templates/", $folder, "/", $path) };
    (@ $folder:literal, $path:literal, $kept:literal) => {
        concat!("../../templates/", $folder, "/", $kept)
    };
}

const RUST: &[File] = template!("rust":
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "README.md",
    ".gitignore" = "gitignore",
    "src/lib.rs",
    "src/component.rs",
    "src/messages.rs",
    "src/process.rs",
);

const JAVASCRIPT: &[File] = template!("javascript":
    "package.json",
    "package-lock.json",
    "README.md",
    ".gitignore" = "gitignore",
    "src/component.js",
    "src/process.js",
    "src/text.js",
    "test/process.test.js",
    "test/text.test.js",
);

pub(super) fn run(arguments: &NewArguments) -> Result<()> {
    let NewArguments { name, language, folder } = arguments;
    let name = name.as_str();
    let (template, test, logic) = match language {
        Language::Rust => (RUST, "cargo test", "src/process.rs"),
        Language::JavaScript => (JAVASCRIPT, "npm test", "src/process.js"),
    };
    let folder = folder.clone().unwrap_or_else(|| PathBuf::from(name));
    let shown = output::quoted(&folder);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{shown} exists already: name another folder")
        }
        made => made.with_context(|| format!("cannot make {shown}"))?,
    }
    if let Err(error) = write(&folder, template, name) {
        let _unfinished = fs::remove_dir_all(&folder);
        return Err(error).with_context(|| format!("cannot write the project into {shown}"));
    }
    output::line(&format!("{shown} is a project now; {logic} says what the processor derives"));
    output::line("next:");
    for command in [
        &format!("cd {shown}"),
        test,
        "sealwire component build",
        &format!("sealwire component test {name}.wasm --data-dir DIR"),
    ] {
        output::line(&format!("    {command}"));
    }
    Ok(())
}

fn write(folder: &Path, template: &[File], name: &str) -> io::Result<()> {
    for (path, text) in template.iter().chain(&WIT) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text.replace(PLACEHOLDER, name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_every_file_of_its_template() {
        fn files(folder: &Path) -> usize {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
        }
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        for (name, template) in [("rust", RUST), ("javascript", JAVASCRIPT)] {
            assert_eq!(files(&templates.join(name)), template.len(), "{name}");
        }
    }

    #[test]
    fn an_existing_folder_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = NewArguments {
            name: "double".parse().unwrap(),
            language: Language::Rust,
            folder: Some(folder.path().to_owned()),
        };
        let refusal = run(&arguments).unwrap_err().to_string();
        assert!(refusal.contains("exists already"), "{refusal}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! Whether what a document links to is there: a file, and the heading in it.
//!
//! Links out of the project are not followed. Where docs/SUMMARY.md makes a book of the documents
//! in docs, each of them is in it, and none links to a file outside, which a book does not have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::sources::Files;
use crate::shell::root;

const BOOK: &str = "docs";
const SUMMARY: &str = "docs/SUMMARY.md";

/// Reports each link of a document among these files that leads nowhere.
pub(super) fn check(files: &Files, faults: &mut Vec<String>) -> Result<()> {
    let mut documents = BTreeMap::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|is| is == "md")) {
        let text = fs::read_to_string(root().join(file));
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        documents.insert(file.clone(), Document::parse(&text));
    }
    report(&documents, files, faults);
    Ok(())
}

fn report(documents: &BTreeMap<PathBuf, Document>, files: &Files, faults: &mut Vec<String>) {
    let has_book = documents.contains_key(Path::new(SUMMARY));
    for (file, document) in documents {
        for (line, link) in &document.links {
            if let Err(reason) = follow(file, link, documents, files, has_book) {
                faults.push(format!("{}:{line} links to `{link}`, {reason}", file.display()));
            }
        }
    }
    let Some(summary) = documents.get(Path::new(SUMMARY)) else { return };
    let chapters: BTreeSet<PathBuf> = summary
        .links
        .iter()
        .filter_map(|(_, link)| resolve(Path::new(SUMMARY), link.split('#').next()?))
        .collect();
    for file in documents.keys().filter(|file| file.starts_with(BOOK)) {
        if file != Path::new(SUMMARY) && !chapters.contains(file) {
            faults.push(format!("{} is not in {SUMMARY}", file.display()));
        }
    }
}

/// An error says what is wrong with the link.
fn follow(
    from: &Path,
    link: &str,
    documents: &BTreeMap<PathBuf, Document>,
    files: &Files,
    has_book: bool,
) -> Result<(), &'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(());
    }
    let (path, heading) =
        link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let to = if path.is_empty() { Some(from.to_owned()) } else { resolve(from, path) };
    // A folder is there if something is in it.
    let to = to.filter(|to| files.iter().any(|file| file.starts_with(to)));
    let to = to.ok_or("which is not there")?;
    if has_book && from.starts_with(BOOK) && !to.starts_with(BOOK) {
        return Err("which is not in the book");
    }
    match (heading, documents.get(&to)) {
        (Some(heading), Some(document)) if !document.anchors.contains(heading) => {
            Err("where no heading is called so")
        }
        _ => Ok(()),
    }
}

/// The path from the project's root; none where it leads out of it.
fn resolve(from: &Path, link: &str) -> Option<PathBuf> {
    let mut path = from.parent()?.to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => path.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// What of a document links need.
#[derive(Debug, Default)]
struct Document {
    /// Line, and where it leads.
    links: Vec<(usize, String)>,
    /// What can stand behind `#`.
    anchors: BTreeSet<String>,
}

impl Document {
    fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut is_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            let start = line.trim_start();
            if start.starts_with("```") || start.starts_with("~~~") {
                is_code = !is_code;
            } else if !is_code {
                document.take(number, line);
            }
        }
        document
    }

    fn take(&mut self, number: usize, line: &str) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            self.add_heading(title);
        }
        // Every second part stands between backticks.
        let prose: String = line.split('`').step_by(2).collect();
        let inline = between(&prose, "](", ')');
        let pictures = between(&prose, "src=\"", '"');
        let anchors = between(&prose, "href=\"", '"');
        let definition = prose
            .starts_with('[')
            .then(|| prose.split_once("]: "))
            .flatten()
            .map(|(_, target)| target);
        for target in inline.chain(pictures).chain(anchors).chain(definition) {
            // What follows a space is a title.
            let target = target.split_whitespace().next().unwrap_or_default();
            self.links.push((number, target.trim_matches(['<', '>']).to_owned()));
        }
        self.anchors.extend(between(&prose, "id=\"", '"').map(str::to_owned));
    }

    /// A heading that is there already gets a number.
    fn add_heading(&mut self, title: &str) {
        let anchor = anchor(title);
        let mut numbered = anchor.clone();
        for number in 1.. {
            if self.anchors.insert(numbered) {
                return;
            }
            numbered = format!("{anchor}-{number}");
        }
    }
}

/// What stands behind each `start` and before the next `end`.
fn between<'a>(text: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// How a page of the repository and mdBook call a heading: small letters, digits and dashes.
fn anchor(title: &str) -> String {
    let mut shown = String::new();
    let mut rest = title.trim();
    // Of a link, its text is shown.
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    shown.push_str(rest);
    let letters = shown.chars().flat_map(char::to_lowercase);
    let letters = letters.map(|letter| if letter.is_whitespace() { '-' } else { letter });
    letters.filter(|letter| letter.is_alphanumeric() || ['-', '_'].contains(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let names = files.iter().map(|(file, _)| PathBuf::from(file)).collect();
        let documents = files
            .iter()
            .filter(|(file, _)| file.ends_with(".md"))
            .map(|(file, text)| (PathBuf::from(file), Document::parse(text)));
        let mut faults = Vec::new();
        report(&documents.collect(), &names, &mut faults);
        faults
    }

    #[test]
    fn a_link_to_what_is_not_there_is_refused_however_it_is_written() {
        let page = ("docs/page.md", "# A page\n## It's `this` [and](that.md)!\n## A page\n");
        let picture = ("docs/pictures/a.svg", "");
        for link in [
            "[x](docs/page.md)",
            "[x](./docs/../docs/page.md#a-page)",
            "[x](docs/page.md#a-page-1 \"title\")",
            "[x](docs/page.md#its-this-and)",
            "[x](https://example.com/none.md#none) [x](mailto:a@example.com)",
            "![x](docs/pictures/a.svg) [x](docs/pictures/) [x](docs)",
            "<img src=\"docs/pictures/a.svg\">",
            "[x]: docs/page.md",
            "# Here\n[x](#here)",
            "<a id=\"there\"></a> [x](#there)",
            "`[x](none.md)`\n```\n[x](none.md)\n```\n",
        ] {
            let readme = ("README.md", link);
            let that = ("docs/that.md", "");
            assert_eq!(faults(&[readme, page, picture, that]), Vec::<String>::new(), "{link}");
        }
        for (link, reason) in [
            ("[x](none.md)", "links to `none.md`, which is not there"),
            ("[x][y]\n\n[y]: none.md", "links to `none.md`, which is not there"),
            ("<img src=\"none.svg\">", "links to `none.svg`, which is not there"),
            ("[x](../README.md)", "links to `../README.md`, which is not there"),
            ("[x](/README.md)", "links to `/README.md`, which is not there"),
            ("[x](#none)", "links to `#none`, where no heading is called so"),
            ("```\n# None\n```\n[x](#none)", "links to `#none`, where no heading is called so"),
            ("[x](docs/that.md#x)", "links to `docs/that.md#x`, where no heading is called so"),
        ] {
            let found = faults(&[("README.md", link), ("docs/that.md", "")]);
            assert_eq!(found.len(), 1, "{link}: {found:?}");
            assert!(found[0].starts_with("README.md:") && found[0].ends_with(reason), "{found:?}");
        }
    }

    #[test]
    fn a_book_is_whole_and_stays_within_itself() {
        let summary = ("docs/SUMMARY.md", "- [One](one.md)");
        let readme = ("README.md", "");
        let out = ("docs/one.md", "[x](../README.md)");
        assert_eq!(faults(&[readme, out]), Vec::<String>::new());
        assert_eq!(
            faults(&[readme, summary, out, ("docs/two.md", "")]),
            [
                "docs/one.md:1 links to `../README.md`, which is not in the book",
                "docs/two.md is not in docs/SUMMARY.md"
            ]
        );
    }
}

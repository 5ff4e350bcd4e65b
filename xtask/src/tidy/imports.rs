//! Which file of a package imports which: no circle, and nothing by way of `lib.rs`.
//!
//! Names are read from the syntax alone, without resolving what a macro makes. Modules for tests,
//! and files called `tests.rs`, may import what they like.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use syn::{
    Attribute, ItemMod, UseTree,
    visit::{self, Visit},
};

use super::sources::Code;

/// A module by its path in the package: empty for `lib.rs` and `main.rs`.
type Module = Vec<String>;

/// The files of one package with what each imports from the others.
#[derive(Debug, Default)]
struct Imports(BTreeMap<Module, BTreeSet<Module>>);

/// Reports what is out of order in the package whose sources lie in this folder of the project.
pub(super) fn check(package: &str, sources: &Path, code: &Code, faults: &mut Vec<String>) {
    let files = code
        .iter()
        .filter_map(|(path, file)| Some((module(path.strip_prefix(sources).ok()?), file)))
        .collect();
    Imports::of(&files).report(package, faults);
}

/// `verify/folder.rs` is `verify::folder`, `lib.rs` is the root.
fn module(file: &Path) -> Module {
    let path = file.with_extension("");
    let mut names: Module = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| ["lib", "main", "mod"].contains(&name.as_str())) {
        names.pop();
    }
    names
}

impl Imports {
    fn of(files: &BTreeMap<Module, &syn::File>) -> Self {
        let mut imports = Self::default();
        let is_for_tests = |module: &&Module| module.last().is_some_and(|name| name == "tests");
        for (module, file) in files.iter().filter(|(module, _)| !is_for_tests(module)) {
            let mut names = Names { module, files, inline: Vec::new(), found: Vec::new() };
            names.visit_file(file);
            let found = names.found.iter().map(|name| file_of(name, files));
            imports.0.insert(module.clone(), found.filter(|other| other != module).collect());
        }
        imports
    }

    fn report(&self, package: &str, faults: &mut Vec<String>) {
        let root = Module::new();
        for (module, _) in self.0.iter().filter(|(_, imports)| imports.contains(&root)) {
            faults.push(format!(
                "`{}` of `{package}` imports by way of `lib.rs`: name the file that has it",
                name(module)
            ));
        }
        for circle in self.circles() {
            let names: Vec<String> = circle.iter().map(|module| name(module)).collect();
            faults.push(format!("files of `{package}` import each other: {}", names.join(", ")));
        }
    }

    /// Files from each of which all the others can be reached.
    fn circles(&self) -> Vec<Vec<&Module>> {
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            self.0.keys().map(|module| (module, self.reached_from(module))).collect();
        let mut circles: Vec<Vec<&Module>> = Vec::new();
        for (module, others) in &reached {
            let is_known = circles.iter().any(|circle| circle.contains(module));
            if others.contains(module) && !is_known {
                let back =
                    |other: &&&Module| reached.get(*other).is_some_and(|r| r.contains(module));
                circles.push(others.iter().filter(back).copied().collect());
            }
        }
        circles
    }

    fn reached_from(&self, module: &Module) -> BTreeSet<&Module> {
        let mut reached = BTreeSet::new();
        let mut open = vec![module];
        while let Some(next) = open.pop() {
            for other in self.0.get(next).into_iter().flatten().filter(|other| !other.is_empty()) {
                if reached.insert(other) {
                    open.push(other);
                }
            }
        }
        reached
    }
}

/// The file that has a name: the longest beginning of its path that is one.
fn file_of(name: &Module, files: &BTreeMap<Module, &syn::File>) -> Module {
    let beginnings = (0..=name.len()).rev().filter_map(|length| name.get(..length));
    beginnings.map(<[String]>::to_vec).find(|module| files.contains_key(module)).unwrap_or_default()
}

/// Collects the names that a file has from other files of its package.
struct Names<'a> {
    module: &'a Module,
    files: &'a BTreeMap<Module, &'a syn::File>,
    /// Modules within the file that the visitor is in.
    inline: Vec<String>,
    found: Vec<Module>,
}

impl Names<'_> {
    /// A path as the package's root would write it; none where it leads out of the package.
    fn take(&mut self, path: &[String]) {
        let mut rest = path;
        let Some(first) = path.first() else { return };
        let is_child = || {
            self.files.contains_key(&[self.module.as_slice(), std::slice::from_ref(first)].concat())
        };
        let mut from = match first.as_str() {
            "crate" => Module::new(),
            "self" | "super" => [self.module.as_slice(), &self.inline].concat(),
            _ if is_child() => self.module.clone(),
            _ => return,
        };
        while let [first, others @ ..] = rest {
            match first.as_str() {
                "super" => drop(from.pop()),
                "crate" | "self" => {}
                _ => break,
            }
            rest = others;
        }
        from.extend(rest.iter().cloned());
        self.found.push(from);
    }

    fn take_tree(&mut self, before: &[String], tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                self.take_tree(&[before, &[path.ident.to_string()]].concat(), &path.tree);
            }
            UseTree::Name(used) => self.take(&[before, &[used.ident.to_string()]].concat()),
            UseTree::Rename(used) => self.take(&[before, &[used.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.take(before),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.take_tree(before, tree));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.take_tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.take(&names);
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.inline.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.inline.pop();
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    /// `pub(super)` and `pub(in ...)` import nothing.
    fn visit_visibility(&mut self, _visibility: &'ast syn::Visibility) {}
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn name(module: &Module) -> String {
    if module.is_empty() { String::from("lib") } else { module.join("::") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let parsed = |(file, text): &(&str, &str)| {
            (Path::new("ledger/src").join(file), syn::parse_file(text).unwrap())
        };
        let mut faults = Vec::new();
        check("ledger", Path::new("ledger/src"), &files.iter().map(parsed).collect(), &mut faults);
        faults
    }

    #[test]
    fn a_circle_is_refused_however_it_is_written() {
        let lib = ("lib.rs", "mod state; mod tree; mod writer; pub use tree::Tree;");
        let way = ("tree.rs", "use crate::state::{State as S, Other};");
        let back = [
            "use super::{state::X, tree::Tree};",
            "fn size() -> crate::tree::Size { 0 }",
            "use super::writer::W;",
        ];
        let through = ("writer.rs", "use crate::tree::Tree;");
        for back in back {
            let found = faults(&[lib, way, through, ("state.rs", back)]);
            assert_eq!(found.len(), 1, "{back}: {found:?}");
            assert!(found[0].starts_with("files of `ledger` import each other: "), "{found:?}");
        }
        let parent = ("state.rs", "mod inner; use inner::Inner;");
        let child = ("state/inner.rs", "use super::State;");
        assert_eq!(
            faults(&[lib, parent, child]),
            ["files of `ledger` import each other: state, state::inner"]
        );
        let only_tests = ("state.rs", "#[cfg(test)] mod tests { use crate::tree::Tree; }");
        assert_eq!(faults(&[lib, way, only_tests]), Vec::<String>::new());
    }

    #[test]
    fn an_import_by_way_of_the_root_is_refused() {
        let lib = ("lib.rs", "mod state; mod tree; pub use tree::Tree;");
        for by_way in ["use crate::Tree;", "use super::Tree;", "fn f() { crate::Tree::new(); }"] {
            assert_eq!(
                faults(&[lib, ("tree.rs", ""), ("state.rs", by_way)]),
                ["`state` of `ledger` imports by way of `lib.rs`: name the file that has it"],
                "{by_way}"
            );
        }
        assert_eq!(
            faults(&[lib, ("tree.rs", ""), ("state.rs", "use crate::tree::Tree;")]),
            Vec::<String>::new()
        );
    }
}

//! Whether what the documentation names is there: each `Type::name` in backticks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use syn::{
    ImplItem, ItemEnum, ItemImpl, ItemStruct, ItemTrait, TraitItem, Type,
    visit::{self, Visit},
};

use super::sources::{Code, Files};
use crate::shell::root;

/// The documents that name what is in the code.
const DOCUMENTS: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];
const FOLDER: &str = "docs";

/// What each type has: functions, constants, variants and fields. Types of one name are one here.
#[derive(Default)]
struct Members(BTreeMap<String, BTreeSet<String>>);

/// Reports each name in the documents that the code does not have.
pub(super) fn check(files: &Files, code: &Code, faults: &mut Vec<String>) -> Result<()> {
    let mut members = Members::default();
    for file in code.values() {
        members.visit_file(file);
    }
    for file in files.iter().filter(|file| is_document(file)) {
        let text = fs::read_to_string(root().join(file));
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        members.report(&file.to_string_lossy(), &text, faults);
    }
    Ok(())
}

fn is_document(file: &Path) -> bool {
    file.extension().is_some_and(|is| is == "md")
        && (file.starts_with(FOLDER) || DOCUMENTS.iter().any(|known| file == Path::new(known)))
}

impl Members {
    fn add(&mut self, of: &str, name: &impl ToString) {
        self.0.entry(of.to_owned()).or_default().insert(name.to_string());
    }

    fn report(&self, file: &str, text: &str, faults: &mut Vec<String>) {
        for (number, line) in (1..).zip(text.lines()) {
            // Every second part stands between backticks.
            for (of, name) in line.split('`').skip(1).step_by(2).filter_map(type_and_name) {
                let is_there = self.0.get(of).is_some_and(|members| members.contains(name));
                if !is_there {
                    faults
                        .push(format!("{file}:{number} names `{of}::{name}`, which is not there"));
                }
            }
        }
    }
}

/// `Type::name`, with parentheses or without.
fn type_and_name(quoted: &str) -> Option<(&str, &str)> {
    let (of, name) = quoted.trim_end_matches("()").split_once("::")?;
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    (of.starts_with(|c: char| c.is_ascii_uppercase()) && is_word(of) && is_word(name))
        .then_some((of, name))
}

impl<'ast> Visit<'ast> for Members {
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if let Type::Path(of) = &*item.self_ty
            && let Some(last) = of.path.segments.last()
        {
            let of = last.ident.to_string();
            for member in &item.items {
                match member {
                    ImplItem::Fn(function) => self.add(&of, &function.sig.ident),
                    ImplItem::Const(constant) => self.add(&of, &constant.ident),
                    _ => {}
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        for variant in &item.variants {
            self.add(&item.ident.to_string(), &variant.ident);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        for name in item.fields.iter().filter_map(|field| field.ident.as_ref()) {
            self.add(&item.ident.to_string(), name);
        }
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        for member in &item.items {
            if let TraitItem::Fn(function) = member {
                self.add(&item.ident.to_string(), &function.sig.ident);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_is_refused() {
        let mut members = Members::default();
        let code =
            "struct State { size: u64 } impl State { const MAX: u64 = 1; fn write(&self) {} }
            enum Order { Erase } trait Disk { fn open(&self); }";
        members.visit_file(&syn::parse_file(code).unwrap());
        let mut faults = Vec::new();
        let fine = "`State::write`, `State::MAX`, `State::size`, `Order::Erase`, `Disk::open()` and `a::b`";
        members.report("A.md", fine, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        members.report("A.md", "so\n`State::publish` and State::none", &mut faults);
        assert_eq!(faults, ["A.md:2 names `State::publish`, which is not there"]);
    }
}

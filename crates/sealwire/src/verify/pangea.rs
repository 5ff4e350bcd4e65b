//! `sealwire verify pangea`: checks what Pangea itself exported, offline.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use ::pangea::exported::{Exported, PublishedRoots, Tally};
use anyhow::{Context as _, Result, bail};

use super::shown::{Shown, ok};
use crate::{cli::VerifyPangeaArguments, output};

/// Largest JSON value of a file in bytes: an answer with 10,000 events of a few KiB.
const VALUE_BYTES_MAX: u64 = 64 << 20;
/// Faults that are named. The others are only counted, because nobody reads more.
const FAULTS_NAMED_MAX: usize = 100;
/// Leaves of which it is said that a file leaves them out. The others are only counted.
const GAPS_NAMED_MAX: usize = 10;

pub(super) fn run(arguments: &VerifyPangeaArguments) -> Result<()> {
    let name = arguments.file.display();
    output::line(&format!("verifying what Pangea exported to {name}"));
    let checked = check(&arguments.file, arguments.roots.as_deref())?;
    let mut shown = Shown::default();
    report(&checked, &mut shown);
    shown.conclude(&format!("the export {name}"), "the export verifies")
}

/// A file in which nothing is wrong, and what it shows.
pub(crate) struct Checked {
    tally: Tally,
    roots: PublishedRoots,
    /// Published roots that extend the one before.
    extended: u64,
}

impl Checked {
    /// What is shown, in one line.
    pub(crate) fn words(&self) -> String {
        let Tally { events, published, named, unpublished, without_proof, .. } = &self.tally;
        format!(
            "{events} events: {published} in the tree of a published root, {named} in that of a root \
             that only the file names, {unpublished} under a root that was not published, \
             {without_proof} without a proof"
        )
    }
}

/// Checks a file, and prints what is wrong in it.
///
/// # Errors
/// Something is wrong, or a file cannot be read.
pub(crate) fn check(file: &Path, published: Option<&Path>) -> Result<Checked> {
    let mut roots = PublishedRoots::default();
    if let Some(file) = published {
        each_value(file, &mut |json| {
            roots.add(json).map_err(anyhow::Error::msg).with_context(|| output::quoted(file))
        })?;
    }
    let extended = match roots.check() {
        Ok(extended) => extended,
        Err(fault) => {
            output::line(&format!("  FAILED  {fault}"));
            bail!("the published roots do not belong to one log that only grows");
        }
    };
    let (mut tally, mut faults) = (Tally::default(), 0);
    each_value(file, &mut |json| {
        let exported = Exported::parse(json).map_err(anyhow::Error::msg)?;
        for fault in tally.take(&exported, &roots) {
            faults += 1;
            if faults <= FAULTS_NAMED_MAX {
                output::line(&format!("  FAILED  {fault}"));
            }
        }
        Ok(())
    })?;
    if faults > FAULTS_NAMED_MAX {
        output::line(&format!("  FAILED  and {} more faults", faults - FAULTS_NAMED_MAX));
    }
    if faults > 0 {
        let name = file.display();
        bail!("the export {name} does not verify: {faults} of its events are not what it says");
    }
    Ok(Checked { tally, roots, extended })
}

/// Hands over each JSON value of a file: each line, or the whole file.
pub(crate) fn each_value(file: &Path, take: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let shown = output::quoted(file);
    let opened = File::open(file).with_context(|| format!("cannot read {shown}"))?;
    let mut reader = BufReader::new(opened);
    let mut number = 0_u64;
    loop {
        let mut line = Vec::new();
        let mut limited = reader.by_ref().take(VALUE_BYTES_MAX + 1);
        limited.read_until(b'\n', &mut line).with_context(|| format!("cannot read {shown}"))?;
        number += 1;
        let is_first = number == 1;
        let is_whole = || serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok();
        if is_first && !is_whole() {
            // Not a value for each line: one value, with line breaks for people.
            let mut limited = reader.by_ref().take(VALUE_BYTES_MAX + 1);
            limited.read_to_end(&mut line).with_context(|| format!("cannot read {shown}"))?;
        }
        if line.len() as u64 > VALUE_BYTES_MAX {
            bail!("a value in {shown} is larger than {VALUE_BYTES_MAX} bytes");
        }
        if line.is_empty() {
            return Ok(());
        }
        if !line.trim_ascii().is_empty() {
            take(&line).with_context(|| format!("line {number} of {shown}"))?;
        }
    }
}

fn report(Checked { tally, roots, extended }: &Checked, shown: &mut Shown) {
    let Tally { events, signed, published, named, unpublished, .. } = tally;
    shown.demand(*events > 0, || "there is no event in the file".to_owned());
    if *events > 0 {
        ok(&format!("{events} events have the hashes that the file names"));
    }
    if *signed > 0 {
        ok(&format!("{signed} of them are signed, each with the key that it names"));
        output::line(
            "      the keys come from the events: compare them with those of their authors",
        );
    }
    shown.demand(tally.signed_without_key == 0, || {
        format!(
            "{} events are signed, but the file does not name their keys",
            tally.signed_without_key
        )
    });
    if *published > 0 {
        ok(&format!("{published} events are in the tree of a root that was published"));
    }
    if *extended > 0 {
        ok(&format!("{extended} of the published roots extend the one before"));
    }
    if *named > 0 {
        ok(&format!("{named} events are in the tree of a root that the file names"));
    }
    shown.demand(*named == 0, || {
        let roots = tally.named_roots.values().map(|root| match &root.url {
            Some(url) => format!("that of size {} from {url}", root.size),
            None => format!("that of size {}", root.size),
        });
        let roots: Vec<String> = roots.collect();
        let rest =
            if roots.len() > 1 { format!(" and {} more", roots.len() - 1) } else { String::new() };
        let first = roots.first().map(String::as_str).unwrap_or_default();
        format!("nobody but the file vouches for its roots: fetch {first}{rest}, and pass --roots")
    });
    shown.demand(*unpublished == 0, || {
        format!(
            "{unpublished} events are under a root that was not published when they were exported"
        )
    });
    shown.demand(tally.without_proof == 0, || {
        let why = if roots.is_empty() { "; a dump has no roots: pass --roots" } else { "" };
        format!(
            "{} events have no proof, or one to a root that is not there{why}",
            tally.without_proof
        )
    });
    report_gaps(&tally.leaves);
}

/// Says which leaves the file leaves out between its first and its last.
fn report_gaps(leaves: &BTreeSet<u64>) {
    let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else { return };
    output::line(&format!("      the file has {}", span(*first, *last)));
    let pairs = leaves.iter().zip(leaves.iter().skip(1));
    let gaps: Vec<(u64, u64)> = pairs
        .filter(|(one, next)| *next - *one > 1)
        .map(|(one, next)| (one + 1, next - 1))
        .collect();
    for (begin, end) in gaps.iter().take(GAPS_NAMED_MAX) {
        let which = span(*begin, *end);
        output::line(&format!("      it does not have {which}: what they hold is not shown"));
    }
    if let Some(more) = gaps.len().checked_sub(GAPS_NAMED_MAX).filter(|more| *more > 0) {
        output::line(&format!("      and {more} more such gaps"));
    }
}

fn span(first: u64, last: u64) -> String {
    if first == last { format!("leaf {first}") } else { format!("leaves {first} to {last}") }
}

//! `sealwire import`: seals the history of another log, with where it came from.

use std::{fs::File, io::Read as _, path::Path};

use ::pangea::exported::Exported;
use access::Words;
use anyhow::{Context as _, Result, bail};
use orders::{
    Done, Order,
    importing::{EVENTS_MAX, ForeignEvent, History, ORDER_BYTES_MAX},
};
use sha2::{Digest as _, Sha256};

use crate::{
    cli::{Actor, ImportArguments, ImportCommand, OrderArguments, Signature},
    log, output,
    verify::pangea,
};

/// Bytes of a file that are hashed at once.
const PIECE_BYTES: usize = 1 << 16;

pub(crate) fn run(arguments: ImportArguments) -> Result<()> {
    let ImportArguments { site, command } = arguments;
    let ImportCommand::Pangea { file, roots, from, signature } = command;
    let hash = hash_of(&file)?;
    let checked = pangea::check(&file, roots.as_deref())?;
    let shown: Words = checked.words().parse()?;
    let mut parts = Parts {
        site,
        signature,
        history: History { from, file: hash.clone(), shown: Some(shown), events: Vec::new() },
        bytes: 0,
        first_leaf: None,
        events: 0,
    };
    pangea::each_value(&file, &mut |json| {
        let exported = Exported::parse(json).map_err(anyhow::Error::msg)?;
        for event in exported.events() {
            let hash = event.hash.context("the file names no hash of an event")?;
            let envelope = event.envelope.get().to_owned();
            parts.take(ForeignEvent { envelope, hash: hash.to_owned(), leaf: event.leaf })?;
        }
        Ok(())
    })?;
    parts.send()?;
    if hash_of(&file)? != hash {
        bail!("the file changed while it was imported: the log names it as it was before");
    }
    let Parts { site, first_leaf, events, .. } = parts;
    let leaf = first_leaf.unwrap_or_default();
    if site.json {
        output::json(&format!(r#"{{"done":"import","events":{events},"leaf":{leaf}}}"#));
    } else {
        output::line(&format!("{events} events imported; recorded from leaf {leaf} on"));
    }
    Ok(())
}

/// The history, which goes to the site in parts.
struct Parts {
    site: OrderArguments,
    signature: Signature,
    /// The next part.
    history: History,
    /// Bytes of its envelopes.
    bytes: usize,
    first_leaf: Option<u64>,
    /// Events of the parts that were sent.
    events: usize,
}

impl Parts {
    fn take(&mut self, event: ForeignEvent) -> Result<()> {
        let bytes = event.envelope.len();
        if self.history.events.len() == EVENTS_MAX || self.bytes + bytes > ORDER_BYTES_MAX {
            self.send()?;
        }
        self.bytes += bytes;
        self.history.events.push(event);
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        if self.history.events.is_empty() {
            return Ok(());
        }
        let OrderArguments { data_dir, key_file, log, json: _ } = &self.site;
        let Signature { actor: Actor { actor }, reason } = &self.signature;
        let order = Order::Import {
            history: self.history.clone(),
            actor: actor.clone(),
            reason: reason.clone(),
        };
        let order = orders::AddressedOrder { log: log.clone(), order };
        let done = log::carry_out(data_dir, key_file.clone(), order)
            .with_context(|| format!("{} events were imported before", self.events))?;
        let Done::Import { leaf, .. } = done else { bail!("the site did something else") };
        self.first_leaf.get_or_insert(leaf);
        self.events += self.history.events.len();
        self.history.shown = None;
        self.history.events.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// SHA-256 of a file in hex.
fn hash_of(file: &Path) -> Result<String> {
    let shown = output::quoted(file);
    let read = || -> std::io::Result<Sha256> {
        let (mut file, mut hasher) = (File::open(file)?, Sha256::new());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hasher),
                count => hasher.update(piece.get(..count).unwrap_or_default()),
            }
        }
    };
    let hasher = read().with_context(|| format!("cannot read {shown}"))?;
    Ok(hex::encode(hasher.finalize()))
}

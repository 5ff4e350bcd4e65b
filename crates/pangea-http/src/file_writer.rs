//! Writes events as a file of CSV or JSON.
//!
//! CSV has a row for each event: its leaf, hash and moment of receipt, and a column for each field
//! of the schema. JSON is an array; its envelopes are the log's own bytes, so that hashes can be
//! checked.

use std::io::{self, Write};

use model::{Envelope, Event, FieldValue};
use pangea::{Schema, request::Format};
use readings::csv::{Formulas, cell};
use tlog::Hash;

use crate::trees;

/// Writes one file.
pub(crate) struct FileWriter<W> {
    to: W,
    /// The schema's fields, in CSV.
    columns: Option<Vec<String>>,
    is_first: bool,
}

impl<W: Write> FileWriter<W> {
    /// Writes the beginning of the file.
    pub(crate) fn begin(mut to: W, format: Format, schema: &Schema) -> io::Result<Self> {
        let columns = match format {
            Format::Json => {
                to.write_all(b"[")?;
                None
            }
            Format::Csv => {
                let columns: Vec<String> = schema.fields().map(|field| field.id.clone()).collect();
                write!(to, "leaf_index,hash,received_at")?;
                for column in &columns {
                    write!(to, ",{}", cell(column, Formulas::Defused))?;
                }
                writeln!(to)?;
                Some(columns)
            }
        };
        Ok(Self { to, columns, is_first: true })
    }

    /// Writes the event of a leaf from the bytes of its envelope.
    pub(crate) fn event(&mut self, leaf: u64, bytes: &[u8]) -> io::Result<()> {
        let hash = trees::hex(&Hash::sha256(bytes));
        let Some(columns) = &self.columns else {
            let comma = if self.is_first { "" } else { "," };
            self.is_first = false;
            write!(self.to, "{comma}\n{{\"envelope\":")?;
            self.to.write_all(bytes)?;
            return write!(self.to, ",\"hash\":\"{hash}\",\"leaf_index\":{leaf}}}");
        };
        let envelope = Envelope::parse(bytes).map_err(io::Error::other)?;
        write!(self.to, "{leaf},{hash},{}", envelope.received_at)?;
        for column in columns {
            write!(self.to, ",{}", cell(&text_of(&envelope.event, column), Formulas::Defused))?;
        }
        writeln!(self.to)
    }

    /// Writes the end of the file.
    pub(crate) fn end(mut self) -> io::Result<W> {
        if self.columns.is_none() {
            self.to.write_all(b"\n]\n")?;
        }
        Ok(self.to)
    }
}

/// A field's value as text; empty if the event has none.
fn text_of(event: &Event, column: &str) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match column {
        "action" => text(&event.action),
        "actor" => text(&event.actor),
        "message" => event.message.clone(),
        "new" => text(&event.new),
        "old" => text(&event.old),
        "source" => text(&event.source),
        "status" => text(&event.status),
        "target" => text(&event.target),
        "tenant_id" => text(&event.tenant_id),
        "timestamp" => text(&event.timestamp),
        custom => match event.custom.get(custom) {
            Some(FieldValue::Text(text)) => text.clone(),
            Some(FieldValue::Integer(number)) => number.to_string(),
            Some(FieldValue::Bool(flag)) => flag.to_string(),
            None => String::new(),
        },
    }
}

//! `/v1/export`, `/v1/download_results` and the files they lead to.
//!
//! A file is made while it is sent, from the log itself: it costs no memory, whatever its size. What it is of is settled before, so that whoever asks is told
//! what cannot be. Its address has a secret, because the SDKs fetch it without their token.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, PoisonError},
    time::Duration,
};

use access::TokenDescription;
use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use ledger::StoredEnvelope;
use model::{Envelope, Event, FieldValue, Timestamp, action};
use orders::operator::token_event;
use pangea::{
    Code, Fault, Refusal, Schema, Status,
    answer::Download,
    request::{DownloadRequest, Downloaded, ExportRequest, Format, Order, Window},
};
use readings::csv::{Formulas, cell};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    admission::Admission,
    api::{Api, Call, Promised, Reply, after, not_sealed},
    trees,
};

/// Bytes of what is known of files that can be downloaded: 200 of the largest searches, or 100,000 exports.
pub(crate) const FILES_BYTES_MAX: usize = 16 << 20;
/// Files that are being sent at one time: each has a thread that waits for its client.
pub(crate) const DOWNLOADS_AT_ONCE_MAX: usize = 8;
/// Hex digits of what nobody can guess of an address.
const SECRET_CHARS: usize = 64;
/// For how long, as at Pangea.
const FILE_LIFETIME: Duration = Duration::from_secs(86_400);
/// Parts of a file that wait for a slow client; whoever makes them waits, too.
const PARTS_MAX: usize = 4;
/// Bytes of a part.
const PART_BYTES: usize = 64 << 10;
/// Leaves read at once.
const READ_LEAVES: u64 = 1_000;
/// Bytes of them.
const READ_BYTES_MAX: usize = 4 << 20;
/// Leaves that a search found and that are read at once, whatever their order: an eighth of a block, and 64 MiB at most.
const FOUND_LEAVES: usize = 32;

/// An export that was asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Export {
    window: Window,
    format: Format,
    /// Only leaves before this one.
    end_leaf: u64,
}

/// A file that can be downloaded.
#[derive(Clone, Debug)]
pub(crate) struct FileOf {
    what: Content,
    format: Format,
    expires_at: Timestamp,
    /// In whose name it is sent; of small weight, as there are few.
    token: Arc<TokenDescription>,
}

#[derive(Clone, Debug)]
enum Content {
    /// What a search found, in its order.
    Found(Arc<[u64]>),
    Export(Export),
}

impl FileOf {
    /// Bytes of memory, those of its secret too.
    fn weight(&self) -> usize {
        let leaves = match &self.what {
            Content::Found(leaves) => size_of_val(&**leaves),
            Content::Export(_) => 0,
        };
        let token = size_of::<TokenDescription>() + self.token.name.as_str().len();
        size_of::<Self>() + SECRET_CHARS + token + leaves
    }
}

impl Api {
    /// `/v1/export`. What is exported is settled here; the file is made when it is downloaded.
    pub(crate) async fn export(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let ExportRequest { config_id, window, format } =
            ExportRequest::parse(body, &self.schema, call.asked_at())?;
        self.check_config(config_id.as_deref())?;
        let until = window.end.map_or_else(|| String::from("now"), |end| end.to_string());
        let words = format!("events exported, received from {} to {until}", window.start);
        self.seal_export(call, token, words).await?;
        let end_leaf = self.ledger.size();
        let export = Export { window, format, end_leaf };
        self.promise(call, token, Promised::Export(export)).await
    }

    /// `/v1/download_results`.
    pub(crate) async fn download_results(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let DownloadRequest { config_id, of, format, asserted } =
            DownloadRequest::parse(body, &self.schema)?;
        self.check_config(config_id.as_deref())?;
        let (name, what, default) = match of {
            Downloaded::Search(id) => {
                let saved = self.saved(Some(&id), "/result_id", asserted.as_ref())?;
                let leaves = self.found(call, saved).await?;
                let words = format!("events of the search {id} downloaded");
                self.seal_export(call, token, words).await?;
                (id.to_string(), Content::Found(leaves.into()), Format::Csv)
            }
            Downloaded::Export(id) => {
                let Some(Promised::Export(export)) = self.promised(call, token, &id) else {
                    let words = "this token asked for no such export, or that is more than two days ago: export again";
                    let fault = Fault::new(Code::DoesNotExist, "/request_id", words);
                    return Err(Refusal::at(Status::NotFound, fault));
                };
                let format = export.format;
                (id.to_string(), Content::Export(export), format)
            }
        };
        let format = format.unwrap_or(default);
        let extension = match format {
            Format::Csv => "csv",
            Format::Json => "json",
        };
        let expires_at = after(call.began, FILE_LIFETIME);
        let secret = hex::encode(rand::random::<[u8; SECRET_CHARS / 2]>());
        let dest_url =
            format!("{}/download/{secret}/search_results_{name}.{extension}.gz", call.base);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = FileOf { what, format, expires_at, token: Arc::new(token.clone()) };
        files.insert_weighing(file.weight(), secret, file);
        drop(files);
        Ok(Reply::done(call, "The file is at its address", &Download { dest_url, expires_at }))
    }

    async fn seal_export(
        &self,
        call: &Call,
        token: &TokenDescription,
        words: String,
    ) -> Result<(), Refusal> {
        let name = token.name.as_str();
        let mut event = token_event(action::EVENTS_EXPORTED, name, &token.name, words, call.began);
        // A retry says the same. When it was, `received_at` says.
        event.timestamp = None;
        let _effect = self.admission.effect(token).await?;
        self.ledger.append(call.batch(token, vec![event])).await.map(drop).map_err(not_sealed)
    }

    /// Writes a file whole.
    fn write_file(&self, file: &FileOf, to: impl Write) -> Result<(), FileError> {
        let mut writer =
            FileWriter::begin(GzEncoder::new(to, Compression::fast()), file.format, &self.schema)?;
        match &file.what {
            Content::Found(leaves) => self.write_found(leaves, &mut writer)?,
            Content::Export(export) => self.write_export(export, &mut writer)?,
        }
        writer.end()?.finish()?;
        Ok(())
    }

    /// What a search found, without what was erased since.
    fn write_found(
        &self,
        leaves: &[u64],
        writer: &mut FileWriter<impl Write>,
    ) -> Result<(), FileError> {
        for leaves in leaves.chunks(FOUND_LEAVES) {
            let mut envelopes = BTreeMap::new();
            self.read(leaves, |leaf, bytes| {
                envelopes.extend(bytes.map(|bytes| (leaf, bytes)));
                Ok(())
            })?;
            for leaf in leaves {
                envelopes.remove(leaf).map_or(Ok(()), |bytes| writer.event(*leaf, &bytes))?;
            }
        }
        Ok(())
    }

    /// Everything in the window, in the log's order or backwards. Moments of receipt never go back, so the window is a span of leaves.
    fn write_export(
        &self,
        export: &Export,
        writer: &mut FileWriter<impl Write>,
    ) -> Result<(), FileError> {
        // The log of a folder into which an older one was put may be shorter than what was saved beside it.
        let end_leaf = export.end_leaf.min(self.ledger.size());
        let Window { start, end, order } = export.window;
        let begin = self.first_received(start, end_leaf)?;
        let end = match end {
            Some(end) => self.first_received(end, end_leaf)?,
            None => end_leaf,
        };
        let mut write = |stored: &StoredEnvelope| {
            stored.bytes.as_ref().map_or(Ok(()), |bytes| writer.event(stored.leaf, bytes))
        };
        match order {
            Order::Ascending => {
                let mut next = begin;
                while next < end {
                    let stored = self.envelopes(next, end)?;
                    next = stored.last().map_or(end, |stored| stored.leaf + 1);
                    stored.iter().try_for_each(&mut write)?;
                }
            }
            Order::Descending => {
                let mut until = end;
                while begin < until {
                    // As many as were asked for, or some of them stay: they are read again, by halves.
                    let mut count = (until - begin).min(READ_LEAVES);
                    let mut stored = self.envelopes(until - count, until)?;
                    while (stored.len() as u64) < count {
                        count = count.div_ceil(2).max(1);
                        stored = self.envelopes(until - count, until)?;
                    }
                    stored.iter().rev().try_for_each(&mut write)?;
                    until -= count;
                }
            }
        }
        Ok(())
    }

    fn envelopes(&self, from: u64, end: u64) -> Result<Vec<StoredEnvelope>, FileError> {
        let count = usize::try_from((end - from).min(READ_LEAVES)).unwrap_or(usize::MAX);
        self.ledger
            .envelopes(from, count, READ_BYTES_MAX)
            .map_err(|error| FileError(error.to_string()))
    }

    /// The first leaf before `end` that was received at a moment or later, and `end` if there is none: found by halving, past what was erased.
    fn first_received(&self, moment: Timestamp, end: u64) -> Result<u64, FileError> {
        let moment = moment.to_string();
        let (mut low, mut high) = (0, end);
        while low < high {
            let middle = low + (high - low) / 2;
            // The first one from the middle on that is not erased speaks for those before it.
            match self.first_received_from(middle, high)? {
                Some((leaf, received)) if received < moment => low = leaf + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first leaf of some that is not erased, with when it was received.
    fn first_received_from(&self, from: u64, end: u64) -> Result<Option<(u64, String)>, FileError> {
        let mut from = from;
        while from < end {
            let stored = self.envelopes(from, end)?;
            let received = stored.iter().find_map(|stored| {
                let received = Envelope::received_at_of(stored.bytes.as_deref()?)?;
                Some((stored.leaf, received.to_owned()))
            });
            if received.is_some() {
                return Ok(received);
            }
            from = stored.last().map_or(end, |stored| stored.leaf + 1);
        }
        Ok(None)
    }
}

/// Sends a file to whoever has its address.
pub(crate) async fn download(
    State(api): State<Arc<Api>>,
    Path((secret, _name)): Path<(String, String)>,
) -> Response {
    let files = api.files.lock().unwrap_or_else(PoisonError::into_inner).get(&secret).cloned();
    let is_there =
        |file: &FileOf| file.expires_at > clock::now() && api.admission.stands(&file.token);
    let Some(file) = files.filter(is_there) else {
        let words = "there is no such file, or its day is over, or its token is revoked, or the site was started again or gave many other addresses since: \
                     ask for another with /v1/download_results\n";
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    let Ok(room) = Arc::clone(&api.downloads).try_acquire_owned() else {
        let words = "as many files are being sent as may be: try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], words)
            .into_response();
    };
    let (parts, receiver) = mpsc::channel(PARTS_MAX);
    // The room is held as long as the file is being made, whoever has gone.
    let making = work::blocking(room, move || {
        let part = Vec::with_capacity(PART_BYTES);
        let mut to = Parts { parts, part, admission: &api.admission, token: &file.token };
        api.write_file(&file, &mut to).and_then(|()| Ok(to.flush()?))
    });
    // When nobody takes parts any more, there is nobody to hand them to, and the making ends.
    let body = stream::unfold((receiver, Some(making)), |(mut receiver, making)| async move {
        if let Some(part) = receiver.recv().await {
            return Some((Ok(part), (receiver, making)));
        }
        let failure = match making?.await {
            Ok(Ok(())) => return None,
            Ok(Err(failure)) => io::Error::other(failure),
            Err(panic) => io::Error::other(panic),
        };
        warn!(error = %failure, "a download ended early");
        // An error in a body ends the connection: the client sees that it has not all of it.
        Some((Err(failure), (receiver, None)))
    });
    // Not an encoding but the file itself: a client that unpacked it would not find what it asked for.
    let headers = [(header::CONTENT_TYPE, "application/gzip"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(body)).into_response()
}

/// Hands what is written to the connection, part by part.
struct Parts<'a> {
    parts: mpsc::Sender<Bytes>,
    part: Vec<u8>,
    admission: &'a Admission,
    token: &'a TokenDescription,
}

impl Write for Parts<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.admission.stands(self.token) {
            let words = "the token in whose name it is sent was revoked";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
        }
        let part = Bytes::from(std::mem::take(&mut self.part));
        self.parts.blocking_send(part).map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes events as a file of one format.
struct FileWriter<W> {
    to: W,
    columns: Option<Vec<String>>,
    is_first: bool,
}

impl<W: Write> FileWriter<W> {
    fn begin(mut to: W, format: Format, schema: &Schema) -> io::Result<Self> {
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

    fn event(&mut self, leaf: u64, bytes: &[u8]) -> io::Result<()> {
        let hash = trees::hex(&tlog::Hash::sha256(bytes));
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

    fn end(mut self) -> io::Result<W> {
        if self.columns.is_none() {
            self.to.write_all(b"\n]\n")?;
        }
        Ok(self.to)
    }
}

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

/// Why a file could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct FileError(String);

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Refusal> for FileError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.summary)
    }
}

#[cfg(test)]
mod tests {
    use access::{ApiTokens, Revocation, Scope};

    use super::*;

    #[test]
    fn no_part_of_a_file_follows_the_revocation_of_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = ApiTokens::load(folder.path().join("api-tokens")).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let (name, scope) = ("auditor".parse().unwrap(), vec![Scope::Read]);
        let token = TokenDescription { name, scope, log: None, created_at: at };
        tokens.add(token.clone(), "pts_secret").unwrap();
        let admission = Admission::new(tokens.clone(), String::from("log"));
        let (parts, mut sent) = mpsc::channel(PARTS_MAX);
        let mut to = Parts { parts, part: Vec::new(), admission: &admission, token: &token };
        to.write_all(&[b'x'; PART_BYTES]).unwrap();
        let revocation = Revocation { actor: String::from("ada"), at };
        tokens.revoke(&token.name, revocation).unwrap();
        let refused = to.write_all(&[b'x'; PART_BYTES]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        drop(to);
        assert_eq!(sent.blocking_recv().unwrap().len(), PART_BYTES);
        assert_eq!(sent.blocking_recv(), None);
    }
}

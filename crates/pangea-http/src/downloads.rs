//! Files that clients can download, and `/download/{secret}/{name}`, where they are sent.
//!
//! A file is written while it is sent. Its address contains a secret, because the SDKs fetch it
//! without their token. The site sends it only while that token is valid.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use access::TokenDescription;
use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use model::Timestamp;
use pangea::{answer::Download, request::Format};
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;

use crate::{
    admission::Admission, call::Call, content::Content, recent::Recent, shown_log::ShownLog,
};

/// Memory for the descriptions of files that can be downloaded, in bytes: 200 of the largest
/// searches, or 100,000 exports.
const FILES_BYTES_MAX: usize = 16 << 20;
/// Number of files that are sent at the same time. Each has a thread that waits for its client.
const DOWNLOADS_AT_ONCE_MAX: usize = 8;
/// Hex digits of the part of an address that nobody can guess.
const SECRET_CHARS: usize = 64;
/// Time for which a file can be downloaded, as in Pangea's service.
const FILE_LIFETIME: Duration = Duration::from_secs(86_400);
/// Parts of a file that wait for a slow client. The thread that writes them then waits too.
const PARTS_MAX: usize = 4;
/// Bytes of a part.
const PART_BYTES: usize = 64 << 10;

/// Offers files and sends them.
#[derive(Debug)]
pub(crate) struct Downloads {
    log: ShownLog,
    admission: Arc<Admission>,
    /// Files by the secret in their address.
    files: Mutex<Recent<String, OfferedFile>>,
    places: Arc<Semaphore>,
}

/// A file that can be downloaded.
#[derive(Clone, Debug)]
struct OfferedFile {
    content: Content,
    format: Format,
    expires_at: Timestamp,
    /// The token in whose name the file is sent. It counts little memory, because there are few
    /// tokens.
    token: Arc<TokenDescription>,
}

impl OfferedFile {
    /// Memory in bytes, including the secret.
    fn weight(&self) -> usize {
        let token = size_of::<TokenDescription>() + self.token.name.as_str().len();
        size_of::<Self>() + SECRET_CHARS + token + self.content.weight()
    }
}

impl Downloads {
    pub(crate) fn new(log: ShownLog, admission: Arc<Admission>) -> Self {
        Self {
            log,
            admission,
            files: Mutex::new(Recent::new(FILES_BYTES_MAX)),
            places: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE_MAX)),
        }
    }

    /// Gives a file an address. If there are too many files, the oldest one loses its address.
    pub(crate) fn offer(
        &self,
        call: &Call,
        token: &TokenDescription,
        name: &str,
        content: Content,
        format: Format,
    ) -> Download {
        let extension = match format {
            Format::Csv => "csv",
            Format::Json => "json",
        };
        let expires_at = call.after(FILE_LIFETIME);
        let secret = hex::encode(rand::random::<[u8; SECRET_CHARS / 2]>());
        let dest_url =
            format!("{}/download/{secret}/search_results_{name}.{extension}.gz", call.base);
        let file = OfferedFile { content, format, expires_at, token: Arc::new(token.clone()) };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert_weighing(file.weight(), secret, file);
        Download { dest_url, expires_at }
    }

    /// The file at an address, if its token is still valid.
    fn offered(&self, secret: &String) -> Option<OfferedFile> {
        let file =
            self.files.lock().unwrap_or_else(PoisonError::into_inner).get(secret).cloned()?;
        let is_there = file.expires_at > clock::now() && self.admission.stands(&file.token);
        is_there.then_some(file)
    }
}

/// Sends the file at an address.
pub(crate) async fn download(
    State(downloads): State<Arc<Downloads>>,
    Path((secret, _name)): Path<(String, String)>,
) -> Response {
    let Some(file) = downloads.offered(&secret) else {
        let words = "there is no such file: its address has expired, its token was revoked, the \
            site was restarted, or the site has since given out many other addresses; ask for a \
            new address with /v1/download_results\n";
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    let Ok(place) = Arc::clone(&downloads.places).try_acquire_owned() else {
        let words = "the site is sending its maximum number of files: try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], words)
            .into_response();
    };
    let (parts, receiver) = mpsc::channel(PARTS_MAX);
    // The place is held until the file is written, whether or not its client waits.
    let making = work::blocking(place, move || {
        let part = Vec::with_capacity(PART_BYTES);
        let mut to = Parts { parts, part, admission: &downloads.admission, token: &file.token };
        let written = file.content.write(&downloads.log, file.format, &mut to);
        written.and_then(|()| Ok(to.flush()?))
    });
    // If the client has gone, sending a part fails, and the thread ends.
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
        // An error in a body ends the connection, so the client notices that the file is
        // incomplete.
        Some((Err(failure), (receiver, None)))
    });
    // The file itself is gzip. It is not declared as a content encoding, because a client would
    // then unpack it.
    let headers = [(header::CONTENT_TYPE, "application/gzip"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(body)).into_response()
}

/// Passes what is written to the connection, part by part.
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
            let words = "the token of this download was revoked";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
        }
        let part = Bytes::from(std::mem::take(&mut self.part));
        self.parts.blocking_send(part).map_err(|_gone| io::ErrorKind::BrokenPipe.into())
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
        let token = TokenDescription { name, scope, log: None, nkey: None, created_at: at };
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

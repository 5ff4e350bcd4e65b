//! A log that is read over HTTP, from a server that nobody needs to trust.
//!
//! Each answer has a limit on its size and its time. The client follows no redirect: the address
//! that a person gave is the one that is verified. Limits on size hold for what an answer unpacks
//! to.

use std::{
    io::{self, Read},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use http_client::Authorities;
use ledger::verify::{FETCHES_MAX, KeyEvent, LogSource};
use serde::Deserialize;
use tlog::{Hash, TilePath, bundle::ENTRY_BYTES_MAX, note::NOTE_BYTES_MAX};
use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

/// Time until an answer begins.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a whole request with its answer. On a line of 15 Mbit/s that is enough for as many of
/// the largest bundles as are fetched at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Largest answer in bytes of which there may be as many as are fetched at once. A full bundle has
/// room for entries of 4 KiB in it.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// Largest answer of `/keys` in bytes: about a thousand keys.
const KEYS_BYTES_MAX: usize = 4 << 20;
/// Tries of a request whose connection breaks before an answer begins, for example because the
/// server closed it while it was idle.
const TRIES: usize = 3;
/// Most bytes that arrive in a connection's buffer at once.
const INPUT_BYTES: usize = 32 << 10;
/// Bytes of a connection's buffer for requests, which have no body.
const OUTPUT_BYTES: usize = 4 << 10;
/// The encodings in which a server may send.
const ENCODINGS: &str = "gzip, identity";
/// What to do about a server whose certificate nobody vouches for that is believed.
const UNKNOWN_AUTHORITY: &str = ": if the site has an authority of its own, get its certificate \
    from the operator (`sealwire ca show`) and name the file with --ca";
/// Bytes in front of each entry of a bundle.
const LENGTH_BYTES: usize = 2;

/// A log in the layout of C2SP tlog-tiles.
pub(crate) struct HttpLog {
    url: String,
    agent: ureq::Agent,
    /// Locked for the one answer at a time that may be larger than [`SMALL_BYTES_MAX`].
    large: Mutex<()>,
}

/// The body of an answer. A large one keeps others from being read.
struct Answer<'a> {
    bytes: Vec<u8>,
    _large: Option<MutexGuard<'a, ()>>,
}

impl AsRef<[u8]> for Answer<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpLog {
    /// A log at an address. With `authorities`, its server shows a certificate of one of them, and
    /// else one of a public authority.
    pub(crate) fn new(url: &str, authorities: Option<&Authorities>) -> Self {
        Self::with_timeouts(url, authorities, (HEAD_TIMEOUT, ANSWER_TIMEOUT))
    }

    fn with_timeouts(
        url: &str,
        authorities: Option<&Authorities>,
        (head, answer): (Duration, Duration),
    ) -> Self {
        let config = ureq::Agent::config_builder()
            .tls_config(authorities.map(Authorities::tls).unwrap_or_default())
            .timeout_global(Some(answer))
            .timeout_recv_response(Some(head))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(FETCHES_MAX)
            .max_idle_connections_per_host(FETCHES_MAX)
            .input_buffer_size(INPUT_BYTES)
            .output_buffer_size(OUTPUT_BYTES)
            .build();
        let agent = http_client::agent_for_one_server(config);
        Self { url: url.to_owned(), agent, large: Mutex::default() }
    }

    /// The body at a path; `None` if the server has nothing there. Some stores answer with 403 for
    /// a file that does not exist.
    fn get(&self, path: &str, bytes_max: usize) -> Result<Option<Answer<'_>>, String> {
        let url = format!("{}/{path}", self.url);
        let mut response = self.ask(&url).map_err(|error| {
            let advice = match http_client::is_of_unknown_authority(&error) {
                true => UNKNOWN_AUTHORITY,
                false => "",
            };
            format!("{url}: {error}{advice}")
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => return Ok(None),
            status if status.is_redirection() => {
                let location = response.headers().get(header::LOCATION);
                let location = location.and_then(|location| location.to_str().ok());
                return Err(format!(
                    "{url}: the server redirects to `{}`, and redirects are not followed: give the address to which they lead",
                    location.unwrap_or_default()
                ));
            }
            status => return Err(format!("{url}: the server answers with status {status}")),
        }
        let failed = |error: io::Error| format!("{url}: {error}");
        let mut reader = unpacked(&mut response).map_err(failed)?.take(bytes_max as u64 + 1);
        let mut bytes = Vec::new();
        reader.by_ref().take(SMALL_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(failed)?;
        let is_large = bytes.len() == SMALL_BYTES_MAX;
        let large = is_large.then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        reader.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > bytes_max {
            return Err(format!("{url}: the answer has more than {bytes_max} bytes"));
        }
        Ok(Some(Answer { bytes, _large: large }))
    }

    fn ask(&self, url: &str) -> Result<Response<Body>, ureq::Error> {
        let ask =
            || http_client::get(&self.agent, url).header(header::ACCEPT_ENCODING, ENCODINGS).call();
        for _try in 1..TRIES {
            match ask() {
                Err(ureq::Error::Io(_)) => {}
                answered => return answered,
            }
        }
        ask()
    }
}

/// Reads the body as the server had it before it was compressed (C2SP tlog-tiles, Log entries).
fn unpacked(response: &mut Response<Body>) -> io::Result<Box<dyn Read + '_>> {
    let encoding = response.headers().get(header::CONTENT_ENCODING).cloned();
    let body = response.body_mut().as_reader();
    match encoding.as_ref().map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => Ok(Box::new(body)),
        Some(b"gzip") => Ok(Box::new(MultiGzDecoder::new(body))),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            Err(io::Error::other(format!(
                "the answer is in the encoding `{other}`: only {ENCODINGS} were asked for"
            )))
        }
    }
}

/// The answer of `/keys`.
#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    leaf: u64,
    envelope: String,
}

impl LogSource for HttpLog {
    fn checkpoint(&self) -> Result<String, String> {
        let note = self.get("checkpoint", NOTE_BYTES_MAX)?;
        let note = note.ok_or_else(|| format!("{} has no checkpoint", self.url))?;
        String::from_utf8(note.bytes).map_err(|error| format!("{}/checkpoint: {error}", self.url))
    }

    /// Another program's log may have something else at `/keys`.
    fn key_events(&self) -> Result<Option<Vec<KeyEvent>>, String> {
        let Some(answer) = self.get("keys", KEYS_BYTES_MAX)? else { return Ok(None) };
        let Ok(Keys { keys }) = serde_json::from_slice(&answer.bytes) else { return Ok(None) };
        let event = |Key { leaf, envelope }| KeyEvent { leaf, envelope: envelope.into_bytes() };
        Ok(Some(keys.into_iter().map(event).collect()))
    }

    fn file(&self, path: TilePath) -> Result<Option<impl AsRef<[u8]>>, String> {
        let bytes_max = match path {
            TilePath::Hashes(tile) => tile.width.count() * Hash::LEN,
            TilePath::Entries(bundle) => bundle.width.count() * (LENGTH_BYTES + ENTRY_BYTES_MAX),
        };
        self.get(&path.to_string(), bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write},
        net::{TcpListener, TcpStream},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// A server that gives every request to `answer` and closes the connection. Returns its URL.
    fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // The server runs until the test's process ends.
        thread::spawn(move || {
            thread::scope(|scope| {
                for stream in listener.incoming() {
                    scope.spawn(|| {
                        let mut stream = stream.unwrap();
                        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                        let request = lines.next().unwrap().unwrap();
                        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                        answer(&request, &mut stream);
                    });
                }
            });
        });
        url
    }

    fn serve_bytes(answer: Vec<u8>) -> String {
        // A client that has seen enough closes.
        serve(move |_request, stream| drop(stream.write_all(&answer)))
    }

    fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    /// An answer without a body, with this status and headers.
    fn head(head: &str) -> Vec<u8> {
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").into_bytes()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn file(log: &HttpLog, path: &str) -> Result<Option<Vec<u8>>, String> {
        let file = log.file(TilePath::parse(path).unwrap())?;
        Ok(file.map(|bytes| bytes.as_ref().to_vec()))
    }

    #[track_caller]
    fn refusal(url: &str) -> String {
        let refused = file(&HttpLog::new(url, None), "tile/0/000").unwrap_err();
        refused.strip_prefix(&format!("{url}/tile/0/000: ")).unwrap().to_owned()
    }

    #[test]
    fn an_answer_comes_as_it_is_or_packed() {
        let tile: Vec<u8> = (0..=255).cycle().take(8_192).collect();
        for answer in [
            ok("", &tile),
            ok("content-encoding: identity\r\n", &tile),
            ok("content-encoding: gzip\r\n", &gzip(&tile)),
            // Two members are one file.
            ok("content-encoding: gzip\r\n", &[gzip(&tile[..99]), gzip(&tile[99..])].concat()),
            [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", tile.as_slice()].concat(),
        ] {
            let log = HttpLog::new(&serve_bytes(answer), None);
            assert_eq!(file(&log, "tile/0/000").unwrap().as_ref(), Some(&tile));
        }
    }

    #[test]
    fn a_connection_that_breaks_is_tried_again_a_few_times() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let url = serve(move |_request, stream| {
            if counted.fetch_add(1, Ordering::Relaxed) % TRIES == TRIES - 1 {
                stream.write_all(&ok("", b"here")).unwrap();
            }
        });
        assert_eq!(HttpLog::new(&url, None).checkpoint().as_deref(), Ok("here"));
        assert_eq!(asked.swap(0, Ordering::Relaxed), TRIES);

        let counted = Arc::clone(&asked);
        let url = serve(move |_request, _stream| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        assert!(HttpLog::new(&url, None).checkpoint().is_err());
        assert_eq!(asked.load(Ordering::Relaxed), TRIES);
    }

    #[test]
    fn a_hostile_answer_is_refused_in_words() {
        let head =
            |head: &str| format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").into_bytes();
        for (answer, words) in [
            (
                head("302 Found\r\nlocation: http://localhost:1/x"),
                "the server redirects to `http://localhost:1/x`, and redirects are not followed: give the address to which they lead",
            ),
            (head("500 Oh"), "the server answers with status 500 Internal Server Error"),
            (head("204 No Content"), "the server answers with status 204 No Content"),
            (ok("", &[0; 8_193]), "the answer has more than 8192 bytes"),
            // It unpacks to more than was asked for.
            (
                ok("content-encoding: gzip\r\n", &gzip(&vec![0; 64 << 20])),
                "the answer has more than 8192 bytes",
            ),
            (
                ok("content-encoding: br\r\n", b"x"),
                "the answer is in the encoding `br`: only gzip, identity were asked for",
            ),
        ] {
            assert_eq!(refusal(&serve_bytes(answer)), words);
        }
        // Cut off, no HTTP, no gzip.
        let cut_off = b"HTTP/1.1 200 OK\r\ncontent-length: 8192\r\n\r\nabc".to_vec();
        for answer in [cut_off, b"garbage\r\n\r\n".to_vec(), ok("content-encoding: gzip\r\n", b"x")]
        {
            let refused = refusal(&serve_bytes(answer));
            assert!(!refused.is_empty(), "{refused}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_from_what_fails() {
        for status in ["404 Not Found", "410 Gone", "403 Forbidden"] {
            let log = HttpLog::new(&serve_bytes(head(status)), None);
            assert_eq!(file(&log, "tile/0/000"), Ok(None));
            assert_eq!(log.key_events(), Ok(None));
            assert_eq!(log.checkpoint(), Err(format!("{} has no checkpoint", log.url)));
        }
        assert!(HttpLog::new(&serve_bytes(head("503 Oh")), None).key_events().is_err());
    }

    #[test]
    fn only_keys_in_our_form_are_keys() {
        let keys = br#"{"keys":[{"leaf":0,"envelope":"{}","proof":"x"}]}"#;
        let events = HttpLog::new(&serve_bytes(ok("", keys)), None).key_events();
        assert_eq!(events, Ok(Some(vec![KeyEvent { leaf: 0, envelope: b"{}".to_vec() }])));
        for other in [b"<html>".as_slice(), b"[]", b"{}", b"{\"keys\":[\"x\"]}"] {
            assert_eq!(HttpLog::new(&serve_bytes(ok("", other)), None).key_events(), Ok(None));
        }
        let long = vec![b' '; KEYS_BYTES_MAX + 1];
        assert!(HttpLog::new(&serve_bytes(ok("", &long)), None).key_events().is_err());
    }

    #[test]
    fn a_server_that_is_silent_or_endless_is_given_up() {
        let short = Duration::from_millis(50);
        let (connected, held) = std::sync::mpsc::channel();
        let silent = serve(move |_request, stream| {
            connected.send(stream.try_clone().unwrap()).unwrap();
        });
        let log = HttpLog::with_timeouts(&silent, None, (short, ANSWER_TIMEOUT));
        assert!(file(&log, "tile/0/000").unwrap_err().contains("timeout"));
        drop(held);

        // Sends the beginning of a body, and no more until the client has gone.
        let endless = serve(|_request, stream| {
            let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 8192\r\n\r\nabc";
            stream.write_all(begun).unwrap();
            drop(io::copy(stream, &mut io::sink()));
        });
        let log = HttpLog::with_timeouts(&endless, None, (HEAD_TIMEOUT, short));
        assert!(file(&log, "tile/0/000").unwrap_err().contains("timeout"));
    }

    #[test]
    fn large_answers_are_read_one_at_a_time() {
        let large = vec![b'x'; SMALL_BYTES_MAX + 1];
        let body = large.clone();
        let url = serve(move |request, stream| {
            let body = if request.contains("entries") { body.as_slice() } else { b"small" };
            drop(stream.write_all(&ok("", body)));
        });
        let log = HttpLog::new(&url, None);
        let held = log.get("tile/entries/000", large.len()).unwrap().unwrap();
        assert_eq!(held.bytes, large);
        assert!(log.large.try_lock().is_err());
        // Others are read meanwhile.
        assert_eq!(log.get("checkpoint", 99).unwrap().unwrap().bytes, b"small");
        drop(held);
        assert!(log.large.try_lock().is_ok());
    }
}

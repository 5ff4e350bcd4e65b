//! A log that is read over HTTP.

use std::{io::Read as _, time::Duration};

use ledger::verify::{KeyEvent, LogSource};
use serde::Deserialize;
use tlog::TilePath;

/// Time that a log has to answer one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer of a log in bytes. A full bundle of the largest entries has 16 MiB.
const ANSWER_BYTES_MAX: u64 = 17 << 20;

/// A log in the layout of C2SP tlog-tiles.
pub(super) struct HttpLog {
    url: String,
    agent: ureq::Agent,
}

impl HttpLog {
    pub(super) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_TIMEOUT)).build();
        Self { url: url.to_owned(), agent: config.into() }
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let url = format!("{}/{path}", self.url);
        let mut response = http_client::get(&self.agent, &url)
            .call()
            .map_err(|error| format!("{url}: {error}"))?;
        let mut bytes = Vec::new();
        let reader = response.body_mut().as_reader().take(ANSWER_BYTES_MAX + 1);
        { reader }.read_to_end(&mut bytes).map_err(|error| format!("{url}: {error}"))?;
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(format!("{url}: the answer has more than {ANSWER_BYTES_MAX} bytes"));
        }
        Ok(bytes)
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
    fn checkpoint(&mut self) -> Result<String, String> {
        String::from_utf8(self.get("checkpoint")?)
            .map_err(|error| format!("{}/checkpoint: {error}", self.url))
    }

    fn key_events(&mut self) -> Result<Vec<KeyEvent>, String> {
        let answer = self.get("keys")?;
        let Keys { keys } = serde_json::from_slice(&answer)
            .map_err(|error| format!("{}/keys: {error}", self.url))?;
        let event = |Key { leaf, envelope }| KeyEvent { leaf, envelope: envelope.into_bytes() };
        Ok(keys.into_iter().map(event).collect())
    }

    fn file(&mut self, path: &TilePath) -> Result<Vec<u8>, String> {
        self.get(&path.to_string())
    }
}

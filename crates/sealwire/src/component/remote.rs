//! A site's registry, as a client of another machine meets it.

use std::{fmt::Write as _, io, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use ureq::{
    Agent, Body, RequestBuilder,
    http::{Response, StatusCode, header},
};

use crate::{cli::RegistryArguments, verify};

/// Time for a request with its answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer in bytes that says what is wrong.
const REFUSAL_BYTES_MAX: u64 = 64 << 10;

/// A registry.
pub(super) struct Remote {
    url: String,
    token: site::Token,
    agent: Agent,
}

/// Content with its type.
pub(super) struct Content {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
    /// Path of the next page, if it is a list that goes on.
    pub(super) next: Option<String>,
}

impl Remote {
    pub(super) fn new(arguments: &RegistryArguments) -> Result<Self> {
        let RegistryArguments { registry, token_file, ca } = arguments;
        let is_encrypted = registry.starts_with("https://");
        if !is_encrypted && !registry.starts_with("http://") {
            bail!("--registry is an address such as https://plant.example:5000");
        }
        if ca.is_some() && !is_encrypted {
            bail!("--ca is for an address that begins with https://");
        }
        let authorities = ca.as_deref().map(verify::authorities).transpose()?;
        let config = Agent::config_builder()
            .tls_config(authorities.map(|it| it.tls()).unwrap_or_default())
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        let token = site::Token::read(token_file)?;
        let url = registry.trim_end_matches('/').to_owned();
        Ok(Self { url, token, agent: http_client::agent_for_one_server(config) })
    }

    /// What is at a path; `None` if there is nothing.
    pub(super) fn get(&self, path: &str, bytes_max: usize) -> Result<Option<Content>> {
        let url = format!("{}{path}", self.url);
        let asked = self.admitted(http_client::get(&self.agent, &url)).call();
        let mut answer = asked.with_context(|| url.clone())?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(refused(&url, &mut answer)),
        }
        let field = |name| answer.headers().get(name).and_then(|it| it.to_str().ok());
        let media_type = field(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let next = field(header::LINK).and_then(|link| link.strip_prefix('<')?.split_once('>'));
        let next = next.map(|(path, _)| path.to_owned());
        let read = answer.body_mut().with_config().limit(bytes_max as u64).read_to_vec();
        let bytes = read.with_context(|| format!("{url}: at most {bytes_max} bytes are read"))?;
        Ok(Some(Content { media_type, bytes, next }))
    }

    /// Sends something new to a path.
    pub(super) fn post(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let url = format!("{}{path}", self.url);
        created(&url, self.admitted(http_client::post(&self.agent, &url)).send(bytes))
    }

    /// Sends what a path is to have.
    pub(super) fn put(&self, path: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let url = format!("{}{path}", self.url);
        let request = self.admitted(http_client::put(&self.agent, &url));
        created(&url, request.header(header::CONTENT_TYPE, media_type).send(bytes))
    }

    fn admitted<Body>(&self, request: RequestBuilder<Body>) -> RequestBuilder<Body> {
        request.header(header::AUTHORIZATION, format!("Bearer {}", self.token.as_str()))
    }
}

fn created(url: &str, asked: Result<Response<Body>, ureq::Error>) -> Result<()> {
    let mut answer = asked.with_context(|| url.to_owned())?;
    match answer.status() {
        StatusCode::CREATED => Ok(()),
        _ => Err(refused(url, &mut answer)),
    }
}

/// What a registry says is wrong, in the form of the distribution specification.
fn refused(url: &str, answer: &mut Response<Body>) -> anyhow::Error {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Fault>,
    }
    #[derive(Deserialize)]
    struct Fault {
        message: String,
    }
    let mut words = format!("{url}: the registry answers with status {}", answer.status().as_u16());
    let body = answer.body_mut().with_config().limit(REFUSAL_BYTES_MAX).reader();
    let said: Result<Errors, _> = serde_json::from_reader(io::BufReader::new(body));
    for Fault { message } in said.into_iter().flat_map(|said| said.errors) {
        // Text from elsewhere, for a terminal.
        let message: String = message.chars().filter(|char| !char.is_control()).collect();
        let _infallible = write!(words, ": {message}");
    }
    anyhow::Error::msg(words)
}

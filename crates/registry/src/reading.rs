//! What the registry answers to those who pull.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use durable::disk::DiskFile;
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tracing::warn;
use work::Room;

use crate::{
    entrance::Reach,
    image::{Image, Images},
    limits::{PAGE_MAX, PIECE_BYTES, REFERRERS_AT_ONCE, REFERRERS_BYTES},
    manifest,
    name::{Digest, Pinned, Reference, Repository},
    range::Wanted,
    refusal::Refusal,
    store::Store,
    target::Target,
};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// Answers those who pull. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) own: Arc<Images>,
    pub(crate) store: Arc<Store>,
    pub(crate) lists: Room,
    /// What hosts may pull, beside the site's own images.
    wanted: Arc<RwLock<BTreeSet<Pinned>>>,
}

/// Parameters of lists.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Page {
    /// Most names on the page.
    n: Option<usize>,
    /// The last name on the page before.
    last: Option<String>,
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
}

impl Reading {
    pub(crate) fn new(own: Arc<Images>, store: Arc<Store>) -> Self {
        Self { own, store, lists: Room::of(REFERRERS_AT_ONCE), wanted: Arc::default() }
    }

    pub(crate) fn serve_hosts(&self, images: BTreeSet<Pinned>) {
        *self.wanted.write().unwrap_or_else(PoisonError::into_inner) = images;
    }

    /// Refuses what a caller may not pull.
    pub(crate) fn check_reach(&self, reach: Reach, target: &Target) -> Result<(), Refusal> {
        let is_wanted = |repository: &Repository, digest: &Digest| {
            let wanted = self.wanted.read().unwrap_or_else(PoisonError::into_inner);
            let roots = wanted.iter().filter(|it| it.repository == *repository);
            self.store.is_part_of(repository, roots.map(|it| it.digest).collect(), digest)
        };
        let may = match (reach, target) {
            (Reach::All, _) | (_, Target::Base) => true,
            (_, Target::Manifest(repository, Reference::Digest(digest))) => {
                let reference = Reference::Digest(*digest);
                self.own.find(repository, &reference).is_some() || is_wanted(repository, digest)
            }
            (_, Target::Blob(repository, digest)) => {
                self.own.blob(repository, digest).is_some() || is_wanted(repository, digest)
            }
            _ => false,
        };
        if may { Ok(()) } else { Err(Refusal::not_wanted()) }
    }

    pub(crate) async fn get(
        &self,
        target: Target,
        page: Page,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        match target {
            Target::Base => Ok(json_of(&json!({}))),
            Target::Catalog => {
                let mut names = self.store.repositories();
                names.extend(self.own.repositories().cloned());
                names.sort_unstable();
                let names = names.iter().map(Repository::as_str).collect();
                Ok(page.answer("/v2/_catalog", names, |names| json!({ "repositories": names })))
            }
            Target::Tags(repository) => {
                let own = self.own.tags(&repository).map(<[_]>::to_vec);
                let tags = own.or_else(|| self.store.tags(&repository));
                let mut tags = tags.ok_or_else(|| Refusal::no_repository(&repository))?;
                tags.sort_unstable();
                let tags = tags.iter().map(|tag| tag.as_str()).collect();
                let path = format!("/v2/{repository}/tags/list");
                Ok(page.answer(
                    &path,
                    tags,
                    |tags| json!({ "name": repository.as_str(), "tags": tags }),
                ))
            }
            Target::Manifest(repository, reference) => self.manifest(&repository, &reference).await,
            Target::Blob(repository, digest) => self.blob(&repository, &digest, headers).await,
            Target::Referrers(repository, subject) => {
                self.referrers(repository, subject, page).await
            }
            Target::Uploads(_) => Err(Refusal::method("POST")),
            Target::Upload(..) => Err(Refusal::method("GET, PATCH, PUT and DELETE")),
        }
    }

    /// Whether there is such a manifest.
    pub(crate) fn has(&self, repository: &Repository, reference: &Reference) -> bool {
        self.own.find(repository, reference).is_some()
            || self.store.manifest(repository, reference).is_some()
    }

    async fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Response, Refusal> {
        if let Some(Image { digest, manifest, .. }) = self.own.find(repository, reference) {
            return Ok(in_memory(manifest::IMAGE, digest, manifest, &HeaderMap::new()));
        }
        let found = self.store.manifest(repository, reference);
        let (digest, it) = found.ok_or_else(|| Refusal::no_manifest(repository, reference))?;
        self.on_disk(&it.media_type, digest, it.size, &HeaderMap::new()).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        if let Some(blob) = self.own.blob(repository, digest) {
            return Ok(in_memory(BYTES, digest, blob, headers));
        }
        // Content belongs to all repositories but the site's own.
        let size = if repository.is_own() { None } else { self.store.size(digest) };
        let size = size.ok_or_else(|| Refusal::no_blob(repository, digest))?;
        self.on_disk(BYTES, *digest, size, headers).await
    }

    async fn on_disk(
        &self,
        media_type: &str,
        digest: Digest,
        size: u64,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        let store = Arc::clone(&self.store);
        let opened = work::blocking((), move || store.open_content(&digest)).await;
        let file = opened.map_err(|panic| Refusal::internal(&panic))?;
        let file = file.map_err(|error| Refusal::disk(&error))?;
        Ok(content(media_type, &digest, size, headers, |from, to| {
            let whole = (from == 0 && to == size).then_some(digest);
            pieces(file, whole, from, to)
        }))
    }

    /// The manifests that say something about another one, as an index.
    async fn referrers(
        &self,
        repository: Repository,
        subject: Digest,
        page: Page,
    ) -> Result<Response, Refusal> {
        let last = page.last.as_deref().map(str::parse).transpose()?;
        let artifact_type = page.artifact_type;
        let (store, wanted) = (Arc::clone(&self.store), artifact_type.clone());
        let list = move || -> io::Result<_> {
            let (mut listed, mut bytes, mut next) = (Vec::new(), 0, None);
            for (digest, manifest) in store.referrers(&repository, &subject, last.as_ref()) {
                if wanted.is_some() && wanted != manifest.artifact_type {
                    continue;
                }
                if bytes >= REFERRERS_BYTES {
                    break;
                }
                let descriptor = manifest.descriptor(&digest, &store.read(&digest)?);
                bytes += descriptor.to_string().len();
                listed.push(descriptor);
                next = (bytes >= REFERRERS_BYTES).then_some(digest);
            }
            let link =
                next.map(|last| format!("</v2/{repository}/referrers/{subject}?last={last}"));
            Ok((listed, link))
        };
        let made =
            self.lists.blocking((), list).await.map_err(|panic| Refusal::internal(&panic))?;
        let (manifests, link) = made.map_err(|error| Refusal::disk(&error))?;
        let index =
            json!({ "schemaVersion": 2, "mediaType": manifest::INDEX, "manifests": manifests });
        let mut answer = json_of(&index);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(manifest::INDEX));
        if artifact_type.is_some() {
            let filtered = HeaderName::from_static("oci-filters-applied");
            headers.insert(filtered, HeaderValue::from_static("artifactType"));
        }
        let filter = artifact_type.map_or_else(String::new, |it| {
            let it: String = form_urlencoded::byte_serialize(it.as_bytes()).collect();
            format!("&artifactType={it}")
        });
        let link = link.map(|link| format!("{link}{filter}>; rel=\"next\""));
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            headers.insert(header::LINK, link);
        }
        Ok(answer)
    }
}

impl Page {
    /// A page of names, with a link to the next one if there are more.
    fn answer(&self, path: &str, names: Vec<&str>, list: impl Fn(&[&str]) -> Value) -> Response {
        let after = |name: &&&str| self.last.as_deref().is_none_or(|last| **name > last);
        let rest: Vec<_> = names.iter().filter(after).copied().collect();
        let size = self.n.unwrap_or(PAGE_MAX).min(PAGE_MAX).min(rest.len());
        let (page, more) = rest.split_at(size);
        let mut answer = json_of(&list(page));
        if let (Some(last), false) = (page.last(), more.is_empty()) {
            let link = format!("<{path}?n={size}&last={last}>; rel=\"next\"");
            let link = HeaderValue::try_from(link).expect("names have no special characters");
            answer.headers_mut().insert(header::LINK, link);
        }
        answer
    }
}

pub(crate) fn json_of(value: &Value) -> Response {
    let version = HeaderName::from_static("docker-distribution-api-version");
    ([(header::CONTENT_TYPE, JSON), (version, "registry/2.0")], value.to_string()).into_response()
}

fn in_memory(
    media_type: &str,
    digest: &Digest,
    bytes: &Arc<[u8]>,
    headers: &HeaderMap,
) -> Response {
    content(media_type, digest, bytes.len() as u64, headers, |from, to| {
        let bytes = Bytes::from_owner(Arc::clone(bytes));
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Body::from(bytes.slice(within(from)..within(to)))
    })
}

/// Content, or the part of it that the client asks for. `body` has the bytes from one place to
/// another.
fn content(
    media_type: &str,
    digest: &Digest,
    size: u64,
    headers: &HeaderMap,
    body: impl FnOnce(u64, u64) -> Body,
) -> Response {
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (status, from, to) = match range.map_or(Wanted::Whole, |text| Wanted::parse(text, size)) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { from, to } => (StatusCode::PARTIAL_CONTENT, from, to),
        Wanted::Nothing => {
            let unsatisfied = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response();
        }
    };
    let mut answer = body(from, to).into_response();
    *answer.status_mut() = status;
    let fields = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_LENGTH, (to - from).to_string()),
        (header::ACCEPT_RANGES, String::from("bytes")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let part = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| (header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", to - 1)));
    for (name, text) in fields.into_iter().chain(part) {
        let value = HeaderValue::try_from(text).expect("types, digests and numbers are text");
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Reads a file from one place to another while the client takes it, so that few bytes are in
/// memory. If it is read whole, the last piece is sent only if the digest is right, so nobody gets
/// all of what has changed on disk.
fn pieces(file: Arc<dyn DiskFile>, whole: Option<Digest>, from: u64, to: u64) -> Body {
    let begin = (file, from, Sha256::new());
    Body::from_stream(stream::try_unfold(begin, move |(file, at, mut hasher)| async move {
        let size = (to - at).min(PIECE_BYTES as u64);
        if size == 0 {
            return Ok::<_, io::Error>(None);
        }
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let reading = Arc::clone(&file);
        let read = work::blocking((), move || {
            let mut piece = vec![0; size];
            reading.read_exact_at(&mut piece, at)?;
            if let Some(digest) = whole {
                hasher.update(&piece);
                let is_last = at + piece.len() as u64 == to;
                if is_last && Digest::finish(hasher.clone()) != digest {
                    warn!(%digest, "content of the registry has changed on disk and is not served");
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            Ok::<_, io::Error>((piece, hasher))
        });
        let (piece, hasher) = read.await.map_err(io::Error::other)??;
        let at = at + piece.len() as u64;
        Ok(Some((Bytes::from(piece), (file, at, hasher))))
    }))
}

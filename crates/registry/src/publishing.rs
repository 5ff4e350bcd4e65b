//! What the registry does for those who push and delete.

use std::sync::Arc;

use access::{Gate, TokenDescription};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use ledger::Ledger;
use serde::Deserialize;
use work::{Owner, Room};

use crate::{
    limits::{BLOB_BYTES_MAX, FREE_BYTES_MIN, MANIFEST_BYTES_MAX, MANIFESTS_AT_ONCE, PIECE_BYTES},
    manifest::Manifest,
    name::{Digest, Reference, Repository, UploadId},
    range::Chunk,
    reading::CONTENT_DIGEST,
    refusal::Refusal,
    sealing,
    store::{Changing, Store},
    target::Target,
    uploads::{Uploads, Writing},
};

/// Answers those who push and delete. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    pub(crate) gate: Gate,
    pub(crate) ledger: Ledger,
    pub(crate) store: Arc<Store>,
    pub(crate) uploads: Arc<Uploads>,
    /// Completes what a client began and did not wait for.
    pub(crate) owner: Owner,
    manifests: Room,
}

/// Parameters of a push.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Parameters {
    digest: Option<String>,
    mount: Option<String>,
}

/// A request of a publisher.
pub(crate) struct Push {
    pub(crate) method: Method,
    pub(crate) publisher: TokenDescription,
    pub(crate) parameters: Parameters,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Publishing {
    pub(crate) fn new(gate: Gate, ledger: Ledger, store: Arc<Store>) -> Self {
        let (uploads, owner) = (Arc::default(), Owner::default());
        Self { gate, ledger, store, uploads, owner, manifests: Room::of(MANIFESTS_AT_ONCE) }
    }

    pub(crate) async fn obey(&self, target: Target, push: Push) -> Result<Response, Refusal> {
        if target.repository().is_some_and(Repository::is_own) {
            return Err(Refusal::own());
        }
        match (target, &push.method) {
            (Target::Manifest(repository, reference), &Method::PUT) => {
                self.publish(repository, reference, push).await
            }
            (Target::Manifest(repository, reference), &Method::DELETE) => {
                self.delete(repository, reference, push).await
            }
            (Target::Blob(repository, digest), &Method::DELETE) => {
                self.delete_content(repository, digest, push).await
            }
            (Target::Uploads(repository), &Method::POST) => self.begin(repository, push).await,
            (Target::Upload(repository, id), &Method::GET) => {
                let writing = self.uploads.take(id, &repository, &push.publisher.name)?;
                Ok(progress(StatusCode::NO_CONTENT, &repository, id, &writing))
            }
            (Target::Upload(repository, id), &Method::PATCH) => {
                self.continue_with(repository, id, push).await
            }
            (Target::Upload(repository, id), &Method::PUT) => {
                let digest = push.parameters.digest()?;
                let writing = self.uploads.take(id, &repository, &push.publisher.name)?;
                self.complete(repository, id, (writing, digest), push).await
            }
            (Target::Upload(repository, id), &Method::DELETE) => {
                let writing = self.uploads.take(id, &repository, &push.publisher.name)?;
                self.give_up(id, writing).await?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            (Target::Manifest(..), _) => Err(Refusal::method("GET, HEAD, PUT and DELETE")),
            (Target::Blob(..), _) => Err(Refusal::method("GET, HEAD and DELETE")),
            (Target::Uploads(_), _) => Err(Refusal::method("POST")),
            (Target::Upload(..), _) => Err(Refusal::method("GET, PATCH, PUT and DELETE")),
            (Target::Base | Target::Catalog | Target::Tags(_) | Target::Referrers(..), _) => {
                Err(Refusal::method("GET and HEAD"))
            }
        }
    }

    /// Begins an upload, takes it whole, or finds that there is nothing to send.
    async fn begin(&self, repository: Repository, push: Push) -> Result<Response, Refusal> {
        if let Some(mount) = &push.parameters.mount {
            // Content belongs to all repositories. If it is not here, the client sends it.
            let digest = mount.parse()?;
            if self.store.size(&digest).is_some() {
                return Ok(created(&format!("/v2/{repository}/blobs/{digest}"), &digest));
            }
        }
        let digest = push.parameters.digest.as_deref().map(str::parse).transpose()?;
        check_length(&push.headers, BLOB_BYTES_MAX)?;
        let (this, name, publisher) =
            (self.clone(), repository.clone(), push.publisher.name.clone());
        let began = work::blocking((), move || {
            this.store.check_free(FREE_BYTES_MIN)?;
            this.uploads.begin(&this.store, &name, &publisher)
        });
        let id = began.await.map_err(|panic| Refusal::internal(&panic))??;
        let writing = self.uploads.take(id, &repository, &push.publisher.name)?;
        match digest {
            Some(digest) => self.complete(repository, id, (writing, digest), push).await,
            None => Ok(progress(StatusCode::ACCEPTED, &repository, id, &writing)),
        }
    }

    /// Takes a chunk of an upload.
    async fn continue_with(
        &self,
        repository: Repository,
        id: UploadId,
        push: Push,
    ) -> Result<Response, Refusal> {
        let writing = self.uploads.take(id, &repository, &push.publisher.name)?;
        let chunk = match chunk_of(&push.headers)? {
            Some(chunk) if chunk.first != writing.len() => {
                let mut answer = Refusal::out_of_order(writing.len()).into_response();
                let next = progress(StatusCode::ACCEPTED, &repository, id, &writing);
                answer.headers_mut().extend(next.headers().clone());
                return Ok(answer);
            }
            chunk => chunk,
        };
        let begun_at = writing.len();
        let writing = self.receive(id, writing, &push.headers, push.body).await?;
        if chunk.is_some_and(|chunk| chunk.len() != Some(writing.len() - begun_at)) {
            self.give_up(id, writing).await?;
            let words = "the chunk has another size than its Content-Range says: begin again";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", words));
        }
        Ok(progress(StatusCode::ACCEPTED, &repository, id, &writing))
    }

    /// Takes the rest of an upload, and makes it content.
    async fn complete(
        &self,
        repository: Repository,
        id: UploadId,
        (writing, digest): (Writing, Digest),
        push: Push,
    ) -> Result<Response, Refusal> {
        if let Some(chunk) = chunk_of(&push.headers)?
            && chunk.first != writing.len()
        {
            return Err(Refusal::out_of_order(writing.len()));
        }
        let writing = self.receive(id, writing, &push.headers, push.body).await?;
        let this = self.clone();
        let finishing = self.owner.carry_out(async move {
            let _effect = this.effect(&push.publisher).await?;
            let changing = this.store.change().await;
            let finish = move || {
                let sent = (&writing, &digest);
                this.uploads.finish(&this.store, &changing, id, sent)
            };
            work::blocking((), finish).await.map_err(|panic| Refusal::internal(&panic))?
        });
        finishing.await.map_err(|panic| Refusal::internal(&panic))??;
        Ok(created(&format!("/v2/{repository}/blobs/{digest}"), &digest))
    }

    /// Writes a body to an upload piece by piece. If the client goes away, what came stays.
    async fn receive(
        &self,
        id: UploadId,
        mut writing: Writing,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Writing, Refusal> {
        check_length(headers, BLOB_BYTES_MAX - writing.len().min(BLOB_BYTES_MAX))?;
        let mut frames = body.into_data_stream();
        let mut piece = Vec::new();
        loop {
            let frame = frames.next().await;
            let is_last = frame.is_none();
            let broken = match frame {
                Some(Ok(bytes)) => {
                    piece.extend_from_slice(&bytes);
                    None
                }
                Some(Err(error)) => Some(error),
                None => None,
            };
            if piece.len() >= PIECE_BYTES || is_last || broken.is_some() {
                let store = Arc::clone(&self.store);
                let full = std::mem::take(&mut piece);
                let append = move || {
                    let appended = store
                        .check_free(FREE_BYTES_MIN)
                        .and_then(|()| writing.append(&store, &full));
                    (writing, appended)
                };
                let (held, appended) =
                    work::blocking((), append).await.map_err(|panic| Refusal::internal(&panic))?;
                writing = held;
                if let Err(refusal) = appended {
                    self.give_up(id, writing).await?;
                    return Err(refusal);
                }
            }
            if let Some(error) = broken {
                let words = format!("the body broke off: {error}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", words));
            }
            if is_last {
                return Ok(writing);
            }
        }
    }

    async fn give_up(&self, id: UploadId, writing: Writing) -> Result<(), Refusal> {
        let (store, uploads) = (Arc::clone(&self.store), Arc::clone(&self.uploads));
        let ending = work::blocking((), move || uploads.end(&store, id, &writing));
        ending.await.map_err(|panic| Refusal::internal(&panic))
    }

    /// Takes a manifest, seals that it was published, and shows it.
    async fn publish(
        &self,
        repository: Repository,
        reference: Reference,
        push: Push,
    ) -> Result<Response, Refusal> {
        check_length(&push.headers, MANIFEST_BYTES_MAX as u64)?;
        let media_type = push.headers.get(header::CONTENT_TYPE);
        let media_type = media_type.and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        let place = self.manifests.place().await;
        let bytes = axum::body::to_bytes(push.body, MANIFEST_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| {
            let words = format!(
                "a manifest has at most {MANIFEST_BYTES_MAX} bytes, and must arrive: {error}"
            );
            Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", words)
        })?;
        let (this, named) = (self.clone(), (repository.clone(), reference.clone()));
        let publishing = self.owner.carry_out(async move {
            let _place = place;
            // It is not revoked while this goes on.
            let _effect = this.effect(&push.publisher).await?;
            let changing = Arc::new(this.store.change().await);
            let (store, held, (name, by)) =
                (Arc::clone(&this.store), Arc::clone(&changing), named.clone());
            let prepare = move || {
                store.check_free(FREE_BYTES_MIN)?;
                let manifest = Manifest::parse(&media_type, &bytes)?;
                store.prepare(&held, &name, &by, (manifest, &bytes))
            };
            let prepared = work::blocking((), prepare).await;
            let prepared = prepared.map_err(|panic| Refusal::internal(&panic))??;
            let (digest, subject) = (prepared.digest, prepared.subject);
            let mut leaf = None;
            if let (name, Reference::Tag(tag)) = &named {
                let change = (prepared.before, digest);
                let sealed =
                    sealing::published(&this.ledger, &push.publisher.name, (name, tag), change);
                leaf = Some(sealed.await.map_err(|failure| Refusal::not_sealed(&failure))?);
            }
            let store = Arc::clone(&this.store);
            let commit = work::blocking((), move || store.commit(&changing, prepared, leaf));
            commit.await.map_err(|panic| Refusal::internal(&panic))??;
            Ok::<_, Refusal>((digest, subject))
        });
        let done = publishing.await.map_err(|panic| Refusal::internal(&panic))?;
        let (digest, subject) = done?;
        let mut answer = created(&format!("/v2/{repository}/manifests/{reference}"), &digest);
        if let Some(subject) = subject {
            let subject = HeaderValue::try_from(subject.to_string()).expect("a digest is text");
            answer.headers_mut().insert("oci-subject", subject);
        }
        Ok(answer)
    }

    /// Seals that a manifest or a tag is deleted, and deletes it.
    async fn delete(
        &self,
        repository: Repository,
        reference: Reference,
        push: Push,
    ) -> Result<Response, Refusal> {
        let publisher = push.publisher.name.clone();
        self.change(push, async move |this, changing| {
            let found = this.store.to_delete(&repository, &reference)?;
            sealing::deleted(&this.ledger, &publisher, (&repository, &reference), found)
                .await
                .map_err(|failure| Refusal::not_sealed(&failure))?;
            let delete = move || this.store.delete(&changing, &repository, &reference);
            work::blocking((), delete).await.map_err(|panic| Refusal::internal(&panic))?
        })
        .await
    }

    /// Deletes content that no manifest needs.
    async fn delete_content(
        &self,
        repository: Repository,
        digest: Digest,
        push: Push,
    ) -> Result<Response, Refusal> {
        self.change(push, async move |this, changing| {
            let delete = move || this.store.delete_content(&changing, &repository, &digest);
            work::blocking((), delete).await.map_err(|panic| Refusal::internal(&panic))?
        })
        .await
    }

    /// Changes the store, and completes the change whether or not its client waits.
    async fn change<F: Future<Output = Result<(), Refusal>> + Send + 'static>(
        &self,
        push: Push,
        change: impl FnOnce(Self, Changing) -> F + Send + 'static,
    ) -> Result<Response, Refusal> {
        let this = self.clone();
        let changing = self.owner.carry_out(async move {
            let _effect = this.effect(&push.publisher).await?;
            let changing = this.store.change().await;
            change(this.clone(), changing).await
        });
        changing.await.map_err(|panic| Refusal::internal(&panic))??;
        Ok(StatusCode::ACCEPTED.into_response())
    }

    async fn effect(&self, publisher: &TokenDescription) -> Result<access::Effect, Refusal> {
        let effect = self.gate.effect(publisher).await;
        effect.ok_or_else(|| access::Refusal::Wrong.into())
    }
}

impl Parameters {
    fn digest(&self) -> Result<Digest, Refusal> {
        Ok(self.digest.as_deref().unwrap_or_default().parse()?)
    }
}

/// The chunk that a request says it carries.
fn chunk_of(headers: &HeaderMap) -> Result<Option<Chunk>, Refusal> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let chunk = value.to_str().ok().and_then(Chunk::parse);
    chunk.map(Some).ok_or_else(|| {
        let words = "Content-Range must be `<first>-<last>`, as in `0-1023`";
        Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", words)
    })
}

/// Refuses a body that says that it is too large, before anything is read.
fn check_length(headers: &HeaderMap, max: u64) -> Result<(), Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let is_fine = length.is_none_or(|text| text.parse::<u64>().is_ok_and(|length| length <= max));
    if is_fine { Ok(()) } else { Err(Refusal::too_large()) }
}

/// The answer about an upload that is under way.
fn progress(
    status: StatusCode,
    repository: &Repository,
    id: UploadId,
    writing: &Writing,
) -> Response {
    // The specification has no range for nothing. This is what clients expect.
    let last = writing.len().saturating_sub(1);
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/blobs/uploads/{id}")),
        (header::RANGE, format!("0-{last}")),
    ];
    (status, headers).into_response()
}

fn created(location: &str, digest: &Digest) -> Response {
    let headers = [(header::LOCATION, location.to_owned()), (CONTENT_DIGEST, digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}

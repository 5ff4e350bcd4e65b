//! Signs images in a site's registry, and shows who signed one.

use anyhow::{Context as _, Result, bail};
use registry::{MANIFEST_BYTES_MAX, Pinned, SIGNATURE, SIGNATURE_BYTES_MAX, SignatureArtifact};
use serde::Deserialize;
use tlog::{Hash, Signer, VerifierKey};

use super::remote::Remote;
use crate::output;

/// Most signatures that are looked at. A registry has no more than a few of an image, unless
/// somebody pushes them to hide others.
const SIGNATURES_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Artifact {
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// Signs an image that the registry has, and pushes the signature beside it.
pub(super) fn sign(image: &Pinned, signer: &Signer, remote: &Remote) -> Result<()> {
    let (repository, digest) = (image.repository(), image.digest());
    let path = format!("/v2/{repository}/manifests/{digest}");
    let manifest = remote.get(&path, MANIFEST_BYTES_MAX)?;
    let manifest = manifest.with_context(|| format!("the registry does not have {image}"))?;
    if format!("sha256:{}", Hash::sha256(&manifest.bytes)) != digest {
        bail!("the registry shows something else under {digest}");
    }
    let subject = (manifest.media_type.as_str(), manifest.bytes.len() as u64);
    let made = SignatureArtifact::new(image, subject, &image.sign(signer));
    for (digest, bytes) in &made.blobs {
        remote.post(&format!("/v2/{repository}/blobs/uploads/?digest={digest}"), bytes)?;
    }
    let (digest, bytes) = &made.manifest;
    let path = format!("/v2/{repository}/manifests/{digest}");
    remote.put(&path, SignatureArtifact::MEDIA_TYPE, bytes)?;
    output::line(&format!("{image} signed by {}", signer.vkey()));
    Ok(())
}

/// Shows who signed an image. Fails if one of these keys did not.
pub(super) fn show(image: &Pinned, keys: &[VerifierKey], remote: &Remote) -> Result<()> {
    let notes = notes(image, remote)?;
    let mut missing: Vec<_> = keys.iter().collect();
    for note in &notes {
        if let Some(key) = image.signer(note, keys) {
            if missing.contains(&key) {
                output::line(&format!("  ok  {key}"));
            }
            missing.retain(|it| *it != key);
        } else if let Some(claim) = image.claim(note) {
            for signature in claim.signatures() {
                let (name, id) = (signature.name.as_str(), signature.id);
                output::line(&format!("  not checked  {name} (key {id})"));
            }
        }
    }
    for key in &missing {
        output::line(&format!("  MISSING  {key}"));
    }
    match missing.len() {
        0 if notes.is_empty() => output::line("nobody signed it"),
        0 => {}
        count => bail!("{count} of the named keys did not sign {image}"),
    }
    Ok(())
}

/// The texts that are kept as signatures of an image.
fn notes(image: &Pinned, remote: &Remote) -> Result<Vec<String>> {
    let repository = image.repository();
    let mut next =
        Some(format!("/v2/{repository}/referrers/{}?artifactType={SIGNATURE}", image.digest()));
    let mut notes = Vec::new();
    while let Some(path) = next {
        let unknown = || format!("the registry does not answer {path} as registries do");
        // A page is larger than this by one entry at most.
        let page = remote.get(&path, 2 * MANIFEST_BYTES_MAX)?.with_context(unknown)?;
        let index: Index = serde_json::from_slice(&page.bytes).with_context(unknown)?;
        next = page.next.filter(|_| !index.manifests.is_empty());
        for Descriptor { digest } in index.manifests {
            if notes.len() == SIGNATURES_MAX {
                output::note(&format!("only the first {SIGNATURES_MAX} signatures are looked at"));
                return Ok(notes);
            }
            let named = format!("{repository}@{digest}").parse::<Pinned>().with_context(unknown)?;
            let path = format!("/v2/{repository}/manifests/{}", named.digest());
            let Some(artifact) = remote.get(&path, MANIFEST_BYTES_MAX)? else { continue };
            let Ok(artifact) = serde_json::from_slice::<Artifact>(&artifact.bytes) else {
                continue;
            };
            let [Descriptor { digest }] = artifact.layers.as_slice() else { continue };
            let Ok(layer) = format!("{repository}@{digest}").parse::<Pinned>() else { continue };
            let path = format!("/v2/{repository}/blobs/{}", layer.digest());
            // What is larger, or is gone, is no signature.
            let Ok(Some(note)) = remote.get(&path, SIGNATURE_BYTES_MAX) else { continue };
            notes.extend(String::from_utf8(note.bytes));
        }
    }
    Ok(notes)
}

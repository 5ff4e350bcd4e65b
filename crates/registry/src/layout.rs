//! Images as a folder in the OCI image layout (OCI image specification 1.1, "Image Layout"), which
//! `oras`, `crane` and others copy from. A machine without a network gets images so.

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{image::Image, manifest};

/// What the file `oci-layout` says.
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Writes the images to a new folder. Its index names each as `<repository>:<version>`.
///
/// # Errors
/// The folder exists, or cannot be written.
pub fn write(folder: &Path, images: &[Image]) -> Result<(), LayoutError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LayoutError { path, source }
    };
    DirBuilder::new().create(folder).map_err(failed(folder))?;
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
    let mut manifests: Vec<Value> = Vec::new();
    for image in images {
        for (digest, bytes) in image.contents() {
            let path = blobs.join(digest.hex());
            fs::write(&path, bytes).map_err(failed(&path))?;
        }
        manifests.push(json!({
            "mediaType": manifest::IMAGE,
            "digest": image.digest(),
            "size": image.manifest.len(),
            "annotations": { "org.opencontainers.image.ref.name": image.name() },
        }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": manifest::INDEX, "manifests": manifests });
    // The index comes last: without one, the folder is no layout.
    for (name, text) in [("oci-layout", LAYOUT.to_owned()), ("index.json", index.to_string())] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Images cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct LayoutError {
    path: PathBuf,
    source: io::Error,
}

//! `sealwire component push`: publishes a user's component in a site's registry.

use anyhow::Result;
use model::processing::ProcessorName;
use registry::Image;

use super::{remote::Remote, world};
use crate::{cli::PushArguments, output};

pub(super) fn run(arguments: &PushArguments) -> Result<()> {
    let PushArguments { component, name, registry } = arguments;
    let image = Image::published(name, &world::read(component)?);
    let remote = Remote::new(registry)?;
    let repository = name.repository();
    for (digest, bytes) in image.blobs() {
        remote.post(&format!("/v2/{repository}/blobs/uploads/?digest={digest}"), bytes)?;
    }
    let path = format!("/v2/{repository}/manifests/{}", name.tag());
    remote.put(&path, Image::MEDIA_TYPE, image.manifest())?;
    output::note(&format!("sealwire: {name} is published; the file of processors needs:"));
    output::line("[[processor]]");
    output::line(&format!("name = \"{}\"", processor(name.last_word())));
    output::line(&format!("image = \"{}\"", image.reference()));
    Ok(())
}

/// The name of a processor that is nearest to the last word of a repository's name.
fn processor(word: &str) -> String {
    word.replace(['.', '_'], "-").chars().take(ProcessorName::CHARS_MAX).collect()
}

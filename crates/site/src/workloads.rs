//! The workloads for the hosts: our components, and the configuration of each.

use std::sync::Arc;

use engine::wash_host::{GROUP, GUESTS_GROUP};
use lattice::{Component, Deployment, HostInterface, Replicas, Workload, desired::BuiltIn};
use model::{derive, mirror, submission};
use page_http::WorkloadName;
use registry::Image;

use crate::{
    mirror::Mirror,
    processors::{Processor, Processors},
};

/// Name of the component that judges readings.
pub(crate) const SENSOR_READER: &str = "sensor-reader";
/// Name of the component that checks events of applications.
pub(crate) const EVENT_LOGGER: &str = "event-logger";
const HTTP_GATEWAY: &str = "http-gateway";
/// Name of the component that calls the mirror's server.
pub(crate) const PANGEA_API: &str = "pangea-api";
const UI: &str = "ui";
/// Name of the workload that shows the page.
pub(crate) const WEB: &str = "web";

/// What the names of processors' workloads begin with.
const PROCESSOR: &str = "processor-";

/// Names of the components that a site runs, `pangea-api` only if it has a mirror.
pub const COMPONENTS: [&str; 5] = [SENSOR_READER, EVENT_LOGGER, HTTP_GATEWAY, PANGEA_API, UI];

const HTTP: (&str, &str, &str) = ("wasi", "http", "0.2.0");
const MESSAGING: (&str, &str, &str) = ("wasmcloud", "messaging", "0.2.0");
const CONFIG: (&str, &str, &str) = ("wasi", "config", "0.2.0-rc.1");

/// Makes images of components, given as name and bytes.
#[must_use]
pub fn images(components: &[(String, Vec<u8>)]) -> Vec<Image> {
    let version = env!("CARGO_PKG_VERSION");
    components.iter().map(|(name, bytes)| Image::new(name, version, bytes)).collect()
}

/// Components that answer questions of the site, with their digest.
pub(crate) const ANSWERING: [&str; 3] = [SENSOR_READER, EVENT_LOGGER, PANGEA_API];

/// What the site runs of its own accord.
pub(crate) fn built_in(workloads: Vec<Workload>, processors: &Processors) -> BuiltIn {
    BuiltIn {
        deployments: workloads.into_iter().map(everywhere).collect(),
        // The command line says which images these have.
        fixed: processors.iter().map(processing).collect(),
        // The page's port asks the site's own host.
        everywhere: [HTTP_GATEWAY, UI].map(String::from).to_vec(),
        digest_key: derive::DIGEST_KEY,
    }
}

/// A workload that every host of the site runs.
pub(crate) fn everywhere(workload: Workload) -> Deployment {
    on_all_of(GROUP, workload)
}

/// A workload that every host of a group runs.
fn on_all_of(group: &str, workload: Workload) -> Deployment {
    Deployment {
        workload: Arc::new(workload),
        replicas: Replicas::EveryHost,
        group: String::from(group),
    }
}

/// The workloads. `page` is the host name by which the host routes to the page; `fields` says in
/// JSON which fields the log's events may have.
///
/// # Errors
/// The name of a component of which there is no image.
pub(crate) fn workloads(
    images: &[Image],
    page: &WorkloadName,
    fields: &str,
) -> Result<Vec<Workload>, &'static str> {
    let gateway = Component::new(HTTP_GATEWAY, image(images, HTTP_GATEWAY)?.reference(), &[]);
    let ui = Component::new(UI, image(images, UI)?.reference(), &[]);
    // A host routes by the request's host name, and only the page's port knows this one.
    let page_name = [("host", page.as_str())];
    let web = Workload::new(
        WEB,
        vec![gateway, ui],
        vec![
            HostInterface::new(HTTP, &["incoming-handler"], &page_name),
            HostInterface::new(MESSAGING, &["consumer"], &[]),
        ],
    );
    // The page's port asks this machine's host alone.
    let web = web.for_own_host();
    Ok(vec![judging(images)?, checking(images, fields)?, web])
}

/// The workload that judges readings.
///
/// # Errors
/// As [`workloads`].
pub(crate) fn judging(images: &[Image]) -> Result<Workload, &'static str> {
    let reader = image(images, SENSOR_READER)?;
    let config = [(derive::DIGEST_KEY, &*reader.digest())];
    let reader = Component::new(SENSOR_READER, reader.reference(), &config).taking(derive::SUBJECT);
    Ok(Workload::new(
        SENSOR_READER,
        vec![reader],
        vec![
            HostInterface::new(MESSAGING, &["consumer", "handler"], &[]),
            HostInterface::new(CONFIG, &["store"], &[]),
        ],
    ))
}

/// Whether a workload is that of a user's processor. The site is ready without it.
pub(crate) fn is_processor(workload: &str) -> bool {
    workload.starts_with(PROCESSOR)
}

/// A user's processor, which every guests' host runs.
pub(crate) fn processing(Processor { name, image, .. }: &Processor) -> Deployment {
    let workload = format!("{PROCESSOR}{name}");
    let config = [(derive::DIGEST_KEY, image.digest())];
    let component = Component::new(&workload, image.reference(), &config).taking(&name.subject());
    let workload = Workload::new(
        &workload,
        vec![component],
        vec![
            HostInterface::new(MESSAGING, &["consumer", "handler"], &[]),
            HostInterface::new(CONFIG, &["store"], &[]),
        ],
    );
    on_all_of(GUESTS_GROUP, workload)
}

/// The workload that checks events of applications.
pub(crate) fn checking(images: &[Image], fields: &str) -> Result<Workload, &'static str> {
    let logger = image(images, EVENT_LOGGER)?;
    let digest = logger.digest();
    let config = [(derive::DIGEST_KEY, &*digest), (submission::SCHEMA_KEY, fields)];
    let logger = Component::new(EVENT_LOGGER, logger.reference(), &config);
    Ok(Workload::new(
        EVENT_LOGGER,
        vec![logger.taking(submission::SUBJECT)],
        vec![
            HostInterface::new(MESSAGING, &["consumer", "handler"], &[]),
            HostInterface::new(CONFIG, &["store"], &[]),
        ],
    ))
}

/// Digest of the component that checks events of applications.
///
/// # Errors
/// As [`workloads`].
pub(crate) fn logger_digest(images: &[Image]) -> Result<String, &'static str> {
    Ok(image(images, EVENT_LOGGER)?.digest())
}

/// The workload that calls a mirror's server. The host lets it call that server alone.
///
/// # Errors
/// As [`workloads`].
pub(crate) fn mirroring(images: &[Image], to: &Mirror) -> Result<Workload, &'static str> {
    let api = image(images, PANGEA_API)?;
    let digest = api.digest();
    let config = [
        (derive::DIGEST_KEY, &*digest),
        (mirror::ENDPOINT_KEY, to.endpoint.as_str()),
        (mirror::TOKEN_KEY, to.token.as_str()),
    ];
    let component = Component::new(PANGEA_API, api.reference(), &config)
        .taking(mirror::SUBJECT)
        .allowed_to_call(to.endpoint.origin());
    let workload = Workload::new(
        PANGEA_API,
        vec![component],
        vec![
            HostInterface::new(HTTP, &["outgoing-handler"], &[]),
            HostInterface::new(MESSAGING, &["consumer", "handler"], &[]),
            HostInterface::new(CONFIG, &["store"], &[]),
        ],
    );
    // The token of its configuration goes to no other machine.
    Ok(workload.for_own_host())
}

/// Digest of the component that judges readings.
///
/// # Errors
/// As [`workloads`].
pub(crate) fn reader_digest(images: &[Image]) -> Result<String, &'static str> {
    Ok(image(images, SENSOR_READER)?.digest())
}

fn image<'a>(images: &'a [Image], name: &'static str) -> Result<&'a Image, &'static str> {
    images.iter().find(|image| image.is_of(name)).ok_or(name)
}

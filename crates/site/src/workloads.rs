//! The workloads for the hosts: our components, and the configuration of each.

use lattice::{Component, HostInterface, Image, Registry, Workload};
use model::derive;
use page_http::WorkloadName;

/// Name of the component that judges readings.
pub(crate) const SENSOR_READER: &str = "sensor-reader";
const HTTP_GATEWAY: &str = "http-gateway";
const UI: &str = "ui";

/// Names of the components that a site runs.
pub const COMPONENTS: [&str; 3] = [SENSOR_READER, HTTP_GATEWAY, UI];

const HTTP: (&str, &str, &str) = ("wasi", "http", "0.2.0");
const MESSAGING: (&str, &str, &str) = ("wasmcloud", "messaging", "0.2.0");
const CONFIG: (&str, &str, &str) = ("wasi", "config", "0.2.0-rc.1");

/// Makes images of components, given as name and bytes.
pub(crate) fn images(components: &[(String, Vec<u8>)]) -> Vec<Image> {
    components.iter().map(|(name, bytes)| Image::new(name, bytes)).collect()
}

/// The workloads. `page` is the host name by which the host routes to the page.
///
/// # Errors
/// The name of a component that the registry does not have.
pub(crate) fn workloads(
    registry: &Registry,
    page: &WorkloadName,
) -> Result<Vec<Workload>, &'static str> {
    let image = |name| registry.image(name).ok_or(name);
    let (reader, reader_image) = image(SENSOR_READER)?;
    let reader = Component::new(
        SENSOR_READER,
        reader_image,
        &[("subscriptions", derive::SUBJECT), (derive::DIGEST_KEY, reader.digest())],
    );
    let judging = Workload::new(
        SENSOR_READER,
        vec![reader],
        vec![
            HostInterface::new(MESSAGING, &["consumer", "handler"], &[]),
            HostInterface::new(CONFIG, &["store"], &[]),
        ],
    );
    let gateway = Component::new(HTTP_GATEWAY, image(HTTP_GATEWAY)?.1, &[]);
    let ui = Component::new(UI, image(UI)?.1, &[]);
    // A host routes by the request's host name, and only the page's port knows this one.
    let page_name = [("host", page.as_str())];
    let web = Workload::new(
        "web",
        vec![gateway, ui],
        vec![
            HostInterface::new(HTTP, &["incoming-handler"], &page_name),
            HostInterface::new(MESSAGING, &["consumer"], &[]),
        ],
    );
    Ok(vec![judging, web])
}

//! What a host is asked to run, in the words of wasmCloud's control API (`wasmcloud.runtime.v2`, as
//! JSON).

use std::collections::BTreeMap;

use serde::Serialize;

/// Components that run together, linked to each other and to the host.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Whose it is.
    pub namespace: String,
    /// Its name. Workloads of one name on several hosts share their messages.
    pub name: String,
    /// What it is made of.
    pub wit_world: WitWorld,
}

/// The parts of a workload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WitWorld {
    /// The components.
    pub components: Vec<Component>,
    /// What the host gives them.
    pub host_interfaces: Vec<HostInterface>,
}

/// One component of a workload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Where its image is, by digest.
    pub image: String,
    /// Instances the host keeps at hand.
    pub pool_size: i32,
    /// What it is told.
    pub local_resources: LocalResources,
}

/// What a component is told.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LocalResources {
    /// Key by key; `subscriptions` is the host's own.
    pub config: BTreeMap<String, String>,
}

/// An interface of the host that a workload may use.
#[derive(Clone, Debug, Serialize)]
pub struct HostInterface {
    /// E.g. `wasi`.
    pub namespace: String,
    /// E.g. `http`.
    pub package: String,
    /// E.g. `0.2.0`.
    pub version: String,
    /// E.g. `incoming-handler`.
    pub interfaces: Vec<String>,
    /// What the host is told, e.g. which host names are the workload's.
    pub config: BTreeMap<String, String>,
}

impl Workload {
    /// A workload of these components, which use these interfaces of the host.
    #[must_use]
    pub fn new(
        name: &str,
        components: Vec<Component>,
        host_interfaces: Vec<HostInterface>,
    ) -> Self {
        Self {
            namespace: String::from("sealwire"),
            name: String::from(name),
            wit_world: WitWorld { components, host_interfaces },
        }
    }
}

impl Component {
    /// A component under its name, with what it is told.
    #[must_use]
    pub fn new(name: &str, image: String, config: &[(&str, &str)]) -> Self {
        Self {
            name: String::from(name),
            image,
            pool_size: 1,
            local_resources: LocalResources { config: pairs(config) },
        }
    }
}

impl HostInterface {
    /// `namespace:package/interfaces@version` with what the host is told.
    #[must_use]
    pub fn new(
        (namespace, package, version): (&str, &str, &str),
        interfaces: &[&str],
        config: &[(&str, &str)],
    ) -> Self {
        Self {
            namespace: String::from(namespace),
            package: String::from(package),
            version: String::from(version),
            interfaces: interfaces.iter().copied().map(String::from).collect(),
            config: pairs(config),
        }
    }
}

fn pairs(config: &[(&str, &str)]) -> BTreeMap<String, String> {
    config.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect()
}

//! What a host is asked to run, in the types of wasmCloud's control API (`wasmcloud.runtime.v2`, as
//! JSON).

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// Components that run together, linked to each other and to the host.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload. Workloads of the same name on several hosts share their messages.
    pub name: String,
    /// The components and interfaces of the workload.
    pub wit_world: WitWorld,
}

/// The components and interfaces of a workload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WitWorld {
    /// Components to run.
    pub components: Vec<Component>,
    /// Host interfaces that the components use.
    pub host_interfaces: Vec<HostInterface>,
}

/// One component of a workload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Name of the component.
    pub name: String,
    /// Reference of the image, with its digest.
    pub image: String,
    /// Number of instances that the host keeps ready.
    pub pool_size: i32,
    /// Configuration of the component.
    pub local_resources: LocalResources,
}

/// Configuration of a component.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalResources {
    /// Values by key. The host interprets the key `subscriptions` itself.
    pub config: BTreeMap<String, String>,
    /// Servers that the component may call, each as scheme, host and port; none if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
}

impl fmt::Debug for LocalResources {
    /// Omits the values: some are secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalResources")
            .field("config", &self.config.keys())
            .field("allowed_hosts", &self.allowed_hosts)
            .finish()
    }
}

/// A host interface that a workload may use.
#[derive(Clone, Debug, Serialize)]
pub struct HostInterface {
    /// Namespace, for example `wasi`.
    pub namespace: String,
    /// Package, for example `http`.
    pub package: String,
    /// Version, for example `0.2.0`.
    pub version: String,
    /// Interfaces of the package, for example `incoming-handler`.
    pub interfaces: Vec<String>,
    /// Configuration of the interface, for example the host names of the workload.
    pub config: BTreeMap<String, String>,
}

impl Workload {
    /// A workload with these components, which use these host interfaces.
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
    /// A component with its name, image and configuration.
    #[must_use]
    pub fn new(name: &str, image: String, config: &[(&str, &str)]) -> Self {
        Self {
            name: String::from(name),
            image,
            pool_size: 1,
            local_resources: LocalResources { config: pairs(config), ..LocalResources::default() },
        }
    }

    /// The same component, which may call this server.
    #[must_use]
    pub fn allowed_to_call(mut self, server: &str) -> Self {
        self.local_resources.allowed_hosts.push(String::from(server));
        self
    }
}

impl HostInterface {
    /// `namespace:package/interfaces@version`, with its configuration.
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

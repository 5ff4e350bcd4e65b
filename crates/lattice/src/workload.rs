//! What a host is asked to run, in the types of wasmCloud's control API (`wasmcloud.runtime.v2`, as
//! JSON), and how many hosts are.

use std::{collections::BTreeMap, fmt, num::NonZeroU16, sync::Arc};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::heartbeat::HostId;

/// Bytes of the hash in an id: enough that no two workloads of a site ever have the same.
const ID_HASH_BYTES: usize = 8;
/// Key of a component's configuration in which the host finds the subjects that it hears.
const SUBSCRIPTIONS: &str = "subscriptions";
/// Key of an interface's configuration in which the host finds the name for HTTP requests.
const HOST_NAME: &str = "host";

/// A workload, and where it is to run.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The workload.
    pub workload: Arc<Workload>,
    /// How many hosts are to run it.
    pub replicas: Replicas,
    /// The group of hosts that may.
    pub group: String,
}

impl Deployment {
    /// Whether it is for this host, which is in this group.
    pub(crate) fn is_for(&self, host: &HostId, group: &str) -> bool {
        self.group == group && (host.is_own() || !self.workload.is_for_own_host)
    }
}

/// How many hosts are to run a workload. None runs it twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replicas {
    /// So many, or all if there are fewer.
    Number(NonZeroU16),
    /// Every host of the group.
    EveryHost,
}

/// The id under which hosts know a workload: its name and a hash of all that is asked for. So who
/// runs this id runs exactly that.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct InstanceId(String);

impl InstanceId {
    /// An id that no workload has.
    pub(crate) fn of_nothing() -> Self {
        Self(String::from("nothing"))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Components that run together, linked to each other and to the host.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload.
    pub name: String,
    /// The components and interfaces of the workload.
    pub wit_world: WitWorld,
    /// Whether only the host that the site itself starts may run it.
    #[serde(skip)]
    is_for_own_host: bool,
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
    /// Repository of the image and its digest, without the address of a registry.
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
    /// Values by key. The host interprets some keys itself, such as `subscriptions`.
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
            is_for_own_host: false,
        }
    }

    /// Whether only the host that the site itself starts may run it.
    #[must_use]
    pub const fn is_for_own_host(&self) -> bool {
        self.is_for_own_host
    }

    /// The same workload, which no host on another machine may run.
    #[must_use]
    pub const fn for_own_host(mut self) -> Self {
        self.is_for_own_host = true;
        self
    }

    /// The same workload under another name, beside the true one: it hears this subject alone, and
    /// answers HTTP under a name of its own, `label` and the true one's.
    pub(crate) fn aside(&self, name: String, subject: &str, label: &str) -> Self {
        let mut aside = Self { name, ..self.clone() };
        for component in &mut aside.wit_world.components {
            if let Some(subjects) = component.local_resources.config.get_mut(SUBSCRIPTIONS) {
                subject.clone_into(subjects);
            }
        }
        for interface in &mut aside.wit_world.host_interfaces {
            if let Some(host) = interface.config.get_mut(HOST_NAME) {
                *host = format!("{label}.{host}");
            }
        }
        aside
    }

    /// The id under which hosts know it.
    #[must_use]
    pub fn instance_id(&self) -> InstanceId {
        let json = serde_json::to_vec(self).expect("a workload has only text keys");
        let hash = hex::encode(Sha256::digest(json).get(..ID_HASH_BYTES).unwrap_or_default());
        InstanceId(format!("{}-{hash}", self.name))
    }

    /// The same workload with images from this registry. Its address is no part of what is asked
    /// for: it is another one at each start.
    pub(crate) fn pulled_from(&self, registry: &str) -> Self {
        let mut pulled = self.clone();
        for component in &mut pulled.wit_world.components {
            component.image = format!("{registry}/{}", component.image);
        }
        pulled
    }
}

impl Component {
    /// Package of the interface with which a component reads its configuration.
    pub(crate) const CONFIG_PACKAGE: &str = "config";

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

    /// The same component, which takes the messages on this subject. Wherever a component of its
    /// name takes them, one of all those takes each.
    #[must_use]
    pub fn taking(mut self, subject: &str) -> Self {
        // By default a host names the group after the workload, and an operator of Kubernetes calls
        // each replica differently: then each of them would take each message.
        let keys = [("subscriptions", subject), ("consumer_group", &self.name)];
        self.local_resources.config.extend(pairs(&keys));
        self
    }

    /// Digest of the image.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.image.split_once('@').map(|(_, digest)| digest)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(image: &str, config: &[(&str, &str)]) -> Workload {
        let component = Component::new("reader", String::from(image), config);
        Workload::new("judging", vec![component], vec![])
    }

    #[test]
    fn an_id_follows_from_the_content_and_from_nothing_else() {
        let workload_a = workload("a@sha256:1", &[("k", "v")]);
        let id = workload_a.instance_id();
        assert_eq!(id, workload("a@sha256:1", &[("k", "v")]).instance_id());
        assert!(id.to_string().starts_with("judging-"), "{id}");
        assert_eq!(id.to_string().len(), "judging-".len() + 16);
        for other in [workload("a@sha256:2", &[("k", "v")]), workload("a@sha256:1", &[("k", "w")])]
        {
            assert_ne!(id, other.instance_id());
        }
        let pulled = workload_a.pulled_from("127.0.0.1:5000");
        let image = &pulled.wit_world.components.first().unwrap().image;
        assert_eq!(image, "127.0.0.1:5000/a@sha256:1");
    }
}

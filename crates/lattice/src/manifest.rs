//! A workload in the words of wasmCloud's operator, for hosts that Kubernetes starts.
//!
//! It is made of what the site's own hosts are asked to run, so the two cannot differ.

use std::{fmt, num::NonZeroU16, str::FromStr};

use serde_json::{Value, json};

use crate::workload::Workload;

/// Where a cluster's hosts pull images, and which of them run a workload.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The registry that has the images.
    pub registry: RegistryName,
    /// Name of the cluster's secret with which they are pulled, if the registry asks for one.
    pub pull_secret: Option<String>,
    /// Group of the hosts.
    pub group: String,
    /// How many times each workload runs.
    pub replicas: NonZeroU16,
}

/// What the name of an image begins with: a registry's host, perhaps a port, perhaps a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistryName(String);

/// A text is no name of a registry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a registry is named by its host and port, such as plant.example:5000, without https://")]
pub struct InvalidRegistryName;

impl FromStr for RegistryName {
    type Err = InvalidRegistryName;

    fn from_str(text: &str) -> Result<Self, InvalidRegistryName> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let has_parts = text.split('/').all(|part| !part.is_empty() && part.bytes().all(is_part));
        if has_parts { Ok(Self(text.to_owned())) } else { Err(InvalidRegistryName) }
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Workload {
    /// The workload as a resource of the kind `WorkloadDeployment`.
    #[must_use]
    pub fn manifest(&self, cluster: &Cluster) -> Value {
        let Cluster { registry, pull_secret, group, replicas } = cluster;
        let Self { name, wit_world, .. } = self.pulled_from(&registry.0);
        let components = wit_world.components.iter().map(|component| {
            let mut component = json!(component);
            if let (Some(secret), Some(fields)) = (pull_secret, component.as_object_mut()) {
                fields.insert("imagePullSecret".to_owned(), json!({ "name": secret }));
            }
            component
        });
        json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1",
            "kind": "WorkloadDeployment",
            "metadata": { "name": name },
            "spec": {
                "replicas": replicas,
                "template": { "spec": {
                    "hostSelector": { "hostgroup": group },
                    "components": components.collect::<Vec<Value>>(),
                    "hostInterfaces": wit_world.host_interfaces,
                } },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_named_as_images_begin() {
        for name in ["plant.example:5000", "registry.example/plant", "[::1]:5000", "10.0.0.7"] {
            assert_eq!(name.parse::<RegistryName>().unwrap().to_string(), name);
        }
        for text in ["", "https://plant.example", "plant.example/", "a@b", "a b", "/a"] {
            assert_eq!(text.parse::<RegistryName>(), Err(InvalidRegistryName), "{text}");
        }
    }
}

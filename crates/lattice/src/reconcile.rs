//! Makes every host on the bus run every workload.
//!
//! A host sends a heartbeat when it starts and every 15 s after that. A restarted host has
//! forgotten its workloads. At each heartbeat the reconciler asks for the status of every workload
//! and starts those that do not run. [`run`] drives it until shutdown. After a failure it tries
//! again at the next heartbeat, and sooner while a workload is down.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{Client, Subscriber};
use engine::accounts::HEARTBEATS;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::workload::Workload;

/// Time that a host has to start a workload. It pulls and compiles the components, which takes a
/// small machine many seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that a host has to report the status of a workload.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the next attempt on a host whose workloads do not all run.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Silence after which a host counts as gone: three of its heartbeats.
const GONE_AFTER: Duration = Duration::from_secs(45);

#[derive(Deserialize)]
struct Heartbeat {
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusResponse {
    workload_status: Option<WorkloadStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadStatus {
    #[serde(default)]
    workload_state: String,
    #[serde(default)]
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StartRequest<'a> {
    workload_id: &'a str,
    workload: &'a Workload,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusRequest<'a> {
    workload_id: &'a str,
}

/// Reconciles until `shutdown`. `hosts_ready` always holds the number of hosts that run every
/// workload.
///
/// # Errors
/// The bus refuses the subscription.
pub async fn run(
    bus: Client,
    workloads: Vec<Workload>,
    hosts_ready: watch::Sender<usize>,
    shutdown: CancellationToken,
) -> Result<(), async_nats::SubscribeError> {
    let heartbeats = bus.subscribe(HEARTBEATS).await?;
    let reconciler = Reconciler { bus, workloads, hosts: BTreeMap::new(), hosts_ready };
    shutdown.run_until_cancelled(reconciler.run(heartbeats)).await;
    Ok(())
}

struct Reconciler {
    bus: Client,
    workloads: Vec<Workload>,
    hosts: BTreeMap<String, HostState>,
    hosts_ready: watch::Sender<usize>,
}

/// A host that has sent a heartbeat.
struct HostState {
    /// Whether every workload runs there.
    is_ready: bool,
    heard_at: Instant,
}

impl Reconciler {
    /// Runs until the connection ends. Cancelling may leave a start under way; the next run finds
    /// it complete.
    async fn run(mut self, mut heartbeats: Subscriber) {
        loop {
            let unready =
                self.hosts.iter().find(|(_, state)| !state.is_ready).map(|(host, _)| host.clone());
            let patience = if unready.is_some() { RETRY_AFTER } else { GONE_AFTER };
            let host = match timeout(patience, heartbeats.next()).await {
                Ok(Some(message)) => host_of(&message),
                Ok(None) => return,
                Err(_elapsed) => unready,
            };
            if let Some(host) = host {
                match self.reconcile(&host).await {
                    Some(is_ready) => {
                        let state = HostState { is_ready, heard_at: Instant::now() };
                        self.hosts.insert(host, state);
                    }
                    // The host counts as gone until its next heartbeat.
                    None => drop(self.hosts.remove(&host)),
                }
            }
            self.hosts.retain(|_, state| state.heard_at.elapsed() < GONE_AFTER);
            let count = self.hosts.values().filter(|state| state.is_ready).count();
            self.hosts_ready.send_if_modified(|ready| std::mem::replace(ready, count) != count);
        }
    }

    /// Starts the workloads that do not run on the host. Returns whether all run; `None` if the
    /// host does not answer.
    async fn reconcile(&self, host: &str) -> Option<bool> {
        let mut all_run = true;
        for workload in &self.workloads {
            let id = workload.name.as_str();
            let status: StatusResponse = self
                .ask(host, "workload.status", &StatusRequest { workload_id: id }, STATUS_TIMEOUT)
                .await?;
            if runs(&status) {
                continue;
            }
            info!(host, workload = id, "starting");
            let started: StatusResponse = self
                .ask(
                    host,
                    "workload.start",
                    &StartRequest { workload_id: id, workload },
                    START_TIMEOUT,
                )
                .await?;
            if !runs(&started) {
                warn!(
                    host,
                    workload = id,
                    reason = reason(&started),
                    "the workload did not start; trying again"
                );
                all_run = false;
            }
        }
        Some(all_run)
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        host: &str,
        command: &str,
        question: &impl Serialize,
        patience: Duration,
    ) -> Option<A> {
        let subject = format!("runtime.host.{host}.{command}");
        let question = serde_json::to_vec(question).expect("our own questions have only text keys");
        let request = async_nats::Request::new().payload(question.into()).timeout(Some(patience));
        let answer = match self.bus.send_request(subject, request).await {
            Ok(answer) => answer,
            Err(error) => {
                warn!(host, command, %error, "the host does not answer");
                return None;
            }
        };
        serde_json::from_slice(&answer.payload)
            .inspect_err(
                |error| warn!(host, command, %error, "cannot understand the host's answer"),
            )
            .ok()
    }
}

fn host_of(message: &async_nats::Message) -> Option<String> {
    let heartbeat: Heartbeat = serde_json::from_slice(&message.payload).ok()?;
    Some(heartbeat.id)
}

fn runs(response: &StatusResponse) -> bool {
    let status = response.workload_status.as_ref();
    status.is_some_and(|status| {
        matches!(
            status.workload_state.as_str(),
            "WORKLOAD_STATE_RUNNING" | "WORKLOAD_STATE_STARTING"
        )
    })
}

fn reason(response: &StatusResponse) -> &str {
    response.workload_status.as_ref().map_or("no status", |status| &status.message)
}

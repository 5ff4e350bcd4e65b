//! Services that stop together, and a watch for the first that ends.

use std::{collections::HashMap, error::Error, time::Duration};

use tokio::{
    task::{Id, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

use crate::error::ServiceEnded;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A group of services that stop together.
pub(crate) struct Part {
    tasks: JoinSet<Outcome>,
    names: HashMap<Id, &'static str>,
    pub(crate) stop: CancellationToken,
}

impl Part {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), stop: CancellationToken::new() }
    }

    /// Runs a service as a task of this part.
    pub(crate) fn run<S: Service>(&mut self, service: S) {
        let running = service.run(self.stop.clone());
        self.spawn(S::NAME, async { running.await.map_err(Into::into) });
    }

    /// Runs a task that cannot fail and ends when the part stops.
    pub(crate) fn run_unfailing(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(name, async {
            task.await;
            Ok(())
        });
    }

    /// Runs a task that ends when the part stops.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let task = self.tasks.spawn(task);
        self.names.insert(task.id(), name);
    }

    /// Waits for the first task that ends, and returns its name and error. Pends if there is no
    /// task.
    pub(crate) async fn ended(&mut self) -> ServiceEnded {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, why) = match ended {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(failure))) => (id, Some(failure)),
            Err(panic) => (panic.id(), Some(panic.into())),
        };
        ServiceEnded { name: self.names.remove(&id).unwrap_or("a service"), why }
    }

    /// Asks all tasks to stop and waits for them. After `patience`, aborts the rest and returns
    /// `false`.
    pub(crate) async fn stop(&mut self, patience: Duration) -> bool {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                if let Ok((id, Err(failure))) = ended {
                    let service = self.names.get(&id).copied().unwrap_or_default();
                    warn!(service, %failure, "while stopping");
                }
            }
        };
        let is_in_time = timeout(patience, all).await.is_ok();
        if !is_in_time {
            self.tasks.shutdown().await;
        }
        is_in_time
    }
}

//! The tasks of a process. The dice decide which of those that are ready is polled next, also while
//! another one is in the middle of a disk operation.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// All tasks, by the order in which they began.
#[derive(Default)]
pub(super) struct Tasks {
    tasks: RefCell<BTreeMap<u64, Task>>,
    begun: Cell<u64>,
    /// Told when a task becomes ready.
    woken: Arc<Notify>,
}

struct Task {
    name: String,
    /// `None` while it is polled.
    future: Option<Boxed>,
    wake: Arc<WakeTask>,
    /// Whether the caller that waits for it may go away.
    is_visitor: bool,
}

struct WakeTask {
    is_ready: AtomicBool,
    woken: Arc<Notify>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        self.is_ready.store(true, Ordering::Relaxed);
        self.woken.notify_one();
    }
}

impl Tasks {
    /// Begins a task of the site. The token is cancelled when it has ended or was dropped.
    pub(super) fn begin(
        &self,
        name: &str,
        future: impl Future<Output = ()> + 'static,
    ) -> CancellationToken {
        self.insert(name, false, future).1
    }

    /// Begins a task of somebody who may go away before it ends.
    pub(super) fn visit(&self, name: &str, future: impl Future<Output = ()> + 'static) {
        self.insert(name, true, future);
    }

    fn insert(
        &self,
        name: &str,
        is_visitor: bool,
        future: impl Future<Output = ()> + 'static,
    ) -> (u64, CancellationToken) {
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let future = async move {
            let _guard = guard;
            future.await;
        };
        let id = self.begun.replace(self.begun.get() + 1);
        let wake = WakeTask { is_ready: AtomicBool::new(true), woken: Arc::clone(&self.woken) };
        let task = Task {
            name: name.to_owned(),
            future: Some(Box::pin(future)),
            wake: Arc::new(wake),
            is_visitor,
        };
        self.tasks.borrow_mut().insert(id, task);
        self.woken.notify_one();
        (id, ended)
    }

    /// Those that can be polled now.
    pub(super) fn ready(&self) -> Vec<u64> {
        let tasks = self.tasks.borrow();
        let is_ready =
            |task: &Task| task.future.is_some() && task.wake.is_ready.load(Ordering::Relaxed);
        tasks.iter().filter(|(_, task)| is_ready(task)).map(|(id, _)| *id).collect()
    }

    /// Those whose caller may go away now.
    pub(super) fn visitors(&self) -> Vec<u64> {
        let tasks = self.tasks.borrow();
        let may_go = |task: &Task| task.is_visitor && task.future.is_some();
        tasks.iter().filter(|(_, task)| may_go(task)).map(|(id, _)| *id).collect()
    }

    pub(super) fn name(&self, id: u64) -> String {
        self.tasks.borrow().get(&id).map_or_else(String::new, |task| task.name.clone())
    }

    /// Polls a task once.
    pub(super) fn poll(&self, id: u64) {
        let taken = self.tasks.borrow_mut().get_mut(&id).and_then(|task| {
            task.wake.is_ready.store(false, Ordering::Relaxed);
            Some((task.future.take()?, Waker::from(Arc::clone(&task.wake))))
        });
        let Some((mut future, waker)) = taken else { return };
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(future);
            self.tasks.borrow_mut().remove(&id);
            return;
        }
        if let Some(task) = self.tasks.borrow_mut().get_mut(&id) {
            task.future = Some(future);
        }
    }

    /// Drops a task wherever it is.
    pub(super) fn drop_task(&self, id: u64) {
        let dropped = self.tasks.borrow_mut().remove(&id);
        drop(dropped);
    }

    /// Drops the tasks of this name.
    pub(super) fn drop_named(&self, name: &str) {
        let mut of_name = Vec::new();
        for (id, task) in &*self.tasks.borrow() {
            if task.name == name {
                of_name.push(*id);
            }
        }
        of_name.into_iter().for_each(|id| self.drop_task(id));
    }

    /// Drops every task: the process is gone.
    pub(super) fn clear(&self) {
        let dropped = self.tasks.take();
        drop(dropped);
    }

    /// Waits until a task becomes ready.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}

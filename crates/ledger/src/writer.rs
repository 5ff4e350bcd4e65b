//! The handle to the one thread that writes: starting it, and closing it.

use std::{io, thread::JoinHandle};

use tokio::sync::{mpsc, oneshot};
use tracing::error;
use work::Owner;

use crate::{
    command::Command,
    failure::{WriteError, step},
    recover::OpenError,
    sealer::Sealer,
};

/// The running writer. Close it to have everything covered by a checkpoint.
#[derive(Debug)]
pub struct Writer {
    /// `None` once [`Writer::close`] has joined it.
    thread: Option<JoinHandle<()>>,
    /// How the thread ended, which it tells last.
    ended: oneshot::Receiver<Result<(), WriteError>>,
    commands: mpsc::Sender<Command>,
    /// What the log was ordered and has not ended.
    orders: Owner,
}

impl Writer {
    pub(crate) fn start(
        mut sealer: Sealer,
        queue: mpsc::Receiver<Command>,
        commands: mpsc::Sender<Command>,
        orders: Owner,
    ) -> Result<Self, OpenError> {
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(String::from("ledger"))
            .spawn(move || {
                let result = sealer.run(queue);
                if let Err(failure) = &result {
                    error!(error = %failure, source = ?std::error::Error::source(failure), "the ledger stops");
                }
                // Nobody listens when the site has not waited for us.
                let _unheard = end.send(result);
            })
            .map_err(|source| OpenError::Begin(step("starting the writer's thread")(source)))?;
        Ok(Self { thread: Some(thread), ended, commands, orders })
    }

    /// Ends what was ordered, seals what waits, publishes a last checkpoint and ends.
    ///
    /// Cancelled before the thread is told to close, the thread goes on until the last handle is
    /// dropped. Cancelled later, it closes. Either way nobody waits for it, so the log's files may
    /// still be written.
    ///
    /// # Errors
    /// The last checkpoint could not be published. What was acknowledged is durable all the same.
    pub async fn close(mut self) -> Result<(), WriteError> {
        let gone = || step("closing the log")(io::Error::other("the writer has ended before"));
        self.orders.ended().await;
        // If the writer has ended already, its result says why.
        let _ended = self.commands.send(Command::Close).await;
        let result = (&mut self.ended).await.map_err(|_closed| gone())?;
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_panic| gone())?;
        }
        result
    }
}

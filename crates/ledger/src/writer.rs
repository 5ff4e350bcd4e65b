//! The one thread that writes: hands commands to the sealer, step by step. And the handle to it,
//! which starts the thread and closes it.

use std::{io, thread::JoinHandle};

#[cfg(feature = "simulation")]
use model::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tracing::error;
use work::Owner;

use crate::{
    command::Command,
    failure::{WriteError, step},
    recover::OpenError,
    sealer::{Input, Needs, Sealer},
};

/// The running writer. [`Writer::close`] has a checkpoint cover everything that was appended.
#[derive(Debug)]
pub struct Writer {
    /// `None` once [`Writer::close`] has joined it, and where a simulation takes its place.
    thread: Option<JoinHandle<()>>,
    /// Receives the thread's result, which is the last thing that the thread sends.
    ended: oneshot::Receiver<Result<(), WriteError>>,
    commands: mpsc::Sender<Command>,
    /// Owns the orders of the log that have not ended.
    orders: Owner,
}

impl Writer {
    pub(crate) fn start(
        work: WriterWork,
        commands: mpsc::Sender<Command>,
        orders: Owner,
    ) -> Result<Self, OpenError> {
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(String::from("ledger"))
            .spawn(move || {
                let result = work.run();
                if let Err(failure) = &result {
                    error!(error = %failure, source = ?std::error::Error::source(failure), "the ledger stops");
                }
                // Nobody listens if the site has not waited for the writer.
                let _unheard = end.send(result);
            })
            .map_err(|source| OpenError::Begin(step("starting the writer's thread")(source)))?;
        Ok(Self { thread: Some(thread), ended, commands, orders })
    }

    /// A writer without a thread.
    #[cfg(feature = "simulation")]
    pub(crate) fn stepped(
        work: WriterWork,
        commands: mpsc::Sender<Command>,
        orders: Owner,
    ) -> (Self, SteppedWriter) {
        let (end, ended) = oneshot::channel();
        let writer = Self { thread: None, ended, commands, orders };
        (writer, SteppedWriter { work, end: Some(end) })
    }

    /// Waits for the orders to end, seals the batches that wait, publishes a last checkpoint and
    /// ends the thread.
    ///
    /// If this future is dropped before it tells the thread to close, the thread runs until the
    /// last handle is dropped. If it is dropped later, the thread closes. In both cases nobody
    /// waits for the thread, so it may still write the log's files.
    ///
    /// # Errors
    /// The writer could not publish the last checkpoint. What it acknowledged is durable all the
    /// same.
    pub async fn close(mut self) -> Result<(), WriteError> {
        let gone = || step("closing the log")(io::Error::other("the writer has already ended"));
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

/// The sealer with the commands that it carries out.
pub(crate) struct WriterWork {
    sealer: Sealer,
    queue: mpsc::Receiver<Command>,
    needs: Needs,
}

impl WriterWork {
    pub(crate) const fn new(sealer: Sealer, queue: mpsc::Receiver<Command>) -> Self {
        Self { sealer, queue, needs: Needs::Command }
    }

    /// What the thread does until the log is closed or a step fails.
    fn run(mut self) -> Result<(), WriteError> {
        loop {
            let input = match self.needs {
                Needs::Command => self.queue.blocking_recv().map_or(Input::End, Input::Command),
                Needs::WhatWaits => self.queue.try_recv().map_or(Input::Nothing, Input::Command),
                Needs::TheRest => {
                    self.queue.close();
                    self.queue.blocking_recv().map_or(Input::End, Input::Command)
                }
                Needs::Nothing => return Ok(()),
            };
            self.needs = self.sealer.step(clock::now(), input)?;
        }
    }
}

/// The writer of a simulated log: what the thread does, one step at a time.
#[cfg(feature = "simulation")]
pub struct SteppedWriter {
    work: WriterWork,
    /// Where [`Writer::close`] hears of the end.
    end: Option<oneshot::Sender<Result<(), WriteError>>>,
}

#[cfg(feature = "simulation")]
impl std::fmt::Debug for SteppedWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SteppedWriter")
            .field("needs", &self.work.needs)
            .finish_non_exhaustive()
    }
}

/// What a step led to.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stepped {
    /// The writer works on.
    On,
    /// The log is closed.
    Closed,
    /// The step failed, and the writer has stopped.
    Failed,
}

#[cfg(feature = "simulation")]
impl SteppedWriter {
    /// Whether the writer has something to do.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let WriterWork { queue, needs, .. } = &self.work;
        match needs {
            Needs::Command => !queue.is_empty() || queue.is_closed(),
            Needs::WhatWaits | Needs::TheRest => true,
            Needs::Nothing => false,
        }
    }

    /// Takes a step at the time `now`. `joins` says whether an append that waits may join an open
    /// group. Does nothing if the writer is not ready.
    pub fn step(&mut self, now: Timestamp, joins: bool) -> Stepped {
        if self.end.is_none() || !self.is_ready() {
            return Stepped::On;
        }
        let WriterWork { sealer, queue, needs } = &mut self.work;
        let input = match needs {
            Needs::WhatWaits if !joins => Input::Nothing,
            Needs::WhatWaits => queue.try_recv().map_or(Input::Nothing, Input::Command),
            Needs::TheRest => {
                queue.close();
                queue.try_recv().map_or(Input::End, Input::Command)
            }
            Needs::Command | Needs::Nothing => queue.try_recv().map_or(Input::End, Input::Command),
        };
        let result = match sealer.step(now, input) {
            Ok(Needs::Nothing) => Ok(()),
            Ok(needs) => {
                self.work.needs = needs;
                return Stepped::On;
            }
            Err(failure) => Err(failure),
        };
        let stepped = if result.is_ok() { Stepped::Closed } else { Stepped::Failed };
        self.work.needs = Needs::Nothing;
        // As the thread's end does: callers that wait for an answer hear that the log has stopped.
        self.work.queue.close();
        while self.work.queue.try_recv().is_ok() {}
        if let Some(end) = self.end.take() {
            let _unheard = end.send(result);
        }
        stepped
    }
}

//! The one thread that writes: hands commands to the sealer, step by step. And the handle to it,
//! which starts the thread and closes it.

use std::{io, thread::JoinHandle};

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
    /// `None` once [`Writer::close`] has joined it.
    thread: Option<JoinHandle<()>>,
    /// Receives the thread's result, which is the last thing that the thread sends.
    ended: oneshot::Receiver<Result<(), WriteError>>,
    commands: mpsc::Sender<Command>,
    /// Owns the orders of the log that have not ended.
    orders: Owner,
}

impl Writer {
    pub(crate) fn start(
        sealer: Sealer,
        queue: mpsc::Receiver<Command>,
        commands: mpsc::Sender<Command>,
        orders: Owner,
    ) -> Result<Self, OpenError> {
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(String::from("ledger"))
            .spawn(move || {
                let result = run(sealer, queue);
                if let Err(failure) = &result {
                    error!(error = %failure, source = ?std::error::Error::source(failure), "the ledger stops");
                }
                // Nobody listens if the site has not waited for the writer.
                let _unheard = end.send(result);
            })
            .map_err(|source| OpenError::Begin(step("starting the writer's thread")(source)))?;
        Ok(Self { thread: Some(thread), ended, commands, orders })
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

/// What the thread does until the log is closed or a step fails.
fn run(mut sealer: Sealer, mut queue: mpsc::Receiver<Command>) -> Result<(), WriteError> {
    let mut needs = Needs::Command;
    loop {
        let input = match needs {
            Needs::Command => queue.blocking_recv().map_or(Input::End, Input::Command),
            Needs::WhatWaits => queue.try_recv().map_or(Input::Nothing, Input::Command),
            Needs::TheRest => {
                queue.close();
                queue.blocking_recv().map_or(Input::End, Input::Command)
            }
            Needs::Nothing => return Ok(()),
        };
        needs = sealer.step(clock::now(), input)?;
    }
}

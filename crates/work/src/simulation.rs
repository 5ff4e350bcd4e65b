//! Blocking work and orders of a simulation. Both wait in the simulation's thread, which runs each
//! when it likes. The caller that waits for one may be gone by then, as in production.

use std::{cell::RefCell, fmt, future::Future, pin::Pin};

use tokio::{sync::oneshot, task::JoinError};

/// A task that a simulation takes.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// `None` where this thread simulates nothing.
    static SIMULATION: RefCell<Option<Simulation>> = const { RefCell::new(None) };
}

struct Simulation {
    /// The pieces that wait.
    pieces: Vec<Piece>,
    /// Takes a task.
    spawn: fn(Task),
}

/// A piece of blocking work that has not begun.
pub struct Piece(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Piece {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Piece")
    }
}

impl Piece {
    /// Does the work.
    pub fn run(self) {
        (self.0)();
    }
}

/// Has the blocking work of this thread wait from now on, and gives its orders to `spawn`. Drops
/// the pieces that wait already: nobody may wait for them any more.
pub fn begin(spawn: fn(Task)) {
    drop(SIMULATION.replace(Some(Simulation { pieces: Vec::new(), spawn })));
}

/// Number of pieces that wait in this thread.
#[must_use]
pub fn waiting() -> usize {
    SIMULATION.with_borrow(|simulation| simulation.as_ref().map_or(0, |it| it.pieces.len()))
}

/// Takes one of the pieces that wait, by its place in their order.
#[must_use]
pub fn take(at: usize) -> Option<Piece> {
    SIMULATION.with_borrow_mut(|simulation| {
        let pieces = &mut simulation.as_mut()?.pieces;
        (at < pieces.len()).then(|| pieces.remove(at))
    })
}

pub(super) fn is_on() -> bool {
    SIMULATION.with_borrow(Option::is_some)
}

/// Puts a piece into the queue. The future yields what the piece returns, once it has run.
pub(super) fn wait<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Pin<Box<dyn Future<Output = Result<T, JoinError>> + Send>> {
    let (done, is_done) = oneshot::channel();
    let piece = Piece(Box::new(move || {
        // Nobody may wait any more.
        let _gone = done.send(work());
    }));
    SIMULATION.with_borrow_mut(|simulation| {
        simulation.as_mut().expect("this thread simulates").pieces.push(piece);
    });
    Box::pin(async { Ok(is_done.await.expect("a simulation drops no piece before its caller")) })
}

/// Has the simulation do a piece of work as a task. `held` is released when the work has ended.
pub(super) fn carry_out<T: Send + 'static>(
    held: impl Send + 'static,
    work: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (done, is_done) = oneshot::channel();
    let spawn = SIMULATION.with_borrow(|it| it.as_ref().expect("this thread simulates").spawn);
    spawn(Box::pin(async move {
        let result = work.await;
        drop(held);
        // The caller may be gone.
        let _gone = done.send(result);
    }));
    is_done
}

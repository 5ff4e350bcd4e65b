//! Whether a site keeps up with what its sensors send. No clock and no IO.

use std::time::Duration;

use poll::Load;

/// How long a sealed reading may wait for the index before the site polls less.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What the site has seen of its load.
#[derive(Debug, Default)]
pub(super) struct KeepingUp {
    /// Whether events had to wait for room in the queue to be sealed, since the last look and
    /// before it. A large fleet that starts fills the queue for a moment.
    had_no_room: bool,
    had_none_before: bool,
    waited_before: Duration,
}

impl KeepingUp {
    /// Events have to wait until others are sealed.
    pub(super) const fn handle_no_room(&mut self) {
        self.had_no_room = true;
    }

    /// Looks at the load, about once a second: `waited` is how long the first reading has waited
    /// that the index does not have.
    pub(super) fn look(&mut self, waited: Duration) -> Load {
        let had_no_room = std::mem::take(&mut self.had_no_room);
        let had_none_before = std::mem::replace(&mut self.had_none_before, had_no_room);
        let before = std::mem::replace(&mut self.waited_before, waited);
        match waited > WAIT_MAX {
            _ if had_no_room && had_none_before => Load::FallingBehind,
            true if waited >= before => Load::FallingBehind,
            true => Load::CatchingUp,
            false => Load::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_grows_is_too_much_and_one_that_shrinks_is_not() {
        let mut keeping_up = KeepingUp::default();
        let seconds = [0.0, 1.9, 2.5, 3.0, 3.0, 2.8, 2.2, 1.4];
        let loads = seconds.map(|seconds| keeping_up.look(Duration::from_secs_f64(seconds)));
        use Load::{CatchingUp, FallingBehind, Fine};
        let behind = [FallingBehind; 3];
        let expected = [&[Fine, Fine], behind.as_slice(), &[CatchingUp, CatchingUp, Fine]].concat();
        assert_eq!(loads.as_slice(), expected);
        keeping_up.handle_no_room();
        assert_eq!(keeping_up.look(Duration::ZERO), Fine, "it may be a start");
        keeping_up.handle_no_room();
        assert_eq!(keeping_up.look(Duration::ZERO), FallingBehind);
        assert_eq!(keeping_up.look(Duration::ZERO), Fine);
    }
}

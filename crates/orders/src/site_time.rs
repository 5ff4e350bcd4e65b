//! The site's own time, which decides about acts that cannot be undone.
//!
//! The time advances only with the monotonic clock. Over a restart it continues from the file
//! `clock` in the data directory or, if that is missing, from the newest envelope. The site trusts
//! the machine's clock as long as it is not far ahead. Once it is, the time is in doubt until an
//! operator confirms the machine's clock. Meanwhile sealing continues, and the site erases nothing
//! for its age.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
pub const NAME: &str = "clock";

/// How far the machine's clock may be ahead of the site's own time. A site that was stopped for
/// less continues without a question. A wrong clock shortens the retention of envelopes by at most
/// this much.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// The site's own time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SiteTime {
    path: PathBuf,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug)]
struct Running {
    own: OwnTime,
    /// The moment at which `own` was the time.
    at: Instant,
}

/// The time, as the file stores it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OwnTime {
    /// The site's own time.
    pub time: Timestamp,
    /// Whether the machine's clock was far ahead, and no operator has confirmed it since.
    pub in_doubt: bool,
    /// Whether the log records the doubt.
    pub is_told: bool,
}

/// What an earlier process left in the file.
#[derive(Debug)]
pub enum Left {
    Nothing,
    Time(OwnTime),
    /// The file cannot be understood.
    Damaged,
}

impl Left {
    /// Reads the file and changes nothing.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_or(Self::Damaged, Self::Time)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Nothing),
            Err(error) => Err(error),
        }
    }
}

impl OwnTime {
    /// The time at a start: from the file, else from the newest envelope, else from the machine's
    /// clock.
    fn at_start(left: Option<Self>, newest: Option<Timestamp>, clock: Timestamp) -> Self {
        let left =
            left.or_else(|| newest.map(Self::certain)).unwrap_or_else(|| Self::certain(clock));
        let looked_at = left.after(Duration::ZERO, clock);
        // The site was stopped in between. A pause of up to this length is believed.
        let time =
            if clock > later(left.time, AHEAD_MAX) { left.time } else { left.time.max(clock) };
        Self { time, ..looked_at }
    }

    /// The time after `elapsed` of the monotonic clock.
    fn after(self, elapsed: Duration, clock: Timestamp) -> Self {
        let time = later(self.time, elapsed);
        Self { time, in_doubt: self.in_doubt || clock > later(time, AHEAD_MAX), ..self }
    }

    const fn certain(time: Timestamp) -> Self {
        Self { time, in_doubt: false, is_told: false }
    }
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(time.unix_micros().saturating_add(micros))
}

impl SiteTime {
    /// Opens the time at a start. Blocks on the disk: the file records a doubt before anything is
    /// sealed under a wrong clock.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: PathBuf, newest: Option<Timestamp>) -> io::Result<Self> {
        let now = clock::now();
        let own = match Left::read(&path)? {
            Left::Nothing => OwnTime::at_start(None, newest, now),
            Left::Time(left) => OwnTime::at_start(Some(left), newest, now),
            // An operator must decide.
            Left::Damaged => OwnTime { in_doubt: true, ..OwnTime::certain(newest.unwrap_or(now)) },
        };
        let running = Arc::new(Mutex::new(Running { own, at: Instant::now() }));
        let site_time = Self { path, running };
        site_time.change(|own| own)?;
        Ok(site_time)
    }

    /// The time now. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SiteTime::open`].
    pub fn look(&self) -> io::Result<OwnTime> {
        self.change(|own| own)
    }

    /// Records that the log now holds the event about the doubt. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SiteTime::open`].
    pub fn told(&self) -> io::Result<OwnTime> {
        self.change(|own| OwnTime { is_told: true, ..own })
    }

    /// Sets the time to the machine's clock and ends the doubt. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SiteTime::open`].
    pub fn confirm(&self) -> io::Result<OwnTime> {
        self.change(|_doubtful| OwnTime::certain(clock::now()))
    }

    fn change(&self, change: impl FnOnce(OwnTime) -> OwnTime) -> io::Result<OwnTime> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        let elapsed = at.saturating_duration_since(running.at);
        let own = change(running.own.after(elapsed, clock::now()));
        let mut json = serde_json::to_vec(&own).expect("a time has only text keys");
        json.push(b'\n');
        durable::replace(&self.path, &json)?;
        *running = Running { own, at };
        drop(running);
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(1_795_600_000_000_000 + second * 1_000_000)
    }

    #[test]
    fn a_clock_that_is_far_ahead_puts_the_time_in_doubt_and_does_not_set_it() {
        let newest = Some(at(0));
        for (clock, time, in_doubt) in [
            (60, 60, false),             // stopped for a minute
            (DAY, DAY, false),           // for a day
            (DAY + 1, 0, true),          // for longer, or a wrong clock
            (730 * DAY, 0, true),        // two years ahead
            (-10, 0, false),             // behind the log's end
            (-60 * 365 * DAY, 0, false), // before anything was built
        ] {
            let own = OwnTime::at_start(None, newest, at(clock));
            assert_eq!((own.time, own.in_doubt), (at(time), in_doubt), "a start at {clock}");
        }
        // Envelopes that an earlier start sealed under a wrong clock do not count, and the clock's
        // return does not end the doubt.
        let bad = OwnTime::at_start(None, newest, at(730 * DAY));
        for clock in [730 * DAY + 60, 60] {
            let again = OwnTime::at_start(Some(bad), Some(at(730 * DAY)), at(clock));
            assert!(again.in_doubt && again.time < at(DAY), "{again:?}");
        }
        assert_eq!(OwnTime::at_start(None, None, at(7)), OwnTime::certain(at(7)));
    }

    #[test]
    fn while_it_runs_only_the_monotonic_clock_counts() {
        let own = OwnTime::certain(at(0));
        let hour = Duration::from_secs(3_600);
        for (clock, in_doubt) in
            [(3_600, false), (3_600 + DAY, false), (3_601 + DAY, true), (-DAY, false)]
        {
            let own = own.after(hour, at(clock));
            assert_eq!((own.time, own.in_doubt), (at(3_600), in_doubt), "{clock}");
        }
        // Small steps add up, and none of them sets the time.
        let mut own = own;
        for step in 1..=30 {
            own = own.after(hour, at(step * 2 * 3_600));
        }
        assert!(own.in_doubt && own.time == at(30 * 3_600), "{own:?}");
    }

    #[test]
    fn the_doubt_outlives_the_process_and_ends_when_it_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let long_ago = Some(Timestamp::from_unix_micros(0));
        assert!(SiteTime::open(path.clone(), long_ago).unwrap().look().unwrap().in_doubt);
        let again = SiteTime::open(path.clone(), Some(clock::now())).unwrap();
        assert!(again.look().unwrap().in_doubt);
        assert!(!again.confirm().unwrap().in_doubt);
        assert!(!SiteTime::open(path.clone(), long_ago).unwrap().look().unwrap().in_doubt);
        assert!(fs::read_to_string(&path).unwrap().ends_with("}\n"));
        fs::write(&path, "{").unwrap();
        assert!(SiteTime::open(path, None).unwrap().look().unwrap().in_doubt);
    }
}

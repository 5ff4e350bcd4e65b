//! The file that says which faults a run has, in TOML. `docs/simulator.md` describes it.
//!
//! Everything is checked while it is read, so that each refusal names the line and what is there.

use core::{ops::RangeInclusive, time::Duration};

use serde::Deserialize;

use super::{
    fault::{Fault, Glob, What, Which},
    outage::{Outage, Overlapping, Span},
};

/// The file cannot be used. The message names line and key.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFaults {
    /// A key, a value, or the syntax is wrong.
    #[error("{}", .0.to_string().trim_end())]
    Toml(toml::de::Error),
    /// There are too many faults.
    #[error("{count} faults are too many: a file has at most {COUNT_MAX}")]
    TooMany {
        /// Number of faults in the file.
        count: usize,
    },
}

/// Most faults of a file. Each costs two bytes for each sensor that has it.
pub const COUNT_MAX: usize = 256;
/// Largest file in bytes: some hundreds for each fault.
pub const FILE_BYTES_MAX: u64 = 256 << 10;
/// Longest text that a fault sends in place of an answer, in bytes: longer ones than a sensor may
/// send, which is 4 KiB.
const PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// Most messages a second of one sensor that floods: as much as a thousand fast sensors.
const FLOOD_PER_SECOND_MAX: u32 = 10_000;
/// Longest time that a file can name: some thirty years.
const SECONDS_MAX: f64 = 1e9;

/// The faults of a file.
pub(super) fn parse(text: &str) -> Result<Vec<Fault>, InvalidFaults> {
    let file: File = toml::from_str(text).map_err(InvalidFaults::Toml)?;
    let faults = file.faults();
    match faults.len() {
        ..=COUNT_MAX => Ok(faults),
        count => Err(InvalidFaults::TooMany { count }),
    }
}

/// Declares the table of one fault: its own keys, and those that every fault has.
macro_rules! table {
    ($name:ident { $($(#[$attribute:meta])* $key:ident: $type:ty,)* } => $what:expr) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            sensors: Option<Pattern>,
            #[serde(default = "Share::all")]
            share: Share,
            #[serde(default)]
            from_s: Seconds,
            for_s: Option<Seconds>,
            $($(#[$attribute])* $key: $type,)*
        }

        impl From<$name> for Fault {
            fn from(table: $name) -> Self {
                let $name { sensors, share: Share(share), from_s, for_s, $($key,)* } = table;
                let what: What = $what;
                Self {
                    which: Which { named: sensors.map(|Pattern(glob)| glob), share },
                    when: Span { from: from_s.0, lasts: for_s.map(|seconds| seconds.0) },
                    what,
                }
            }
        }
    };
}

/// Declares the file: a list of tables for each fault.
macro_rules! file {
    ($($key:ident: $table:ident,)*) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            $(#[serde(default)] $key: Vec<$table>,)*
        }

        impl File {
            fn faults(self) -> Vec<Fault> {
                let mut faults = Vec::new();
                $(faults.extend(self.$key.into_iter().map(Fault::from));)*
                faults
            }
        }
    };
}

file! {
    silence: Silence,
    delay: Delay,
    wrong: Wrong,
    stuck: Stuck,
    drift: Drift,
    doubled_id: DoubledId,
    clock_jump: ClockJump,
    reboot: Reboot,
    will: Will,
    flood: Flood,
}

table!(Silence { #[serde(default = "Share::all")] probability: Share, } =>
    What::Silence { probability: probability.0 });
table!(Delay { by_ms: Between, } => What::Delay { by: by_ms.0 });
table!(Wrong { payload: Payload, #[serde(default = "Share::all")] probability: Share, } =>
    What::Wrong { payload: payload.0, probability: probability.0 });
table!(Stuck {} => What::Stuck);
table!(Drift { per_hour: Finite, } => What::Drift { per_hour: per_hour.0 });
table!(DoubledId {} => What::DoubledId);
table!(ClockJump { by_s: SignedSeconds, } => What::ClockJump { by_micros: by_s.0 });
table!(Reboot { outage: Times, } => What::Reboot(outage.0));
table!(Will { outage: Times, } => What::Will(outage.0));
table!(Flood { per_second: PerSecond, } => What::Flood { per_second: per_second.0 });

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Pattern(Glob);

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct Share(f64);

impl Share {
    fn all() -> Self {
        Self(1.0)
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "f64")]
struct Seconds(Duration);

#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct SignedSeconds(i64);

#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Finite(f64);

#[derive(Deserialize)]
#[serde(try_from = "[u32; 2]")]
struct Between(RangeInclusive<Duration>);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Payload(String);

#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct PerSecond(u32);

#[derive(Deserialize)]
#[serde(try_from = "TimesTable")]
struct Times(Outage);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimesTable {
    off_ms: u32,
    #[serde(default)]
    spread_ms: u32,
    every_s: Option<Seconds>,
}

impl TryFrom<String> for Pattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            return Err("a name is expected, in which `*` stands for any characters");
        }
        Ok(Self(Glob(text)))
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        (0.0..=1.0)
            .contains(&share)
            .then_some(Self(share))
            .ok_or("a number from 0 to 1 is expected")
    }
}

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        if (0.0..=SECONDS_MAX).contains(&seconds) {
            Ok(Self(Duration::from_secs_f64(seconds)))
        } else {
            Err("seconds from 0 to 1,000,000,000 are expected")
        }
    }
}

impl TryFrom<f64> for SignedSeconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        let Seconds(size) = Seconds::try_from(seconds.abs())
            .map_err(|_| "seconds from -1,000,000,000 to 1,000,000,000 are expected")?;
        let micros = i64::try_from(size.as_micros()).expect("thirty years have fewer");
        Ok(Self(if seconds < 0.0 { -micros } else { micros }))
    }
}

impl TryFrom<f64> for Finite {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        number.is_finite().then_some(Self(number)).ok_or("a finite number is expected")
    }
}

impl TryFrom<[u32; 2]> for Between {
    type Error = &'static str;

    fn try_from([least, most]: [u32; 2]) -> Result<Self, Self::Error> {
        let millis = |millis| Duration::from_millis(u64::from(millis));
        if least > most {
            return Err("the least and then the most milliseconds are expected");
        }
        Ok(Self(millis(least)..=millis(most)))
    }
}

impl TryFrom<String> for Payload {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > PAYLOAD_BYTES_MAX {
            return Err(format!("at most {PAYLOAD_BYTES_MAX} bytes are expected"));
        }
        Ok(Self(text))
    }
}

impl TryFrom<u32> for PerSecond {
    type Error = String;

    fn try_from(per_second: u32) -> Result<Self, Self::Error> {
        if (1..=FLOOD_PER_SECOND_MAX).contains(&per_second) {
            Ok(Self(per_second))
        } else {
            Err(format!("a number from 1 to {FLOOD_PER_SECOND_MAX} is expected"))
        }
    }
}

impl TryFrom<TimesTable> for Times {
    type Error = Overlapping;

    fn try_from(table: TimesTable) -> Result<Self, Overlapping> {
        let TimesTable { off_ms, spread_ms, every_s } = table;
        let millis = |millis| Duration::from_millis(u64::from(millis));
        let every = every_s.map(|Seconds(every)| every);
        Outage::new(millis(off_ms), millis(spread_ms), every).map(Self)
    }
}

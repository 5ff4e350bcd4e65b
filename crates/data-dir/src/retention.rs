//! How long envelopes are kept, by class of event: the file `retention` in the data directory.
//!
//! A line names an action and a time, for example `SENSOR_READING 400d`. An event whose action has
//! no line is kept permanently. An erasure removes envelopes and leaves entries: every proof still
//! holds, and the log records what was erased and why.

use std::{collections::BTreeMap, fs, io, path::Path, str::FromStr, time::Duration};

use model::{Timestamp, action};

/// Retention times by class of event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Retention(BTreeMap<String, Duration>);

const HOUR: u64 = 3_600;
/// Longest time that a line can name, in hours: a thousand years, well within the range of a
/// timestamp.
const HOURS_MAX: u64 = 24 * 365 * 1_000;

impl Retention {
    /// Reads the file. Without a file, nothing is erased.
    ///
    /// # Errors
    /// The file cannot be read, or a line has another form.
    pub fn load(path: &Path) -> Result<Self, RetentionError> {
        let failed = |problem| RetentionError { path: path.display().to_string(), problem };
        match fs::read_to_string(path) {
            Ok(text) => text.parse().map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(Problem { line: 0, words: error.to_string() })),
        }
    }

    /// Each class, with the moment before which its envelopes are no longer kept.
    pub fn expiring(&self, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        self.0.iter().map(move |(class, kept)| {
            let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
            (class.as_str(), Timestamp::from_unix_micros(now.unix_micros().saturating_sub(kept)))
        })
    }
}

impl FromStr for Retention {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let mut classes = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let refused = |words: String| Problem { line: number, words };
            let rule = line.split('#').next().unwrap_or_default();
            let (class, time) = match rule.split_whitespace().collect::<Vec<_>>()[..] {
                [] => continue,
                [class, time] => (class, time),
                _ => {
                    let words = "a line names an action and a time, such as SENSOR_READING 400d";
                    return Err(refused(words.to_owned()));
                }
            };
            if action::OF_THE_LOG.contains(&class) {
                return Err(refused(format!(
                    "events of {class} describe the log itself and are never erased: remove the line"
                )));
            }
            let kept = parse_time(time).ok_or_else(|| {
                refused(format!(
                    "`{time}` is not a time: use a number of hours or days up to a thousand years, such as 36h or 400d"
                ))
            })?;
            if classes.insert(class.to_owned(), kept).is_some() {
                return Err(refused(format!("an earlier line is for {class} already")));
            }
        }
        Ok(Self(classes))
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let (count, hours) = match (text.strip_suffix('h'), text.strip_suffix('d')) {
        (Some(count), _) => (count, 1),
        (_, Some(count)) => (count, 24),
        (None, None) => return None,
    };
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours = count.parse::<u64>().ok()?.checked_mul(hours)?;
    (1..=HOURS_MAX).contains(&hours).then(|| Duration::from_secs(hours * HOUR))
}

/// The retention file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the retention rules in {path}")]
pub struct RetentionError {
    path: String,
    #[source]
    problem: Problem,
}

/// The fault in a retention file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {words}")]
pub struct Problem {
    line: usize,
    words: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_classes_and_times() {
        let text =
            "# readings\nSENSOR_READING 400d\n\n  OUT_OF_RANGE\t36h # kept longer elsewhere\n";
        let retention: Retention = text.parse().unwrap();
        let now = Timestamp::from_unix_micros(1_795_600_000_000_000);
        let ago =
            |hours: i64| Timestamp::from_unix_micros(now.unix_micros() - hours * 3_600_000_000);
        let expected = [("OUT_OF_RANGE", ago(36)), ("SENSOR_READING", ago(24 * 400))];
        assert!(retention.expiring(now).eq(expected));
        assert_eq!("".parse(), Ok(Retention::default()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line, named) in [
            ("SENSOR_READING", 1, "an action and a time"),
            ("A 1d\nB 2 d", 2, "an action and a time"),
            ("A 1w", 1, "`1w`"),
            ("A -1d", 1, "`-1d`"),
            ("A +1d", 1, "`+1d`"),
            ("A d", 1, "`d`"),
            ("A 0h", 1, "`0h`"),
            ("A 365001d", 1, "`365001d`"),
            ("A 99999999999999999999d", 1, "hours or days"),
            ("A 1d\nA 2d", 2, "already"),
            ("LOG_CREATED 1d", 1, "never erased"),
        ] {
            let problem = text.parse::<Retention>().unwrap_err();
            assert_eq!(problem.line, line, "{text}");
            assert!(problem.words.contains(named), "{text}: {problem}");
        }
    }
}

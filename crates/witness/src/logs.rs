//! The logs that a witness knows, in the list format `logs/v0` of the witness network
//! (transparency-dev/witness-network, docs/log-list-format.md).
//!
//! A log begins with its `vkey` line. `origin`, `qpd` (requests a day), `bastion` and `contact` may
//! follow, each once. An `origin` of `none`, or a missing one, means the key's name. The witness
//! reads and ignores `bastion` and `contact`, which it does not need. Several logs of one origin
//! are one log with several keys, so a log can rotate its key.

use std::collections::BTreeMap;

use tlog::{InvalidLine, Origin, ParseKeyError, VerifierKey};

/// The first line of a list.
const HEADER: &str = "logs/v0";
/// The word that means "no value".
const NONE: &str = "none";
/// Requests a day that a log may make if its lines do not say: one a second.
const REQUESTS_PER_DAY: u32 = 86_400;
/// Most requests a day that a line may allow: a thousand a second, more than one disk can make
/// durable.
const REQUESTS_PER_DAY_MAX: u32 = 86_400_000;
/// Most logs in a list: the largest list of the witness network is meant for 100,000.
const LOGS_MAX: usize = 100_000;

/// The logs that a witness knows, by origin.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogList {
    logs: BTreeMap<Origin, KnownLog>,
}

/// The keys and the rate limit of a log that a witness knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownLog {
    /// The keys that may sign its checkpoints, at least one.
    pub keys: Vec<VerifierKey>,
    /// Number of requests that the witness answers in a day.
    pub requests_per_day: u32,
}

/// A log whose lines the parser is still reading.
struct Lines {
    line: usize,
    key: VerifierKey,
    origin: Option<Option<Origin>>,
    requests_per_day: Option<u32>,
    ignored: Vec<&'static str>,
}

impl LogList {
    /// Parses a list.
    ///
    /// # Errors
    /// The first invalid line, and what is allowed there.
    pub fn parse(text: &str) -> Result<Self, LogListError> {
        let mut lines = (1..)
            .zip(text.lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        match lines.next() {
            Some((_, HEADER)) => {}
            Some((line, _)) => return Err(LogListError { line, fault: LogListFault::Header }),
            None => return Err(LogListError { line: 1, fault: LogListFault::Header }),
        }
        let mut list = Self::default();
        let mut open: Option<Lines> = None;
        for (line, text) in lines {
            let at = |fault| LogListError { line, fault };
            let (keyword, value) = text.split_once(' ').unwrap_or((text, ""));
            let value = value.trim();
            if keyword == "vkey" {
                list.take(open.take())?;
                let key = VerifierKey::parse(value).map_err(|error| at(error.into()))?;
                open = Some(Lines {
                    line,
                    key,
                    origin: None,
                    requests_per_day: None,
                    ignored: Vec::new(),
                });
            } else if let Some(log) = &mut open {
                log.line(keyword, value).map_err(at)?;
            } else {
                return Err(at(LogListFault::NoLog));
            }
        }
        list.take(open)?;
        Ok(list)
    }

    /// The logs, in the order of their origins.
    pub fn iter(&self) -> impl Iterator<Item = (&Origin, &KnownLog)> {
        self.logs.iter()
    }

    fn take(&mut self, lines: Option<Lines>) -> Result<(), LogListError> {
        let Some(Lines { line, key, origin, requests_per_day, .. }) = lines else {
            return Ok(());
        };
        let at = |fault| LogListError { line, fault };
        let origin = match origin.flatten() {
            Some(origin) => origin,
            None => Origin::parse(key.name().as_str()).map_err(|error| at(error.into()))?,
        };
        if self.logs.len() == LOGS_MAX && !self.logs.contains_key(&origin) {
            return Err(at(LogListFault::TooMany));
        }
        let requests_per_day = requests_per_day.unwrap_or(REQUESTS_PER_DAY);
        let log = self
            .logs
            .entry(origin)
            .or_insert_with(|| KnownLog { keys: Vec::new(), requests_per_day });
        if log.keys.contains(&key) {
            return Err(at(LogListFault::KeyTwice));
        }
        log.keys.push(key);
        log.requests_per_day = log.requests_per_day.max(requests_per_day);
        Ok(())
    }
}

impl Lines {
    fn line(&mut self, keyword: &str, value: &str) -> Result<(), LogListFault> {
        let is_second = match keyword {
            "origin" => {
                let origin = (value != NONE).then(|| Origin::parse(value)).transpose()?;
                self.origin.replace(origin).is_some()
            }
            "qpd" => self.requests_per_day.replace(requests_per_day(value)?).is_some(),
            "bastion" => self.ignore("bastion"),
            "contact" => self.ignore("contact"),
            _ => return Err(LogListFault::Keyword { keyword: keyword.to_owned() }),
        };
        if is_second {
            Err(LogListFault::LineTwice { keyword: keyword.to_owned() })
        } else {
            Ok(())
        }
    }

    /// Records a line that is ignored. Returns whether the log already had such a line.
    fn ignore(&mut self, keyword: &'static str) -> bool {
        let is_second = self.ignored.contains(&keyword);
        self.ignored.push(keyword);
        is_second
    }
}

fn requests_per_day(value: &str) -> Result<u32, LogListFault> {
    value
        .parse()
        .ok()
        .filter(|requests| (1..=REQUESTS_PER_DAY_MAX).contains(requests))
        .ok_or_else(|| LogListFault::RequestsPerDay { value: value.to_owned() })
}

/// An invalid line of a list of logs.
#[derive(Debug, thiserror::Error)]
#[error("line {line}")]
pub struct LogListError {
    /// Number of the line, counted from 1.
    pub line: usize,
    /// What is wrong with the line.
    #[source]
    pub fault: LogListFault,
}

/// What is wrong with a line of a list of logs.
#[derive(Debug, thiserror::Error)]
pub enum LogListFault {
    /// The list does not begin with the expected header.
    #[error("a list of logs must begin with the line `{HEADER}`")]
    Header,
    /// A line comes before the first `vkey` line.
    #[error("each log must begin with a line `vkey <verifier key>`")]
    NoLog,
    /// The verifier key is invalid.
    #[error("cannot use the log's key")]
    Key(#[from] ParseKeyError),
    /// The origin is invalid.
    #[error("cannot use the log's origin")]
    Origin(#[from] InvalidLine),
    /// The number of requests a day is invalid or out of range.
    #[error("`{value}` is not a number of requests a day: use 1 to {REQUESTS_PER_DAY_MAX}")]
    RequestsPerDay {
        /// The text of the value.
        value: String,
    },
    /// The line begins with an unknown keyword.
    #[error(
        "a line of a list of logs cannot begin with `{keyword}`: use `vkey`, `origin`, `bastion`, `qpd`, `contact` or `#`"
    )]
    Keyword {
        /// The first word of the line.
        keyword: String,
    },
    /// The log has two lines with the same keyword.
    #[error("the log already has a line `{keyword}`")]
    LineTwice {
        /// The repeated keyword.
        keyword: String,
    },
    /// The list gives the same key for the same log twice.
    #[error("the log already has this key")]
    KeyTwice,
    /// The list has more logs than the witness reads.
    #[error("the list has more than {LOGS_MAX} logs, which is the limit")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    const FOO: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_list_is_read_as_the_witness_network_writes_it() {
        let text = format!(
            "#\n# List: 10qps\n\nlogs/v0\n\n# foo\nvkey {FOO}\norigin none\nqpd 86400\n\
             bastion https://bastion.test/\ncontact https://foo.test/contact us\n\n\
             vkey {FOO}\norigin bar.org/another name\nbastion none\nqpd 24\ncontact bar\n"
        );
        let list = LogList::parse(&text).unwrap();
        let logs: Vec<_> = list
            .iter()
            .map(|(origin, log)| (origin.as_str(), log.keys.len(), log.requests_per_day))
            .collect();
        assert_eq!(logs, [("bar.org/another name", 1, 24), ("example.com/foo", 1, 86_400)]);
        assert_eq!(LogList::parse("logs/v0\n").unwrap().iter().count(), 0);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        for (text, reason) in [
            (String::new(), "line 1: a list of logs must begin with"),
            (format!("vkey {FOO}\n"), "line 1: a list of logs must begin with"),
            ("logs/v0\nqpd 4\n".to_owned(), "line 2: each log must begin with"),
            ("logs/v0\n\nvkey a\n".to_owned(), "line 3: cannot use the log's key"),
            (format!("logs/v0\nvkey {FOO}\nqpd 0\n"), "line 3: `0` is not a number of requests"),
            (
                format!("logs/v0\nvkey {FOO}\nqps 1\n"),
                "line 3: a line of a list of logs cannot begin with `qps`",
            ),
            (format!("logs/v0\nvkey {FOO}\norigin\n"), "line 3: cannot use the log's origin"),
            (
                format!("logs/v0\nvkey {FOO}\nqpd 1\nqpd 1\n"),
                "line 4: the log already has a line `qpd`",
            ),
            (
                format!("logs/v0\nvkey {FOO}\ncontact\ncontact\n"),
                "line 4: the log already has a line",
            ),
            (format!("logs/v0\nvkey {FOO}\nvkey {FOO}\n"), "line 3: the log already has this key"),
        ] {
            let refused = LogList::parse(&text).expect_err(&text);
            let refused = format!("{refused}: {}", refused.source().unwrap());
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}

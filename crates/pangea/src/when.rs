//! Timestamps of clients, in the forms in which they are signed, stored and read.
//!
//! Go's SDK reads `...T..:..:..` with three or six fractional digits and `Z`, and fails on any
//! other form. So timestamps that are not signed are stored in that form.

use model::Timestamp;

/// RFC 3339, or the same without a zone, or with a space or a lower-case `t`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct When<'a> {
    text: &'a str,
    date: &'a str,
    time: &'a str,
    /// Fractional digits of the second.
    fraction: &'a str,
    zone: Zone<'a>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Zone<'a> {
    /// No zone; UTC is assumed.
    None,
    Utc,
    Offset(&'a str),
}

impl<'a> When<'a> {
    /// Parses a timestamp.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let date = text.get(..10)?;
        let time = text.get(11..19)?;
        matches!(text.get(10..11)?, "T" | "t" | " ").then_some(())?;
        let rest = text.get(19..)?;
        let (fraction, zone) = match rest.strip_prefix('.') {
            None => ("", rest),
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                (1..=9).contains(&end).then(|| rest.split_at(end))?
            }
        };
        let zone = match zone {
            "" => Zone::None,
            "Z" | "z" => Zone::Utc,
            offset if offset.starts_with(['+', '-']) => Zone::Offset(offset),
            _ => return None,
        };
        let when = Self { text, date, time, fraction, zone };
        // The calendar checks the rest.
        when.moment().map(|_| when)
    }

    /// The text itself if every SDK can read it, otherwise with six fractional digits in UTC.
    pub(crate) fn readable(self) -> String {
        let is_read = matches!(self.fraction.len(), 3 | 6) && self.zone == Zone::Utc && {
            self.text.get(10..11) == Some("T") && self.text.ends_with('Z')
        };
        if is_read { self.text.to_owned() } else { self.in_utc() }
    }

    /// The time with six fractional digits in its own zone, as Python's SDK writes it to sign.
    pub(crate) fn in_its_zone(self) -> String {
        let zone = match self.zone {
            Zone::None | Zone::Utc => "Z",
            Zone::Offset(offset) => offset,
        };
        format!("{}T{}.{:0<6.6}{zone}", self.date, self.time, self.fraction)
    }

    /// The time with six fractional digits in UTC.
    pub(crate) fn in_utc(self) -> String {
        self.moment().map_or_else(|| self.text.to_owned(), |moment| format!("{moment:.6}"))
    }

    fn moment(self) -> Option<jiff::Timestamp> {
        self.in_its_zone().parse().ok()
    }
}

/// Parses a time that a search names: RFC 3339, or a span before `now`.
pub(crate) fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let named = || Some(Timestamp::from_unix_micros(When::parse(text)?.moment()?.as_microsecond()));
    now.back(text).or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_kept_where_all_clients_read_it_and_written_out_where_not() {
        for (text, readable, in_its_zone) in [
            ("2026-01-01T00:00:00.123Z", "2026-01-01T00:00:00.123Z", "2026-01-01T00:00:00.123000Z"),
            (
                "2026-01-01T00:00:00.123456Z",
                "2026-01-01T00:00:00.123456Z",
                "2026-01-01T00:00:00.123456Z",
            ),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z"), // Python, whole seconds
            (
                "2026-01-01T12:00:00+02:00",
                "2026-01-01T10:00:00.000000Z",
                "2026-01-01T12:00:00.000000+02:00",
            ),
            ("2026-01-01T12:00:00.5", "2026-01-01T12:00:00.500000Z", "2026-01-01T12:00:00.500000Z"), // no zone
            (
                "2026-01-01 12:00:00.123z",
                "2026-01-01T12:00:00.123000Z",
                "2026-01-01T12:00:00.123000Z",
            ),
            (
                "2026-01-01T00:00:00.123456789Z",
                "2026-01-01T00:00:00.123456Z",
                "2026-01-01T00:00:00.123456Z",
            ), // Go's nanoseconds
            ("1901-01-01T00:00:00Z", "1901-01-01T00:00:00.000000Z", "1901-01-01T00:00:00.000000Z"),
        ] {
            let when = When::parse(text).unwrap();
            assert_eq!(
                (when.readable().as_str(), when.in_its_zone().as_str()),
                (readable, in_its_zone)
            );
        }
        for text in [
            "",
            "2026-01-01",
            "2026-02-30T00:00:00Z",
            "0000-0-0T0:0:0",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00X",
            "2026-01-01T00:00:00+2",
            "2026-01-01T00:00:00.1234567890Z",
            "ää26-01-01T00:00:00Z",
            "yesterday at five o'clock",
        ] {
            assert_eq!(When::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_search_names_moments_or_how_long_ago() {
        let now = Timestamp::from_unix_micros(1_795_600_000_000_000);
        assert_eq!(moment("7d", now), now.back("7d"));
        assert_eq!(
            moment("2026-01-01T00:00:00.123456789Z", now).unwrap().to_string(),
            "2026-01-01T00:00:00.123456Z"
        );
        assert_eq!(moment("7fortnights", now), None);
    }
}

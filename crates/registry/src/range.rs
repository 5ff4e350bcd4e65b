//! Ranges: of the chunks of an upload, and of the content that a client asks for.

/// The first and the last byte of a chunk, as a client says them in `Content-Range`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Chunk {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Chunk {
    /// Reads `<first>-<last>`; `None` if the text is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let chunk = Self { first: number(first)?, last: number(last)? };
        (chunk.first <= chunk.last).then_some(chunk)
    }

    /// Number of bytes; `None` if it is 2^64.
    pub(crate) fn len(self) -> Option<u64> {
        (self.last - self.first).checked_add(1)
    }
}

/// What part of some content a client wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    /// All of it. This is the answer to whatever is not one range of bytes, too.
    Whole,
    /// From the first byte up to, but not including, the last.
    Part { from: u64, to: u64 },
    /// A range that lies behind the end.
    Nothing,
}

impl Wanted {
    /// Reads the value of a `Range` header (RFC 9110, section 14.2) for content of this size.
    pub(crate) fn parse(text: &str, size: u64) -> Self {
        let Some((first, last)) = text.strip_prefix("bytes=").and_then(|it| it.split_once('-'))
        else {
            return Self::Whole;
        };
        let (from, to) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1)),
            (Some(first), None) if last.is_empty() => (first, size),
            (None, Some(count)) if first.is_empty() => (size.saturating_sub(count), size),
            _ => return Self::Whole,
        };
        let to = to.min(size);
        if from < to { Self::Part { from, to } } else { Self::Nothing }
    }
}

/// Reads a number in decimal digits alone.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_a_first_and_a_last_byte() {
        assert_eq!(Chunk::parse("0-0").unwrap().len(), Some(1));
        assert_eq!(Chunk::parse("5-9"), Some(Chunk { first: 5, last: 9 }));
        assert_eq!(Chunk::parse("0-18446744073709551615").unwrap().len(), None);
        for text in [
            "",
            "-",
            "5",
            "5-",
            "-5",
            "9-5",
            "+1-2",
            "1-2-3",
            "bytes 0-1/2",
            "0x1-2",
            "0-18446744073709551616",
            " 0-1",
            "0-1 ",
        ] {
            assert_eq!(Chunk::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_range_is_served_and_everything_else_is_served_whole() {
        for (text, wanted) in [
            ("bytes=0-4", Wanted::Part { from: 0, to: 5 }),
            ("bytes=2-", Wanted::Part { from: 2, to: 10 }),
            ("bytes=-3", Wanted::Part { from: 7, to: 10 }),
            ("bytes=-99", Wanted::Part { from: 0, to: 10 }),
            ("bytes=9-99", Wanted::Part { from: 9, to: 10 }),
            ("bytes=9-18446744073709551615", Wanted::Part { from: 9, to: 10 }),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-12", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=4-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
        ] {
            assert_eq!(Wanted::parse(text, 10), wanted, "{text}");
        }
        assert_eq!(Wanted::parse("bytes=0-", 0), Wanted::Nothing);
    }
}

//! The lines of the NATS client protocol, in both directions. No IO.
//!
//! Invariant: [`parse`] reads only whole operations, so it gives the same operations however the
//! bytes were divided on their way.

use core::{fmt::Display, ops::Range};

use model::{Pattern, Subject};

/// Longest line in bytes. `nats-server` sends no longer one, except INFO on a large cluster.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Largest message in bytes, headers included: the largest that a server can be told to pass on.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A subject to publish to, or to subscribe to. It contains no space or line break, so it cannot
/// be read as another part of a line.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a>(&'a str);

impl<'a> From<&'a Subject> for Topic<'a> {
    fn from(subject: &'a Subject) -> Self {
        Self(subject.as_str())
    }
}

impl<'a> From<&'a Pattern> for Topic<'a> {
    fn from(pattern: &'a Pattern) -> Self {
        Self(pattern.as_str())
    }
}

/// What the server says. Ranges are places in the bytes that were parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// The server describes itself, in JSON.
    Info(Range<usize>),
    /// A message for one of the client's subscriptions.
    Message {
        /// The client's number of the subscription.
        subscription: u64,
        /// Subject of the message.
        subject: Range<usize>,
        /// Headers, beginning with `NATS/1.0`; empty if the message has none.
        headers: Range<usize>,
        /// The message itself.
        payload: Range<usize>,
    },
    /// The server wants to hear a [`PONG`].
    Ping,
    /// The answer to a [`PING`].
    Pong,
    /// The server agrees.
    Ok,
    /// The server refuses something, or is about to close the connection.
    Error(Range<usize>),
}

/// Bytes that are not of this protocol. The connection cannot be used any more.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProtocolError {
    /// A line does not end.
    #[error("the server's line has more than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A message is too large.
    #[error(
        "the server announces a message of {bytes} bytes: at most {MESSAGE_BYTES_MAX} are read"
    )]
    MessageTooLarge {
        /// Announced size.
        bytes: usize,
    },
    /// A line is not understood.
    #[error("the server's line is not understood: {line:?}")]
    Line {
        /// The beginning of the line.
        line: String,
    },
}

/// Parses the first operation. Returns it with its length, or `None` if more bytes are needed.
///
/// # Errors
/// The bytes are not of this protocol.
pub fn parse(bytes: &[u8]) -> Result<Option<(Operation, usize)>, ProtocolError> {
    let searched = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = searched.windows(2).position(|pair| pair == b"\r\n") else {
        let is_too_long = bytes.len() >= LINE_BYTES_MAX;
        return if is_too_long { Err(ProtocolError::LineTooLong) } else { Ok(None) };
    };
    let line = bytes.get(..end).unwrap_or_default();
    let after_line = end + 2;
    let not_understood = || ProtocolError::Line {
        line: String::from_utf8_lossy(line.get(..80).unwrap_or(line)).into_owned(),
    };
    let rest = |word: &str| {
        let after = line.get(word.len()..)?;
        let is_word = line.get(..word.len())?.eq_ignore_ascii_case(word.as_bytes());
        let is_whole = after.first().is_none_or(|next| matches!(next, b' ' | b'\t'));
        (is_word && is_whole).then_some(word.len()..end)
    };
    let (has_headers, arguments) = match (rest("MSG"), rest("HMSG")) {
        (Some(arguments), _) => (false, arguments),
        (None, Some(arguments)) => (true, arguments),
        (None, None) => {
            let operation = if rest("PING").is_some() {
                Operation::Ping
            } else if rest("PONG").is_some() {
                Operation::Pong
            } else if rest("+OK").is_some() {
                Operation::Ok
            } else if let Some(reason) = rest("-ERR") {
                Operation::Error(reason)
            } else {
                Operation::Info(rest("INFO").ok_or_else(not_understood)?)
            };
            return Ok(Some((operation, after_line)));
        }
    };
    let Announced { subject, subscription, header_bytes, bytes: all } =
        announced(line, arguments, has_headers).ok_or_else(not_understood)?;
    if all > MESSAGE_BYTES_MAX {
        return Err(ProtocolError::MessageTooLarge { bytes: all });
    }
    let after_message = after_line + all;
    match bytes.get(after_message..after_message + 2) {
        None => Ok(None),
        Some(b"\r\n") => {
            let headers = after_line..after_line + header_bytes;
            let payload = headers.end..after_message;
            let message = Operation::Message { subscription, subject, headers, payload };
            Ok(Some((message, after_message + 2)))
        }
        Some(_) => Err(not_understood()),
    }
}

struct Announced {
    subject: Range<usize>,
    subscription: u64,
    header_bytes: usize,
    bytes: usize,
}

/// The arguments of a line that announces a message: subject, subscription, perhaps a reply
/// subject, perhaps the headers' size, and the size of everything.
fn announced(line: &[u8], arguments: Range<usize>, has_headers: bool) -> Option<Announced> {
    let mut words = [const { 0..0 }; 5];
    let mut count = 0;
    let mut at = arguments.start;
    for word in line.get(arguments)?.split(|byte| matches!(byte, b' ' | b'\t')) {
        if !word.is_empty() {
            *words.get_mut(count)? = at..at + word.len();
            count += 1;
        }
        at += word.len() + 1;
    }
    let number = |word: &Range<usize>| -> Option<u64> {
        let digits = line.get(word.clone())?;
        let is_number = digits.len() <= 19 && digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    };
    let size = |word: &Range<usize>| usize::try_from(number(word)?).ok();
    let sizes = if has_headers { 2 } else { 1 };
    let words = words.get(..count)?;
    let (named, sizes) = words.split_at_checked(count.checked_sub(sizes)?)?;
    let ([subject, subscription] | [subject, subscription, _]) = named else { return None };
    core::str::from_utf8(line.get(subject.clone())?).ok()?;
    let bytes = size(sizes.last()?)?;
    let header_bytes = if has_headers { size(sizes.first()?)? } else { 0 };
    (header_bytes <= bytes).then_some(())?;
    Some(Announced {
        subject: subject.clone(),
        subscription: number(subscription)?,
        header_bytes,
        bytes,
    })
}

/// Asks the server for a PONG.
pub const PING: &[u8] = b"PING\r\n";
/// Answers a PING of the server.
pub const PONG: &[u8] = b"PONG\r\n";

/// Appends a subscription. The client chooses the number.
pub fn subscribe(out: &mut Vec<u8>, Topic(topic): Topic<'_>, subscription: u64) {
    line(out, format_args!("SUB {topic} {subscription}"));
}

/// Appends the end of a subscription.
pub fn unsubscribe(out: &mut Vec<u8>, subscription: u64) {
    line(out, format_args!("UNSUB {subscription}"));
}

/// Appends a message. Written without formatting, because there is one for each poll.
pub fn publish(out: &mut Vec<u8>, topic: Topic<'_>, reply: Option<Topic<'_>>, payload: &[u8]) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(topic.0.as_bytes());
    out.push(b' ');
    if let Some(Topic(reply)) = reply {
        out.extend_from_slice(reply.as_bytes());
        out.push(b' ');
    }
    line(out, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Appends one line.
pub(crate) fn line(out: &mut Vec<u8>, text: impl Display) {
    use std::io::Write as _;
    write!(out, "{text}\r\n").expect("a vector takes everything");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(text: &str) -> Subject {
        Subject::parse(text).unwrap()
    }

    #[test]
    fn every_operation_is_understood() {
        let bytes = concat!(
            "MSG a.b 7 3\r\nyes\r\nmsg a.b  18446744 reply 0\r\n\r\n",
            "HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
            "PING\r\nPONG\r\n+OK\r\n-ERR 'no'\r\nINFO {}\r\nMSG"
        );
        let bytes = bytes.as_bytes();
        let mut at = 0;
        let mut told = Vec::new();
        while let Some((operation, len)) = parse(&bytes[at..]).unwrap() {
            let text = |range: &Range<usize>| {
                String::from_utf8_lossy(&bytes[at..][range.clone()]).into_owned()
            };
            told.push(match &operation {
                Operation::Message { subscription, subject, headers, payload } => {
                    let (subject, headers) = (text(subject), text(headers));
                    format!("{subject} {subscription} {headers:?} {}", text(payload))
                }
                Operation::Error(reason) | Operation::Info(reason) => text(reason),
                other => format!("{other:?}"),
            });
            at += len;
        }
        assert_eq!(&bytes[at..], b"MSG", "the last one is not whole");
        let expected = [
            "a.b 7 \"\" yes",
            "a.b 18446744 \"\" ",
            "a 1 \"NATS/1.0\\r\\n\\r\\n\" hi",
            "Ping",
            "Pong",
            "Ok",
            " 'no'",
            " {}",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        for bytes in [
            "HELLO\r\n",
            "MSGS a 1 0\r\n\r\n",
            "MSG a 1\r\n",
            "MSG a x 3\r\nyes\r\n",
            "MSG a 1 3\r\nyes!\r\n",
            "MSG a b c d e f 3\r\nyes\r\n",
            "HMSG a 1 4 3\r\nyes\r\n", // headers longer than everything
            "MSG a 1 99999999999999999999\r\n",
            "MSG a 1 67108865\r\n",
        ] {
            assert!(parse(bytes.as_bytes()).is_err(), "{bytes}");
        }
        assert_eq!(parse(&[b'x'; LINE_BYTES_MAX]), Err(ProtocolError::LineTooLong));
    }

    #[test]
    fn what_is_said_is_what_the_server_expects() {
        let mut out = Vec::new();
        subscribe(&mut out, (&"*.heartbeat".parse::<Pattern>().unwrap()).into(), 1);
        let (topic, reply) = (subject("a.poll"), subject("a.read"));
        publish(&mut out, (&topic).into(), Some((&reply).into()), b"poll");
        publish(&mut out, (&topic).into(), None, b"");
        unsubscribe(&mut out, 1);
        let expected =
            "SUB *.heartbeat 1\r\nPUB a.poll a.read 4\r\npoll\r\nPUB a.poll 0\r\n\r\nUNSUB 1\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn nothing_from_the_server_makes_it_panic(bytes: Vec<u8>, kind in 0..3_usize) {
            let line = ["MSG a 1 ", "HMSG a 1 2 ", ""][kind];
            let _ = parse(&[line.as_bytes(), &bytes].concat());
        }

        #[test]
        fn messages_are_the_same_however_they_are_divided(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let message = |payload: &Vec<u8>| {
                let head = format!("MSG a.b 12 {}\r\n", payload.len());
                [head.as_bytes(), payload, b"\r\n"].concat()
            };
            let bytes: Vec<u8> = payloads.iter().flat_map(message).collect();
            let cut = cut.index(bytes.len() + 1);
            let mut read = Vec::new();
            let mut at = 0;
            for end in [cut, bytes.len()] {
                while let Some((operation, len)) = parse(&bytes[at..end]).unwrap() {
                    let Operation::Message { payload, .. } = operation else { panic!("{operation:?}") };
                    read.push(bytes[at..][payload].to_vec());
                    at += len;
                }
            }
            prop_assert_eq!(read, payloads);
        }
    }
}

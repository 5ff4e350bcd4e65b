//! The program's own log, on standard error: warnings, or what SEALWIRE_LOG asks for.
//!
//! The fields of a log line hold text from devices, clients and files. They are escaped like all
//! output: one event is one line, and none can send control sequences to a terminal. The log is
//! coloured if it goes to a terminal and `NO_COLOR` is not set.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter,
    field::RecordFields,
    fmt::{
        self, FormatFields, MakeWriter,
        format::{DefaultFields, Writer},
    },
};

use crate::output::Escaped;

/// Starts the log for the rest of the process's life.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("SEALWIRE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // https://no-color.org: the variable counts if it is set and not empty.
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_coloured = io::stderr().is_terminal() && !is_plain;
    tracing::subscriber::set_global_default(subscriber(filter, io::stderr, is_coloured))
        .expect("it is started once");
}

fn subscriber<W: for<'a> MakeWriter<'a> + Send + Sync + 'static>(
    filter: EnvFilter,
    writer: W,
    is_coloured: bool,
) -> impl Subscriber {
    fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_ansi(is_coloured)
        .fmt_fields(EscapedFields(DefaultFields::new()))
        .with_writer(writer)
        // If the terminal or pipe has gone away, the message is lost, and the process must not
        // panic over it.
        .log_internal_errors(false)
        .finish()
}

/// Formats fields and messages as by default, and escapes them.
struct EscapedFields(DefaultFields);

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> std::fmt::Result {
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        write!(writer, "{}", Escaped(&text))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_event_is_one_line_whatever_its_fields_say() {
        let hostile = "T1\n2026-11-23T19:01:23Z ERROR forged\u{1b}[2J\u{9b}1m\u{202e}";
        let written = Written::default();
        let writer = written.clone();
        let filter = EnvFilter::new("trace");
        let subscriber = subscriber(filter, move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other(hostile);
            tracing::warn!(sensor = %hostile, text = hostile, debug = ?[hostile], "{hostile}");
            tracing::error_span!("poll", sensor = %hostile).in_scope(|| {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "failed");
            });
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        let hidden = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(hidden), "{text:?}");
        assert_eq!(text.matches("forged").count(), 6, "{text}");
    }
}

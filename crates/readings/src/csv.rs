//! CSV as RFC 4180 has it, with a line of names first and `\n` as the end of a line.

use std::io::{self, BufWriter, Write};

use index::Reading;
use model::SensorId;

pub(crate) struct File<W: Write>(BufWriter<W>);

impl<W: Write> File<W> {
    pub(crate) fn begin(output: W) -> io::Result<Self> {
        let mut output = BufWriter::new(output);
        writeln!(output, "sensor,leaf,timestamp,status,value,unit")?;
        Ok(Self(output))
    }

    pub(crate) fn write(&mut self, sensor: SensorId, readings: &[Reading]) -> io::Result<()> {
        for Reading { leaf, timestamp, status, value, unit } in readings {
            let unit = unit.as_deref().unwrap_or_default();
            let (status, value, unit) = (quoted(status), quoted(value), quoted(unit));
            writeln!(self.0, "{sensor},{leaf},{timestamp},{status},{value},{unit}")?;
        }
        Ok(())
    }

    pub(crate) fn end(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

//! CSV as in RFC 4180, with a header line and `\n` as the line ending. This is the one writer of
//! cells for all files that go to spreadsheets.
//!
//! A spreadsheet treats a cell that begins with one of a few characters as a formula and runs it
//! when somebody opens the file. The text of a sensor or a program comes from outside, so such a
//! cell gets an apostrophe in front, which marks it as text in spreadsheets. Numbers stay numbers.
//!
//! A spreadsheet that splits cells at semicolons or tabs ignores quotation marks in the middle of
//! what it considers a cell. So text that would begin a cell or a line there gets an apostrophe,
//! too.

use std::{
    borrow::Cow,
    io::{self, BufWriter, Write},
};

use model::SensorId;

use crate::reading::Reading;

/// How to write a cell that a spreadsheet would treat as a formula.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Formulas {
    /// With an apostrophe in front.
    #[default]
    Defused,
    /// Unchanged, for programs that read every byte.
    Kept,
}

/// The first characters of a formula, in spreadsheets of every language. Some spreadsheets skip
/// white space before them.
const FORMULA_STARTS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Quotes a text as a cell, if necessary.
#[must_use]
pub fn cell(text: &str, formulas: Formulas) -> Cow<'_, str> {
    let text = match formulas {
        Formulas::Defused => defused(text),
        Formulas::Kept => Cow::Borrowed(text),
    };
    if text.contains(['"', ',']) || text.contains(OTHER_ENDS) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        text
    }
}

/// Characters that end a cell or a line in a spreadsheet that does not split cells at commas. Where
/// the comma is the decimal sign, spreadsheets split at semicolons.
const OTHER_ENDS: [char; 4] = [';', '\t', '\n', '\r'];

fn defused(text: &str) -> Cow<'_, str> {
    let is_formula_as_a_whole = is_formula(text);
    if !is_formula_as_a_whole && !text.contains(OTHER_ENDS) {
        return Cow::Borrowed(text);
    }
    let mut defused = String::from(if is_formula_as_a_whole { "'" } else { "" });
    for (at, part) in text.split_inclusive(OTHER_ENDS).enumerate() {
        // Such a spreadsheet drops pairs of quotation marks before the text.
        let begin = part.trim_end_matches(OTHER_ENDS).trim_start_matches([' ', '"']);
        if at > 0 && is_formula(begin) {
            defused.push('\'');
        }
        defused.push_str(part);
    }
    Cow::Owned(defused)
}

fn is_formula(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '\u{a0}', '\u{feff}']);
    text.starts_with(FORMULA_STARTS) && !is_number(text)
}

/// Whether a text is a number and nothing else.
fn is_number(text: &str) -> bool {
    let has_only = |allowed: &str| text.chars().all(|c| c.is_ascii_digit() || allowed.contains(c));
    has_only("+-.eE") && text.parse::<f64>().is_ok()
}

pub(crate) struct File<W: Write> {
    output: BufWriter<W>,
    formulas: Formulas,
}

impl<W: Write> File<W> {
    pub(crate) fn begin(output: W, formulas: Formulas) -> io::Result<Self> {
        let mut output = BufWriter::new(output);
        writeln!(output, "sensor,leaf,timestamp,status,value,calibrated,unit,sensor_time,flags")?;
        Ok(Self { output, formulas })
    }

    pub(crate) fn write(&mut self, sensor: SensorId, readings: &[Reading]) -> io::Result<()> {
        for reading in readings {
            let Reading { leaf, timestamp, status, value, calibrated, unit, sensor_time, flags } =
                reading;
            let calibrated = calibrated.map(|number| number.to_string()).unwrap_or_default();
            let [unit, time, flags] =
                [unit, sensor_time, flags].map(|text| text.as_deref().unwrap_or_default());
            let texts = [status, value, unit, time, flags];
            let [status, value, unit, time, flags] = texts.map(|text| cell(text, self.formulas));
            writeln!(
                self.output,
                "{sensor},{leaf},{timestamp},{status},{value},{calibrated},{unit},{time},{flags}"
            )?;
        }
        Ok(())
    }

    pub(crate) fn end(mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_no_formula() {
        for (text, defused, kept) in [
            ("plain", "plain", "plain"),
            ("", "", ""),
            ("a,b", "\"a,b\"", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\"", "\"say \"\"x\"\"\""),
            ("1\n2", "\"1\n2\"", "\"1\n2\""),
            ("=1+1", "'=1+1", "=1+1"),
            ("+49 30", "'+49 30", "+49 30"),
            ("@SUM(A1)", "'@SUM(A1)", "@SUM(A1)"),
            ("-2+3", "'-2+3", "-2+3"),
            ("\t=1", "\"'\t'=1\"", "\"\t=1\""),
            ("\r=1", "\"'\r'=1\"", "\"\r=1\""),
            (" =1", "' =1", " =1"), // passed over by some
            ("\u{ff1d}1", "'\u{ff1d}1", "\u{ff1d}1"),
            ("=a;b", "\"'=a;b\"", "\"=a;b\""),
            ("=HYPERLINK(\"x\",1)", "\"'=HYPERLINK(\"\"x\"\",1)\"", "\"=HYPERLINK(\"\"x\"\",1)\""),
            // Separate cells and lines in a spreadsheet that splits at semicolons or tabs.
            ("a;=1;b", "\"a;'=1;b\"", "\"a;=1;b\""),
            ("a\t =1", "\"a\t' =1\"", "\"a\t =1\""),
            ("a\r\n@x", "\"a\r\n'@x\"", "\"a\r\n@x\""),
            ("a;\"=1", "\"a;'\"\"=1\"", "\"a;\"\"=1\""),
            ("a;-5;b\n\n-1.5", "\"a;-5;b\n\n-1.5\"", "\"a;-5;b\n\n-1.5\""),
            // Numbers, as sensors write them.
            ("-12.50", "-12.50", "-12.50"),
            ("+3", "+3", "+3"),
            ("-1e-7", "-1e-7", "-1e-7"),
            ("-inf", "'-inf", "-inf"),
            ("-", "'-", "-"),
        ] {
            assert_eq!(cell(text, Formulas::Defused), defused, "{text:?}");
            assert_eq!(cell(text, Formulas::Kept), kept, "{text:?}");
        }
    }
}

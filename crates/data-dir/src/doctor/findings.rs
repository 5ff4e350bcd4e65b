//! What was found, of one thing after the other.

/// How much something matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It cannot be judged now.
    Skipped,
    /// A site runs with it, or its next start repairs it.
    Warn,
    /// It keeps a site from starting, or the log from holding.
    Failed,
}

/// What was found of one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How much it matters.
    pub verdict: Verdict,
    /// What was looked at, in a word.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// What can be done, where something can.
    pub remedy: Option<String>,
}

/// Findings on their way.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(Verdict::Ok, check, found, None);
    }

    pub(super) fn skipped(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(Verdict::Skipped, check, found, None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Verdict::Warn, check, found, Some(remedy.into()));
    }

    pub(super) fn failed(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Verdict::Failed, check, found, Some(remedy.into()));
    }

    pub(super) fn add(
        &mut self,
        verdict: Verdict,
        check: &'static str,
        found: impl Into<String>,
        remedy: Option<String>,
    ) {
        self.0.push(Finding { verdict, check, found: found.into(), remedy });
    }
}

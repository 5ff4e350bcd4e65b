//! What the checks found, one finding after the other.

/// Severity of a finding.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// The check found no fault.
    Ok,
    /// The check cannot be made now.
    Skipped,
    /// A fault with which a site runs, or which its next start repairs.
    Warn,
    /// A fault that keeps a site from starting, or the log from being verified.
    Failed,
}

/// Result of one check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Severity.
    pub verdict: Verdict,
    /// What was checked, in one word.
    pub check: &'static str,
    /// Description of what was found.
    pub found: String,
    /// What to do about it, if anything can be done.
    pub remedy: Option<String>,
}

/// Collects findings.
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

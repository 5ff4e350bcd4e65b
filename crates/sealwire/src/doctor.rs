//! `sealwire doctor`: prints a line for each check and, below it, what to do.

use anyhow::{Result, bail};
use data_dir::doctor::{Finding, Request, Verdict, examine};

use crate::{cli::DoctorArguments, output};

pub(crate) fn run(arguments: &DoctorArguments) -> Result<()> {
    let data_dir = &arguments.site.data_dir;
    let request = Request {
        data_dir,
        key_file: arguments.site.key_file.as_deref(),
        against: arguments.against.as_deref(),
        now: clock::now(),
        start: site::START,
    };
    let findings = examine(request, &mut |step| output::note(&format!("sealwire: {step}")));
    for Finding { verdict, check, found, remedy } in &findings {
        output::line(&format!("  {:<7} {check:<11} {found}", word(*verdict)));
        if let Some(remedy) = remedy {
            output::line(&format!("{:23}{remedy}", ""));
        }
    }
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    if failed > 0 {
        bail!("{} of {} checks of {} FAILED", failed, findings.len(), data_dir.display());
    }
    output::line(&format!("no check of {} FAILED: a site can run in it", data_dir.display()));
    Ok(())
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Skipped => "skipped",
        Verdict::Warn => "warn",
        Verdict::Failed => "FAILED",
    }
}

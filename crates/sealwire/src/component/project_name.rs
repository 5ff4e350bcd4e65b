//! The name of a user's project.

use std::str::FromStr;

use model::processing::{InvalidProcessorName, ProcessorName};

/// Name of a project: also of the package, of the repository in a registry, and of the processor.
#[derive(Clone, Debug)]
pub(crate) struct ProjectName(ProcessorName);

impl ProjectName {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ProjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name: ProcessorName =
            text.parse().map_err(|error: InvalidProcessorName| error.to_string())?;
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || text.ends_with('-') {
            return Err(format!("`{name}` must begin with a letter, and not end with -"));
        }
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_a_package_and_of_a_processor() {
        for (text, is_name) in [
            ("double", true),
            ("mean-2h", true),
            ("2h-mean", false),
            ("-mean", false),
            ("mean-", false),
            ("Mean", false),
            ("a_b", false),
            ("", false),
            ("../a", false),
            (&*"x".repeat(41), false),
        ] {
            assert_eq!(text.parse::<ProjectName>().is_ok(), is_name, "{text}");
        }
    }
}

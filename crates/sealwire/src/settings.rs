//! The settings of a site, and where each value comes from.
//!
//! The options of `sealwire up` are the only table of settings. The option `--http-port` is also
//! the key `http-port` of the configuration file and the variable SEALWIRE_HTTP_PORT. A flag goes
//! before a variable, a variable before the file, and the file before the default.
//!
//! Other commands take from the file what they have in common with `up`, such as `data-dir`. A
//! command that has no setting reads no file: the program that becomes an engine starts in the
//! engine's folder, and the engine can write there.

use std::{
    fs::File,
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::{
    Arg, ArgAction, ArgMatches, Command as Options, CommandFactory as _, FromArgMatches as _,
    builder::Resettable, error::ErrorKind, parser::ValueSource, value_parser,
};
use toml::de::{DeTable, DeValue};

use crate::cli::{Cli, Command};

/// The configuration file, which is read from the current folder unless `--config` names another.
pub(crate) const FILE: &str = "sealwire.toml";
/// Largest configuration file in bytes: many times what all settings take.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Option that names the configuration file.
const CONFIG: &str = "config";
/// Subcommand whose options are the settings.
const UP: &str = "up";
/// How similar a known key must be to be named beside an unknown one, from 0 to 1.
const SIMILAR: f64 = 0.7;

/// The command line and the configuration file of this process.
pub(crate) struct Settings {
    /// The file, if there is one.
    pub(crate) file: Option<Configuration>,
    matches: ArgMatches,
}

/// A configuration file that was read.
pub(crate) struct Configuration {
    /// Path of the file.
    pub(crate) path: PathBuf,
    /// The settings that it makes.
    pub(crate) entries: Vec<Entry>,
    /// What is wrong with it, in the order of its lines.
    pub(crate) faults: Vec<Fault>,
}

/// A setting in the file.
pub(crate) struct Entry {
    key: String,
    line: usize,
    values: Vec<String>,
}

/// What is wrong in a line of the file.
pub(crate) struct Fault {
    line: usize,
    words: String,
}

/// A setting with its value.
pub(crate) struct Shown {
    /// Key in the file and name of the option.
    pub(crate) key: String,
    /// The value as text, lists with commas; `None` if the setting has none.
    pub(crate) value: Option<String>,
    /// Where the value comes from.
    pub(crate) source: String,
}

/// The command line, with a variable for each option of `up`, and `--config` wherever a setting can
/// come from the file.
pub(crate) fn command_line() -> Options {
    Cli::command()
        .mut_subcommand(UP, |up| {
            up.mut_args(with_variable).after_help(
                "Each option is also a key of the configuration file and an environment variable: \
                 --http-port is http-port in sealwire.toml, and SEALWIRE_HTTP_PORT. \
                 `sealwire config show` prints all of them.",
            )
        })
        .mut_subcommand(CONFIG, |config| {
            config.mut_subcommand("show", |show| {
                show.mut_args(|option| {
                    if option.get_id() == "json" { option } else { with_variable(option) }
                })
            })
        })
        .mut_subcommands(with_config)
}

/// Lets a command name the file if it has a setting. Otherwise each of its own commands that has
/// one does.
fn with_config(command: Options) -> Options {
    let has_settings = command
        .get_arguments()
        .any(|option| option.get_env().is_some_and(|name| *name == *variable("data-dir")));
    if has_settings || command.get_name() == CONFIG {
        command.arg(config_option())
    } else {
        command.mut_subcommands(with_config)
    }
}

/// The help does not name the variable, which follows from the option's name.
fn with_variable(option: Arg) -> Arg {
    match option.get_long().map(variable) {
        Some(variable) => option.env(variable).hide_env(true),
        None => option,
    }
}

/// Reads the command line and the configuration file.
///
/// # Errors
/// The file cannot be read, or has a fault and the command is not to check it.
pub(crate) fn read() -> Result<(Command, Settings)> {
    let options = command_line();
    let file = match named_in(&options.clone().get_matches()) {
        None => None,
        Some(Some(path)) => Some(Configuration::read(&path, &options)?),
        Some(None) => match Configuration::read(Path::new(FILE), &options) {
            Err(error) if is_missing(&error) => None,
            read => Some(read?),
        },
    };
    let matches = match &file {
        Some(file) => with_file(options, file).get_matches(),
        None => options.get_matches(),
    };
    let Cli { command } = Cli::from_arg_matches(&matches)?;
    if let (Some(file), false) = (&file, is_check(&matches)) {
        file.refuse_faults()?;
    }
    Ok((command, Settings { file, matches }))
}

impl Settings {
    /// All settings, in the order of the help. The command must be one that takes the options of
    /// `up`.
    pub(crate) fn all(&self) -> Vec<Shown> {
        let matches = innermost(&self.matches);
        settings(&command_line()).map(|option| self.shown(&option, matches)).collect()
    }

    fn shown(&self, option: &Arg, matches: &ArgMatches) -> Shown {
        let (id, key) = (option.get_id().as_str(), key_of(option));
        let values = matches.get_raw(id).into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let in_file = self.file.as_ref().and_then(|file| Some((file, file.entry(&key)?)));
        let source = match (matches.value_source(id), in_file) {
            (Some(ValueSource::CommandLine), _) => String::from("flag"),
            (Some(ValueSource::EnvVariable), _) => variable(&key),
            (Some(_), Some((file, entry))) => format!("{}:{}", file.path.display(), entry.line),
            _ => String::from("default"),
        };
        Shown { key, value: (!values.is_empty()).then(|| values.join(",")), source }
    }
}

impl Configuration {
    fn read(path: &Path, options: &Options) -> Result<Self> {
        let failed = || format!("cannot read the configuration file {}", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(failed)?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            bail!("{} has more than {FILE_BYTES_MAX} bytes", path.display());
        }
        Ok(Self::parse(path, &text, options))
    }

    /// Reads as much as it can, so that all faults show at once.
    fn parse(path: &Path, text: &str, options: &Options) -> Self {
        let line_of = |span: Range<usize>| {
            let before = text.as_bytes().get(..span.start).unwrap_or_default();
            1 + before.iter().filter(|byte| **byte == b'\n').count()
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        let syntax = errors.into_iter().map(|error| Fault {
            line: line_of(error.span().unwrap_or_default()),
            words: error.message().to_owned(),
        });
        let (mut entries, mut faults) = (Vec::new(), syntax.collect::<Vec<_>>());
        for (key, value) in table.get_ref() {
            let line = line_of(key.span());
            match checked(options, key.get_ref(), value.get_ref()) {
                Ok(values) => entries.push(Entry { key: key.get_ref().to_string(), line, values }),
                Err(words) => faults.push(Fault { line, words }),
            }
        }
        faults.sort_by_key(|fault| fault.line);
        Self { path: path.to_owned(), entries, faults }
    }

    /// A line for each fault.
    pub(crate) fn faults(&self) -> impl Iterator<Item = String> {
        let of = |fault: &Fault| format!("{}:{}: {}", self.path.display(), fault.line, fault.words);
        self.faults.iter().map(of)
    }

    fn refuse_faults(&self) -> Result<()> {
        let faults: Vec<_> = self.faults().collect();
        if !faults.is_empty() {
            bail!("the configuration file has faults: {}", faults.join("; "));
        }
        Ok(())
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// The values of a key as an option takes them, or what is wrong with the key or its value.
fn checked(options: &Options, key: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let Some(option) = settings(options).find(|option| key_of(option) == key) else {
        return Err(unknown(options, key));
    };
    let takes_value = option.get_action().takes_values();
    let values = match value {
        DeValue::Boolean(set) if !takes_value => vec![set.to_string()],
        _ if !takes_value => return Err(format!("`{key}` must be true or false")),
        DeValue::Array(list) if matches!(option.get_action(), ArgAction::Append) => {
            list.iter().filter_map(|item| scalar(item.get_ref())).collect()
        }
        value => scalar(value).into_iter().collect(),
    };
    let expected = match value {
        DeValue::Array(list) => list.len(),
        _ => 1,
    };
    if values.len() != expected {
        let list =
            if matches!(option.get_action(), ArgAction::Append) { ", or a list" } else { "" };
        return Err(format!("`{key}` must be a text or a whole number{list}"));
    }
    if takes_value {
        parses(option, &values).map_err(|words| format!("`{key}`: {words}"))?;
    }
    Ok(values)
}

/// The text of a value that is not made of others; `None` for what no option takes.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let digits = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(digits.to_string())
        }
        _ => None,
    }
}

/// Checks that an option takes these values.
fn parses(option: Arg, values: &[String]) -> Result<(), String> {
    let option = option.env(Resettable::Reset);
    let name = key_of(&option);
    let alone = Options::new(UP).no_binary_name(true).arg(option);
    let Err(error) = alone.try_get_matches_from(values.iter().map(|it| format!("--{name}={it}")))
    else {
        return Ok(());
    };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    Err(match (error.kind(), cause) {
        (ErrorKind::ValueValidation, Some(cause)) => cause,
        _ => {
            let words = error.to_string();
            let first = words.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    })
}

fn unknown(options: &Options, key: &str) -> String {
    let similar = settings(options).map(|option| key_of(&option));
    let similar = similar.map(|known| (strsim::jaro_winkler(key, &known), known));
    match similar.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((by, known)) if by > SIMILAR => {
            format!("there is no setting `{key}`; did you mean `{known}`?")
        }
        _ => format!("there is no setting `{key}`; `sealwire config show` lists all settings"),
    }
}

/// The options that are settings.
fn settings(options: &Options) -> impl Iterator<Item = Arg> {
    let up = options.find_subcommand(UP).expect("it is a subcommand");
    let options: Vec<_> =
        up.get_arguments().filter(|option| option.get_id() != CONFIG).cloned().collect();
    options.into_iter()
}

fn key_of(option: &Arg) -> String {
    option.get_long().expect("each option of `up` has a long name").to_owned()
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("SEALWIRE_{}", key.to_ascii_uppercase().replace('-', "_"))
}

fn config_option() -> Arg {
    Arg::new(CONFIG)
        .long(CONFIG)
        .global(true)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .env(variable(CONFIG))
        .hide_env(true)
        .help(format!(
            "File with settings [default: {FILE} in the current folder, if there is one]"
        ))
}

/// Gives the settings of the file to the options of their name, as defaults.
fn with_file(command: Options, file: &Configuration) -> Options {
    let entry_of = |option: &Arg| {
        let entry = file.entry(option.get_long()?)?;
        option.get_env().is_some_and(|name| *name == *variable(&entry.key)).then_some(entry)
    };
    command
        .mut_args(|option| match entry_of(&option) {
            Some(entry) => option.default_values(entry.values.clone()),
            None => option,
        })
        .mut_subcommands(|command| with_file(command, file))
}

/// Path of the file that `--config` names, if it names one; `None` if the command has no settings.
fn named_in(matches: &ArgMatches) -> Option<Option<PathBuf>> {
    innermost(matches).try_get_one::<PathBuf>(CONFIG).ok().map(|path| path.cloned())
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

fn is_check(matches: &ArgMatches) -> bool {
    let check = |(name, inner): (&str, &ArgMatches)| {
        name == CONFIG && inner.subcommand_name() == Some("check")
    };
    matches.subcommand().is_some_and(check)
}

fn is_missing(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn faults(text: &str) -> Vec<String> {
        Configuration::parse(Path::new("f"), text, &command_line()).faults().collect()
    }

    /// What a command sees with this file and these arguments.
    fn seen(text: &str, arguments: &[&str]) -> Vec<(String, Option<String>, String)> {
        let options = command_line();
        let file = Configuration::parse(Path::new("f"), text, &options);
        assert_eq!(file.faults().collect::<Vec<_>>(), Vec::<String>::new());
        let line = ["sealwire", "config", "show"].iter().chain(arguments);
        let matches = with_file(options, &file).try_get_matches_from(line).unwrap();
        let settings = Settings { file: Some(file), matches };
        settings.all().into_iter().map(|it| (it.key, it.value, it.source)).collect()
    }

    #[test]
    fn faults_name_line_key_and_what_is_meant() {
        for (text, fault) in [
            ("\nhttp_port = 1", "f:2: there is no setting `http_port`; did you mean `http-port`?"),
            (
                "zzz = 1",
                "f:1: there is no setting `zzz`; `sealwire config show` lists all settings",
            ),
            (
                "[site]\nname = \"a\"",
                "f:1: there is no setting `site`; `sealwire config show` lists all settings",
            ),
            (
                "config = \"g\"",
                "f:1: there is no setting `config`; `sealwire config show` lists all settings",
            ),
            ("http-port = 65536", "f:1: `http-port`: 65536 is not in 0..=65535"),
            ("lost-after = 0", "f:1: `lost-after`: 0 is not in 1..=86400"),
            ("lost-after = -1", "f:1: `lost-after`: invalid digit found in string"),
            ("http-port = 8080.5", "f:1: `http-port` must be a text or a whole number"),
            ("http-port = [1, 2]", "f:1: `http-port` must be a text or a whole number"),
            ("page-host = [1.5]", "f:1: `page-host` must be a text or a whole number, or a list"),
            (
                "page-host = \"a/b\"",
                "f:1: `page-host`: `a/b` is not a host name: use a name or an IP address without scheme, port and path, such as `plant.example`",
            ),
        ] {
            assert_eq!(faults(text), [fault], "{text}");
        }
        let several = faults("name = \"a\"\nname = \"b\"\nlost_after = 1\nhttp-port = = 1\n");
        let lines: Vec<_> = several.iter().map(|fault| &fault[..4]).collect();
        assert!(["f:2:", "f:3:", "f:4:"].iter().all(|line| lines.contains(line)), "{several:?}");
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        let text = "http-port = 0x10\npage-host = [\"a.example\", \"b.example\"]\nlog-port = 1\n";
        let seen = seen(text, &["--log-port=2"]);
        let of = |key: &str| {
            let (_, value, source) = seen.iter().find(|(known, ..)| known == key).unwrap();
            (value.as_deref(), source.as_str())
        };
        assert_eq!(of("http-port"), (Some("16"), "f:1"));
        assert_eq!(of("page-host"), (Some("a.example,b.example"), "f:2"));
        assert_eq!(of("log-port"), (Some("2"), "flag"));
        assert_eq!(of("lost-after"), (Some("150"), "default"));
        assert_eq!(of("ready-file"), (None, "default"));
    }

    #[test]
    fn other_commands_share_the_folder_and_an_engine_reads_no_file() {
        let options = command_line();
        let file = Configuration::parse(Path::new("f"), "data-dir = \"d\"\nname = \"n\"", &options);
        let options = with_file(options, &file);
        let folder = |arguments: &[&str]| {
            let matches = options.clone().try_get_matches_from(arguments).unwrap();
            assert!(named_in(&matches).is_some(), "{arguments:?}");
            innermost(&matches).get_one::<PathBuf>("data_dir").cloned().unwrap()
        };
        assert_eq!(folder(&["sealwire", "up"]), Path::new("d"));
        assert_eq!(folder(&["sealwire", "token", "list"]), Path::new("d"));
        assert_eq!(folder(&["sealwire", "doctor", "--data-dir=e"]), Path::new("e"));
        assert_eq!(folder(&["sealwire", "host", "list"]), Path::new("d"));
        // A witness has a folder and a name of its own.
        let witness = options.clone().try_get_matches_from(["sealwire", "witness"]).unwrap();
        let (_, witness) = witness.subcommand().unwrap();
        assert_eq!(witness.get_one::<PathBuf>("data_dir").unwrap(), Path::new("sealwire-witness"));
        assert_eq!(witness.get_one::<String>("name"), None);
        // So has a host on another machine, and no setting.
        let host = options.clone().try_get_matches_from(["sealwire", "host", "run", "f"]).unwrap();
        assert!(named_in(&host).is_none());
        let folder = innermost(&host).get_one::<PathBuf>("data_dir").unwrap();
        assert_eq!(folder, Path::new("sealwire-host"));
        let engine = ["sealwire", "run-engine", "1", "folder", "program", "--config", "its.conf"];
        assert!(named_in(&options.try_get_matches_from(engine).unwrap()).is_none());
    }

    /// The page of settings has a row for each: key, variable, default.
    #[test]
    fn every_setting_is_documented() {
        let page = include_str!("../../../docs/configuration.md");
        let rows: Vec<_> = page.lines().filter(|line| line.contains("` | `SEALWIRE_")).collect();
        let settings: Vec<_> = settings(&command_line()).collect();
        for (option, row) in settings.iter().zip(&rows) {
            let key = key_of(option);
            let default: Vec<_> =
                option.get_default_values().iter().map(|it| it.to_string_lossy()).collect();
            let default = if default.is_empty() { "" } else { &format!("`{}`", default.join(",")) };
            let begin = format!("| `{key}` | `{}` | {default}", variable(&key));
            assert!(row.starts_with(begin.trim_end()), "{begin}\n{row}");
        }
        assert_eq!(settings.len(), rows.len());
    }
}

//! `sealwire config`: checks the configuration file, and shows every setting.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::{
    cli::{ConfigArguments, ConfigCommand, ShowArguments},
    output,
    settings::{FILE, Settings, Shown},
};

pub(crate) fn run(arguments: &ConfigArguments, settings: &Settings) -> Result<()> {
    match &arguments.command {
        ConfigCommand::Check => check(settings),
        ConfigCommand::Show(arguments) => {
            show(arguments, &settings.all());
            Ok(())
        }
    }
}

fn check(settings: &Settings) -> Result<()> {
    let Some(file) = &settings.file else {
        output::line(&format!("there is no {FILE} in this folder, and none is needed"));
        return Ok(());
    };
    file.faults().for_each(|fault| output::line(&fault));
    let path = file.path.display();
    match file.faults.len() {
        0 => {
            output::line(&format!("{path} is valid"));
            Ok(())
        }
        faults => bail!("{path} has {faults} faults: no site can start with it"),
    }
}

fn show(arguments: &ShowArguments, settings: &[Shown]) {
    if arguments.json {
        let one = |it: &Shown| (it.key.clone(), json!({ "value": it.value, "source": it.source }));
        output::json(&Value::Object(settings.iter().map(one).collect::<Map<_, _>>()).to_string());
        return;
    }
    let width = |of: fn(&Shown) -> usize| settings.iter().map(of).max().unwrap_or_default();
    let keys = width(|it| it.key.chars().count());
    let values = width(|it| it.value.as_deref().unwrap_or_default().chars().count());
    for Shown { key, value, source } in settings {
        let value = value.as_deref().unwrap_or_default();
        output::line(&format!("{key:keys$}  {value:values$}  {source}"));
    }
}

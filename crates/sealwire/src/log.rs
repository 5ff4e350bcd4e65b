//! `sealwire log`: gives an operator's orders. A running site carries them out itself. If the site
//! is stopped, this command opens the log.

use std::path::{Path, PathBuf};

use access::{Account, Words};
use anyhow::{Context as _, Result};
use data_dir::{DataDir, DataDirError};
use ledger::Batch;
use model::{Event, polling::OrderedReading};
use orders::{
    GiveOrderError, OperatorError, SiteLog, SiteLogError, give_order,
    order::{AddressedOrder, Done, ErasedEnvelopes, Order},
};

use crate::{
    app::words as of_apps,
    cli::{Actor, LogArguments, LogOrder, OrderArguments, Signature, WhichLog},
    data_dir::look,
    output,
    sensor::{fleet, words},
};

pub(crate) fn run(arguments: LogArguments) -> Result<()> {
    match Command::from(arguments.order) {
        Command::Order(order) => give(arguments.site, order),
        Command::AdoptTail { actor, reason } => adopt_tail(arguments.site, actor, reason),
    }
}

/// What the command line asks for.
enum Command {
    /// An order, which a running site can carry out too.
    Order(Order),
    /// Adopting the tail. Only this command can do it, because a site does not start before it.
    AdoptTail { actor: Option<Words>, reason: Words },
}

/// Adopts the leaves beyond the checkpoint, and seals that fact.
fn adopt_tail(site: OrderArguments, actor: Option<Words>, reason: Words) -> Result<()> {
    let OrderArguments { data_dir, key_file, log, json } = site;
    if log.is_some() {
        // A start adopts before anything else, so the log at its checkpoint must say which it is.
        WhichLog { log }.check(look(&data_dir, None)?.keys().log_id())?;
    }
    let data_dir = DataDir::open_existing(&data_dir)?;
    let SiteLog { ledger, writer, operator: _ } = SiteLog::open_adopting(&data_dir, key_file)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let sealed = runtime.block_on(async {
        let adopted = ledger.adopted();
        if adopted == 0 {
            return Ok(None);
        }
        let event = Event::tail_adopted(
            &Account::own().signing_as(actor.as_ref()),
            ledger.vkey().name().as_str(),
            adopted,
            &String::from(reason),
            clock::now(),
        );
        ledger.append(Batch::of(vec![event])).await.map(|receipt| Some((adopted, receipt)))
    });
    runtime.block_on(writer.close()).context("cannot close the log")?;
    let text = match (sealed?, json) {
        (None, true) => String::from(r#"{"done":"adopt-tail","leaves":0}"#),
        (None, false) => {
            String::from("nothing to adopt: all leaves carry a MAC under the site's key")
        }
        (Some((adopted, receipt)), true) => {
            format!(r#"{{"done":"adopt-tail","leaves":{adopted},"leaf":{}}}"#, receipt.first_leaf)
        }
        (Some((adopted, receipt)), false) => {
            format!("{adopted} leaves adopted; recorded at leaf {}", receipt.first_leaf)
        }
    };
    if json {
        output::json(&text);
    } else {
        output::line(&text);
    }
    Ok(())
}

/// Carries out an order and prints the result.
pub(crate) fn give(site: OrderArguments, order: Order) -> Result<()> {
    let OrderArguments { data_dir, key_file, log, json } = site;
    let done = carry_out(&data_dir, key_file, AddressedOrder { log, order })?;
    show(&done, json)
}

/// Prints the result of an order.
pub(crate) fn show(done: &Done, json: bool) -> Result<()> {
    if json {
        output::json(&serde_json::to_string(done)?);
    } else {
        output::lines(words(done).trim_end());
    }
    Ok(())
}

/// Carries out an order: through the site that runs in the folder or, if none runs, in this
/// process.
pub(crate) fn carry_out(
    data_dir: &Path,
    key_file: Option<PathBuf>,
    order: AddressedOrder,
) -> Result<Done> {
    match DataDir::open_existing(data_dir) {
        Ok(data_dir) => {
            for line in data_dir.closed().lines() {
                output::note(&format!("sealwire: {line}"));
            }
            let SiteLog { ledger: _, writer, operator } = SiteLog::open(&data_dir, key_file)?;
            let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
            let done = runtime.block_on(operator.carry_out(order, &Account::own()));
            runtime.block_on(writer.close()).context("cannot close the log")?;
            Ok(done?)
        }
        Err(DataDirError::InUse { path }) => Ok(give_order(&path, &order)?),
        Err(error) => Err(error.into()),
    }
}

/// Whether nothing of an order was carried out that ended in this error of [`carry_out`].
pub(crate) fn is_refusal(error: &anyhow::Error) -> bool {
    let by_site = error.downcast_ref().is_some_and(GiveOrderError::is_refusal);
    let here = error.downcast_ref().is_some_and(OperatorError::is_refusal);
    // Then there was nobody to give the order to.
    let unopened = error.is::<DataDirError>() || error.is::<SiteLogError>();
    by_site || here || unopened
}

impl From<LogOrder> for Command {
    fn from(order: LogOrder) -> Self {
        Self::Order(match order {
            LogOrder::AdoptTail { signature: Signature { actor: Actor { actor }, reason } } => {
                return Self::AdoptTail { actor, reason };
            }
            LogOrder::Checkpoint => Order::Checkpoint,
            LogOrder::Erase {
                leaves,
                with_derived,
                signature: Signature { actor: Actor { actor }, reason },
            } => Order::Erase { leaves, with_derived, actor, reason },
            LogOrder::Hold {
                sensor,
                from,
                to,
                signature: Signature { actor: Actor { actor }, reason },
            } => Order::Hold { sensor, from, to, actor, reason },
            LogOrder::Release { hold, signature: Signature { actor: Actor { actor }, reason } } => {
                Order::Release { hold, actor, reason }
            }
            LogOrder::Holds => Order::Holds,
            LogOrder::Retain { actor: Actor { actor } } => Order::Retain { actor },
            LogOrder::Forget {
                sensor,
                signature: Signature { actor: Actor { actor }, reason },
            } => Order::Forget { sensor, actor, reason },
            LogOrder::ConfirmClock { signature: Signature { actor: Actor { actor }, reason } } => {
                Order::ConfirmClock { actor, reason }
            }
            LogOrder::RotateKey { actor: Actor { actor } } => Order::RotateKey { actor },
        })
    }
}

fn words(done: &Done) -> String {
    let erased = |ErasedEnvelopes { leaf, envelopes, freed_bytes }: &ErasedEnvelopes| {
        format!("{envelopes} envelopes erased, {freed_bytes} bytes freed; recorded at leaf {leaf}")
    };
    match done {
        Done::Checkpoint { checkpoint } => checkpoint.clone(),
        Done::Erase(much) => erased(much),
        Done::Hold { leaf } => {
            format!("hold placed; release it with `sealwire log release {leaf}`")
        }
        Done::Release { leaf } => format!("hold released; recorded at leaf {leaf}"),
        Done::Holds { holds } if holds.is_empty() => String::from("no hold is in force"),
        Done::Holds { holds } => {
            let all = |what: Option<String>| what.unwrap_or_else(|| String::from("-"));
            let mut table = format!("{:<12}{:<38}{:<30}{}\n", "leaf", "sensor", "from", "to");
            for standing in holds {
                let hold = &standing.hold;
                table.push_str(&format!(
                    "{:<12}{:<38}{:<30}{}\n",
                    standing.leaf,
                    all(hold.sensor.map(|sensor| sensor.to_string())),
                    all(hold.from.map(|from| from.to_string())),
                    all(hold.to.map(|to| to.to_string())),
                ));
            }
            table
        }
        Done::Retain { classes } if classes.is_empty() => {
            String::from("nothing is older than the retention rules allow")
        }
        Done::Retain { classes } => {
            let line = |class: &orders::order::RetainedClass| {
                format!("{}: {}\n", class.class, erased(&class.erased))
            };
            classes.iter().map(line).collect()
        }
        Done::ExportReadings { leaf } => format!("the export is recorded at leaf {leaf}"),
        Done::CreateToken { leaf, token, config_id, nkey_seed } => {
            let seed =
                nkey_seed.as_ref().map(|seed| format!("\nnkey seed {seed}")).unwrap_or_default();
            format!(
                "{token}{seed}\nshown only this once; for the log {config_id}; recorded at leaf {leaf}"
            )
        }
        Done::RevokeToken { leaf } => format!("token revoked; recorded at leaf {leaf}"),
        Done::Tokens { tokens, config_id } => {
            let mut table = format!("log {config_id}\n{:<62}{:<13}{}\n", "name", "scope", "since");
            for token in tokens {
                let scope: Vec<String> = token.scope.iter().map(ToString::to_string).collect();
                let (name, scope) = (token.name.as_str(), scope.join(","));
                table.push_str(&format!("{name:<62}{scope:<13}{}\n", token.created_at));
            }
            table
        }
        Done::Import { leaf, events } => {
            format!("{events} events of an import; recorded from leaf {leaf} on")
        }
        Done::Forget { leaf } => {
            format!("sensor removed until it sends a heartbeat again; recorded at leaf {leaf}")
        }
        Done::Sensor { leaf } => format!("done; recorded at leaf {leaf}"),
        Done::Poll(OrderedReading { leaf, poll, status, value, calibrated, unit, error }) => {
            let calibrated = calibrated.map(|number| format!(" (calibrated {number})"));
            let calibrated = calibrated.unwrap_or_default();
            let unit = unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
            let error = error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
            format!(
                "{status}: {value}{unit}{calibrated}{error}; poll {poll}, sealed at leaf {leaf}"
            )
        }
        Done::SensorOrders { sensors } => fleet::table(sensors, clock::now()),
        Done::ConfirmClock { leaf } => {
            format!("clock confirmed; recorded at leaf {leaf}")
        }
        Done::RotateKey { leaf, vkey } => {
            format!("the log's key is now {vkey}; recorded at leaf {leaf}, signed by both keys")
        }
        Done::AddHost { leaf, .. } => format!("host added; recorded at leaf {leaf}"),
        Done::RemoveHost { leaf } => format!("host removed; recorded at leaf {leaf}"),
        Done::Hosts { hosts } if hosts.is_empty() => {
            String::from("there is no host on another machine: `sealwire host add` adds one")
        }
        Done::Hosts { hosts } => {
            let line = |host: &access::Host| {
                let runs = if host.guests { "processors" } else { "components" };
                format!("{:<52}{runs:<12}{}\n", host.name.as_str(), host.added_at)
            };
            format!("{:<52}{:<12}{}\n", "name", "runs", "since")
                + &hosts.iter().map(line).collect::<String>()
        }
        Done::Deploy { .. }
        | Done::Deployment { .. }
        | Done::AppDiff { .. }
        | Done::Apps { .. }
        | Done::AppHistory { .. } => of_apps::of(done).unwrap_or_default(),
        Done::AddCredentials { .. }
        | Done::RevokeCredential { .. }
        | Done::RotateCredential { .. }
        | Done::Learned { .. }
        | Done::Credentials { .. }
        | Done::Refusals { .. } => words::of(done).unwrap_or_default(),
    }
}

//! The results of orders about components, for people.

use lattice::desired::Change;
use orders::order::{DeployedComponent, Done, RunningComponent, SiteHost};

/// The result of an order about components, for people.
pub(crate) fn of(done: &Done) -> Option<String> {
    Some(match done {
        Done::Deploy { leaf, changes } => {
            format!("deployed; recorded from leaf {leaf} on\n{}", changed(changes))
        }
        Done::AppDiff { changes } if changes.is_empty() => String::from("nothing would change"),
        Done::AppDiff { changes } => changed(changes),
        Done::Apps { hosts, components } => {
            let mut table = format!("{:<32}{:<16}{:<16}{}\n", "host", "group", "answers", "id");
            for SiteHost { name, group, answers, id } in hosts {
                let answers = if *answers { "yes" } else { "no" };
                table.push_str(&format!("{name:<32}{group:<16}{answers:<16}{id}\n"));
            }
            table.push_str(&format!("\n{:<32}{}\n", "workload", "runs on"));
            for RunningComponent { name, hosts, trouble } in components {
                let mut on = hosts.join(", ");
                if let Some(trouble) = trouble {
                    on = format!("{on}  ({trouble})");
                }
                table.push_str(&format!("{name:<32}{}\n", on.trim()));
            }
            table
        }
        Done::AppHistory { deployed } if deployed.is_empty() => {
            String::from("nothing was deployed: the site runs its own components")
        }
        Done::AppHistory { deployed } => {
            let mut table = String::new();
            for DeployedComponent { leaf, at, actor, words } in deployed {
                table.push_str(&format!("leaf {leaf}, {at}, {actor}\n  {words}\n"));
            }
            table
        }
        _ => return None,
    })
}

fn changed(changes: &[Change]) -> String {
    let mut table = String::new();
    for Change { component, old, new } in changes {
        table.push_str(&format!("{component}\n  - {old}\n  + {new}\n"));
    }
    table
}

//! The results of orders about components, for people.

use lattice::desired::{Change, Changes, PolicyChange};
use orders::order::{
    DeployedComponent, DeploymentNow, DeploymentStage, Done, RunningComponent, SiteHost,
};

/// The result of an order about components, for people.
pub(crate) fn of(done: &Done) -> Option<String> {
    Some(match done {
        Done::Deploy { leaf, changes, is_on_trial } => {
            let done = if *is_on_trial { "deployed on trial" } else { "deployed" };
            format!("{done}; recorded from leaf {leaf} on\n{}", changed(changes))
        }
        Done::Deployment { now } => now.as_ref().map(stands).unwrap_or_default(),
        Done::AppDiff { changes } if changes.is_empty() => String::from("nothing would change"),
        Done::AppDiff { changes } => changed(changes),
        Done::Apps { hosts, components, newest } => {
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
            if let Some(newest) = newest {
                table.push_str(&format!("\n{}\n", stands(newest)));
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

/// Where a deployment stands, for people.
fn stands(DeploymentNow { leaf, stage, words }: &DeploymentNow) -> String {
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    format!("deployment of leaf {leaf}: {}{words}", of_stage(*stage))
}

/// A stage of a deployment, for people.
pub(crate) const fn of_stage(stage: DeploymentStage) -> &'static str {
    match stage {
        DeploymentStage::Trial => "on trial",
        DeploymentStage::Move => "starting beside what it replaces",
        DeploymentStage::Probation => "on probation",
        DeploymentStage::Stays => "it stays",
        DeploymentStage::WentBack => "it went back",
    }
}

fn changed(Changes { policy, components }: &Changes) -> String {
    let mut table = String::new();
    if let Some(PolicyChange { old, new }) = policy {
        table.push_str(&format!("images\n  - {old}\n  + {new}\n"));
    }
    for Change { component, old, new } in components {
        table.push_str(&format!("{component}\n  - {old}\n  + {new}\n"));
    }
    table
}

//! The results of orders about credentials, for people.

use access::sensors::Refusal;
use model::Subject;
use orders::Done;

/// The result of an order about credentials, for people.
pub(crate) fn of(done: &Done) -> Option<String> {
    Some(match done {
        Done::AddCredentials { leaf, count } => {
            format!("{count} credentials added; recorded up to leaf {leaf}")
        }
        Done::RevokeCredential { leaf } => format!("credential revoked; recorded at leaf {leaf}"),
        Done::RotateCredential { leaf } => format!("credential rotated; recorded at leaf {leaf}"),
        Done::Credentials { credentials } if credentials.is_empty() => {
            String::from("there are no credentials: every device on the site's machine is let in")
        }
        Done::Credentials { credentials } => {
            let mut table = format!(
                "{:<32}{:<10}{:<30}{}\n",
                "name", "keys", "since", "sensors, or topics to report on"
            );
            for credential in credentials {
                let state = match (&credential.revoked, credential.nkeys.len()) {
                    (Some(_), _) => String::from("revoked"),
                    (None, keys) => keys.to_string(),
                };
                let since = credential.since.map_or_else(String::new, |since| since.to_string());
                let sensors = credential.sensors.iter().map(|sensor| sensor.alias.as_str());
                let reports = credential.reporting.iter().flat_map(|it| &it.reports);
                let sensors: Vec<&str> = sensors.chain(reports.map(Subject::as_str)).collect();
                let (name, sensors) = (credential.name.as_str(), sensors.join(", "));
                table.push_str(&format!("{name:<32}{state:<10}{since:<30}{sensors}\n"));
            }
            table
        }
        Done::Refusals { refusals } if refusals.is_empty() => {
            String::from("no device was refused since the site started")
        }
        Done::Refusals { refusals } => {
            let mut table = format!("{:<30}{:>8}  {:<32}{}\n", "last", "times", "who", "why");
            for told in refusals {
                let Refusal { who, why, advice } = &told.refusal;
                let last = told.last;
                table.push_str(&format!("{last:<30}{:>8}  {who:<32}{why}\n", told.count));
                if !advice.is_empty() {
                    table.push_str(&format!("{:72}-> {advice}\n", ""));
                }
            }
            table
        }
        _ => return None,
    })
}

//! Who may do what on the hosts' server.

use super::*;

#[test]
fn a_host_is_reached_under_the_kind_and_name_that_its_server_vouches_for() {
    for (word, kind) in [("host", HostKind::Site), ("guests", HostKind::Guests)] {
        let subject = format!("sealwire.{word}.hall-1.heartbeat.0a1b");
        let host = HostAddress::of_heartbeat(&subject).unwrap();
        assert_eq!((host.kind, host.name.as_str(), host.id.as_str()), (kind, "hall-1", "0a1b"));
        let order = format!("sealwire.{word}.hall-1.order.0a1b.workload.start");
        assert_eq!(host.order("workload.start"), order);
        assert_eq!(host_of_account(&format!("{word}.hall-1")), Some((kind, "hall-1")));
    }
    for other in [
        "runtime.operator.heartbeat.1",
        "sealwire.host.a.order.1",
        "sealwire.reply.a.heartbeat.1",
        "",
        "a.b.c.d.e",
    ] {
        assert_eq!(HostAddress::of_heartbeat(other), None, "{other}");
    }
    assert_eq!(host_of_account("DATA"), None);
}

/// Whether messages on this subject are among those of the pattern.
fn covers(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(own), Some(other)) if own == "*" || own == other => {}
            _ => return false,
        }
    }
}

const TRAFFIC: Traffic<'static> = Traffic {
    of_components: &["sealwire.derive.sensors"],
    of_guests: &["sealwire.process.*"],
    of_own_components: &["sealwire.mirror.call"],
    of_site: &["sealwire.query.>"],
    of_service: &["sealwire.polling.>"],
};

/// The accounts with two hosts on other machines, one of each kind.
fn accounts() -> serde_json::Map<String, Value> {
    let other = |kind, name: &str, id: &str| OtherHost {
        kind,
        name: name.to_owned(),
        id: id.to_owned(),
        certificates_pem: String::new(),
    };
    let others = [other(HostKind::Site, "a", "1"), other(HostKind::Guests, "b", "2")];
    hosts(TRAFFIC, &others).as_object().unwrap().clone()
}

/// What a user may do, `publish` or `subscribe`.
fn subjects(user: &Value, what: &str) -> Vec<String> {
    serde_json::from_value(user["permissions"][what]["allow"].clone()).unwrap()
}

#[test]
fn events_of_a_host_come_under_its_name_with_their_key() {
    assert_eq!(writer_of("sealwire.events.of.hall-1.k7"), Some(("hall-1", "k7")));
    for other in ["sealwire.events.of.hall-1", "sealwire.events.write.k7", ""] {
        assert_eq!(writer_of(other), None, "{other}");
    }
    let answer = answer_to("hall-1", "_INBOX.Ab0.cD1").unwrap();
    assert_eq!(answer, "sealwire.events.told.hall-1.Ab0.cD1");
    for reply in ["_INBOX.a", "_INBOX.a.b.c", "_INBOX.*.b", "_INBOX..b", "sealwire.a.b", ""] {
        assert_eq!(answer_to("hall-1", reply), None, "{reply}");
    }
}

#[test]
fn no_host_has_a_subject_of_control_in_its_data_or_the_account_of_another() {
    let accounts = accounts();
    let of_hosts: Vec<_> = accounts
        .iter()
        .filter_map(|(name, account)| Some((host_of_account(name)?, account)))
        .collect();
    assert_eq!(of_hosts.len(), 4);
    for ((kind, name), account) in of_hosts {
        let [control, data] = account["users"].as_array().unwrap().as_slice() else {
            panic!("{name} has not two users")
        };
        for what in ["publish", "subscribe"] {
            for pattern in subjects(data, what) {
                for subject in
                    ["runtime.operator.heartbeat.1", "runtime.host.1.workload.stop", "_R_.a.b"]
                {
                    assert!(!covers(&pattern, subject), "{name} {what} {pattern}");
                }
            }
            assert!(!subjects(control, what).iter().any(|it| it.starts_with("sealwire")));
        }
        // Only the site's own host may ask the site, and call the mirror's server.
        for (what, subject) in
            [("publish", "sealwire.query.own.site"), ("subscribe", "sealwire.mirror.call")]
        {
            let may = subjects(data, what).iter().any(|pattern| covers(pattern, subject));
            assert_eq!(may, (kind, name) == (HostKind::Site, OWN_HOST), "{name} {subject}");
        }
        // What another host of components hands in comes under its own name, and it hears its own
        // answers.
        let imports = account["imports"].as_array().unwrap();
        let stream = json!({ "account": format!("host.{name}"), "subject": WRITTEN });
        let mut taken = accounts["DATA"]["imports"].as_array().unwrap().iter();
        let written = taken.find(|import| import["stream"] == stream);
        let told = imports.iter().find(|import| import["to"] == REPLIES_TO_QUESTIONS);
        if kind == HostKind::Site && name != OWN_HOST {
            assert_eq!(written.unwrap()["to"], format!("sealwire.events.of.{name}.*"));
            let subject = format!("sealwire.events.told.{name}.*.*");
            assert_eq!(told.unwrap()["stream"]["subject"], subject);
        } else {
            assert_eq!((written, told), (None, None));
        }
        // It hears what is its own or the site's, and shows itself to the site alone.
        let exchange = match kind {
            HostKind::Site => "DATA",
            HostKind::Guests => "GUESTS",
        };
        for import in imports {
            let from = import.get("stream").or_else(|| import.get("service")).unwrap();
            assert_eq!(from["account"], exchange);
        }
        for export in account["exports"].as_array().unwrap() {
            let accounts = export["accounts"].as_array().unwrap().as_slice();
            assert!(accounts == ["CONTROL"] || accounts == [exchange], "{export}");
        }
    }
}

#[test]
fn a_guest_may_answer_and_nothing_else() {
    let accounts = accounts();
    for name in ["guests.@site", "guests.b"] {
        let data = &accounts[name]["users"][1];
        assert_eq!(subjects(data, "publish"), ["sealwire.reply.site-guests.>", "_INBOX.*"]);
        assert_eq!(subjects(data, "subscribe"), ["sealwire.process.*", "_INBOX.*"]);
    }
    // The site hears answers of guests where it asks nobody else, and no other host gets their
    // questions.
    let site = &accounts["GUESTS"]["users"][0];
    assert_eq!(subjects(site, "subscribe"), ["sealwire.reply.site-guests.>"]);
    for name in ["DATA", "host.@site", "host.a"] {
        for user in accounts[name]["users"].as_array().unwrap() {
            for pattern in [subjects(user, "publish"), subjects(user, "subscribe")].concat() {
                for subject in ["sealwire.process.a", "sealwire.reply.site-guests.a.b"] {
                    assert!(!covers(&pattern, subject), "{name} {pattern}");
                }
            }
        }
    }
}

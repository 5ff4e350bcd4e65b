//! Orders from another machine: by programs with a token, and by people on the page, where other
//! web sites try to give some in their name.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Elsewhere;
use crate::{
    house,
    page::{in_a_browser_by, screenshots},
    pangea::Client,
    site::{Site, succeeds, until},
};

/// Where an order is sent, and as who.
struct Desk<'a> {
    elsewhere: &'a Elsewhere,
    ca: &'a str,
    page: String,
    sensor: String,
}

impl Desk<'_> {
    /// Sends an order with these words for curl: status and answer.
    fn order(&self, name: &str, words: &[&str]) -> (u16, Value) {
        let body = match name {
            "poll" => json!({ "sensor": self.sensor }),
            _ => json!({ "sensor": self.sensor, "reason": "a test" }),
        };
        let (url, body) = (format!("{}/api/polling/{name}", self.page), body.to_string());
        let (status, answer) =
            self.elsewhere.curl(self.ca, &[&["--data", &body, &url], words].concat());
        (status, serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
    }

    fn with_token(&self, name: &str, token: &str) -> (u16, Value) {
        self.order(name, &["--header", &format!("Authorization: Bearer {token}")])
    }
}

#[test]
fn orders_from_other_machines_need_a_token_that_operates_or_the_page_itself() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let ca = elsewhere.certify(&folder.path().join("data"), &[]);
    let jars = folder.path().join("jars");
    std::fs::create_dir(&jars).unwrap();
    let mut site = Site::start_in(folder, &["--simulate", "2", "--http-listen", &elsewhere.here]);
    let [shift, reader, operator] =
        [("shift", "read,operate"), ("reader", "read"), ("operator", "operate")]
            .map(|(name, scope)| Client::new(&site, name, scope).token);
    let page = site.addresses.http.clone();
    let bearer = format!("Authorization: Bearer {reader}");
    let sensor = until("there is a sensor", || {
        let listed = elsewhere.curl(&ca, &["--header", &bearer, &format!("{page}/api/sensors")]).1;
        let listed: Value = serde_json::from_str(&listed).ok()?;
        Some(listed["sensors"].get(0)?["id"].as_str()?.to_owned())
    });
    let desk = Desk { elsewhere: &elsewhere, ca: &ca, page: page.clone(), sensor };

    // Programs.
    let (status, reading) = desk.with_token("poll", &shift);
    assert_eq!((status, &reading["status"]), (200, &json!("SUCCESS")), "{reading}");
    for (token, status, words) in [
        (reader.as_str(), 403, "may not operate"),
        (operator.as_str(), 401, "may read"),
        ("pts_wrong", 401, "may read"),
    ] {
        let (found, said) = desk.with_token("pause", token);
        assert!(found == status && said["detail"].as_str().unwrap().contains(words), "{said}");
    }
    assert_eq!(desk.order("pause", &[]).0, 401);
    let (status, _) = desk.with_token("pause", &shift);
    assert_eq!((status, desk.with_token("resume", &shift).0), (200, 200));

    // People who signed in, and other web sites that make their browser ask.
    let own = format!("Origin: {page}");
    let sign_in = |name: &str, token: &str| {
        let jar = jars.join(name).to_str().unwrap().to_owned();
        let field = format!("token={token}");
        let words = ["--cookie-jar", &jar, "--data-urlencode", &field, "--header", &own];
        let url = format!("{page}/sign-in");
        assert_eq!(elsewhere.curl(&ca, &[&words[..], &[&url]].concat()).0, 303);
        jar
    };
    let [by_shift, by_reader] = [("shift", &shift), ("reader", &reader)].map(|(name, token)| {
        let jar = sign_in(name, token);
        let asked = elsewhere.curl(&ca, &["--cookie", &jar, &format!("{page}/session")]).1;
        let operates = name == "shift";
        assert_eq!(asked, format!(r#"{{"name":"{name}","operates":{operates}}}"#));
        jar
    });
    let plain = page.replace("https://", "http://");
    for headers in [
        &[][..],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &[&format!("Origin: {plain}")],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        &["Sec-Fetch-Site: none"],
        // A form of another site: it can send JSON as text, and no header of its own.
        &["Origin: https://evil.example", "Content-Type: text/plain", "Sec-Fetch-Site: cross-site"],
        // The headers of a link, which may lead to the page, but not to an order.
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
    ] {
        let mut words = vec!["--cookie", by_shift.as_str()];
        words.extend(headers.iter().flat_map(|header| ["--header", header]));
        let (status, said) = desk.order("pause", &words);
        assert_eq!(status, 403, "{headers:?}: {said}");
    }
    let (status, said) = desk.order("pause", &["--cookie", &by_reader, "--header", &own]);
    assert!(status == 403 && said["detail"].as_str().unwrap().contains("may not operate"));
    // `GET` orders nothing, wherever a link leads.
    let got = format!("{page}/api/polling/pause?sensor={}&reason=x", desk.sensor);
    assert_eq!(elsewhere.curl(&ca, &["--cookie", &by_shift, "--header", &own, &got]).0, 405);
    let from_page = ["--cookie", &by_shift, "--header", "Sec-Fetch-Site: same-origin"];
    let (status, done) = desk.order("pause", &from_page);
    assert_eq!(status, 200, "{done}");
    assert_eq!(desk.order("resume", &["--cookie", &by_shift, "--header", &own]).0, 200);

    // The same in a browser on the other machine, with a hostile page beside it.
    let launcher = ["ip", "netns", "exec", &elsewhere.name];
    let (out, url) = (screenshots(), ["--url", &page]);
    let tokens = ["--token", &shift, "--operator", "shift", "--reader", &reader];
    in_a_browser_by(&launcher, "orders.mjs", &[&url, &tokens[..], &["--out", &out]].concat());

    let data_dir = site.data_dir();
    succeeds(&["token", "revoke", "--data-dir", data_dir.to_str().unwrap(), "shift"]);
    assert_eq!(desk.with_token("pause", &shift).0, 401);
    assert_eq!(desk.order("pause", &["--cookie", &by_shift, "--header", &own]).0, 401);

    site.stop();
    let sealed = house::open(&data_dir);
    let by = |action: &str| -> Vec<String> {
        let of = sealed.envelopes.iter().filter(|it| it.event.action.as_deref() == Some(action));
        of.map(|it| it.event.actor.clone().unwrap()).collect()
    };
    // By token, by cookie, in the browser.
    for action in ["POLLS_PAUSED", "POLLS_RESUMED"] {
        assert_eq!(by(action), ["token shift"; 3], "{action}");
    }
    assert_eq!(by("POLL_ORDERED"), ["token shift"; 3]);
}

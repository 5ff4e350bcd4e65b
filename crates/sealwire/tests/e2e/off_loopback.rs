//! A site that other machines reach. Another network namespace stands for the other machine, with
//! the system's own `curl`, `openssl` and Python as its clients.

mod devices;
mod hosts;
mod leaf_nodes;
mod mirror;
mod orders;
mod registry;
mod reporting;
mod strangers;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    house,
    pangea::Client,
    site::{Site, port, sealwire, succeeds, until},
};

/// A network of two machines: this one and another.
pub(crate) struct Elsewhere {
    name: String,
    /// Address of this machine there.
    here: String,
    /// Address of the other machine.
    there: String,
}

impl Elsewhere {
    /// Makes the other machine.
    ///
    /// # Errors
    /// This account or system cannot; the text says what.
    pub(crate) fn new() -> Result<Self, String> {
        let (chance, third, fourth): (u32, u8, u8) = rand::random();
        let (name, fourth) = (format!("sw{chance:08x}"), fourth & 0xfc);
        let (here, there) =
            (format!("10.83.{third}.{}", fourth | 1), format!("10.83.{third}.{}", fourth | 2));
        let (ours, theirs) = (format!("{name}a"), format!("{name}b"));
        let elsewhere = Self { name: name.clone(), here: here.clone(), there: there.clone() };
        for words in [
            format!("netns add {name}"),
            format!("link add {ours} type veth peer name {theirs} netns {name}"),
            format!("addr add {here}/30 dev {ours}"),
            format!("link set {ours} up"),
            format!("-n {name} addr add {there}/30 dev {theirs}"),
            format!("-n {name} link set {theirs} up"),
            format!("-n {name} link set lo up"),
        ] {
            let made = Command::new("ip").args(words.split(' ')).output();
            if !made.is_ok_and(|made| made.status.success()) {
                return Err(format!("`ip {words}` needs root, iproute2 and network namespaces"));
            }
        }
        Ok(elsewhere)
    }

    /// Makes a certificate for a site on this machine, of an authority of its own. Returns the path
    /// of the authority's certificate.
    fn certify(&self, data_dir: &Path, other_names: &[&str]) -> String {
        let data = data_dir.to_str().unwrap();
        succeeds(&["ca", "init", "--data-dir", data]);
        let mut issue = vec!["ca", "issue", "--data-dir", data, "--host", &self.here];
        issue.extend(other_names.iter().flat_map(|name| ["--host", name]));
        succeeds(&issue);
        data_dir.join("tls/ca.pem").to_str().unwrap().to_owned()
    }

    /// Cuts the line between the two machines.
    fn cut(&self) {
        self.line("down");
    }

    /// Mends the line.
    fn mend(&self) {
        self.line("up");
    }

    fn line(&self, state: &str) {
        let link = format!("{}a", self.name);
        let set = Command::new("ip").args(["link", "set", &link, state]).output().unwrap();
        assert!(set.status.success(), "{set:?}");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Status of an answer to curl; 0 if there is no answer.
    fn curl(&self, ca: &str, words: &[&str]) -> (u16, String) {
        let fixed = ["curl", "--silent", "--show-error", "--max-time", "60", "--cacert", ca];
        let wanted = ["--write-out", "\n%{http_code}"];
        let said = self.run(&[&fixed, &wanted[..], words].concat());
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), format!("{body}{}", String::from_utf8_lossy(&said.stderr)))
    }

    /// Serial number of the certificate that a port shows, once openssl has verified it.
    fn serial(&self, ca: &str, port: u16) -> String {
        let address = format!("{}:{port}", self.here);
        let shown = self.run(&[
            "sh",
            "-c",
            "openssl s_client -connect \"$0\" -CAfile \"$1\" -verify_return_error -verify_ip \"$2\" \
             </dev/null 2>/dev/null | openssl x509 -noout -serial",
            &address,
            ca,
            &self.here,
        ]);
        let serial = String::from_utf8(shown.stdout).unwrap();
        assert!(serial.starts_with("serial="), "port {port}: {serial}{:?}", shown.stderr);
        serial
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[test]
fn other_machines_meet_tls_and_need_a_token() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let data = data_dir.to_str().unwrap();
    let here = elsewhere.here.as_str();
    without_a_certificate_nothing_is_opened(data, here);

    let ca = &elsewhere.certify(&data_dir, &["plant.example"]);
    let mut site = Site::start_in(
        folder,
        &["--simulate", "3", "--http-listen", here, "--log-listen", "0.0.0.0"],
    );
    let (page, log) = (port(&site.addresses.http), port(&site.addresses.log));
    assert_eq!(site.addresses.http, format!("https://{here}:{page}"));
    assert_eq!(site.addresses.log, format!("https://{here}:{log}"));

    nothing_is_in_clear_text(&elsewhere, ca, &[page, log]);
    auditors_verify_with_the_sites_authority(&elsewhere, ca, &site);
    public_files_are_public_and_nothing_else(&elsewhere, ca, &site);
    let ada = Client::new(&site, "ada", "read").token;
    let writer = Client::new(&site, "writer", "write").token;
    tokens_let_programs_in(&elsewhere, ca, &site, &ada, &writer);
    wrong_tokens_are_counted_on_every_port(&elsewhere, ca, &site, &ada);
    people_sign_in_and_out(&elsewhere, ca, &site, &ada);
    connections_that_say_nothing_keep_nobody_out(&elsewhere, ca, page);
    a_renewed_certificate_is_served(&elsewhere, ca, data, &[page, log]);
    new_names_need_no_restart(&elsewhere, ca, data, &[page, log]);
    a_live_feed_ends_with_its_token(&elsewhere, ca, &site, data, &ada);

    site.stop();
    let sealed = house::open(&site.data_dir());
    let said = |action: &str| {
        let of = sealed.envelopes.iter().filter(|it| it.event.action.as_deref() == Some(action));
        of.map(|it| (it.event.actor.clone().unwrap(), it.event.message.clone())).collect::<Vec<_>>()
    };
    let signed_in = said("SIGNED_IN");
    assert!(signed_in.len() == 1 && signed_in[0].0 == "ada", "{signed_in:?}");
    assert!(signed_in[0].1.starts_with("ada signed in from 10.83."), "{signed_in:?}");
    assert_eq!(said("SIGNED_OUT").len(), 1);
    let refused = said("CALLERS_REFUSED");
    let is_counted = |(_, words): &(String, String)| words.contains("wrong tokens from 10.83.");
    assert!(refused.len() <= 3 && refused.iter().any(is_counted), "{refused:?}");
}

fn without_a_certificate_nothing_is_opened(data: &str, here: &str) {
    for listen in [["--http-listen", here], ["--log-listen", "0.0.0.0"]] {
        let (code, _, said) = sealwire(&[&["up", "--data-dir", data], &listen[..]].concat());
        assert_eq!(code, Some(1));
        for words in ["sealwire ca init", "sealwire ca issue --host", "--tls-cert"] {
            assert!(said.contains(words), "{said}");
        }
    }
}

fn nothing_is_in_clear_text(elsewhere: &Elsewhere, ca: &str, ports: &[u16]) {
    for port in ports {
        elsewhere.serial(ca, *port);
        let plain = format!("http://{}:{port}/", elsewhere.here);
        assert_eq!(elsewhere.curl(ca, &[&plain]).0, 0, "{plain}");
        let url = format!("https://{}:{port}/", elsewhere.here);
        let old = elsewhere.curl(ca, &["--tls-max", "1.1", &url]);
        assert_eq!(old.0, 0, "{old:?}");
        let stranger = elsewhere.run(&["curl", "--silent", "--max-time", "60", &url]);
        assert_eq!(stranger.status.code(), Some(60), "an authority that curl does not know");
    }
}

fn auditors_verify_with_the_sites_authority(elsewhere: &Elsewhere, ca: &str, site: &Site) {
    let verify = |words: &[&str]| {
        let fixed = [env!("CARGO_BIN_EXE_sealwire"), "verify", "--vkey", &site.addresses.vkey];
        let said = elsewhere.run(&[&fixed[..], words].concat());
        let text = [said.stdout, said.stderr].concat();
        (said.status.code(), String::from_utf8(text).unwrap())
    };
    let checkpoint = site.data_dir().with_file_name("checkpoint");
    until("there is a checkpoint", || {
        let url = format!("{}/checkpoint", site.addresses.log);
        let (status, note) = elsewhere.curl(ca, &[&url]);
        (status == 200).then(|| std::fs::write(&checkpoint, note).unwrap())
    });
    let since = ["--since", checkpoint.to_str().unwrap()];
    for more in [&[][..], &since] {
        let log = [site.addresses.log.as_str()];
        let (code, said) = verify(&[&log, more, &["--ca", ca]].concat());
        assert_eq!(code, Some(0), "{said}");
        // Without it nobody vouches for the site, and the error says what to do.
        let (code, said) = verify(&[&log, more].concat());
        assert!(code == Some(1) && said.contains("sealwire ca show"), "{said}");
        assert!(said.contains("--ca"), "{said}");
    }
    let data = site.data_dir();
    for (log, file, words) in [
        (data.to_str().unwrap(), ca, "--ca is for an address that begins with https://"),
        (site.addresses.log.as_str(), "/dev/null", "no authority can be taken from"),
        (site.addresses.log.as_str(), "/nowhere", "cannot read"),
    ] {
        let (code, said) = verify(&[log, "--ca", file]);
        assert!(code == Some(1) && said.contains(words), "{said}");
    }
}

fn public_files_are_public_and_nothing_else(elsewhere: &Elsewhere, ca: &str, site: &Site) {
    let (page, log) = (&site.addresses.http, &site.addresses.log);
    let status = |url: &str| elsewhere.curl(ca, &[url]).0;
    for path in ["checkpoint", "vkey", "keys", "tile/entries/000.p/1"] {
        for url in [format!("{page}/log/{path}"), format!("{log}/{path}")] {
            assert_eq!(status(&url), 200, "{url}");
        }
    }
    for path in ["api/site", "api/sensors", "live", "session", "logs/x/live"] {
        let answer = status(&format!("{page}/{path}"));
        assert!([401, 404].contains(&answer), "{path}: {answer}");
    }
    assert_eq!(status(&format!("{page}/api/site")), 401);
    for path in ["metrics", "envelopes", "live"] {
        assert_eq!(status(&format!("{log}/{path}")), 401, "{path}");
    }
    // People are led to the form.
    for path in ["", "index.html", "assets/x.js"] {
        assert_eq!(status(&format!("{page}/{path}")), 303, "{path}");
    }
    let (code, form) = elsewhere.curl(ca, &[&format!("{page}/sign-in")]);
    assert!(code == 200 && form.contains("type=\"password\""), "{form}");
    // A name that leads here against the page's will.
    for url in [format!("{page}/sign-in"), format!("{log}/checkpoint")] {
        assert_eq!(elsewhere.curl(ca, &["--header", "Host: evil.example", &url]).0, 421, "{url}");
    }
}

/// Wrong tokens on the log's port and on the page's are counted together.
fn wrong_tokens_are_counted_on_every_port(
    elsewhere: &Elsewhere,
    ca: &str,
    site: &Site,
    read: &str,
) {
    let log = &site.addresses.log;
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let (wrong, right) = (bearer("pts_wrong"), bearer(read));
    let (envelopes, feed) = (format!("{log}/envelopes"), format!("{log}/live?token=wrong"));
    let (metrics, api, page) =
        (format!("{log}/metrics"), format!("{log}/v1/root"), &site.addresses.http);
    let page = format!("{page}/api/site");
    for words in [
        &["--header", &wrong, &envelopes][..],
        &[&feed],
        &["--header", &wrong, &metrics],
        &["--header", &wrong, "--data", "{}", &api],
        &["--header", &wrong, &page],
    ] {
        until("there were too many wrong tokens", || {
            let (answer, said) = elsewhere.curl(ca, words);
            assert!([401, 429].contains(&answer), "{words:?}: {answer} {said}");
            assert!(words.last() != Some(&api.as_str()) || said.contains("request_id"), "{said}");
            (answer == 429).then_some(())
        });
    }
    assert_eq!(elsewhere.curl(ca, &[&envelopes]).0, 401, "who shows nothing is told to");
    let (answer, text) = elsewhere.curl(ca, &["--header", &right, &metrics]);
    assert_eq!(answer, 200, "others' failures keep nobody out");
    let counted =
        text.lines().find_map(|line| line.strip_prefix("sealwire_callers_refused_total "));
    assert!(counted.unwrap().parse::<u64>().unwrap() > 10, "{text}");
}

fn tokens_let_programs_in(elsewhere: &Elsewhere, ca: &str, site: &Site, read: &str, write: &str) {
    let (page, log) = (&site.addresses.http, &site.addresses.log);
    let ask = |token: &str, url: &str| {
        elsewhere.curl(ca, &["--header", &format!("Authorization: Bearer {token}"), url]).0
    };
    for url in [format!("{page}/api/site"), format!("{page}/"), format!("{log}/metrics")] {
        assert_eq!(ask(read, &url), 200, "{url}");
        assert_eq!(ask(write, &url), 401, "{url}");
    }
    // Whoever may only write hands in events, and passes nowhere else.
    let hand_in = |token: &str| {
        let (bearer, url) =
            (format!("Authorization: Bearer {token}"), format!("{page}/api/events"));
        elsewhere.curl(ca, &["--header", &bearer, "--data", r#"{"message":"m"}"#, &url]).0
    };
    assert_eq!((hand_in(write), hand_in(read)), (200, 401));
    until("there were too many wrong tokens", || {
        let answer = ask("pts_wrong", &format!("{page}/api/site"));
        assert!([401, 429].contains(&answer), "{answer}");
        (answer == 429).then_some(())
    });
    assert_eq!(ask(read, &format!("{page}/api/site")), 200, "others' failures keep nobody out");
}

fn people_sign_in_and_out(elsewhere: &Elsewhere, ca: &str, site: &Site, token: &str) {
    let (page, jar) = (&site.addresses.http, site.data_dir().with_file_name("jar"));
    let jar = jar.to_str().unwrap();
    let form = |headers: &[&str], token: &str| {
        let (url, field) = (format!("{page}/sign-in"), format!("token={token}"));
        let fixed = ["--include", "--cookie-jar", jar, "--data-urlencode", &field, &url];
        elsewhere.curl(ca, &[&fixed, headers].concat())
    };
    let (own, foreign) = (format!("Origin: {page}"), "Origin: https://evil.example");
    // Another site's page cannot sign anyone in.
    for headers in [&[][..], &["--header", foreign], &["--header", "Sec-Fetch-Site: cross-site"]] {
        assert_eq!(form(headers, token).0, 403, "{headers:?}");
    }
    let (code, refusal) = form(&["--header", &own], "pts_wrong");
    assert!([401, 429].contains(&code) && refusal.contains("role=\"alert\""), "{refusal}");
    let (code, answer) = form(&["--header", &own], token);
    assert_eq!(code, 303, "{answer}");
    let cookie = answer.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
    for word in ["__Host-sealwire=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!answer.contains(token), "{answer}");

    let with_cookie = |words: &[&str]| elsewhere.curl(ca, &[&["--cookie", jar], words].concat());
    let (search, search_url) = (r#"{"limit":1}"#, format!("{page}/api/logs"));
    assert_eq!(with_cookie(&[&format!("{page}/api/site")]).0, 200);
    let who = with_cookie(&[&format!("{page}/session")]).1;
    assert_eq!(who, r#"{"name":"ada","operates":false}"#);
    let post = ["--header", "Content-Type: application/json", "--data", search, &search_url];
    assert_eq!(with_cookie(&post).0, 403, "a request that does not say where it comes from");
    assert_eq!(with_cookie(&[&post, &["--header", own.as_str()][..]].concat()).0, 200);

    let out = format!("{page}/sign-out");
    assert_eq!(with_cookie(&["--request", "POST", &out]).0, 403);
    assert_eq!(with_cookie(&["--request", "POST", "--header", &own, &out]).0, 303);
    assert_eq!(with_cookie(&[&format!("{page}/api/site")]).0, 401, "the id is of no use any more");
}

fn connections_that_say_nothing_keep_nobody_out(elsewhere: &Elsewhere, ca: &str, port: u16) {
    let hold = "import socket, sys\n\
                held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(400)]\n\
                for one in held[::2]: one.send(b'\\x16\\x03\\x01')\n\
                print('held', flush=True)\n\
                sys.stdin.read()";
    let mut holding = elsewhere
        .command(&["python3", "-c", hold, &elsewhere.here, &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(holding.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "held\n");
    let url = format!("https://{}:{port}/log/checkpoint", elsewhere.here);
    assert_eq!(elsewhere.curl(ca, &[&url]).0, 200);
    drop(holding.stdin.take());
    holding.wait().unwrap();
}

fn a_renewed_certificate_is_served(elsewhere: &Elsewhere, ca: &str, data: &str, ports: &[u16]) {
    let serials = || ports.iter().map(|port| elsewhere.serial(ca, *port)).collect::<Vec<_>>();
    let before = serials();
    // What is half there changes nothing.
    let path = Path::new(data).join("tls/site.pem");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(serials(), before);
    std::fs::write(&path, &whole).unwrap();
    succeeds(&["ca", "renew", "--data-dir", data]);
    until("each port shows the new certificate", || {
        serials().iter().zip(&before).all(|(now, before)| now != before).then_some(())
    });
}

fn new_names_need_no_restart(elsewhere: &Elsewhere, ca: &str, data: &str, ports: &[u16]) {
    let ask = |name: &str, port: u16| {
        let to = format!("{name}:{port}:{}", elsewhere.here);
        let url = format!("https://{name}:{port}/checkpoint");
        elsewhere.curl(ca, &["--resolve", &to, &url]).0
    };
    // The page's port leads people to the form, and the log's has the checkpoint.
    let answers = |name: &str| ports.iter().map(|port| ask(name, *port)).collect::<Vec<_>>();
    assert_eq!(answers("plant.example"), [303, 200]);
    assert_eq!(answers("mill.example"), [0, 0], "its certificate has no such name");
    let hosts = ["--host", &elsewhere.here, "--host", "mill.example"];
    succeeds(&[&["ca", "issue", "--data-dir", data], &hosts[..]].concat());
    until("both ports have the new name", || (answers("mill.example") == [303, 200]).then_some(()));
    // They do not answer under the name that is gone, even if a client looks past the certificate.
    let insecure = |port: &u16| {
        let host = format!("Host: plant.example:{port}");
        let url = format!("https://{}:{port}/checkpoint", elsewhere.here);
        elsewhere.curl(ca, &["--header", &host, &url]).0
    };
    assert_eq!(ports.iter().map(insecure).collect::<Vec<_>>(), [421, 421]);
}

fn a_live_feed_ends_with_its_token(
    elsewhere: &Elsewhere,
    ca: &str,
    site: &Site,
    data: &str,
    token: &str,
) {
    let (url, bearer) =
        (format!("{}/live", site.addresses.http), format!("Authorization: Bearer {token}"));
    let mut feed = elsewhere
        .command(&["curl", "--silent", "--no-buffer", "--cacert", ca, "--header", &bearer, &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(feed.stdout.take().unwrap()).lines();
    assert!(told.next().is_some(), "a feed begins");
    succeeds(&["token", "revoke", "--data-dir", data, "ada"]);
    // It ends with the next event or sign of life.
    let after = told.map_while(Result::ok).filter(|line| line.contains("TOKEN_REVOKED"));
    assert_eq!(after.count(), 0, "the feed told more after its token was revoked");
    feed.wait().unwrap();
}

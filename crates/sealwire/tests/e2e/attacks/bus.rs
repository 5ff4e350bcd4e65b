//! What clients may publish and receive on the bus: a client without credentials, one that claims
//! to be someone else, and one with stolen credentials of the host.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{Client, ConnectOptions};
use rumqttc::{ConnectReturnCode, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

use crate::site::{Site, port, until};

/// A NATS client that sends arbitrary protocol lines.
pub(super) struct Nats {
    stream: BufReader<TcpStream>,
}

impl Nats {
    /// Connects with these members of the JSON options.
    pub(super) fn connect(port: u16, options: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        let info = client.line().unwrap();
        assert!(info.starts_with("INFO "), "{info}");
        // Here too the connection may already be closed, if the client speaks without TLS to a
        // server that demands it.
        let _closed = write!(client.stream.get_mut(), "CONNECT {{{options}\"verbose\":false}}\r\n");
        client
    }

    pub(super) fn device(site: &Site) -> Self {
        Self::connect(port(&site.addresses.nats), "")
    }

    /// `None` when the server has closed the connection.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    /// The server's answer to these lines, and whether the connection stays open.
    pub(super) fn say(&mut self, words: &str) -> (Vec<String>, bool) {
        // The server may already have closed the connection; then there is nothing to read either.
        let _closed = write!(self.stream.get_mut(), "{words}PING\r\n");
        let mut said = Vec::new();
        while let Some(line) = self.line() {
            if line == "PONG" {
                return (said, true);
            }
            said.push(line);
        }
        (said, false)
    }

    /// Reads on until the server closes the connection. Returns whether it still has not after a
    /// while.
    pub(super) fn goes_on(&mut self) -> bool {
        let mut line = String::new();
        loop {
            match self.stream.read_line(&mut line) {
                Ok(0) => return false,
                Ok(_) => line.clear(),
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Takes messages until one has a subject with this beginning. Returns the subjects of all of
    /// them.
    fn hear_until(&mut self, wanted: &str) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        while !heard.iter().any(|subject| subject.starts_with(wanted)) {
            let line = self.line().expect("the server goes on");
            let mut words = line.split(' ');
            if matches!(words.next(), Some("MSG" | "HMSG")) {
                heard.push(words.next().unwrap().to_owned());
            }
        }
        heard
    }
}

/// Subjects of the servers, the site and the hosts.
fn is_reserved(subject: &str) -> bool {
    ["$", "_INBOX", "runtime", "sealwire"].iter().any(|name| subject.starts_with(name))
}

#[test]
fn a_device_neither_hears_nor_says_what_is_the_sites_or_the_hosts() {
    let site = Site::start(&["--simulate", "2"]);
    let mut listener = Nats::device(&site);
    assert_eq!(listener.say("SUB > 1\r\n"), (vec![], true), "devices may hear devices");
    let mqtt = mqtt_topics(&site);
    // While it listens the page asks the site, the site its component, and the reconciler the host.
    let mut answers = vec![site.get("/api/site"), site.get("/api/sensors")];
    site.wait_for_event("SENSOR_READING", |_| true);
    answers.push(site.get("/api/site"));
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let mut heard = listener.hear_until("sim.read.");
    let mut marker = Nats::device(&site);
    assert_eq!(marker.say("PUB the.end 0\r\n\r\n"), (vec![], true), "devices may be heard");
    heard.extend(listener.hear_until("the.end"));
    assert!(!heard.iter().any(|subject| is_reserved(subject)), "{heard:?}");
    let topics = until("an MQTT client hears the end", || {
        let topics = mqtt.lock().unwrap().clone();
        topics.contains(&String::from("the/end")).then_some(topics)
    });
    assert!(!topics.iter().any(|topic| is_reserved(topic)), "{topics:?}");

    let mut device = Nats::device(&site);
    for words in [
        "SUB _INBOX.> 2",
        "SUB sealwire.query.*.* 3",
        "SUB sealwire.query.own.readings race 4",
        "SUB sealwire.derive.sensors 5",
        "SUB runtime.> 6",
        "SUB $JS.API.> 7",
        "SUB $MQTT.> 8",
        "SUB $SYS.> 9",
        "PUB _INBOX.a.b 2\r\n{}",
        "PUB sealwire.query.own.readings 2\r\n{}",
        "PUB sealwire.reply.site-data.a 2\r\n{}",
        "PUB runtime.host.a.workload.start 2\r\n{}",
        "PUB runtime.operator.heartbeat.a 2\r\n{}",
        "PUB $JS.API.INFO answer 0\r\n",
        "PUB $JS.API.STREAM.DELETE.$MQTT_sess answer 0\r\n",
        "PUB $MQTT.sess.a 0\r\n",
    ] {
        let (said, goes_on) = device.say(&format!("{words}\r\n"));
        let [refusal] = said.as_slice() else { panic!("{words}: {said:?}") };
        assert!(refusal.starts_with("-ERR 'Permissions Violation"), "{words}: {refusal}");
        assert!(goes_on);
    }
}

#[test]
fn nobody_gets_in_by_naming_somebody_else() {
    let site = Site::start(&[]);
    // Until now only the site and its host were connected, and the server refused them nothing.
    for server in ["nats", "hosts"] {
        let log = site.data_dir().join(server).join("nats-server.log");
        let log = fs::read_to_string(log).unwrap();
        assert!(!log.contains("Violation"), "{server}: {log}");
    }
    let nats = port(&site.addresses.nats);
    for user in ["site", "device", "site-control.sealwire", "host-control.sealwire"] {
        for options in [
            format!(r#""user":"{user}","#),
            format!(r#""user":"{user}","pass":"","#),
            format!(r#""user":"{user}","pass":"{user}","#),
        ] {
            let (said, goes_on) = Nats::connect(nats, &options).say("");
            assert_eq!(
                (said.as_slice(), goes_on),
                (&["-ERR 'Authorization Violation'".to_owned()][..], false),
                "{options}"
            );
        }
        assert_eq!(mqtt_answer(&site, user), ConnectReturnCode::NotAuthorized, "{user}");
    }

    // The hosts' server accepts nothing before a certificate.
    let configuration = fs::read_to_string(site.data_dir().join("hosts/nats-server.conf")).unwrap();
    let hosts = configuration.lines().find_map(|line| line.strip_prefix("listen: ")).unwrap();
    let hosts = port(hosts.trim_matches('"'));
    for options in ["", r#""user":"host-control.sealwire","#] {
        let (said, goes_on) = Nats::connect(hosts, options).say("SUB > 1\r\n");
        assert!(!goes_on, "{options}: {said:?}");
    }

    // Only their owner can read the credentials of the site and the host.
    for folder in ["nats", "hosts", "wash"] {
        let folder = site.data_dir().join(folder);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.extension().and_then(|extension| extension.to_str());
            if matches!(kind, Some("conf" | "key" | "log")) {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }

    // The host's credentials allow what the host may do, and nothing else.
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let control = Thief::connect(&site, hosts, "control").await;
        control.is_refused("runtime.operator.heartbeat.*", "runtime.host.a.workload.start").await;
        control.is_refused("sealwire.reply.site-control.a", "runtime.host.a.workload.stop").await;
        let data = Thief::connect(&site, hosts, "data").await;
        data.is_refused("sealwire.query.*.*", "sealwire.derive.sensors").await;
        data.is_refused("sealwire.reply.>", "runtime.host.a.workload.start").await;
        let answer = data.client.request("sealwire.query.own.site", "".into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer["ok"]["vkey"].is_string(), "{answer}");
    });
}

/// Somebody with the host's certificate.
struct Thief {
    client: Client,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Thief {
    async fn connect(site: &Site, port: u16, name: &str) -> Self {
        let folder = site.data_dir().join("wash");
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&refusals);
        let client = ConnectOptions::new()
            .add_root_certificates(folder.join("ca.pem"))
            .add_client_certificate(
                folder.join(format!("{name}.pem")),
                folder.join(format!("{name}.key")),
            )
            .require_tls(true)
            .event_callback(move |event| {
                if let async_nats::Event::ServerError(error) = event {
                    told.lock().unwrap().push(error.to_string());
                }
                async {}
            })
            .connect(format!("127.0.0.1:{port}"))
            .await
            .unwrap();
        Self { client, refusals }
    }

    /// Can neither receive on the one subject nor publish on the other.
    async fn is_refused(&self, heard: &str, said: &str) {
        self.refusals.lock().unwrap().clear();
        let _subscriber = self.client.subscribe(heard.to_owned()).await.unwrap();
        self.client.publish(said.to_owned(), "{}".into()).await.unwrap();
        self.client.flush().await.unwrap();
        until(&format!("{heard} and {said} are refused"), || {
            let refusals = self.refusals.lock().unwrap();
            let is_named = |subject| refusals.iter().any(|told| told.contains(subject));
            (is_named(heard) && is_named(said)).then_some(())
        });
    }
}

/// Topics that an MQTT client receives if it subscribes to everything.
fn mqtt_topics(site: &Site) -> Arc<Mutex<Vec<String>>> {
    let options = MqttOptions::new("listener", "127.0.0.1", port(&site.addresses.mqtt));
    let (client, mut connection) = rumqttc::Client::new(options, 64);
    client.subscribe("#", QoS::AtMostOnce).unwrap();
    let (granted, wait) = std::sync::mpsc::channel();
    let topics = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&topics);
    std::thread::spawn(move || {
        let _client = client;
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => granted.send(()).unwrap(),
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    heard.lock().unwrap().push(message.topic);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    wait.recv_timeout(Duration::from_secs(20)).unwrap();
    topics
}

/// The answer to an MQTT client that names a user but no password.
fn mqtt_answer(site: &Site, user: &str) -> ConnectReturnCode {
    let mut options = MqttOptions::new("somebody", "127.0.0.1", port(&site.addresses.mqtt));
    options.set_credentials(user, "");
    let (_client, mut connection) = rumqttc::Client::new(options, 1);
    match connection.iter().next() {
        Some(Err(rumqttc::ConnectionError::ConnectionRefused(code))) => code,
        Some(Ok(Event::Incoming(Packet::ConnAck(acknowledged)))) => acknowledged.code,
        other => panic!("{other:?}"),
    }
}

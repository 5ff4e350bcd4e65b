//! `sealwire sensor`: makes, revokes, rotates and lists the credentials of devices, tells what
//! devices were refused, and gives orders about sensors ([`fleet`]).
//!
//! This command makes the secrets and writes them to files. The site gets public keys and hashes
//! only. The files are written before the order is given, so that no credential is in force whose
//! secret is lost.

pub(crate) mod arguments;
pub(crate) mod fleet;
pub(crate) mod held;
pub(crate) mod made;
mod polled;
pub(crate) mod polls;
pub(crate) mod words;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, Instant},
};

use access::sensors::{
    Alias, CredentialName, InvalidSensor, Learning, NewCredential, Reporting, Sensor, Topics,
};
use anyhow::{Context as _, Result, anyhow, bail};
use model::{InvalidSubject, Protocol, SensorId, Subject};
use orders::order::{AddressedOrder, Done, Order};
use serde::Deserialize;

use crate::{
    cli::order_arguments::{Actor, OrderArguments},
    log, map, output,
    sensor::{
        arguments::{AddArguments, FileArguments, SensorArguments, SensorOrder},
        made::{Made, Secrets},
    },
};

/// Longest wait for heartbeats: devices send one a minute or more often.
const LEARN_MAX: Duration = Duration::from_secs(120);
/// Time between two questions whether heartbeats have come.
const LEARN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A row of a CSV file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    alias: Alias,
    #[serde(default)]
    id: Option<SensorId>,
    #[serde(default)]
    set: Option<CredentialName>,
    #[serde(default)]
    heartbeat: Option<String>,
    #[serde(default)]
    poll: Option<String>,
    #[serde(default)]
    read: Option<String>,
    #[serde(default)]
    disconnect: Option<String>,
    /// Topics of a device that reports by itself, separated by spaces.
    #[serde(default)]
    reports: Option<String>,
    #[serde(default)]
    hears: Option<String>,
}

/// What a credential covers.
#[derive(Debug)]
enum Covered {
    Sensor(Sensor),
    Reporting(Reporting),
}

pub(crate) fn run(arguments: SensorArguments) -> Result<()> {
    let SensorArguments { site, order } = arguments;
    match order {
        SensorOrder::Add(arguments) => add(site, *arguments),
        SensorOrder::Revoke { name, actor: Actor { actor } } => {
            log::give(site, Order::RevokeCredential { name, actor })
        }
        SensorOrder::Rotate { name, overlap, files, actor: Actor { actor } } => {
            let secrets = Secrets::random();
            let key = secrets.key(clock::now());
            let made =
                vec![Made { name: name.clone(), sensors: Vec::new(), reporting: None, secrets }];
            let order = Order::RotateCredential { name, key, overlap_seconds: overlap, actor };
            give_with_files(site, order, &made, &files)
        }
        SensorOrder::List => log::give(site, Order::Credentials),
        SensorOrder::Refused => log::give(site, Order::Refusals),
        SensorOrder::Polls { limit, after } => polled::show(&site, limit, after),
        SensorOrder::Poll(order) => log::give(site, order.order()),
        SensorOrder::Fleet(order) => {
            let order = order.order(clock::now()).map_err(|wrong| anyhow!(wrong))?;
            log::give(site, order)
        }
    }
}

fn add(site: OrderArguments, arguments: AddArguments) -> Result<()> {
    let AddArguments {
        aliases,
        from,
        set,
        id,
        topics,
        learn,
        reports,
        hears,
        map,
        files,
        actor: Actor { actor },
    } = arguments;
    let covered = match from {
        Some(file) => read(&file)?,
        None if !reports.is_empty() => {
            let [alias] = aliases.as_slice() else {
                bail!("--reports is for one device: use --from for several");
            };
            vec![reporting(alias, set.as_ref(), &reports, &hears)?]
        }
        None if learn => {
            let known = |known: Sensor| {
                let Sensor { alias, id, topics } = known;
                let Topics { heartbeat, poll, read, .. } = &topics;
                output::note(&format!(
                    "{alias} has the id {id}, sends heartbeats on {heartbeat}, hears polls on {poll} \
                     and answers on {read}"
                ));
                sensor(alias, Some(id), Some(topics), set.as_ref())
            };
            learned(&site, aliases)?.into_iter().map(known).collect::<Result<_>>()?
        }
        None => {
            if aliases.len() > 1 && id.is_some() {
                bail!("--id and --topics are for one sensor: use --from for several");
            }
            let topics = if topics.is_empty() { None } else { Some(told(&topics)?) };
            let sensor = |alias| sensor(alias, id, topics.clone(), set.as_ref());
            aliases.into_iter().map(sensor).collect::<Result<_>>()?
        }
    };
    if let Some(file) = map {
        check_mapped(&covered, &file)?;
    }
    let mut made: Vec<Made> = Vec::new();
    let mut places = BTreeMap::new();
    for (name, covered) in covered {
        let place = match places.entry(name) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                let (name, secrets) = (place.key().clone(), Secrets::random());
                made.push(Made { name, sensors: Vec::new(), reporting: None, secrets });
                *place.insert(made.len() - 1)
            }
        };
        let made = made.get_mut(place).context("it was just made")?;
        match covered {
            Covered::Sensor(sensor) => made.sensors.push(sensor),
            Covered::Reporting(Reporting { reports, hears }) => {
                let own = made.reporting.get_or_insert_default();
                own.reports.extend(reports);
                own.hears.extend(hears);
            }
        }
    }
    let now = clock::now();
    let new = |made: &Made| NewCredential {
        name: made.name.clone(),
        sensors: made.sensors.clone(),
        reporting: made.reporting.clone(),
        key: made.secrets.key(now),
    };
    let order = Order::AddCredentials { credentials: made.iter().map(new).collect(), actor };
    give_with_files(site, order, &made, &files)
}

/// Waits for heartbeats of these sensors, and returns what they say.
fn learned(site: &OrderArguments, aliases: Vec<Alias>) -> Result<Vec<Sensor>> {
    let aliases: BTreeSet<Alias> = aliases.into_iter().collect();
    if aliases.len() > Learning::ALIASES_MAX {
        bail!("at most {} sensors can be learned at once", Learning::ALIASES_MAX);
    }
    let OrderArguments { data_dir, key_file, log, .. } = site;
    let begin = Instant::now();
    loop {
        let order = Order::Learn { aliases: aliases.clone() };
        let order = AddressedOrder { log: log.clone(), order };
        let Done::Learned { sensors } = log::carry_out(data_dir, key_file.clone(), order)? else {
            bail!("the site answers something else: is it of another version?");
        };
        let mut missing = aliases.clone();
        for sensor in &sensors {
            let alias = &sensor.alias;
            if !missing.remove(alias) {
                bail!("several devices call themselves {alias}: name one with --id and --topics");
            }
        }
        let missing: Vec<&str> = missing.iter().map(Alias::as_str).collect();
        if missing.is_empty() {
            return Ok(sensors);
        }
        let names = missing.join(", ");
        if begin.elapsed() > LEARN_MAX {
            bail!(
                "no heartbeat of {names} came in {} s: does the site let the device in?",
                LEARN_MAX.as_secs()
            );
        }
        if begin.elapsed() < LEARN_AGAIN_AFTER {
            output::note(&format!("waiting for heartbeats of {names}"));
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this command has one thread and waits for a person's device"
)]
fn pause() {
    std::thread::sleep(LEARN_AGAIN_AFTER);
}

/// Writes the secrets, and gives the order. If the order is refused, removes the files again. If
/// nobody knows whether it was carried out, they stay: their credentials may be in force.
fn give_with_files(
    site: OrderArguments,
    order: Order,
    made: &[Made],
    files: &FileArguments,
) -> Result<()> {
    let FileArguments { output: folder, qr } = files;
    let written = made::write(folder, made, *qr)?;
    let given = {
        let OrderArguments { data_dir, key_file, log, .. } = &site;
        let order = AddressedOrder { log: log.clone(), order };
        log::carry_out(data_dir, key_file.clone(), order)
    };
    let done = match given {
        Ok(done) => done,
        Err(error) if log::is_refusal(&error) => {
            for file in written {
                // The secret of no credential: nothing is lost if it stays.
                let _gone = fs::remove_file(file);
            }
            return Err(error);
        }
        Err(error) => {
            let kept = format!(
                "the secrets stay in {}, because the order may be in force: `sealwire sensor list` \
                 shows the keys that are",
                folder.display()
            );
            return Err(error.context(kept));
        }
    };
    log::show(&done, site.json)?;
    if !site.json {
        output::lines(&format!("the secrets are in {}", folder.display()));
        if *qr {
            for made in made {
                output::lines(&made.qr_for_terminal()?);
            }
        }
    }
    Ok(())
}

/// The sensors of a CSV file, each with the credential that covers it.
fn read(file: &Path) -> Result<Vec<(CredentialName, Covered)>> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    read_rows(opened).with_context(|| format!("{} has a wrong row", file.display()))
}

fn read_rows(rows: impl io::Read) -> Result<Vec<(CredentialName, Covered)>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(rows);
    let mut covered = Vec::new();
    for (line, row) in (2..).zip(reader.deserialize::<Row>()) {
        let Row { alias, id, set, heartbeat, poll, read, disconnect, reports, hears } =
            row.with_context(|| format!("row {line}"))?;
        if let Some(reports) = reports {
            let others = [&heartbeat, &poll, &read, &disconnect];
            if id.is_some() || others.into_iter().any(Option::is_some) {
                bail!(
                    "row {line}: a device that reports by itself has neither an id nor heartbeats"
                );
            }
            let words = |text: &str| -> Vec<String> {
                text.split_whitespace().map(str::to_owned).collect()
            };
            let hears = hears.as_deref().map(words).unwrap_or_default();
            let reporting = reporting(&alias, set.as_ref(), &words(&reports), &hears);
            covered.push(reporting.with_context(|| format!("row {line}"))?);
            continue;
        }
        let topics = match (heartbeat, poll, read) {
            (None, None, None) if disconnect.is_none() => None,
            (Some(heartbeat), Some(poll), Some(read)) => {
                let topics = [heartbeat, poll, read].into_iter().chain(disconnect);
                Some(told(&topics.collect::<Vec<_>>()).with_context(|| format!("row {line}"))?)
            }
            _ => bail!("row {line}: name the topics heartbeat, poll and read, or none of them"),
        };
        let sensor = sensor(alias, id, topics, set.as_ref());
        covered.push(sensor.with_context(|| format!("row {line}"))?);
    }
    Ok(covered)
}

/// A sensor with its credential. What is not told is made.
fn sensor(
    alias: Alias,
    id: Option<SensorId>,
    topics: Option<Topics>,
    set: Option<&CredentialName>,
) -> Result<(CredentialName, Covered)> {
    let own: Result<CredentialName, _> = alias.as_str().parse();
    let (name, topics) = match (own, topics, set) {
        (_, Some(topics), Some(set)) => (set.clone(), topics),
        (Ok(own), Some(topics), None) => (own, topics),
        (Ok(own), None, set) => (set.unwrap_or(&own).clone(), Topics::below(&own)),
        (Err(_), _, _) => return Err(InvalidSensor::NoTopics(alias).into()),
    };
    let sensor = Sensor { alias, id: id.unwrap_or_else(made::random_id), topics };
    Ok((name, Covered::Sensor(sensor)))
}

/// A device that reports by itself, with its credential.
fn reporting(
    alias: &Alias,
    set: Option<&CredentialName>,
    reports: &[String],
    hears: &[String],
) -> Result<(CredentialName, Covered)> {
    let name = match set {
        Some(set) => set.clone(),
        None => alias.as_str().parse()?,
    };
    let subjects = |topics: &[String]| -> Result<BTreeSet<Subject>> {
        Ok(topics.iter().map(|topic| subject(topic)).collect::<Result<_, _>>()?)
    };
    let reporting = Reporting { reports: subjects(reports)?, hears: subjects(hears)? };
    Ok((name, Covered::Reporting(reporting)))
}

/// Refuses topics that no rule of a file maps: what is reported there would not be read.
fn check_mapped(covered: &[(CredentialName, Covered)], file: &Path) -> Result<()> {
    let patterns = map::rules(Some(file))?.patterns();
    for (name, covered) in covered {
        let Covered::Reporting(Reporting { reports, .. }) = covered else { continue };
        for topic in reports {
            if !patterns.iter().any(|pattern| pattern.matches(topic)) {
                bail!(
                    "no rule in {} maps the topic `{topic}` of {name}: `sealwire map test` tries rules",
                    file.display()
                );
            }
        }
    }
    Ok(())
}

/// A topic as a person writes it: one with a `/` is of MQTT.
fn subject(topic: &str) -> Result<Subject, InvalidSubject> {
    let form = if topic.contains('/') { Protocol::Mqtt } else { Protocol::Nats };
    Subject::of_topic(topic, form)
}

/// Topics as a person writes them.
fn told(topics: &[String]) -> Result<Topics> {
    let subject = |topic: &String| subject(topic);
    let (heartbeat, poll, read, disconnect) = match topics {
        [heartbeat, poll, read] => (heartbeat, poll, read, None),
        [heartbeat, poll, read, disconnect] => (heartbeat, poll, read, Some(disconnect)),
        _ => bail!("name three topics (heartbeat, poll, read) or four (and disconnect)"),
    };
    Ok(Topics {
        heartbeat: subject(heartbeat)?,
        poll: subject(poll)?,
        read: subject(read)?,
        disconnect: disconnect.map(subject).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixListener,
        thread,
    };

    use data_dir::DataDir;

    use super::*;

    #[test]
    fn a_secret_stays_while_its_credential_may_be_in_force() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("site");
        let _running = DataDir::open(&folder, None).unwrap();
        let site = UnixListener::bind(folder.join(data_dir::folder::ORDERS)).unwrap();
        for (number, (answer, stays)) in [
            (r#"{"refused":"there already is a credential a"}"#, false),
            (r#"{"failed":"cannot use the credentials' file"}"#, true),
            ("", true), // the site was killed, after the order or before it
            ("{", true),
        ]
        .into_iter()
        .enumerate()
        {
            let output = parent.path().join(number.to_string());
            let files = FileArguments { output: output.clone(), qr: false };
            let (data_dir, name) = (folder.clone(), "a".parse::<CredentialName>().unwrap());
            let arguments = OrderArguments { data_dir, key_file: None, log: None, json: false };
            let secrets = Secrets::random();
            let (key, overlap_seconds, actor) = (secrets.key(clock::now()), None, None);
            let order = Order::RotateCredential { name: name.clone(), key, overlap_seconds, actor };
            let made = [Made { name, sensors: Vec::new(), reporting: None, secrets }];
            let error = thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut order, _address) = site.accept().unwrap();
                    order.read_to_end(&mut Vec::new()).unwrap();
                    order.write_all(answer.as_bytes()).unwrap();
                });
                give_with_files(arguments, order, &made, &files).unwrap_err()
            });
            assert_eq!(output.join("a.json").exists(), stays, "{answer}");
            let is_told = error.to_string().contains("the secrets stay in");
            assert_eq!(is_told, stays, "{error:#}");
        }
    }

    #[test]
    fn a_row_is_a_sensor_and_a_set_is_one_credential() {
        let id = "0b5a6e0c-1111-4222-8333-944455566677";
        let rows = format!(
            "alias,id,set,heartbeat,poll,read,disconnect\n\
             Pump-1,,,,,,\n\
             Pump-2,,Hall,,,,\n\
             Pump 3,{id},Hall,picow/heartbeat,picow/3/poll,picow/3/read,\n"
        );
        let covered = read_rows(rows.as_bytes()).unwrap();
        let found: Vec<(&str, &str, &str)> = covered
            .iter()
            .map(|(name, covered)| {
                let Covered::Sensor(sensor) = covered else { panic!("a sensor") };
                (name.as_str(), sensor.alias.as_str(), sensor.topics.poll.as_str())
            })
            .collect();
        assert_eq!(
            found,
            [
                ("Pump-1", "Pump-1", "Pump-1.poll"),
                ("Hall", "Pump-2", "Pump-2.poll"),
                ("Hall", "Pump 3", "picow.3.poll"),
            ]
        );
        let id_of = |place: usize| match &covered[place].1 {
            Covered::Sensor(sensor) => sensor.id,
            Covered::Reporting(_) => panic!("a sensor"),
        };
        assert_eq!(id_of(2).to_string(), id);
        assert_ne!(id_of(0), id_of(1));
        let rows = "alias,set,reports,hears\n\
                    oven,,tele/oven/SENSOR tele/oven/STATE,\n\
                    node,,spBv1.0/plant/NDATA/node,spBv1.0/plant/NCMD/node\n";
        let reporting = read_rows(rows.as_bytes()).unwrap();
        let [(name, Covered::Reporting(oven)), (_, Covered::Reporting(node))] =
            reporting.as_slice()
        else {
            panic!("{reporting:?}")
        };
        assert_eq!((name.as_str(), oven.reports.len(), oven.hears.len()), ("oven", 2, 0));
        assert!(oven.reports.iter().any(|topic| topic.as_str() == "tele.oven.SENSOR"));
        assert_eq!((node.reports.len(), node.hears.len()), (1, 1));
        // An alias alone is enough.
        assert_eq!(read_rows("alias\na\nb\n".as_bytes()).unwrap().len(), 2);
        for wrong in [
            "alias\na b\n",                         // no topics, and none can be made
            "alias,poll\na,x.poll\n",               // some topics
            "alias,heartbeat,poll,read\na,b,*,c\n", // a wildcard
            "alias,set\na,b.c\n",                   // a name with a dot
            "alias,what\na,b\n",                    // an unknown column
            "name\na\n",                            // no alias
            "alias,reports\na,tele/+/SENSOR\n",     // a wildcard
            "alias,id,reports\na,0b5a6e0c-1111-4222-8333-944455566677,t/a\n", // an id of heartbeats
        ] {
            assert!(read_rows(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

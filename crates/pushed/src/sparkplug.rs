//! Sparkplug B 3.0: births, data and deaths of edge nodes and their devices.
//!
//! Topics are `spBv1.0/<group>/<type>/<node>[/<device>]`, payloads are Tahu's protobuf message. A
//! birth names all metrics with their types and, for short, aliases; data may then use the alias
//! alone. An alias belongs to its node, whichever device the metric is of. Each message of a node
//! but the death has a number from 0 to 255. The death is the will that the node left when it
//! connected, so it carries the number of that connection (`bdSeq`): the death of a former one
//! comes late and says nothing of this one.
//!
//! Where the site lacks a birth (it has just started, or messages were lost), it asks the node for
//! a new one, by a command with the metric `Node Control/Rebirth` (chapter 5, "Commands").
//!
//! Not here: other commands, host states, and metrics that are tables, files or templates.

use std::{collections::BTreeMap, time::Duration};

use model::{Protocol, Subject, Timestamp};
use prost::Message as _;

use crate::{
    device_time,
    mapping::{Heard, Mapping, Request, reading_of},
    reading::{self, Flag, Reading},
    rules::Rule,
};

/// The nodes that were heard.
#[derive(Debug, Default)]
pub(crate) struct Sparkplug {
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug, Default)]
struct Node {
    is_born: bool,
    /// Number of the connection that was born last.
    bd_seq: Option<u64>,
    /// Number of the newest message.
    seq: Option<u8>,
    /// What births declared, by device (empty for the node itself) and metric.
    metrics: BTreeMap<(String, String), u32>,
    /// Device and metric of each alias.
    aliases: BTreeMap<u64, (String, String)>,
    /// When the node was asked for its birth.
    asked_at: Option<Timestamp>,
}

/// The payload of every message.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(uint64, optional, tag = "1")]
    timestamp: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
    #[prost(uint64, optional, tag = "3")]
    seq: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    alias: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    datatype: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    is_historical: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    is_null: Option<bool>,
    #[prost(oneof = "Value", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
    #[prost(string, tag = "15")]
    Text(String),
    // The bytes of what is not read: what is in them costs nothing.
    #[prost(bytes, tag = "16")]
    Bytes(Vec<u8>),
    #[prost(bytes, tag = "17")]
    DataSet(Vec<u8>),
    #[prost(bytes, tag = "18")]
    Template(Vec<u8>),
    #[prost(bytes, tag = "19")]
    Extension(Vec<u8>),
}

/// A topic's parts. `device` is empty if the message is of the node itself.
struct Address<'a> {
    group: &'a str,
    node: &'a str,
    device: &'a str,
}

/// Types whose numbers are signed, and that of a command (section 6.4.16).
mod datatype {
    pub(super) const INT8: u32 = 1;
    pub(super) const INT16: u32 = 2;
    pub(super) const INT32: u32 = 3;
    pub(super) const INT64: u32 = 4;
    pub(super) const BOOLEAN: u32 = 11;
}

/// The metric that numbers a node's connections.
const BD_SEQ: &str = "bdSeq";
/// The metric of a command that asks a node for its births.
const REBIRTH: &str = "Node Control/Rebirth";

impl Sparkplug {
    /// Most nodes that are remembered.
    const NODES_MAX: usize = 1_000;
    /// Most metrics of a node and its devices, and most aliases. A node with all of them takes a
    /// few megabytes, because their names have a limit, too.
    const METRICS_MAX: usize = 10_000;
    /// Most metrics of one message.
    const METRICS_OF_MESSAGE_MAX: usize = 4_096;
    /// Least time between two requests for the births of one node. A birth is large, and a node
    /// that does not hear the request goes on as before.
    const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);

    pub(crate) fn hear(
        &mut self,
        rule: &Rule,
        topic: &str,
        payload: &[u8],
        at: Timestamp,
        mapping: &mut Mapping,
    ) {
        let levels: Vec<&str> = topic.split('/').collect();
        let (verb, address) = match levels.as_slice() {
            ["spBv1.0", "STATE", ..] => return mapping.nothing("a host application's state"),
            ["spBv1.0", group, verb @ ("NBIRTH" | "NDATA" | "NDEATH" | "NCMD"), node] => {
                (*verb, Address { group, node, device: "" })
            }
            ["spBv1.0", group, verb @ ("DBIRTH" | "DDATA" | "DDEATH" | "DCMD"), node, device]
                if !device.is_empty() =>
            {
                (*verb, Address { group, node, device })
            }
            _ => {
                let reason = "a topic of Sparkplug B is `spBv1.0/<group>/<type>/<node>[/<device>]`";
                return mapping.refuse(&rule.name, String::from(reason));
            }
        };
        if verb.ends_with("CMD") {
            return mapping.nothing("a command to a device");
        }
        let payload = match Payload::decode(payload) {
            Ok(payload) => payload,
            Err(error) => {
                let reason = format!("the payload is not Sparkplug B: {error}");
                return mapping.refuse(&rule.name, reason);
            }
        };
        if payload.metrics.len() > Self::METRICS_OF_MESSAGE_MAX {
            let reason = format!(
                "the message has {} metrics; at most {} are read",
                payload.metrics.len(),
                Self::METRICS_OF_MESSAGE_MAX
            );
            return mapping.refuse(&rule.name, reason);
        }
        // No value of a node with a longer name could be sealed.
        if let Err(reason) = reading::name(&address.name_of("")) {
            return mapping.refuse(&rule.name, reason);
        }
        let key = format!("{}/{}", address.group, address.node);
        if self.nodes.len() >= Self::NODES_MAX && !self.nodes.contains_key(&key) {
            let reason = format!("{} nodes are known already, which is the limit", Self::NODES_MAX);
            return mapping.refuse(&rule.name, reason);
        }
        let node = self.nodes.entry(key).or_default();
        if verb == "NDEATH" {
            return node.die(&payload, &address, mapping);
        }
        let lost = match node.count(verb, &payload) {
            Ok(lost) => lost,
            Err(reason) => return mapping.refuse(&rule.name, reason),
        };
        // The same goes for a device, but its messages count among those of the node.
        if let Err(reason) = reading::name(&address.name()) {
            return mapping.refuse(&rule.name, reason);
        }
        match verb {
            "NBIRTH" | "DBIRTH" => {
                if let Err(reason) = node.bear(verb, address.device, &payload) {
                    return mapping.refuse(&rule.name, reason);
                }
                mapping.heard.push(Heard::Born(address.name()));
            }
            "DDEATH" => return mapping.heard.push(Heard::Gone(address.name())),
            _ => {}
        }
        let flag = (lost > 0).then_some(Flag::MessagesMissing(lost));
        let is_known = node.read(rule, &address, (payload, at), flag, mapping);
        if !node.is_born || lost > 0 || !is_known {
            mapping.request = node.ask(&address, at);
        }
    }
}

impl Address<'_> {
    /// Name of the node or device.
    fn name(&self) -> String {
        self.name_of(self.device)
    }

    fn name_of(&self, device: &str) -> String {
        let Self { group, node, .. } = self;
        match device {
            "" => format!("{group}/{node}"),
            device => format!("{group}/{node}/{device}"),
        }
    }
}

impl Node {
    /// Takes the number of a message. Returns how many were lost before it.
    fn count(&mut self, verb: &str, payload: &Payload) -> Result<u8, String> {
        let seq = payload.seq.ok_or("the message has no `seq`")?;
        let seq = u8::try_from(seq).map_err(|_| format!("`seq` is {seq}; it is 0 to 255"))?;
        let last = self.seq.replace(seq);
        if verb == "NBIRTH" {
            return Ok(0);
        }
        match last {
            Some(last) if last == seq => {
                Err(format!("message {seq} of the node came twice, one after the other"))
            }
            Some(last) => Ok(seq.wrapping_sub(last).wrapping_sub(1)),
            None => Ok(0),
        }
    }

    /// Takes a birth: what it declares replaces what was declared before.
    fn bear(&mut self, verb: &str, device: &str, payload: &Payload) -> Result<(), String> {
        if verb == "NBIRTH" {
            self.metrics.clear();
            self.aliases.clear();
            self.bd_seq = number_of(payload);
            self.is_born = true;
        } else {
            self.metrics.retain(|(of, _), _| of != device);
            self.aliases.retain(|_, (of, _)| of != device);
        }
        let before = self.metrics.len().max(self.aliases.len());
        if before + payload.metrics.len() > Sparkplug::METRICS_MAX {
            return Err(format!(
                "the node and its devices have more than {} metrics",
                Sparkplug::METRICS_MAX
            ));
        }
        for metric in &payload.metrics {
            let Some(name) = &metric.name else { continue };
            // What is too long for a quantity stays too long, and its values are refused.
            let name: String = name.chars().take(reading::QUANTITY_CHARS_MAX + 1).collect();
            let key = (device.to_owned(), name);
            if let Some(alias) = metric.alias {
                self.aliases.insert(alias, key.clone());
            }
            self.metrics.insert(key, metric.datatype.unwrap_or_default());
        }
        Ok(())
    }

    /// Takes the will of a connection.
    fn die(&mut self, payload: &Payload, address: &Address<'_>, mapping: &mut Mapping) {
        let of = number_of(payload);
        if self.is_born && of.is_some() && self.bd_seq.is_some() && of != self.bd_seq {
            return mapping.nothing("the death of a former connection");
        }
        self.is_born = false;
        self.seq = None;
        mapping.heard.push(Heard::Gone(address.name()));
    }

    /// The request for the node's births, unless it was made just now.
    fn ask(&mut self, address: &Address<'_>, at: Timestamp) -> Option<Request> {
        if self.asked_at.is_some_and(|asked| at.apart(asked) < Sparkplug::ASK_AGAIN_AFTER) {
            return None;
        }
        let topic = format!("spBv1.0/{}/NCMD/{}", address.group, address.node);
        let topic = Subject::of_topic(&topic, Protocol::Mqtt).ok()?;
        self.asked_at = Some(at);
        let now = u64::try_from(at.unix_micros() / 1_000).ok();
        let rebirth = Metric {
            name: Some(String::from(REBIRTH)),
            timestamp: now,
            datatype: Some(datatype::BOOLEAN),
            value: Some(Value::Boolean(true)),
            ..Metric::default()
        };
        let request = Payload { timestamp: now, metrics: vec![rebirth], seq: None };
        Some(Request { topic, payload: request.encode_to_vec() })
    }

    /// Reads the values of a message. Returns whether births have declared all of its metrics that
    /// only an alias names.
    fn read(
        &self,
        rule: &Rule,
        address: &Address<'_>,
        (payload, at): (Payload, Timestamp),
        flag: Option<Flag>,
        mapping: &mut Mapping,
    ) -> bool {
        let mut is_known = true;
        let seq = payload.seq.and_then(|seq| u8::try_from(seq).ok());
        for metric in &payload.metrics {
            let (device, name) = match self.metric(address.device, metric) {
                Ok(found) => found,
                Err(reason) => {
                    is_known &= metric.alias.is_none();
                    mapping.refuse(&rule.name, reason);
                    continue;
                }
            };
            if name == BD_SEQ
                || name.starts_with("Node Control/")
                || name.starts_with("Device Control/")
            {
                continue;
            }
            let key = (device.to_owned(), name.to_owned());
            let declared = self.metrics.get(&key).copied();
            let value = match value_of(metric, metric.datatype.or(declared)) {
                Ok(Some(value)) => value,
                Ok(None) => {
                    mapping.nothing("the value is null");
                    continue;
                }
                Err(reason) => {
                    mapping.refuse(&rule.name, format!("metric `{name}`: {reason}"));
                    continue;
                }
            };
            let sensor = address.name_of(device);
            match reading_of(&rule.name, rule.interval, (&sensor, name), &value) {
                Ok(reading) => {
                    let time = metric.timestamp.or(payload.timestamp);
                    let time = time.map(|millis| device_time::of_millis(millis, at));
                    let is_historical = metric.is_historical == Some(true);
                    let flags = is_historical.then_some(Flag::Historical).into_iter();
                    let not_born = (!self.is_born).then_some(Flag::NotBorn);
                    mapping.readings.push(Reading {
                        time: time.unwrap_or_default(),
                        seq,
                        flags: flags.chain(flag).chain(not_born).collect(),
                        ..reading
                    });
                }
                Err(reason) => mapping.refuse(&rule.name, format!("metric `{name}`: {reason}")),
            }
        }
        if !mapping.is_understood() && mapping.refusals.is_empty() {
            mapping.nothing("the message has no metrics");
        }
        is_known
    }

    /// Device and name of a metric.
    fn metric<'a>(
        &'a self,
        device: &'a str,
        metric: &'a Metric,
    ) -> Result<(&'a str, &'a str), String> {
        match (&metric.name, metric.alias) {
            (Some(name), _) => Ok((device, name)),
            (None, Some(alias)) => match self.aliases.get(&alias) {
                Some((device, name)) => Ok((device, name)),
                None => Err(format!("no birth declared the alias {alias}")),
            },
            (None, None) => Err(String::from("a metric has neither a name nor an alias")),
        }
    }
}

/// The number of the connection that a birth or a death is of.
fn number_of(payload: &Payload) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name.as_deref() == Some(BD_SEQ))?;
    match metric.value.as_ref()? {
        Value::Long(number) => Some(*number),
        Value::Int(number) => Some(u64::from(*number)),
        _ => None,
    }
}

/// The text of a value; `None` for null.
fn value_of(metric: &Metric, datatype: Option<u32>) -> Result<Option<String>, String> {
    if metric.is_null == Some(true) {
        return Ok(None);
    }
    let other = |what: &str| Err(format!("it is {what}; a value is a number, a text or a boolean"));
    match metric.value.as_ref().ok_or("it has no value")? {
        Value::Int(bits) => signed(u64::from(*bits), datatype).map(Some),
        Value::Long(bits) => signed(*bits, datatype).map(Some),
        Value::Float(number) => Ok(Some(number.to_string())),
        Value::Double(number) => Ok(Some(number.to_string())),
        Value::Boolean(value) => Ok(Some(value.to_string())),
        Value::Text(text) => Ok(Some(text.clone())),
        Value::Bytes(_) => other("bytes or a file"),
        Value::DataSet(_) => other("a table"),
        Value::Template(_) => other("a template"),
        Value::Extension(_) => other("an extension"),
    }
}

/// The digits of a whole number. A negative number is its two's complement, in as many bits as its
/// type has or in more.
fn signed(bits: u64, datatype: Option<u32>) -> Result<String, String> {
    let width = match datatype {
        Some(datatype::INT8) => 8,
        Some(datatype::INT16) => 16,
        Some(datatype::INT32) => 32,
        Some(datatype::INT64) => 64,
        _ => return Ok(bits.to_string()),
    };
    let narrow = bits.cast_signed().wrapping_shl(64 - width).wrapping_shr(64 - width);
    let is_same = |width: u32| {
        let mask = u64::MAX.wrapping_shr(64 - width);
        narrow.cast_unsigned() & mask == bits
    };
    if [width, 32, 64].into_iter().any(is_same) {
        return Ok(narrow.to_string());
    }
    Err(format!("{bits} does not fit into a signed number of {width} bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mapper, Rules};

    #[test]
    fn a_negative_number_is_read_however_wide_it_was_sent() {
        for (bits, datatype, digits) in [
            (0xff, Some(datatype::INT8), Some("-1")),
            (0xffff_ffff, Some(datatype::INT8), Some("-1")),
            (u64::MAX, Some(datatype::INT8), Some("-1")),
            (0x80, Some(datatype::INT8), Some("-128")),
            (0x7f, Some(datatype::INT8), Some("127")),
            (0x100, Some(datatype::INT8), None),
            (0x8000, Some(datatype::INT16), Some("-32768")),
            (0xffff_fffe, Some(datatype::INT32), Some("-2")),
            (u64::MAX - 1, Some(datatype::INT64), Some("-2")),
            (0xffff_fffe, Some(7), Some("4294967294")),
            (u64::MAX, Some(8), Some("18446744073709551615")),
            (7, None, Some("7")),
        ] {
            assert_eq!(signed(bits, datatype).ok().as_deref(), digits, "{bits:x} {datatype:?}");
        }
    }

    #[test]
    fn what_births_declare_has_a_limit_whatever_they_name() {
        let rules = "[[rule]]\nname = \"s\"\ntopic = \"spBv1.0/#\"\nformat = \"sparkplug\"\n";
        let rules = Rules::parse(rules).unwrap();
        let rule = rules.rules().first().unwrap();
        let at = Timestamp::from_unix_micros(1_800_000_000_000_000);
        let mut sparkplug = Sparkplug::default();
        let mut hear = |topic: &str, name: &str, aliases: std::ops::Range<u64>, seq| {
            let metric = |alias| Metric {
                name: Some(name.to_owned()),
                alias: Some(alias),
                value: Some(Value::Int(1)),
                ..Metric::default()
            };
            let metrics = aliases.map(metric).collect();
            let birth = Payload { seq: Some(seq % 256), metrics, timestamp: None }.encode_to_vec();
            let mut mapping = Mapping::default();
            sparkplug.hear(rule, topic, &birth, at, &mut mapping);
            let kept = sparkplug.nodes.values().flat_map(|node| {
                node.aliases.values().chain(node.metrics.keys()).map(|(_device, name)| name.len())
            });
            let names = (kept.clone().count(), kept.sum::<usize>());
            let is_flagged = mapping.readings.iter().any(|reading| !reading.flags.is_empty());
            (sparkplug.nodes.len(), names, mapping.refusals.len() + usize::from(is_flagged))
        };
        // One metric with thousands of aliases, of one device after the other.
        for number in 0..10 {
            let aliases = number * 4_000..(number + 1) * 4_000;
            let topic = format!("spBv1.0/g/DBIRTH/n/d{number}");
            let (nodes, (count, _bytes), _) = hear(&topic, "m", aliases, number);
            assert!(nodes == 1 && count <= 2 * Sparkplug::METRICS_MAX, "{count} names");
        }
        let (_, (_, before), _) = hear("spBv1.0/g/NBIRTH/o", "m", 0..1, 0);
        let long = "x".repeat(200_000);
        let (_, (_, bytes), refusals) = hear("spBv1.0/g/NBIRTH/o", &long, 0..1, 0);
        assert!(bytes < before + 1_000 && refusals == 1, "{bytes} bytes, {refusals} refusals");
        let topic = format!("spBv1.0/g/NBIRTH/{}", "x".repeat(200));
        let (nodes, _, refusals) = hear(&topic, "m", 0..1, 0);
        assert_eq!((nodes, refusals), (2, 1), "no node with such a name is remembered");
        // A device's message that is refused is no message that was lost.
        let born = hear("spBv1.0/g/NBIRTH/p", "m", 0..1, 0);
        let refused = hear(&format!("spBv1.0/g/DBIRTH/p/{}", "x".repeat(200)), "m", 0..1, 1);
        assert_eq!((refused.1, refused.2), (born.1, 1));
        assert_eq!(hear("spBv1.0/g/NDATA/p", "m", 0..1, 2).2, 0);
    }

    #[test]
    fn a_node_whose_birth_is_lacking_is_asked_for_it_once_a_minute() {
        let text = |more: &str| {
            format!("[[rule]]\nname = \"s\"\ntopic = \"spBv1.0/#\"\nformat = \"sparkplug\"\n{more}")
        };
        let mapper = |more: &str| Mapper::new(Rules::parse(&text(more)).unwrap());
        let mut asking = mapper("");
        let data = |seq| {
            let metric = Metric { alias: Some(7), ..Metric::default() };
            Payload { seq: Some(seq), metrics: vec![metric], timestamp: None }.encode_to_vec()
        };
        let at =
            |second: i64| Timestamp::from_unix_micros(1_800_000_000_000_000 + second * 1_000_000);
        let mut asked =
            |seq, second| asking.map("spBv1.0/g/DDATA/n/d", &data(seq), at(second)).request;
        let request = asked(0, 0).unwrap();
        assert_eq!(request.topic.as_str(), "spBv1//0.g.NCMD.n");
        let payload = Payload::decode(request.payload.as_slice()).unwrap();
        let [metric] = payload.metrics.as_slice() else { panic!("one metric") };
        assert_eq!(metric.name.as_deref(), Some("Node Control/Rebirth"));
        assert_eq!(metric.value, Some(Value::Boolean(true)));
        assert_eq!((metric.datatype, payload.seq), (Some(11), None));
        assert_eq!(payload.timestamp, Some(1_800_000_000_000));
        assert_eq!(asked(1, 59), None);
        assert!(asked(2, 60).is_some());
        // The clock was set back. A node is not left alone for that.
        assert_eq!(asked(3, 1), None);
        assert!(asked(4, -86_400).is_some());
        // What its births have said is enough.
        let mut quiet = mapper("rebirth = false");
        assert_eq!(quiet.map("spBv1.0/g/NDATA/n", &data(0), at(0)).request, None);
        let birth = Metric { name: Some("x".into()), alias: Some(7), ..Metric::default() };
        let birth = Payload { seq: Some(0), metrics: vec![birth], timestamp: None };
        let mut born = mapper("");
        let birth = birth.encode_to_vec();
        assert_eq!(born.map("spBv1.0/g/NBIRTH/n", &birth, at(0)).request, None);
        assert_eq!(born.map("spBv1.0/g/NDATA/n", &data(1), at(0)).request, None);
        assert!(born.map("spBv1.0/g/NDATA/n", &data(3), at(0)).request.is_some(), "one is lost");
    }

    #[test]
    fn binary_numbers_get_the_fewest_digits_that_give_them_again() {
        let value = |value| value_of(&Metric { value: Some(value), ..Metric::default() }, None);
        assert_eq!(value(Value::Float(12.1)), Ok(Some(String::from("12.1"))));
        assert_eq!(value(Value::Double(0.1 + 0.2)), Ok(Some(String::from("0.30000000000000004"))));
        assert_eq!(value(Value::Float(f32::NAN)), Ok(Some(String::from("NaN"))));
    }
}

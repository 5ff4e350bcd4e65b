//! Files of rules: what a rule can say, and what is wrong with one that cannot be followed.

use pushed::{Mapper, Recorded, Rules, preset};

use crate::{at, shown};

#[test]
fn each_preset_is_a_file_of_rules() {
    for name in preset::NAMES {
        Rules::parse(preset::text(name).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn own_rules_come_before_those_of_a_preset() {
    let rules = r#"
presets = ["tasmota"]

[[rule]]
name = "cellar"
topic = "tele/cellar/SENSOR"
sensor = "cellar/{part}"
time = "/Time"
time_format = "local"
utc_offset = "+01:00"
interval_s = 300
[[rule.value]]
path = "/{part}/Temperature"
quantity = "temperature"
unit = "°C"
unit_path = "/TempUnit"
"#;
    let mut mapper = Mapper::new(Rules::parse(rules).unwrap());
    let payload = br#"{"Time":"2026-11-29T12:59:58","DS18B20":{"Temperature":20.6}}"#;
    let mut text = String::new();
    for topic in ["tele/cellar/SENSOR", "tele/attic/SENSOR"] {
        text.push_str(&shown(topic, &mapper.map(topic, payload, at())));
    }
    insta::assert_snapshot!(text, @r#"
    tele/cellar/SENSOR
      cellar/DS18B20 | temperature = 20.6 °C at 2026-11-29T11:59:58.000000Z
    tele/attic/SENSOR
      tasmota/attic/DS18B20 | temperature = 20.6 at "2026-11-29T12:59:58" (no_zone)
    "#);
    let mapping = mapper.map("tele/cellar/SENSOR", payload, at());
    let interval = mapping.readings.first().unwrap().interval;
    assert_eq!(interval.map(|interval| interval.as_secs()), Some(300));
}

#[test]
fn a_file_that_cannot_be_followed_says_where_and_what_is_allowed() {
    let value = "[[rule.value]]\npath = \"/t\"\nquantity = \"t\"\n";
    let rule = |lines: &str| format!("[[rule]]\nname = \"r\"\n{lines}\n");
    let plain = "topic = \"a/{b}\"\nsensor = \"{b}\"";
    let files = [
        String::new(),
        String::from("[[rule]]\nname = \"r\ntopic"),
        rule("topc = \"a/b\""),
        rule("topic = \"#\"\nsensor = \"x\"") + value,
        rule("topic = \"a/{b}\"\nsensor = \"{c}\"") + value,
        rule("topic = \"a/b\"\nsensor = \"{c}\"") + value,
        rule("topic = \"a/b\"") + value,
        rule(plain),
        rule(plain) + "[[rule.value]]\nquantity = \"t\"\n",
        rule(plain) + "[[rule.value]]\npath = \"t\"\nquantity = \"t\"\n",
        rule(plain) + "[[rule.value]]\npath = \"/{b}\"\nquantity = \"t\"\n",
        rule(&format!("{plain}\ntime_format = \"iso\"")) + value,
        rule(&format!("{plain}\nutc_offset = \"+01:00\"")) + value,
        rule(&format!("{plain}\ntime_format = \"local\"\nutc_offset = \"CET\"")) + value,
        rule(&format!("{plain}\ninterval_s = 0")) + value,
        rule(&format!("{plain}\nformat = \"text\"")) + value,
        rule(&format!("{plain}\nformat = \"xml\"")) + value,
        rule("topic = \"a/b\"\nformat = \"sparkplug\"\nsensor = \"x\""),
        rule(&format!("{plain}\nrebirth = true")) + value,
        rule(&format!("{plain}\nformat = \"discovery\"")) + value,
        rule(plain) + value + &rule(plain) + value,
        String::from("presets = [\"tasmotta\"]"),
    ];
    let refusals = files.map(|file| Rules::parse(&file).unwrap_err().to_string());
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    the file has no rules; use `[[rule]]`, `presets`, or both
    line 3: key with no value, expected `=`
    line 3: unknown field `topc`, expected one of `name`, `topic`, `format`, `sensor`, `time`, `time_format`, `utc_offset`, `interval_s`, `rebirth`, `value`
    line 3: `#`: `>` is refused: it matches every message; use levels such as `*.heartbeat` or `plant/+/hello`
    line 4: `{c}` is not captured; there are {b}
    line 4: `{c}` is not captured; this rule captures nothing
    line 2: the rule has no `sensor`, such as `sensor = "hall/{device}"`
    line 2: the rule has 0 values; use 1 to 64 `[[rule.value]]`
    line 6: the value has no `path`, such as `path = "/BME280/Temperature"`
    line 6: `t`: a path begins with `/`, such as `/a/b`
    line 6: `{b}` stands in the topic, too; use another name
    line 5: unknown variant `iso`, expected one of `rfc3339`, `local`, `unix_s`, `unix_ms`
    line 5: `utc_offset` is for `time_format = "local"` alone
    line 6: `CET`: use an offset such as `+01:00` or `-05:30`
    line 5: `interval_s` is 0; use 1 to 86400
    line 7: a payload of `format = "text"` has no paths
    line 5: unknown variant `xml`, expected one of `json`, `text`, `discovery`, `sparkplug`
    line 5: `sensor` is group, node and device of the topic here
    line 5: only `format = "sparkplug"` has a `rebirth`
    line 8: this format has no `[[rule.value]]`: the devices' own messages say what they send
    line 9: a rule before is called `r` already
    line 1: `tasmotta` is no preset; use tasmota, zigbee2mqtt, shelly-gen1, shelly-gen2, esphome, homeassistant, sparkplug
    "#);
    let large = "#".repeat(Rules::FILE_BYTES_MAX + 1);
    assert!(Rules::parse(&large).unwrap_err().reason.contains("at most 1048576 are read"));
}

#[test]
fn a_record_has_a_topic_and_one_payload() {
    let record =
        Recorded::parse(r#"{"topic":"a/b","payload_base64":"AP8=","source":"x"}"#).unwrap();
    assert_eq!((record.topic.as_str(), record.payload.as_slice()), ("a/b", &[0, 0xff][..]));
    for (line, words) in [
        ("{}", "missing field `topic`"),
        (r#"{"topic":"a"}"#, "there is no payload"),
        (r#"{"topic":"a","payload":"1","payload_base64":"AA=="}"#, "two payloads"),
        (r#"{"topic":"a","payload_base64":"?"}"#, "payload_base64"),
        (r#"{"topic":"a","payload":"1","at":"noon"}"#, "use RFC 3339"),
        (r#"{"topic":"a","payload":"1","qos":1}"#, "unknown field `qos`"),
    ] {
        let error = Recorded::parse(line).unwrap_err().to_string();
        assert!(error.contains(words), "{line}: {error}");
    }
}

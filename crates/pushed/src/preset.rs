//! The rules of common firmwares, as files of rules.

/// Names of the presets.
pub const NAMES: [&str; 7] = [
    "tasmota",
    "zigbee2mqtt",
    "shelly-gen1",
    "shelly-gen2",
    "esphome",
    "homeassistant",
    "sparkplug",
];

/// The rules of a preset, to be read or copied into a file.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    Some(match name {
        "tasmota" => include_str!("../presets/tasmota.toml"),
        "zigbee2mqtt" => include_str!("../presets/zigbee2mqtt.toml"),
        "shelly-gen1" => include_str!("../presets/shelly-gen1.toml"),
        "shelly-gen2" => include_str!("../presets/shelly-gen2.toml"),
        "esphome" => include_str!("../presets/esphome.toml"),
        "homeassistant" => include_str!("../presets/homeassistant.toml"),
        "sparkplug" => include_str!("../presets/sparkplug.toml"),
        _ => return None,
    })
}

/// A file of rules that takes every preset.
#[must_use]
pub fn all() -> String {
    format!("presets = {NAMES:?}\n")
}

//! Defines the sensors of the fleet.
//!
//! The first 40 are the reference fleet of the sensor protocol: one sensor of each kind, two more
//! of each of the first ten kinds, and one more of each of the last five. After them, each kind
//! gets one more sensor in turn.

use core::time::Duration;

use model::{SensorId, Subject};
use uuid::Uuid;

use crate::kind::{AnswerForm, KINDS, Kind};

/// One sensor of the fleet.
#[derive(Clone, Debug)]
pub struct SensorSpec {
    /// Index of the sensor in the fleet, from 0.
    pub index: u32,
    /// Name of the sensor, unique in the fleet.
    pub alias: String,
    /// UUID of the sensor. It is the same in every run.
    pub id: SensorId,
    /// Where the sensor is installed.
    pub location: String,
    /// Its quantity, and the poll interval of its kind.
    pub kind: &'static Kind,
    /// The poll interval that it asks for.
    pub poll_interval: Duration,
    /// Form of its answers.
    pub form: AnswerForm,
    /// Whether the sensor sometimes does not answer.
    pub faulty: bool,
    /// The subjects that a credential gives it; those of the fleet if `None`.
    pub topics: Option<Box<Topics>>,
}

/// The subjects of a sensor.
#[derive(Clone, Debug)]
pub struct Topics {
    /// It sends heartbeats there.
    pub heartbeat: Subject,
    /// It hears polls there.
    pub poll: Subject,
    /// It answers there.
    pub read: Subject,
    /// It says there that it leaves.
    pub disconnect: Option<Subject>,
}

/// Number of sensors in the reference fleet.
pub const REFERENCE_LEN: u32 = 40;

/// The id of TempSensor01 in the protocol. The other ids are derived from it and the sensors'
/// aliases.
const TEMP_SENSOR_01: Uuid = Uuid::from_u128(0xa3b3c3d3_e3f3_a3b3_c3d3_e3f3a3b3c3d3);

/// The first `len` sensors of the unlimited fleet.
pub fn fleet(len: u32) -> impl Iterator<Item = SensorSpec> {
    (0..len).map(SensorSpec::at)
}

impl SensorSpec {
    /// The sensor at `index` in the fleet.
    #[must_use]
    pub fn at(index: u32) -> Self {
        let (kind_index, number) = place(index);
        let kind = KINDS.get(kind_index).expect("`place` stays within the kinds");
        // One humidity sensor in three is faulty, which is about one sensor in forty, as in the
        // reference fleet.
        let faulty = kind.quantity.name == "humidity" && number % 3 == 0;
        let mut alias = kind.alias.of(number);
        if faulty {
            alias.insert_str(0, "FAULTY_");
        }
        // The protocol shows the heartbeat of this sensor, one of the oldest devices, with a fixed
        // id.
        let (id, form) = match index {
            0 => (TEMP_SENSOR_01, AnswerForm::Text),
            _ => (Uuid::new_v5(&TEMP_SENSOR_01, alias.as_bytes()), kind.form),
        };
        let location = location(kind, number);
        Self {
            index,
            alias,
            id: SensorId::from_bytes(*id.as_bytes()),
            location,
            kind,
            poll_interval: kind.poll_interval,
            form,
            faulty,
            topics: None,
        }
    }

    /// The sensor at `index` in the fleet under the name, the id and the subjects of a credential.
    /// What makes sensors of the fleet special by their names or ids is left out.
    #[must_use]
    pub fn of_credential(index: u32, alias: String, id: SensorId, topics: Topics) -> Self {
        let spec = Self::at(index);
        Self {
            alias,
            id,
            form: spec.kind.form,
            faulty: false,
            topics: Some(Box::new(topics)),
            ..spec
        }
    }
}

/// The kind of the sensor at `index`, and its number within the kind from 0.
fn place(index: u32) -> (usize, u32) {
    let (kind, number) = match index {
        0..15 => (index, 0),
        15..35 => ((index - 15) / 2, 1 + (index - 15) % 2),
        35..REFERENCE_LEN => (index - 25, 1),
        _ => {
            let (kind, round) = ((index - REFERENCE_LEN) % 15, (index - REFERENCE_LEN) / 15);
            (kind, round + if kind < 10 { 3 } else { 2 })
        }
    };
    (usize::try_from(kind).expect("one of fifteen"), number)
}

fn location(kind: &Kind, number: u32) -> String {
    let [first, second, third] = kind.places;
    let place = match number % 3 {
        0 => first,
        1 => second,
        _ => third,
    };
    match number / 3 {
        0 => format!("SIMULATION-{place}"),
        hall => format!("SIMULATION-Hall {} {place}", hall + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The table of the sensor protocol: alias, location, range, mean and standard deviation.
    const REFERENCE: &str = "\
TempSensor01|Conveyor Belt 1|0..50|25|2
FAULTY_HumiditySensor-A1|Filling Line 3|20..90|55|10
PressureSensor789|Boiler Room|1..10|5.5|1
VibrationSensorB|Machine Room|0..100|50|10
FlowSensor-R23|Filling Line 3|0..10|5|0.5
LevelSensor-L4|Storage Tank 2|0..100|50|5
RotationalSensor3|Main Assembly Line|0..360|180|30
AcousticSensor-X2|Boiler Room|20..120|70|10
ChemicalSensor-C17|Chemical Storage|0..14|7|1
RadiationSensor-R5|Waste Disposal|0..10|0.5|0.1
LightSensor-LS1|Main Assembly Line|0..1000|500|50
ProximitySensor-P3|Loading Dock|0..10|5|1
MagneticSensor-M7|Machine Room|-100..100|0|20
SmokeSensor-S2|Boiler Room|0..100|5|2
MotionSensor-M1|Security Gate|0..1|0.5|0.1";

    /// Further sensors of the same kinds at other locations.
    const FURTHER: &str = "TempSensor02 TempSensor03 HumiditySensor-A2 HumiditySensor-A3 \
        PressureSensor790 PressureSensor791 VibrationSensorC VibrationSensorD FlowSensor-R24 \
        FlowSensor-R25 LevelSensor-L5 LevelSensor-L6 RotationalSensor4 RotationalSensor5 \
        AcousticSensor-X3 AcousticSensor-X4 ChemicalSensor-C18 ChemicalSensor-C19 \
        RadiationSensor-R6 RadiationSensor-R7 LightSensor-LS2 ProximitySensor-P4 \
        MagneticSensor-M8 SmokeSensor-S3 MotionSensor-M2";

    #[test]
    fn the_first_fifteen_are_the_protocols_table() {
        let table: Vec<String> = fleet(15)
            .map(|spec| {
                let quantity = &spec.kind.quantity;
                let [low, high] = quantity.range;
                let place = spec.location.trim_start_matches("SIMULATION-");
                let (mean, deviation) = (quantity.mean, quantity.deviation);
                format!("{}|{place}|{low}..{high}|{mean}|{deviation}", spec.alias)
            })
            .collect();
        assert_eq!(table.join("\n"), REFERENCE);
    }

    #[test]
    fn the_reference_fleet_is_forty_with_the_further_ones_elsewhere() {
        let fleet: Vec<SensorSpec> = fleet(REFERENCE_LEN).collect();
        let further: Vec<&str> = fleet.iter().skip(15).map(|spec| spec.alias.as_str()).collect();
        assert_eq!(further.join(" "), FURTHER);
        let mut places = BTreeMap::<&str, BTreeSet<&str>>::new();
        for spec in &fleet {
            assert!(
                places.entry(spec.kind.quantity.name).or_default().insert(&spec.location),
                "{} stands where another one of its kind does",
                spec.alias
            );
        }
    }

    #[test]
    fn ids_stay_the_same_from_run_to_run() {
        for (index, id) in [
            (0, "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3"), // the protocol's
            (1, "72584a58-582e-58d7-8b10-a880c7be5d72"), // UUIDv5 of FAULTY_HumiditySensor-A1 by another implementation
            (9_999, "cb11a41d-a8e4-5d2e-b8bc-eb4623f71ee0"), // and of MotionSensor-M666
        ] {
            assert_eq!(SensorSpec::at(index).id.to_string(), id);
        }
    }

    #[test]
    fn the_fleet_goes_on_without_repeating_itself() {
        for (index, alias, location) in [
            (40, "TempSensor04", "SIMULATION-Hall 2 Conveyor Belt 1"),
            (41, "FAULTY_HumiditySensor-A4", "SIMULATION-Hall 2 Filling Line 3"),
            (50, "LightSensor-LS3", "SIMULATION-Laboratory"),
            (55, "TempSensor05", "SIMULATION-Hall 2 Conveyor Belt 2"),
        ] {
            let spec = SensorSpec::at(index);
            assert_eq!((spec.alias.as_str(), spec.location.as_str()), (alias, location));
        }
        let (mut ids, mut aliases) = (BTreeSet::new(), BTreeSet::new());
        for spec in fleet(10_000) {
            assert!(ids.insert(spec.id) && aliases.insert(spec.alias), "sensor {}", spec.index);
        }
    }

    #[test]
    fn every_form_of_answer_is_somewhere_and_most_are_objects() {
        let count = |form| fleet(REFERENCE_LEN).filter(|spec| spec.form == form).count();
        assert_eq!(count(AnswerForm::Text), 4);
        assert_eq!(count(AnswerForm::Number), 5);
        assert_eq!(count(AnswerForm::Object), 31);
    }
}

//! The fifteen kinds of sensors in the reference fleet, and what each measures.

use core::time::Duration;

/// Properties that all sensors of one kind share.
#[derive(Debug)]
pub struct Kind {
    /// Scheme of their names.
    pub(crate) alias: Alias,
    /// Locations of the first three sensors. The next three have the same locations in the next
    /// hall.
    pub(crate) places: [&'static str; 3],
    /// The quantity that they measure.
    pub quantity: Quantity,
    /// Time between two polls.
    pub poll_interval: Duration,
    /// Form of their answers.
    pub form: AnswerForm,
}

/// A measured quantity and the distribution of its values.
#[derive(Debug)]
pub struct Quantity {
    /// Name of the quantity.
    pub name: &'static str,
    /// Unit, if it has one.
    pub unit: Option<&'static str>,
    /// Range of normal values: lowest and highest.
    pub range: [f64; 2],
    /// Mean of the values.
    pub mean: f64,
    /// Standard deviation of the values.
    pub deviation: f64,
}

/// Form in which a device writes its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerForm {
    /// `"23.50"`: the oldest devices, whose heartbeats do not say what they measure.
    Text,
    /// `23.50`: a bare number.
    Number,
    /// `{"value":23.50,"seq":1,"time":"...","unit":"°C"}`: an object.
    Object,
}

/// Scheme of aliases: a prefix, and the sensor's number within its kind.
#[derive(Debug)]
pub(crate) enum Alias {
    /// The number in at least `width` digits, counted from `first`.
    Digits { prefix: &'static str, first: u32, width: usize },
    /// The number in capital letters, counted from `first`: A to Z, AA to ZZ, and so on.
    Letters { prefix: &'static str, first: u32 },
}

impl Alias {
    const fn digits(prefix: &'static str, first: u32) -> Self {
        Self::Digits { prefix, first, width: 1 }
    }

    /// The alias of the sensor with this number in its kind, from 0.
    pub(crate) fn of(&self, number: u32) -> String {
        match self {
            Self::Digits { prefix, first, width } => {
                format!("{prefix}{:0width$}", first + number)
            }
            Self::Letters { prefix, first } => format!("{prefix}{}", letters(first + number)),
        }
    }
}

/// Poll interval for quantities that change within seconds.
const FAST: Duration = Duration::from_secs(2);
/// Poll interval for quantities that change within minutes.
const MEDIUM: Duration = Duration::from_secs(5);
/// Poll interval for quantities that change within hours.
const SLOW: Duration = Duration::from_secs(10);

/// The kinds, in the order of the reference fleet.
pub(crate) static KINDS: [Kind; 15] = [
    Kind {
        alias: Alias::Digits { prefix: "TempSensor", first: 1, width: 2 },
        places: ["Conveyor Belt 1", "Conveyor Belt 2", "Cold Store"],
        quantity: quantity("temperature", Some("°C"), [0.0, 50.0], 25.0, 2.0),
        poll_interval: SLOW,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("HumiditySensor-A", 1),
        places: ["Filling Line 3", "Filling Line 4", "Cold Store"],
        quantity: quantity("humidity", Some("%"), [20.0, 90.0], 55.0, 10.0),
        poll_interval: SLOW,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("PressureSensor", 789),
        places: ["Boiler Room", "Compressor Room", "Filling Line 3"],
        quantity: quantity("pressure", Some("bar"), [1.0, 10.0], 5.5, 1.0),
        poll_interval: MEDIUM,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::Letters { prefix: "VibrationSensor", first: 1 },
        places: ["Machine Room", "Compressor Room", "Main Assembly Line"],
        quantity: quantity("vibration", Some("Hz"), [0.0, 100.0], 50.0, 10.0),
        poll_interval: FAST,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("FlowSensor-R", 23),
        places: ["Filling Line 3", "Filling Line 4", "Pump House"],
        quantity: quantity("flow", Some("m³/h"), [0.0, 10.0], 5.0, 0.5),
        poll_interval: MEDIUM,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("LevelSensor-L", 4),
        places: ["Storage Tank 2", "Storage Tank 3", "Storage Tank 4"],
        quantity: quantity("level", Some("%"), [0.0, 100.0], 50.0, 5.0),
        poll_interval: SLOW,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("RotationalSensor", 3),
        places: ["Main Assembly Line", "Machine Room", "Packing Line"],
        quantity: quantity("angle", Some("°"), [0.0, 360.0], 180.0, 30.0),
        poll_interval: FAST,
        form: AnswerForm::Number,
    },
    Kind {
        alias: Alias::digits("AcousticSensor-X", 2),
        places: ["Boiler Room", "Compressor Room", "Packing Line"],
        quantity: quantity("sound level", Some("dB"), [20.0, 120.0], 70.0, 10.0),
        poll_interval: MEDIUM,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("ChemicalSensor-C", 17),
        places: ["Chemical Storage", "Waste Water Basin", "Filling Line 3"],
        quantity: quantity("acidity", Some("pH"), [0.0, 14.0], 7.0, 1.0),
        poll_interval: SLOW,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("RadiationSensor-R", 5),
        places: ["Waste Disposal", "Loading Dock", "Laboratory"],
        quantity: quantity("dose rate", Some("µSv/h"), [0.0, 10.0], 0.5, 0.1),
        poll_interval: SLOW,
        form: AnswerForm::Text,
    },
    Kind {
        alias: Alias::digits("LightSensor-LS", 1),
        places: ["Main Assembly Line", "Packing Line", "Laboratory"],
        quantity: quantity("illuminance", Some("lx"), [0.0, 1000.0], 500.0, 50.0),
        poll_interval: SLOW,
        form: AnswerForm::Number,
    },
    Kind {
        alias: Alias::digits("ProximitySensor-P", 3),
        places: ["Loading Dock", "Packing Line", "Conveyor Belt 1"],
        quantity: quantity("distance", Some("m"), [0.0, 10.0], 5.0, 1.0),
        poll_interval: FAST,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("MagneticSensor-M", 7),
        places: ["Machine Room", "Laboratory", "Main Assembly Line"],
        quantity: quantity("magnetic field", Some("mT"), [-100.0, 100.0], 0.0, 20.0),
        poll_interval: MEDIUM,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("SmokeSensor-S", 2),
        places: ["Boiler Room", "Chemical Storage", "Packing Line"],
        quantity: quantity("smoke", Some("ppm"), [0.0, 100.0], 5.0, 2.0),
        poll_interval: MEDIUM,
        form: AnswerForm::Object,
    },
    Kind {
        alias: Alias::digits("MotionSensor-M", 1),
        places: ["Security Gate", "Loading Dock", "Chemical Storage"],
        quantity: quantity("motion", None, [0.0, 1.0], 0.5, 0.1),
        poll_interval: FAST,
        form: AnswerForm::Object,
    },
];

const fn quantity(
    name: &'static str,
    unit: Option<&'static str>,
    range: [f64; 2],
    mean: f64,
    deviation: f64,
) -> Quantity {
    Quantity { name, unit, range, mean, deviation }
}

/// 0 is A, 25 is Z, 26 is AA.
fn letters(number: u32) -> String {
    let (prefix, last) = (number / 26, number % 26);
    let last = char::from_digit(10 + last, 36).expect("less than 26 letters after the ten digits");
    let mut text = prefix.checked_sub(1).map(letters).unwrap_or_default();
    text.push(last.to_ascii_uppercase());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on_after_z() {
        for (number, text) in [(0, "A"), (1, "B"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")]
        {
            assert_eq!(letters(number), text);
        }
    }
}

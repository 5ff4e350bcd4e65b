//! A log from inside: reads a stopped site's envelopes and checks what must be true of any log.

use std::{collections::BTreeSet, path::Path};

use ledger::{Ledger, load_or_create_key, verify::verify_folder};
use model::{
    Envelope, SensorId, action,
    completeness::Completeness,
    derive::{Derived, Question, Sighting},
};
use serde_json::Value;
use tlog::KeyName;

/// Content of a stopped site's log.
pub(crate) struct Kept {
    /// Every envelope, in order.
    pub(crate) envelopes: Vec<Envelope>,
    /// The first leaf that was not judged.
    judged: u64,
    /// The first leaf that the processor of tests has not handled.
    processed: u64,
}

/// The actor of what the processor of tests derives, and its cursor.
pub(crate) const PROCESSOR: &str = "processor/double";

/// Verifies a stopped site's log and reads it.
pub(crate) fn open(data_dir: &Path) -> Kept {
    let folder = data_dir.join("ledger");
    verify_folder(&ledger::disk::RealDisk, &folder, None, &mut |_leaves| {}).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let name = KeyName::parse("sealwire.local/site").unwrap();
        let signer = load_or_create_key(&data_dir.join("site.key"), name, &folder).unwrap();
        let (ledger, writer) = Ledger::open(&folder, signer).unwrap();
        let stored = ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
        let (judged, processed) = (ledger.cursor("sensor-reader"), ledger.cursor(PROCESSOR));
        writer.close().await.unwrap();
        let envelopes = stored
            .iter()
            .map(|stored| Envelope::parse(stored.bytes.as_deref().unwrap()).unwrap())
            .collect();
        Kept { envelopes, judged, processed }
    })
}

impl Kept {
    /// Everything that the live feed sent is in the log, at the same leaf and unchanged.
    #[track_caller]
    pub(crate) fn assert_holds(&self, told: &[(u64, Value)]) {
        for (leaf, told) in told {
            let kept = usize::try_from(*leaf).ok().and_then(|leaf| self.envelopes.get(leaf));
            let kept = kept.unwrap_or_else(|| panic!("leaf {leaf} was told of and is gone"));
            assert_eq!(&serde_json::to_value(kept).unwrap(), told, "leaf {leaf}");
        }
    }

    /// No answer of a sensor that counts its answers appears twice in a run of the site. Simulated
    /// sensors restart their count with the site.
    #[track_caller]
    pub(crate) fn assert_answers_are_there_once(&self) {
        let mut seen = BTreeSet::new();
        for (leaf, envelope) in self.envelopes.iter().enumerate() {
            if envelope.event.action.as_deref() == Some(action::SITE_STARTED) {
                seen.clear();
            }
            let detail = envelope.event.sealwire.as_ref();
            if let Some((sensor, seq)) =
                detail.and_then(|detail| Some((detail.sensor?, detail.seq?)))
            {
                assert!(
                    seen.insert((sensor, seq)),
                    "leaf {leaf}: answer {seq} of {sensor} is there twice"
                );
            }
        }
    }

    /// Every poll of every sensor is accounted for once, from 1 on, whatever was killed; and the
    /// log says why polls of `sensor` have no reading.
    #[track_caller]
    pub(crate) fn assert_no_poll_is_unaccounted_for(&self, sensor: SensorId, reasons: &[&str]) {
        let mut checked = Completeness::of_log();
        for (leaf, envelope) in (0..).zip(&self.envelopes) {
            checked.take(leaf, &envelope.event);
        }
        for (sensor, account) in checked.accounts() {
            assert!(account.is_complete(), "{sensor}: {account:?}");
            assert_eq!(account.unnumbered(), 0, "{sensor}");
        }
        let gaps = checked.account(sensor).unwrap().gaps().listed();
        for reason in reasons {
            assert!(gaps.iter().any(|gap| gap.reason == *reason), "{reason}: {gaps:?}");
        }
    }

    /// Readings were sealed between the end of the host and the next derived event, which needs a
    /// host.
    #[track_caller]
    pub(crate) fn assert_readings_were_sealed_without_a_host(&self) {
        let is =
            |envelope: &Envelope, wanted: &str| envelope.event.action.as_deref() == Some(wanted);
        let without_host = self
            .envelopes
            .iter()
            .skip_while(|envelope| {
                !(is(envelope, action::ENGINE_DOWN)
                    && envelope.event.source.as_deref() == Some("wash host"))
            })
            .take_while(|envelope| derived(envelope).is_none());
        assert!(without_host.filter(|envelope| is(envelope, action::SENSOR_READING)).count() > 0);
    }

    /// The derived events are exactly what follows from the judged leaves, once and in order: no
    /// crash skipped a leaf or judged one twice.
    #[track_caller]
    pub(crate) fn assert_derived_is_what_follows(&self) {
        let judged = (0..self.judged).zip(&self.envelopes);
        let sightings =
            judged.filter_map(|(leaf, envelope)| Sighting::of(leaf, envelope)).collect();
        let follows = sensor_reader::judge(Question { sightings, ..Question::default() });
        let follows: Vec<_> = follows
            .into_iter()
            .map(|Derived { from_leaf, action, .. }| (from_leaf, action))
            .collect();
        let derived: Vec<_> = self.envelopes.iter().filter_map(derived).collect();
        assert_eq!(derived, follows);
    }

    /// The actions of the derived events of a sensor.
    pub(crate) fn derived_of(&self, sensor: SensorId) -> impl Iterator<Item = &str> {
        let derived = self.envelopes.iter().filter(|envelope| derived(envelope).is_some());
        let of_sensor = derived.filter(move |envelope| envelope.event.sensor() == Some(sensor));
        of_sensor.filter_map(|envelope| envelope.event.action.as_deref())
    }

    /// The processor of tests has derived from each reading with this value once and in order, and
    /// from nothing else.
    #[track_caller]
    pub(crate) fn assert_processed_once(&self, value: &str) {
        let is_due = |envelope: &Envelope| {
            let event = &envelope.event;
            event.action.as_deref() == Some(action::SENSOR_READING)
                && event.new.as_deref() == Some(value)
        };
        let handled = (0..self.processed).zip(&self.envelopes);
        let due: Vec<u64> =
            handled.filter(|(_, envelope)| is_due(envelope)).map(|(leaf, _)| leaf).collect();
        let own = self.envelopes.iter().map(|envelope| &envelope.event);
        let own = own.filter(|event| event.actor.as_deref() == Some(PROCESSOR));
        let derived: Vec<u64> =
            own.map(|event| event.sealwire.as_ref().unwrap().from_leaf.unwrap()).collect();
        assert!(!due.is_empty());
        assert_eq!(derived, due);
    }
}

/// The leaf that a derived event names, and its action.
fn derived(envelope: &Envelope) -> Option<(u64, String)> {
    let action = envelope.event.action.clone()?;
    let is_derived = matches!(
        action.as_str(),
        action::OUT_OF_RANGE
            | action::LEAVING_RANGE
            | action::BACK_IN_RANGE
            | action::RANGE_NOT_JUDGED
            | action::SENSOR_LOST
            | action::SENSOR_BACK
    );
    let detail = envelope.event.sealwire.as_ref().filter(|_| is_derived)?;
    assert!(detail.component.as_ref().unwrap().starts_with("sha256:"));
    Some((detail.from_leaf.unwrap(), action))
}

//! Envelopes, as somebody's log or backup holds them: what is read is read again as it was, the
//! index takes it, and each kind of client is shown JSON.

use index::IndexBatch;
use model::{Envelope, SealedReading, completeness::LastNumbers, derive::Sighting};
use pangea::{Schema, View};
use serde_json::Value;

use crate::sealed;

pub(crate) fn run(stored: &[u8]) {
    let schema = Schema::standard();
    for view in [View::Plain, View::Node, View::Go] {
        let _shown = view.show(stored, &schema);
    }
    let _received_at = Envelope::received_at_of(stored);
    let Ok(envelope) = Envelope::parse(stored) else { return };
    let canonical = envelope.canonical();
    assert_eq!(Envelope::parse(&canonical).as_ref(), Ok(&envelope));
    for view in [View::Plain, View::Node, View::Go] {
        let shown = view.show(&canonical, &schema).expect("an envelope can be shown");
        assert!(serde_json::from_str::<Value>(shown.envelope.get()).unwrap().is_object());
    }
    if sealed::is_exact(&serde_json::from_slice(&canonical).unwrap()) {
        sealed::seal(envelope.event.clone());
    }
    let _reading = SealedReading::of(&envelope.event, envelope.received_at);
    let _sighting = Sighting::of(0, &envelope);
    let _numbers = LastNumbers::default().after(&envelope.event);
    let mut batch = IndexBatch::new(0);
    batch.extend([Some(envelope), None]);
    assert_eq!(batch.next_leaf(), 2);
}

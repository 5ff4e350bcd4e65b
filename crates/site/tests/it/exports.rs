//! An export of readings is sealed, and on a stopped site the index first catches up with the log.

use access::Account;
use data_dir::DataDir;
use index::Reader;
use ledger::Batch;
use model::{Event, Heartbeat, Outcome, Timestamp, action};
use orders::{
    SiteLog, {Done, Order},
};
use services::indexing;

use crate::Plant;

#[tokio::test]
async fn an_export_is_sealed_and_has_the_whole_log() {
    let plant = Plant::new().await;
    let text = r#"{"alias":"A","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r","location":"Hall"}"#;
    let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
    let reading = |number: i64| {
        let at = Timestamp::from_unix_micros(number * 1_000_000);
        Event::reading(&heartbeat, number.cast_unsigned() + 1, Outcome::of(b"23.50"), at)
    };
    plant.ledger.append(Batch::of((0..100).map(reading).collect())).await.unwrap();
    let data_dir = plant.data_dir();
    let _folder = plant.close().await;

    let data_dir = DataDir::open_existing(&data_dir).unwrap();
    let SiteLog { ledger, writer, operator } = SiteLog::open(&data_dir, None).unwrap();
    let order = Order::ExportReadings {
        sensor: heartbeat.id,
        from: None,
        to: Some(Timestamp::from_unix_micros(50_000_000)),
        actor: Some("ada".parse().unwrap()),
        reason: "the yearly report".parse().unwrap(),
    };
    let Done::ExportReadings { leaf } = operator.carry_out(order, &Account::own()).await.unwrap()
    else {
        panic!()
    };
    let stored = ledger.envelopes(leaf, 1, usize::MAX).unwrap();
    let event = model::Envelope::parse(stored[0].bytes.as_deref().unwrap()).unwrap().event;
    assert_eq!(event.action.as_deref(), Some(action::READINGS_EXPORTED));
    let sealed = format!("{} as ada", Account::own().name());
    assert_eq!(
        (event.actor.as_deref(), event.sensor()),
        (Some(sealed.as_str()), Some(heartbeat.id))
    );
    let words = "before 1970-01-01T00:00:50.000000Z exported: the yearly report";
    assert!(event.message.ends_with(words), "{}", event.message);

    for _twice in 0..2 {
        indexing::catch_up(&data_dir.index(), &ledger).unwrap();
        let index = Reader::open(&DataDir::index_of(&data_dir.ledger().join(".."))).unwrap();
        assert_eq!(index.next_leaf().unwrap(), ledger.size());
        let readings = index.readings_from(heartbeat.id, std::ops::Bound::Unbounded).unwrap();
        assert_eq!(readings.len(), 100);
    }
    writer.close().await.unwrap();
}

//! Whose heartbeats are taken.

use access::sensors::{Admits, SensorCredentials};
use poll::Guard;

/// Takes heartbeats of devices that have a credential for the sensor, once there are credentials.
pub(crate) fn guard(admits: Admits, credentials: &SensorCredentials) -> Guard {
    let [first, again, then] = [credentials, credentials, credentials].map(Clone::clone);
    Guard::new(
        move |subject, heartbeat| {
            first.look(|book| {
                if admits.anyone(book) { Ok(()) } else { book.covers(subject, heartbeat) }
            })?;
            first.hear(subject, heartbeat);
            Ok(())
        },
        move |subject, sensor| {
            again.look(|book| {
                admits.anyone(book) || sensor.is_some_and(|sensor| book.expects(subject, sensor))
            })
        },
        move |device, known| {
            then.look(|book| admits.anyone(book) || book.still_covers(device, known))
        },
    )
}

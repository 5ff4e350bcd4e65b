//! The actions of Sealwire's own events. Events of other programs may carry any action.

/// The genesis entry: which log this is.
pub const LOG_CREATED: &str = "LOG_CREATED";
/// The log goes over to another signing key, which the old one signed for.
pub const KEY_ROTATED: &str = "KEY_ROTATED";
/// Envelopes were erased; their entries stay.
pub const ENVELOPES_ERASED: &str = "ENVELOPES_ERASED";
/// What a legal hold covers may not be erased from here on.
pub const HOLD_PLACED: &str = "HOLD_PLACED";
/// A legal hold ends.
pub const HOLD_RELEASED: &str = "HOLD_RELEASED";

/// Actions that say what the log itself is. Only the ledger seals them, and they are never erased.
pub const OF_THE_LOG: [&str; 5] =
    [LOG_CREATED, KEY_ROTATED, ENVELOPES_ERASED, HOLD_PLACED, HOLD_RELEASED];

/// One answer of a sensor, or that none came.
pub const SENSOR_READING: &str = "SENSOR_READING";
/// Polls that were due and ended in no reading, and why.
pub const READINGS_MISSING: &str = "READINGS_MISSING";
/// A sensor's own count of its readings does not go on by one.
pub const SEQUENCE_BROKEN: &str = "SEQUENCE_BROKEN";
/// The first heartbeat of a sensor.
pub const SENSOR_DISCOVERED: &str = "SENSOR_DISCOVERED";
/// A heartbeat that says something else than the one before it.
pub const SENSOR_CHANGED: &str = "SENSOR_CHANGED";
/// Optional fields of a sensor's heartbeats or answers could not be taken; told once for each.
pub const FIELDS_LEFT_OUT: &str = "FIELDS_LEFT_OUT";
/// Heartbeats were refused; told once a minute for each reason and subject.
pub const HEARTBEATS_REFUSED: &str = "HEARTBEATS_REFUSED";
/// Sensors are polled less often than they ask for: all that ask for more than the site's budget of
/// polls allows, or one that never answered.
pub const POLLS_STRETCHED: &str = "POLLS_STRETCHED";
/// They are polled as they ask again.
pub const POLLS_RESTORED: &str = "POLLS_RESTORED";
/// A sensor is no longer known, because it never answered or an operator said so.
pub const SENSOR_FORGOTTEN: &str = "SENSOR_FORGOTTEN";
/// Heartbeats stopped coming.
pub const HEARTBEAT_MISSED: &str = "HEARTBEAT_MISSED";
/// Heartbeats come again.
pub const HEARTBEAT_RESUMED: &str = "HEARTBEAT_RESUMED";
/// A sensor said that it goes.
pub const SENSOR_DISCONNECTED: &str = "SENSOR_DISCONNECTED";
/// Derived: a value outside its sensor's declared range.
pub const OUT_OF_RANGE: &str = "OUT_OF_RANGE";
/// Derived: the first value inside the range after one outside, or one that could not be judged.
pub const BACK_IN_RANGE: &str = "BACK_IN_RANGE";
/// Derived: a value that cannot be held against its sensor's declared range: it is no number, or in
/// another unit.
pub const RANGE_NOT_JUDGED: &str = "RANGE_NOT_JUDGED";
/// Derived: a sensor that no longer can be relied on to answer.
pub const SENSOR_LOST: &str = "SENSOR_LOST";
/// Derived: a lost sensor that answers or beats again.
pub const SENSOR_BACK: &str = "SENSOR_BACK";
/// Leaves that the site's key did not vouch for were taken over when the log was opened, because an
/// operator asked for that.
pub const TAIL_ADOPTED: &str = "TAIL_ADOPTED";
/// Someone took readings out as a file.
pub const READINGS_EXPORTED: &str = "READINGS_EXPORTED";
/// The site begins to run its services.
pub const SITE_STARTED: &str = "SITE_STARTED";
/// The site was asked to stop.
pub const SITE_STOPPED: &str = "SITE_STOPPED";
/// An engine (`nats-server`, `wash host`) ended without being asked to.
pub const ENGINE_DOWN: &str = "ENGINE_DOWN";
/// An engine runs again.
pub const ENGINE_UP: &str = "ENGINE_UP";
/// The machine's clock is far ahead of the site's own time: nothing is erased for its age until an
/// operator confirms the clock.
pub const CLOCK_JUMPED: &str = "CLOCK_JUMPED";
/// An operator has confirmed the machine's clock.
pub const CLOCK_CONFIRMED: &str = "CLOCK_CONFIRMED";
/// A token was made that lets a program log or search.
pub const TOKEN_CREATED: &str = "TOKEN_CREATED";
/// A token lets nobody in any more.
pub const TOKEN_REVOKED: &str = "TOKEN_REVOKED";
/// A program used its token, for the first time on that day or since the site started.
pub const TOKEN_USED: &str = "TOKEN_USED";
/// A program exported events.
pub const EVENTS_EXPORTED: &str = "EVENTS_EXPORTED";

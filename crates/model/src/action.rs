//! Action names of Sealwire's own events. Events of other programs may carry any action.

/// Genesis entry: names the log's origin, key and format.
pub const LOG_CREATED: &str = "LOG_CREATED";
/// The log changes its signing key. The event holds a statement that the old key signed too.
pub const KEY_ROTATED: &str = "KEY_ROTATED";
/// Envelopes were erased; their entries in the log stay.
pub const ENVELOPES_ERASED: &str = "ENVELOPES_ERASED";
/// A legal hold begins: the envelopes that it covers may not be erased.
pub const HOLD_PLACED: &str = "HOLD_PLACED";
/// A legal hold ended.
pub const HOLD_RELEASED: &str = "HOLD_RELEASED";

/// Actions that describe the log itself. Only the ledger seals them, and it never erases them.
pub const OF_THE_LOG: [&str; 5] =
    [LOG_CREATED, KEY_ROTATED, ENVELOPES_ERASED, HOLD_PLACED, HOLD_RELEASED];

/// How one poll of a sensor ended: with an answer, or without one in time.
pub const SENSOR_READING: &str = "SENSOR_READING";
/// Due polls that ended without a reading, with the reason.
pub const READINGS_MISSING: &str = "READINGS_MISSING";
/// A sensor's own count of its readings did not increase by one.
pub const SEQUENCE_BROKEN: &str = "SEQUENCE_BROKEN";
/// The first heartbeat of a sensor.
pub const SENSOR_DISCOVERED: &str = "SENSOR_DISCOVERED";
/// A heartbeat that differs from the sensor's heartbeat before it.
pub const SENSOR_CHANGED: &str = "SENSOR_CHANGED";
/// Optional fields of a sensor's heartbeats or answers were invalid and left out. Reported once for
/// each field.
pub const FIELDS_LEFT_OUT: &str = "FIELDS_LEFT_OUT";
/// Heartbeats were refused. Reported once a minute for each reason and subject.
pub const HEARTBEATS_REFUSED: &str = "HEARTBEATS_REFUSED";
/// Messages of devices that report by themselves were refused. Reported once a minute for each
/// topic.
pub const PUSHES_REFUSED: &str = "PUSHES_REFUSED";
/// The site polls sensors less often than they ask for: those that ask for more than the site's
/// poll budget allows, or one that does not answer.
pub const POLLS_STRETCHED: &str = "POLLS_STRETCHED";
/// The site polls sensors at the intervals they ask for again.
pub const POLLS_RESTORED: &str = "POLLS_RESTORED";
/// The site forgot a sensor, because it never answered or an operator ordered it.
pub const SENSOR_FORGOTTEN: &str = "SENSOR_FORGOTTEN";
/// By order, a sensor is known and polled before its first heartbeat.
pub const SENSOR_ADDED: &str = "SENSOR_ADDED";
/// By order, a sensor is polled at once. The reading of this poll follows.
pub const POLL_ORDERED: &str = "POLL_ORDERED";
/// An order set how often a sensor is polled, or left that to the sensor again.
pub const POLL_INTERVAL_SET: &str = "POLL_INTERVAL_SET";
/// Someone set how long the site waits for a sensor's answers.
pub const ANSWER_TIMEOUT_SET: &str = "ANSWER_TIMEOUT_SET";
/// An order paused the polls of a sensor. Nothing is due until they are resumed.
pub const POLLS_PAUSED: &str = "POLLS_PAUSED";
/// An order resumed the polls of a sensor.
pub const POLLS_RESUMED: &str = "POLLS_RESUMED";
/// Several devices have one sensor's id and cannot be kept apart. None counts as the sensor until
/// an order decides.
pub const SENSOR_DOUBLED: &str = "SENSOR_DOUBLED";
/// A second device has a sensor's id and answers on another topic, so the site keeps it apart under
/// an id of its own.
pub const DEVICE_KEPT_APART: &str = "DEVICE_KEPT_APART";
/// An order decided which device is the sensor, after several had its id.
pub const DOUBLE_SETTLED: &str = "DOUBLE_SETTLED";
/// An order took a sensor out of service. It is not polled or expected any more.
pub const SENSOR_RETIRED: &str = "SENSOR_RETIRED";
/// By order, a retired sensor is expected again.
pub const SENSOR_RECALLED: &str = "SENSOR_RECALLED";
/// By order, a sensor raises no alarm for a while, because work is done at it.
pub const MAINTENANCE_SET: &str = "MAINTENANCE_SET";
/// An order ended a maintenance before its time.
pub const MAINTENANCE_ENDED: &str = "MAINTENANCE_ENDED";
/// An order gave a sensor another name.
pub const SENSOR_RENAMED: &str = "SENSOR_RENAMED";
/// An order gave a sensor another location.
pub const SENSOR_MOVED: &str = "SENSOR_MOVED";
/// By order, new hardware continues a sensor's series.
pub const SENSOR_REPLACED: &str = "SENSOR_REPLACED";
/// An order says how a sensor's values are corrected.
pub const SENSOR_CALIBRATED: &str = "SENSOR_CALIBRATED";
/// A sensor's heartbeats stopped.
pub const HEARTBEAT_MISSED: &str = "HEARTBEAT_MISSED";
/// A sensor's heartbeats resumed.
pub const HEARTBEAT_RESUMED: &str = "HEARTBEAT_RESUMED";
/// A sensor announced that it disconnects.
pub const SENSOR_DISCONNECTED: &str = "SENSOR_DISCONNECTED";
/// Derived: a value outside its sensor's declared range.
pub const OUT_OF_RANGE: &str = "OUT_OF_RANGE";
/// Derived: the first value outside a range with a delay. `OUT_OF_RANGE` follows if none inside
/// comes before the delay is over.
pub const LEAVING_RANGE: &str = "LEAVING_RANGE";
/// Derived: the first value within the range after one that was outside or could not be judged.
pub const BACK_IN_RANGE: &str = "BACK_IN_RANGE";
/// Derived: a value that cannot be compared with its sensor's declared range, because it is not a
/// number or has another unit.
pub const RANGE_NOT_JUDGED: &str = "RANGE_NOT_JUDGED";
/// Derived: a sensor is lost, because its heartbeats stopped or it disconnected.
pub const SENSOR_LOST: &str = "SENSOR_LOST";
/// Derived: a lost sensor sends heartbeats again.
pub const SENSOR_BACK: &str = "SENSOR_BACK";
/// Derived by a user's processor: a value that follows from another event.
pub const DERIVED: &str = "DERIVED";
/// A leaf has no verdict: a component failed on it alone again and again, and answered other
/// questions in between.
pub const NOT_JUDGED: &str = "NOT_JUDGED";
/// When the log was opened, leaves that no signature of the site's key covers were adopted, because
/// an operator ordered it.
pub const TAIL_ADOPTED: &str = "TAIL_ADOPTED";
/// Someone exported readings as a file.
pub const READINGS_EXPORTED: &str = "READINGS_EXPORTED";
/// The history of another log is imported: the events after this one.
pub const HISTORY_IMPORTED: &str = "HISTORY_IMPORTED";
/// An event of another log, which somebody showed.
pub const EVENT_IMPORTED: &str = "EVENT_IMPORTED";
/// The site started its services.
pub const SITE_STARTED: &str = "SITE_STARTED";
/// Someone signed in on the page's port with a token. The actor is the token's name.
pub const SIGNED_IN: &str = "SIGNED_IN";
/// Someone who had signed in signed out.
pub const SIGNED_OUT: &str = "SIGNED_OUT";
/// Callers offered tokens that do not let them in. Reported once a minute for each network.
pub const CALLERS_REFUSED: &str = "CALLERS_REFUSED";
/// The site began to stop, on request.
pub const SITE_STOPPED: &str = "SITE_STOPPED";
/// An engine (`nats-server`, `wash host`) ended without being asked to.
pub const ENGINE_DOWN: &str = "ENGINE_DOWN";
/// An engine runs again after it had ended.
pub const ENGINE_UP: &str = "ENGINE_UP";
/// By order, another image of a component is to run, or on another number of hosts.
pub const COMPONENT_DEPLOYED: &str = "COMPONENT_DEPLOYED";
/// The site took a deployment back, because a component of it was worse than the one before it.
pub const COMPONENT_ROLLED_BACK: &str = "COMPONENT_ROLLED_BACK";
/// By order, something else is demanded of images before they are started.
pub const COMPONENT_POLICY_SET: &str = "COMPONENT_POLICY_SET";
/// What is wanted is not started, because it does not satisfy what is demanded of images.
pub const COMPONENT_FORBIDDEN: &str = "COMPONENT_FORBIDDEN";
/// A host of components is there that was not, or that was lost.
pub const HOST_JOINED: &str = "HOST_JOINED";
/// A host of components does not answer any more.
pub const HOST_LOST: &str = "HOST_LOST";
/// Readings are judged late: more come than `sensor-reader` judges, or no host runs it.
pub const JUDGING_LATE: &str = "JUDGING_LATE";
/// Readings are judged in time again.
pub const JUDGING_CAUGHT_UP: &str = "JUDGING_CAUGHT_UP";
/// The index is late, so searches and the page do not show what was sealed last.
pub const INDEX_LATE: &str = "INDEX_LATE";
/// The index has caught up with the log.
pub const INDEX_CAUGHT_UP: &str = "INDEX_CAUGHT_UP";
/// The machine's clock is far ahead of the site's own time. Nothing is erased by age until an
/// operator confirms the clock.
pub const CLOCK_JUMPED: &str = "CLOCK_JUMPED";
/// An operator confirmed the machine's clock.
pub const CLOCK_CONFIRMED: &str = "CLOCK_CONFIRMED";
/// The machine's clock was set while the site was running: from one time to another.
pub const CLOCK_STEPPED: &str = "CLOCK_STEPPED";
/// Whether a time server sets the machine's clock. Reported at a start and when it changes.
pub const CLOCK_QUALITY: &str = "CLOCK_QUALITY";
/// Leaves were mirrored to another server of Pangea's API, which has sealed their events.
pub const MIRRORED: &str = "MIRRORED";
/// That server does not take the event of a leaf, which is left out.
pub const MIRROR_REFUSED: &str = "MIRROR_REFUSED";
/// An API token was created, with which a program may log or search.
pub const TOKEN_CREATED: &str = "TOKEN_CREATED";
/// An API token was revoked.
pub const TOKEN_REVOKED: &str = "TOKEN_REVOKED";
/// A program used its API token, for the first time on that day or since the site started.
pub const TOKEN_USED: &str = "TOKEN_USED";
/// A program exported events through Pangea's API.
pub const EVENTS_EXPORTED: &str = "EVENTS_EXPORTED";
/// Someone published an image under a tag in the registry. The actor is the name of their token.
pub const COMPONENT_PUBLISHED: &str = "COMPONENT_PUBLISHED";
/// Someone deleted an image or a tag in the registry. The actor is the name of their token.
pub const COMPONENT_DELETED: &str = "COMPONENT_DELETED";
/// A host on another machine may run the site's components from now on.
pub const HOST_ADDED: &str = "HOST_ADDED";
/// A host on another machine may do so no more.
pub const HOST_REMOVED: &str = "HOST_REMOVED";
/// A credential was made, with which a device speaks as a sensor. One event for each sensor.
pub const CREDENTIAL_ADDED: &str = "CREDENTIAL_ADDED";
/// A credential got another key.
pub const CREDENTIAL_ROTATED: &str = "CREDENTIAL_ROTATED";
/// A credential was revoked.
pub const CREDENTIAL_REVOKED: &str = "CREDENTIAL_REVOKED";
/// A device connected with its credential, for the first time since the site started.
pub const CREDENTIAL_USED: &str = "CREDENTIAL_USED";
/// Devices were not let in, or did what they may not do. Reported once a minute for each credential
/// and reason.
pub const DEVICES_REFUSED: &str = "DEVICES_REFUSED";

//! Files of retention times: what is taken erases nothing of what says what the log is, and nothing
//! that is younger than an hour.

use data_dir::retention::Retention;
use model::{Timestamp, action};

pub(crate) fn run(file: &str) {
    let Ok(retention) = file.parse::<Retention>() else { return };
    let now = Timestamp::from_unix_micros(1_795_600_000_000_000);
    let an_hour_ago = Timestamp::from_unix_micros(now.unix_micros() - 3_600_000_000);
    for (class, before) in retention.expiring(now) {
        assert!(file.contains(class) && !action::OF_THE_LOG.contains(&class));
        assert!(before <= an_hour_ago);
    }
}

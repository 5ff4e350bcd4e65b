//! What `/metrics` shows, in Prometheus' text format and by its conventions for names.
//!
//! Each answer makes the families from what the services count anyway, so nothing is counted twice.
//! Only the histograms persist.

use std::sync::atomic::Ordering;

use ledger::Ledger;
use poll::Counters;
use prometheus::{
    Error, Gauge, GaugeVec, Histogram, IntCounter, Opts, TextEncoder, core::Collector,
    proto::MetricFamily,
};
use services::{
    applications, lag::Lag, mirroring::MirrorProgress, pipeline::Meters, site_clock::Quality,
};
use tls::Health;

/// A value of a follower's lag.
type OfLag = fn(&Lag) -> f64;

/// An unfinished answer.
#[derive(Default)]
pub(crate) struct Exposition {
    families: Vec<MetricFamily>,
}

impl Exposition {
    /// The poller's counters, and the messages that the bus dropped.
    pub(crate) fn counters(&mut self, counters: &Counters, dropped: u64) {
        let Counters {
            polls,
            repeats,
            answers,
            timeouts,
            value_errors,
            late,
            duplicates,
            skipped,
            refused_heartbeats,
            shortest_interval,
            in_flight,
            waiting,
            paused,
        } = *counters;
        for (name, help, value) in [
            ("sealwire_polls_total", "Polls sent.", polls),
            (
                "sealwire_repeats_total",
                "Times that a poll without an answer was sent again.",
                repeats,
            ),
            ("sealwire_answers_total", "Answers in time that were understood.", answers),
            ("sealwire_timeouts_total", "Polls without an answer in time.", timeouts),
            (
                "sealwire_value_errors_total",
                "Answers in time that were not understood.",
                value_errors,
            ),
            ("sealwire_late_total", "Answers after their time.", late),
            (
                "sealwire_duplicates_total",
                "Answers to no poll, and second answers to one poll.",
                duplicates,
            ),
            ("sealwire_skipped_total", "Polls that were due and not sent, or given up.", skipped),
            (
                "sealwire_refused_heartbeats_total",
                "Heartbeats that could not be parsed or accepted.",
                refused_heartbeats,
            ),
            (
                "sealwire_dropped_total",
                "Messages dropped because more came than the site hears.",
                dropped,
            ),
        ] {
            self.counter(name, help, value);
        }
        for (name, help, value) in [
            (
                "sealwire_shortest_poll_interval_seconds",
                "Shortest interval at which any sensor is polled now; 0 if each is polled as often as it asks.",
                shortest_interval.unwrap_or_default().as_secs_f64(),
            ),
            ("sealwire_polls_in_flight", "Polls whose answers are awaited.", in_flight.into()),
            (
                "sealwire_polls_waiting",
                "Polls that are due and wait for room among those in flight.",
                waiting.into(),
            ),
            ("sealwire_sensors_paused", "Sensors whose polls are paused by order.", paused.into()),
        ] {
            self.gauge(name, help, value);
        }
    }

    /// What devices reported by themselves; all zero without rules for them.
    pub(crate) fn pushed(&mut self, counters: &pushed::Counters) {
        let pushed::Counters { readings, duplicates, refused, missing } = *counters;
        for (name, help, value) in [
            (
                "sealwire_pushed_readings_total",
                "Readings that devices reported by themselves.",
                readings,
            ),
            (
                "sealwire_pushed_duplicates_total",
                "Of these, those that came twice and were sealed once.",
                duplicates,
            ),
            (
                "sealwire_pushed_refused_total",
                "Messages that devices sent by themselves, or values in them, that were refused.",
                refused,
            ),
            (
                "sealwire_pushed_missing_total",
                "Declared intervals of such devices that ended without a reading.",
                missing,
            ),
        ] {
            self.counter(name, help, value);
        }
    }

    /// What applications handed in.
    pub(crate) fn applications(&mut self, counters: &applications::Counters) {
        let applications::Counters { sealed, refused } = counters;
        for (name, help, value) in [
            (
                "sealwire_application_events_total",
                "Events of applications that were sealed, or had been sealed under the same key.",
                sealed,
            ),
            (
                "sealwire_application_refused_total",
                "Submissions of applications that were refused.",
                refused,
            ),
        ] {
            self.counter(name, help, value.load(Ordering::Relaxed));
        }
    }

    /// Starts of components that were forbidden.
    pub(crate) fn forbidden(&mut self, starts: u64) {
        let help = "Starts of components that were forbidden by what is demanded of images.";
        self.counter("sealwire_component_starts_forbidden_total", help, starts);
    }

    /// What devices were refused at the door and on the bus, and wrong tokens on the other ports.
    pub(crate) fn refusals(&mut self, devices: u64, callers: u64) {
        for (name, help, value) in [
            (
                "sealwire_devices_refused_total",
                "Connections, messages and topics that devices were refused.",
                devices,
            ),
            (
                "sealwire_callers_refused_total",
                "Wrong tokens on ports that other machines reach.",
                callers,
            ),
        ] {
            self.counter(name, help, value);
        }
    }

    /// The sizes of the log and of what the index left out.
    pub(crate) fn log(&mut self, leaves: u64, passed_over: u64) {
        for (name, help, value) in [
            ("sealwire_leaves", "Leaves that are durable.", leaves),
            (
                "sealwire_index_passed_over_leaves",
                "Leaves that the index could not take.",
                passed_over,
            ),
        ] {
            self.gauge(name, help, value as f64);
        }
    }

    /// Where the cursor of each follower of the log is.
    pub(crate) fn followers(&mut self, lags: &[Lag]) {
        let values: [(&str, &str, OfLag); 4] = [
            ("sealwire_cursor_leaves", "Leaves that a follower of the log has handled.", |lag| {
                lag.next_leaf as f64
            }),
            (
                "sealwire_cursor_lag_leaves",
                "Durable leaves that a follower of the log has not handled.",
                |lag| lag.leaves as f64,
            ),
            (
                "sealwire_cursor_lag_seconds",
                "How long the first of these leaves has waited.",
                |lag| lag.waited.as_secs_f64(),
            ),
            (
                "sealwire_cursor_late",
                "Whether the site has sealed that a follower is late, and not yet that it has caught up.",
                |lag| f64::from(u8::from(lag.is_late)),
            ),
        ];
        for (name, help, value) in values {
            let gauges =
                GaugeVec::new(Opts::new(name, help), &["cursor"]).expect("a name of Prometheus'");
            for lag in lags {
                gauges.with_label_values(&[lag.follower.name()]).set(value(lag));
            }
            self.add(&gauges);
        }
    }

    /// What was asked of components, and what waits for them.
    pub(crate) fn pipeline(&mut self, meters: &Meters) {
        self.families.extend(meters.collect());
    }

    /// How far the mirror of the log is.
    pub(crate) fn mirror(&mut self, progress: &MirrorProgress, leaves: u64) {
        self.counter(
            "sealwire_mirror_taken_total",
            "Events that the mirror's server has taken.",
            progress.taken,
        );
        for (name, help, value) in [
            ("sealwire_mirror_leaves", "Leaves that the mirror has handled.", progress.next_leaf),
            (
                "sealwire_mirror_lag_leaves",
                "Durable leaves that the mirror has not handled.",
                leaves.saturating_sub(progress.next_leaf),
            ),
            (
                "sealwire_mirror_parked_leaves",
                "Leaves that the mirror's server refused.",
                progress.parked.count,
            ),
            (
                "sealwire_mirror_stuck",
                "Whether the last question of the mirror led to nothing.",
                u64::from(progress.trouble.is_some()),
            ),
        ] {
            self.gauge(name, help, value as f64);
        }
    }

    /// What the services and the log have timed.
    pub(crate) fn histograms(&mut self, ledger: &Ledger, timings: &[Histogram]) {
        self.families.extend(timings.iter().flat_map(Collector::collect));
        self.families.extend(ledger.commits().collect());
    }

    /// What is known of the machine's clock.
    pub(crate) fn clock(&mut self, quality: &Quality) {
        self.counter(
            "sealwire_clock_steps_total",
            "Times that the machine's clock was set.",
            quality.steps,
        );
        let yes_or_no = |yes: bool| f64::from(u8::from(yes));
        for (name, help, value) in [
            (
                "sealwire_clock_believed",
                "Whether the site believes the machine's clock.",
                Some(yes_or_no(quality.believed)),
            ),
            (
                "sealwire_clock_synchronised",
                "Whether a time server sets the machine's clock; not there if nobody knows.",
                quality.synchronised.map(yes_or_no),
            ),
            (
                "sealwire_clock_offset_seconds",
                "By how much the machine's clock is ahead of the time server.",
                quality.offset_ms.map(|millis| millis / 1_000.0),
            ),
        ] {
            if let Some(value) = value {
                self.gauge(name, help, value);
            }
        }
    }

    /// How the certificate of the site's ports is.
    pub(crate) fn certificate(&mut self, health: &Health) {
        for (name, help, value) in [
            (
                "sealwire_certificate_not_after_seconds",
                "End of the certificate's validity, in seconds since 1970.",
                health.not_after.unix_micros() as f64 / 1e6,
            ),
            (
                "sealwire_certificate_stuck",
                "Whether the certificate's files cannot be used, so that the site keeps an older one.",
                f64::from(u8::from(health.failure.is_some())),
            ),
        ] {
            self.gauge(name, help, value);
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = IntCounter::new(name, help).expect("a name of Prometheus'");
        counter.inc_by(value);
        self.add(&counter);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::new(name, help).expect("a name of Prometheus'");
        gauge.set(value);
        self.add(&gauge);
    }

    fn add(&mut self, collector: &impl Collector) {
        self.families.extend(collector.collect());
    }

    /// The whole answer.
    pub(crate) fn text(self) -> Result<String, Error> {
        // The encoder refuses a family without a metric.
        let families: Vec<_> =
            self.families.into_iter().filter(|family| !family.get_metric().is_empty()).collect();
        TextEncoder::new().encode_to_string(&families)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use services::lag::Follower;
    use tlog::{KeyName, Signer};

    use super::*;

    #[tokio::test]
    async fn a_lag_is_told_of_each_follower() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
        let waited = Duration::from_millis(2_500);
        let lag = |follower, next_leaf, is_late| Lag {
            follower,
            next_leaf,
            leaves: 100 - next_leaf,
            waited,
            is_late,
        };
        let mut metrics = Exposition::default();
        metrics.counters(&Counters { polls: 7, ..Counters::default() }, 3);
        metrics.pushed(&pushed::Counters { refused: 5, ..pushed::Counters::default() });
        let applications = applications::Counters { sealed: 8.into(), refused: 9.into() };
        metrics.applications(&applications);
        metrics.forbidden(2);
        metrics.refusals(6, 7);
        metrics.log(100, 2);
        metrics.followers(&[lag(Follower::Index, 90, false), lag(Follower::Pipeline, 10, true)]);
        metrics.clock(&Quality {
            synchronised: Some(false),
            offset_ms: Some(-250.0),
            source: Some("chronyc"),
            since: model::Timestamp::from_unix_micros(0),
            believed: true,
            steps: 3,
        });
        metrics.histograms(&ledger, &[services::timings::seal_seconds()]);
        let not_after = model::Timestamp::from_unix_micros(1_800_000_000_500_000);
        let failure = Some(String::from("no key"));
        metrics.certificate(&Health { not_after, failure });
        let text = metrics.text().unwrap();
        for line in [
            "sealwire_certificate_not_after_seconds 1800000000.5",
            "sealwire_certificate_stuck 1",
            "sealwire_polls_total 7",
            "sealwire_dropped_total 3",
            "sealwire_pushed_refused_total 5",
            "sealwire_application_events_total 8",
            "sealwire_application_refused_total 9",
            "sealwire_component_starts_forbidden_total 2",
            "sealwire_devices_refused_total 6",
            "sealwire_callers_refused_total 7",
            "sealwire_leaves 100",
            "sealwire_clock_believed 1",
            "sealwire_clock_synchronised 0",
            "sealwire_clock_offset_seconds -0.25",
            "sealwire_clock_steps_total 3",
            "sealwire_index_passed_over_leaves 2",
            r#"sealwire_cursor_lag_leaves{cursor="index"} 10"#,
            r#"sealwire_cursor_lag_leaves{cursor="pipeline"} 90"#,
            r#"sealwire_cursor_lag_seconds{cursor="pipeline"} 2.5"#,
            r#"sealwire_cursor_late{cursor="index"} 0"#,
            r#"sealwire_cursor_late{cursor="pipeline"} 1"#,
            r#"sealwire_seal_seconds_bucket{le="0.0002"} 0"#,
            // The genesis entry.
            "sealwire_commit_seconds_count 1",
            r#"sealwire_commit_leaves_bucket{le="1"} 1"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        keeps_the_conventions(&text);
        writer.close().await.unwrap();
    }

    /// The rules of `promtool check metrics` that a family of ours can break.
    #[track_caller]
    fn keeps_the_conventions(text: &str) {
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for (name, kind) in kinds.filter_map(|line| line.split_once(' ')) {
            let help = text.lines().find(|line| line.starts_with(&format!("# HELP {name} ")));
            assert!(help.is_some_and(|help| help.ends_with('.')), "{name} has no help");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            for word in name.split('_') {
                let is_other = ["count", "sum", "bucket", "ms", "milliseconds", "kb", "gauge"];
                assert!(!is_other.contains(&word), "{name} has `{word}`");
            }
        }
    }
}

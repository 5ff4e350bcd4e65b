//! What `/metrics` shows of the questions to each component.

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, core::Collector, proto::MetricFamily,
};

/// Label that names a component by its cursor, as the lags do.
const LABEL: [&str; 1] = ["cursor"];

/// What `/metrics` shows of the questions to all components.
#[derive(Clone, Debug)]
pub struct Meters {
    questions: IntCounterVec,
    judged: IntCounterVec,
    failures: IntCounterVec,
    not_judged: IntCounterVec,
    waiting: IntGaugeVec,
    full: IntGaugeVec,
}

/// The same of one component.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) questions: IntCounter,
    pub(super) judged: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) not_judged: IntCounter,
    pub(super) waiting: IntGauge,
    pub(super) full: IntGauge,
}

impl Default for Meters {
    fn default() -> Self {
        let counter = |name, help| {
            IntCounterVec::new(Opts::new(name, help), &LABEL).expect("a name of Prometheus'")
        };
        let gauge = |name, help| {
            IntGaugeVec::new(Opts::new(name, help), &LABEL).expect("a name of Prometheus'")
        };
        Self {
            questions: counter("sealwire_pipeline_questions_total", "Questions with a verdict."),
            judged: counter("sealwire_pipeline_judged_total", "Leaves with a verdict."),
            failures: counter(
                "sealwire_pipeline_failures_total",
                "Questions without a verdict, or with one that is refused.",
            ),
            not_judged: counter(
                "sealwire_pipeline_not_judged_total",
                "Leaves on which the component failed, and which have no verdict.",
            ),
            waiting: gauge(
                "sealwire_pipeline_waiting_leaves",
                "Leaves that were read and have no verdict yet.",
            ),
            full: gauge(
                "sealwire_pipeline_full",
                "Whether so many wait that no further leaves are read.",
            ),
        }
    }
}

impl Meters {
    /// The meter of the component with this cursor.
    pub(super) fn of(&self, cursor: &str) -> Meter {
        Meter {
            questions: self.questions.with_label_values(&[cursor]),
            judged: self.judged.with_label_values(&[cursor]),
            failures: self.failures.with_label_values(&[cursor]),
            not_judged: self.not_judged.with_label_values(&[cursor]),
            waiting: self.waiting.with_label_values(&[cursor]),
            full: self.full.with_label_values(&[cursor]),
        }
    }

    /// All that was counted since the start.
    #[must_use]
    pub fn collect(&self) -> Vec<MetricFamily> {
        let counters = [&self.questions, &self.judged, &self.failures, &self.not_judged];
        let gauges = [&self.waiting, &self.full];
        let counted = counters.into_iter().flat_map(Collector::collect);
        counted.chain(gauges.into_iter().flat_map(Collector::collect)).collect()
    }
}

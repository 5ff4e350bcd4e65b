//! What two versions of a processor derived from the same leaves, and where they differ. Without
//! IO.

use model::Event;
use serde::Serialize;

/// A value that was derived from a leaf.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Derived {
    pub(super) leaf: u64,
    pub(super) source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<String>,
    pub(super) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<String>,
    pub(super) message: String,
}

impl Derived {
    /// What an event that a processor derived says.
    pub(super) fn of(event: Event) -> Option<Self> {
        let detail = event.sealwire?;
        Some(Self {
            leaf: detail.from_leaf?,
            source: event.source?,
            channel: detail.channel,
            value: event.new?,
            unit: detail.unit,
            message: event.message,
        })
    }

    /// The value for people.
    pub(super) fn words(&self) -> String {
        let channel = self.channel.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        let unit = self.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        format!("{channel}{}{unit}", self.value)
    }
}

/// Where two versions differ.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) leaf: u64,
    /// What was sealed; nothing, if only the new version derives something.
    pub(super) sealed: Option<Derived>,
    /// What the new version derives.
    pub(super) derived: Option<Derived>,
}

/// How many values are the same, and how many are not.
#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    pub(super) equal: u64,
    pub(super) different: u64,
    /// Sealed, and not derived.
    pub(super) missing: u64,
    /// Derived, and not sealed.
    pub(super) new: u64,
    /// The first ones.
    pub(super) differences: Vec<Difference>,
    #[serde(skip)]
    differences_max: usize,
}

impl Comparison {
    /// A comparison that keeps so many differences, and counts the others.
    pub(super) fn keeping(differences_max: usize) -> Self {
        Self { differences_max, ..Self::default() }
    }

    /// Compares what was sealed and what is derived from one leaf: values of the same channel, in
    /// order.
    pub(super) fn leaf(&mut self, mut sealed: Vec<Derived>, derived: Vec<Derived>) {
        for derived in derived {
            let same = sealed.iter().position(|sealed| sealed.channel == derived.channel);
            match same.map(|same| sealed.remove(same)) {
                Some(sealed) if sealed == derived => self.equal += 1,
                Some(sealed) => {
                    self.different += 1;
                    self.keep(Some(sealed), Some(derived));
                }
                None => {
                    self.new += 1;
                    self.keep(None, Some(derived));
                }
            }
        }
        for sealed in sealed {
            self.missing += 1;
            self.keep(Some(sealed), None);
        }
    }

    fn keep(&mut self, sealed: Option<Derived>, derived: Option<Derived>) {
        let leaf = sealed.as_ref().or(derived.as_ref()).map_or(0, |it| it.leaf);
        if self.differences.len() < self.differences_max {
            self.differences.push(Difference { leaf, sealed, derived });
        }
    }

    /// Values that are not the same.
    pub(super) const fn count(&self) -> u64 {
        self.different + self.missing + self.new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(channel: Option<&str>, value: &str) -> Derived {
        Derived {
            leaf: 7,
            source: String::from("Hall.T1"),
            channel: channel.map(String::from),
            value: value.to_owned(),
            unit: None,
            message: String::new(),
        }
    }

    #[test]
    fn values_of_a_channel_are_compared_in_order() {
        let one = |text| value(None, text);
        for (sealed, derived, counts) in [
            (vec![one("1")], vec![one("1")], (1, 0, 0, 0)),
            (vec![one("1")], vec![one("2")], (0, 1, 0, 0)),
            (vec![one("1"), one("2")], vec![one("1"), one("3")], (1, 1, 0, 0)),
            (vec![one("1"), one("2")], vec![one("1")], (1, 0, 1, 0)),
            (vec![], vec![one("1")], (0, 0, 0, 1)),
            // Another channel is another value, in whichever order they come.
            (vec![value(Some("t"), "1")], vec![value(Some("h"), "1")], (0, 0, 1, 1)),
            (
                vec![value(Some("t"), "1"), one("2")],
                vec![one("2"), value(Some("t"), "1")],
                (2, 0, 0, 0),
            ),
        ] {
            let mut comparison = Comparison::keeping(1);
            comparison.leaf(sealed, derived);
            let Comparison { equal, different, missing, new, .. } = comparison;
            assert_eq!((equal, different, missing, new), counts);
            assert_eq!(comparison.differences.len() as u64, comparison.count().min(1));
        }
    }
}

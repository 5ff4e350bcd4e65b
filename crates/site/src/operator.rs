//! What an operator orders of a site's log, whether the site runs (by way of the log port) or not (the command opens the log itself).
//!
//! Every order but those that only look is sealed as an event, with who gave it and why.

use std::{path::PathBuf, sync::Arc};

use ledger::{
    AppendError, Batch, EraseError, Erased, Erasure, Hold, KeyError, KeyFiles, LeafRanges, Ledger,
    ReadError,
};
use model::{Event, SensorId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::{
    clock,
    retention::{Retention, RetentionError},
};

/// An order.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Publish a checkpoint over everything that is durable.
    Checkpoint,
    /// Erase the envelopes of these leaves.
    Erase {
        /// Such as `12-40,57`.
        leaves: LeafRanges,
        /// Erase also what was derived from them: it says what they say.
        #[serde(default)]
        with_derived: bool,
        /// Who orders it.
        actor: Words,
        /// Why.
        reason: Words,
    },
    /// Keep from being erased what was received in a window, of one sensor or of all.
    Hold {
        /// Whose events; everybody's where it is not there.
        sensor: Option<SensorId>,
        /// From this moment on.
        from: Option<Timestamp>,
        /// Before this moment.
        to: Option<Timestamp>,
        /// Who orders it.
        actor: Words,
        /// Why.
        reason: Words,
    },
    /// End a hold.
    Release {
        /// The leaf that placed it.
        hold: u64,
        /// Who orders it.
        actor: Words,
        /// Why.
        reason: Words,
    },
    /// Tell the holds that stand.
    Holds,
    /// Erase what the file `retention` no longer keeps, now and not at the next full hour.
    Retain {
        /// Who orders it.
        actor: Words,
    },
    /// Seal that readings of a sensor are taken out as a file, which whoever orders it does next.
    ExportReadings {
        /// Whose readings.
        sensor: SensorId,
        /// From this moment on.
        from: Option<Timestamp>,
        /// Before this moment.
        to: Option<Timestamp>,
        /// Who orders it.
        actor: Words,
        /// Why.
        reason: Words,
    },
    /// Make a new key and have the log go over to it.
    RotateKey {
        /// Who orders it.
        actor: Words,
    },
}

/// A text that says something, and fits a field of an event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(String);

impl Words {
    /// Longest text in characters: much shorter than what a field holds, for it stands in a line.
    pub const CHARS_MAX: usize = 1_000;
}

impl TryFrom<String> for Words {
    type Error = InvalidWords;

    fn try_from(text: String) -> Result<Self, InvalidWords> {
        let chars = text.chars().count();
        if text.trim().is_empty() || chars > Self::CHARS_MAX || text.contains(char::is_control) {
            return Err(InvalidWords { chars });
        }
        Ok(Self(text))
    }
}

impl std::str::FromStr for Words {
    type Err = InvalidWords;

    fn from_str(text: &str) -> Result<Self, InvalidWords> {
        text.to_owned().try_into()
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.0
    }
}

/// A text that says nothing, or too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a text of {chars} characters: use one line of 1 to {} that is not blank",
    Words::CHARS_MAX
)]
pub struct InvalidWords {
    chars: usize,
}

/// What became of an order.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "done", rename_all = "kebab-case")]
pub enum Done {
    /// The newest checkpoint.
    Checkpoint {
        /// The signed note.
        checkpoint: String,
    },
    /// Envelopes were erased.
    Erase(ErasedEnvelopes),
    /// A hold stands.
    Hold {
        /// The leaf that places it, by which it is released.
        leaf: u64,
    },
    /// A hold has ended.
    Release {
        /// The leaf that says so.
        leaf: u64,
    },
    /// The holds that stand.
    Holds {
        /// In the order in which they were placed.
        holds: Vec<StandingHold>,
    },
    /// What retention no longer kept was erased.
    Retain {
        /// The classes of which there was anything.
        classes: Vec<RetainedClass>,
    },
    /// It is sealed that readings are taken out.
    ExportReadings {
        /// The leaf that says so.
        leaf: u64,
    },
    /// The log has another key.
    RotateKey {
        /// The leaf that says so.
        leaf: u64,
        /// The new verifier key.
        vkey: String,
    },
}

/// How much was erased.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct ErasedEnvelopes {
    /// The first leaf that says so.
    pub leaf: u64,
    /// Number of envelopes.
    pub envelopes: u64,
    /// Bytes by which the log's files shrank.
    pub freed_bytes: u64,
}

/// A hold with the leaf that placed it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StandingHold {
    /// The leaf.
    pub leaf: u64,
    /// What it covers.
    #[serde(flatten)]
    pub hold: Hold,
}

/// What was erased of one class of events.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RetainedClass {
    /// The class: an action.
    pub class: String,
    /// How much.
    #[serde(flatten)]
    pub erased: ErasedEnvelopes,
}

/// Carries out orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operator {
    ledger: Ledger,
    keys: KeyFiles,
    retention: PathBuf,
    /// One key rotation at a time: there is one file for the next key.
    rotating: Arc<Mutex<()>>,
}

impl Operator {
    pub(crate) fn new(ledger: Ledger, keys: KeyFiles, retention: PathBuf) -> Self {
        Self { ledger, keys, retention, rotating: Arc::default() }
    }

    /// Carries out an order.
    ///
    /// # Errors
    /// It was refused and nothing has happened, or something failed; [`OperatorError::is_refusal`] says which.
    pub async fn carry_out(&self, order: Order) -> Result<Done, OperatorError> {
        let now = clock::now();
        match order {
            Order::Checkpoint => {
                let published = self.ledger.publish_checkpoint().await?;
                Ok(Done::Checkpoint { checkpoint: published.note.clone() })
            }
            Order::Erase { leaves, with_derived, actor, reason } => {
                let leaves = if with_derived { self.with_derived(leaves).await? } else { leaves };
                let erasure = Erasure { leaves, actor: actor.0, reason: reason.0 };
                Ok(Done::Erase(self.ledger.erase(erasure, now).await?.into()))
            }
            Order::Hold { sensor, from, to, actor, reason } => {
                if from.zip(to).is_some_and(|(from, to)| from >= to) {
                    return Err(OperatorError::EmptyWindow);
                }
                let hold = Hold { sensor, from, to };
                let receipt = self.ledger.place_hold(&hold, &actor.0, &reason.0, now).await?;
                Ok(Done::Hold { leaf: receipt.first_leaf })
            }
            Order::Release { hold, actor, reason } => {
                let receipt = self.ledger.release_hold(hold, &actor.0, &reason.0, now).await?;
                Ok(Done::Release { leaf: receipt.first_leaf })
            }
            Order::Holds => {
                let holds = self.ledger.holds().into_iter();
                let holds = holds.map(|(leaf, hold)| StandingHold { leaf, hold }).collect();
                Ok(Done::Holds { holds })
            }
            Order::Retain { actor } => {
                Ok(Done::Retain { classes: self.retain(&actor.0, now).await? })
            }
            Order::ExportReadings { sensor, from, to, actor, reason } => {
                let vkey = self.ledger.vkey();
                let origin = vkey.name().as_str();
                let span = (from, to);
                let event =
                    Event::readings_exported(&actor.0, origin, sensor, span, &reason.0, now);
                let receipt = self.ledger.append(Batch::of(vec![event])).await?;
                Ok(Done::ExportReadings { leaf: receipt.first_leaf })
            }
            Order::RotateKey { actor } => self.rotate_key(&actor.0).await,
        }
    }

    /// Erases what the retention file no longer keeps.
    pub(crate) async fn retain(
        &self,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<RetainedClass>, OperatorError> {
        let retention = Retention::load(&self.retention)?;
        let mut classes = Vec::new();
        for (class, before) in retention.expiring(now) {
            if let Some(erased) = self.ledger.retain(class, before, actor, now).await? {
                classes.push(RetainedClass { class: class.to_owned(), erased: erased.into() });
            }
        }
        Ok(classes)
    }

    async fn with_derived(&self, leaves: LeafRanges) -> Result<LeafRanges, OperatorError> {
        let ledger = self.ledger.clone();
        let both = move || ledger.derived_from(&leaves).map(|derived| leaves.union(&derived));
        spawn_blocking(both).await.map_err(OperatorError::Panicked)?.map_err(OperatorError::Read)
    }

    async fn rotate_key(&self, actor: &str) -> Result<Done, OperatorError> {
        let _one_at_a_time = self.rotating.lock().await;
        let next = self.keys.create_next(self.ledger.vkey().name().clone())?;
        let rotated = self.ledger.rotate_key(next, actor).await;
        let vkey = self.ledger.vkey();
        // Where the writer has ended, only the next start knows which key the log goes on with.
        if !matches!(rotated, Err(AppendError::Stopped)) {
            self.keys.settle(&vkey)?;
        }
        Ok(Done::RotateKey { leaf: rotated?.first_leaf, vkey: vkey.to_string() })
    }
}

impl From<Erased> for ErasedEnvelopes {
    fn from(erased: Erased) -> Self {
        let Erased { receipt, envelopes, freed_bytes } = erased;
        Self { leaf: receipt.first_leaf, envelopes, freed_bytes }
    }
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Erasing or releasing.
    #[error(transparent)]
    Erase(#[from] EraseError),
    /// Sealing the event.
    #[error("the event that says so was not sealed")]
    Append(#[from] AppendError),
    /// A hold that would cover nothing.
    #[error("the hold covers nothing: `from` must be before `to`")]
    EmptyWindow,
    /// The keys' files.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The retention file.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// Looking for what was derived.
    #[error("what was derived from the leaves could not be looked up")]
    Read(#[source] ReadError),
    /// A bug.
    #[error("carrying out the order panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

impl OperatorError {
    /// Whether the order cannot be carried out as it stands; otherwise the site failed at it.
    pub(crate) const fn is_refusal(&self) -> bool {
        match self {
            Self::EmptyWindow
            | Self::Retention(_)
            | Self::Erase(
                EraseError::NoSuchLeaf { .. }
                | EraseError::OfTheLog { .. }
                | EraseError::Held { .. }
                | EraseError::Nothing
                | EraseError::NoSuchHold { .. },
            ) => true,
            Self::Erase(_) | Self::Append(_) | Self::Key(_) | Self::Read(_) | Self::Panicked(_) => {
                false
            }
        }
    }
}

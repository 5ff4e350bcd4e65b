//! Questions for `sensor-reader` on trial. Their answers are judged like those of real questions,
//! and nothing of them is sealed.

use std::{collections::BTreeMap, sync::Arc};

use ledger::{Ledger, ReadError};

use super::{
    dialect::{Dialect, Taken},
    docket::{Finding, Question},
    journal::READ_MAX,
    reading::read_run,
    verdict::SensorReader,
};
use crate::testing::{Said, TestQuestion};

/// The question to which any `sensor-reader` has an answer.
#[must_use]
pub fn plain_question() -> TestQuestion {
    tested(Arc::new(SensorReader), plain(&SensorReader))
}

/// What was sealed last, as if nothing were known of the sensors before; `None` if nothing of it
/// is to be judged. Blocks on the disk.
///
/// # Errors
/// The log cannot be read.
pub fn recent_question(ledger: &Ledger) -> Result<Option<TestQuestion>, ReadError> {
    let from = ledger.size().saturating_sub(READ_MAX as u64);
    let sightings = read_run(ledger, &SensorReader, from)?.sightings;
    let question = Question { standings: BTreeMap::new(), sightings };
    let is_empty = question.sightings.is_empty();
    Ok((!is_empty).then(|| tested(Arc::new(SensorReader), question)))
}

/// The question, with what the dialect takes as an answer.
pub(super) fn tested<D: Dialect + 'static>(
    dialect: Arc<D>,
    question: Question<D::Item>,
) -> TestQuestion
where
    D::Item: 'static,
{
    let body = dialect.body(&question);
    TestQuestion::new(body, move |answer, accepted| {
        let Taken { by, findings } = dialect.take(answer, accepted, &question.sightings)?;
        let said = |Finding { derived, unit, .. }: &Finding| format!("{derived:?} {unit:?}");
        Ok(Said::new(&by, &findings.iter().map(said).collect::<Vec<_>>()))
    })
}

/// A question to which any component has an answer.
pub(super) fn plain<D: Dialect>(dialect: &D) -> Question<D::Item> {
    Question { standings: BTreeMap::new(), sightings: vec![dialect.known()] }
}

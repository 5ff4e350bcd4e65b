//! Checks submissions with the parser of Pangea's API, so that an event is the same event however
//! it was handed in.

use model::{
    Event,
    submission::{ANSWER_BYTES_MAX, Checked, Fault, Question},
};
use pangea::{Schema, submission};
use serde_json::value::{RawValue, to_raw_value};

/// What each submission holds, as JSON of a [`Checked`]: of the first submission, and of those
/// after it that fit into an answer.
#[must_use]
pub fn check(question: &Question<'_>, schema: &Schema) -> Vec<Box<RawValue>> {
    let mut bytes = 0;
    let mut all = Vec::with_capacity(question.submissions.len());
    for submission in &question.submissions {
        let checked = json(&checked(submission, schema));
        bytes += checked.get().len();
        if bytes <= ANSWER_BYTES_MAX {
            all.push(checked);
        } else if all.is_empty() {
            all.push(json(&Checked::Fault(too_long())));
            break;
        } else {
            break;
        }
    }
    all
}

fn checked(submission: &RawValue, schema: &Schema) -> Checked {
    match submission::parse(submission, schema) {
        Ok(items) => {
            Checked::Events(items.into_iter().map(|item| Event::from(item).into()).collect())
        }
        Err(submission::Faulty { event, fault }) => Checked::Fault(Fault {
            event: event.and_then(|index| u64::try_from(index).ok()),
            place: fault.source_pointer,
            words: fault.detail,
        }),
    }
}

fn too_long() -> Fault {
    let words = format!(
        "the events have more than {ANSWER_BYTES_MAX} bytes after redaction: hand in fewer at once"
    );
    Fault { event: None, place: String::new(), words }
}

fn json(checked: &Checked) -> Box<RawValue> {
    to_raw_value(checked).expect("an event has only text keys")
}

#[cfg(test)]
mod tests {
    use pangea::schema::Definition;

    use super::*;

    fn checked_all(submissions: &[&str], schema: &Schema) -> Vec<Checked> {
        let submissions = submissions.iter().map(|json| serde_json::from_str(json).unwrap());
        let question = Question { submissions: submissions.collect() };
        let checked = check(&question, schema);
        checked.iter().map(|json| serde_json::from_str(json.get()).unwrap()).collect()
    }

    #[test]
    fn each_submission_is_checked_for_itself() {
        let submissions = [r#"[{"message":"a"},{"message":"b"}]"#, r#"[{"message":"a"},{}]"#];
        let checked = checked_all(&submissions, &Schema::standard());
        let [Checked::Events(events), Checked::Fault(fault)] = checked.as_slice() else {
            panic!("one is right, and one is not: {checked:?}")
        };
        let messages: Vec<&str> = events.iter().map(|it| it.event.message.as_str()).collect();
        assert_eq!(messages, ["a", "b"]);
        assert_eq!((fault.event, fault.place.as_str()), (Some(1), "/message"));
    }

    #[test]
    fn an_answer_is_about_as_many_submissions_as_fit() {
        let redact = [("message".to_owned(), vec!["x".to_owned()])].into();
        let schema = Schema::try_from(Definition { fields: Vec::new(), redact }).unwrap();
        let of = |events: usize| {
            // Each letter becomes a word.
            let event = format!(r#"{{"message":"{}"}}"#, "x".repeat(3_000));
            format!("[{}]", vec![event; events].join(","))
        };
        let (short, long) = (of(200), of(1_000));
        let checked = checked_all(&[&short, &long, &short], &schema);
        assert!(matches!(checked.as_slice(), [Checked::Events(_)]), "{}", checked.len());
        let checked = checked_all(&[&long, &short], &schema);
        let [Checked::Fault(fault)] = checked.as_slice() else { panic!("{}", checked.len()) };
        assert!(fault.words.contains("hand in fewer"), "{fault:?}");
    }
}

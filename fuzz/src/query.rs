//! Pangea's query language, and times: a query has only words that its text has, and few of them.

use index::{Field, Query, Word, moment};
use model::Timestamp;

const CUSTOM: &str = "shift";

pub(crate) fn run(text: &str) {
    let _moment = moment(text, Timestamp::from_unix_micros(1_795_600_000_000_000));
    let Ok(query) = Query::parse(text, |name| name == CUSTOM) else { return };
    assert!(query.words.len() <= Query::WORDS_MAX);
    for Word { field, text: word } in &query.words {
        assert!(text.contains(word.as_str()));
        assert!(field.is_some() || !word.is_empty());
        if let Some(Field::Custom(name)) = field {
            assert_eq!(name, CUSTOM);
        }
    }
}

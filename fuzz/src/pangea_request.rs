//! Bodies of requests of Pangea's API, each as that of every endpoint: what is taken is within the
//! contract's limits, and what is to be redacted is not in what is sealed.

use std::{collections::BTreeMap, sync::LazyLock};

use model::{Event, FieldValue, Timestamp};
use pangea::{
    Schema,
    request::{
        DownloadRequest, EVENTS_MAX, ExportRequest, LogRequest, PAGE_EVENTS_MAX, RESULTS_MAX,
        ResultsRequest, RootRequest, SearchRequest, parse_schema, parse_stream,
    },
};

use crate::sealed;

/// No part of it is in the words that replace it.
const SECRET: &str = "hunter2";
const REDACTED: [&str; 2] = ["message", "shift"];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let fields = r#"[{"id":"shift","type":"string"},{"id":"count","type":"integer"},
        {"id":"ok","type":"boolean"},{"id":"at","type":"datetime"},{"id":"level","type":"float"}]"#;
    let secret = |field: &str| (field.to_owned(), vec![SECRET.to_owned()]);
    Schema::with(serde_json::from_str(fields).unwrap())
        .unwrap()
        .redacting(BTreeMap::from(REDACTED.map(secret)))
        .unwrap()
});

pub(crate) fn run(body: &[u8]) {
    let now = Timestamp::from_unix_micros(1_795_600_000_000_000);
    for parse in [LogRequest::parse_one, LogRequest::parse_bulk, parse_stream] {
        let Ok(request) = parse(body, &SCHEMA) else { continue };
        assert!(request.items.len() <= EVENTS_MAX);
        for item in request.items {
            for (name, value) in &item.fields {
                assert!(SCHEMA.field(name).is_some());
                let is_secret = matches!(value, FieldValue::Text(text) if text.contains(SECRET));
                assert!(!is_secret || !REDACTED.contains(&name.as_str()), "{value:?}");
            }
            sealed::seal(Event::from(item));
        }
    }
    if let Ok(SearchRequest { search, limit, .. }) = SearchRequest::parse(body, &SCHEMA, now) {
        assert!((1..=PAGE_EVENTS_MAX).contains(&limit));
        assert!((1..=RESULTS_MAX).contains(&search.results_max));
        let _query = index::Query::parse(&search.query, |name| SCHEMA.has_custom(name));
        let json = serde_json::to_vec(&search).unwrap();
        assert_eq!(serde_json::from_slice::<pangea::request::Search>(&json).unwrap(), search);
    }
    if let Ok(request) = ResultsRequest::parse(body, &SCHEMA) {
        assert!((1..=PAGE_EVENTS_MAX).contains(&request.limit));
    }
    let _export = ExportRequest::parse(body, &SCHEMA, now);
    let _download = DownloadRequest::parse(body, &SCHEMA);
    let _root = RootRequest::parse(body);
    let _schema = parse_schema(body);
}

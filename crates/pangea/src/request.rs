//! What clients ask: each endpoint's body, read once.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tlog::Hash;

use crate::{
    event::Item,
    fault::{Code, Fault},
    id::{RequestId, ResultId},
    members::{self, Members},
    schema::Schema,
    when,
};

/// Events of one bulk request, from the contract.
pub const EVENTS_MAX: usize = 1_000;
/// Events of a page; the contract names no limit, and the SDKs' dump asks for as many.
pub const PAGE_EVENTS_MAX: u64 = 1_000;
/// Events of a page where none is named.
const PAGE_EVENTS_DEFAULT: u64 = 20;
/// Most results of a search, from the contract.
pub const RESULTS_MAX: u64 = 10_000;
/// The order in which the log has the events.
pub const RECEIVED_AT: &str = "received_at";
/// What a search looks back where it names no start, from the contract.
const START_DEFAULT: &str = "14d";
/// Values of one field that a search can be restricted to.
const RESTRICTION_VALUES_MAX: usize = 1_000;

/// Which log a request is for; the token's where none is named.
pub type ConfigId = Option<String>;

/// `/v1/log`, `/v2/log` and `/v2/log_async`.
#[derive(Debug)]
pub struct LogRequest {
    /// Which log.
    pub config_id: ConfigId,
    /// 1 to [`EVENTS_MAX`].
    pub items: Vec<Item>,
    /// Whether envelope and proofs are wanted.
    pub verbose: bool,
    /// The newest root that the client has seen.
    pub prev_root: Option<Hash>,
}

impl LogRequest {
    /// Reads the body of `/v1/log`.
    pub fn parse_one(body: &[u8], schema: &Schema) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let verbose = members.flag("verbose")?.unwrap_or(false);
        let prev_root = members.text("prev_root")?.map(|text| prev_root(&text)).transpose()?;
        let item = Item::take(&mut members, schema)?;
        members.finish()?;
        Ok(Self { config_id, items: vec![item], verbose, prev_root: prev_root.flatten() })
    }

    /// Reads the body of `/v2/log`. Unknown members are let through, as the contract has it.
    pub fn parse_bulk(body: &[u8], schema: &Schema) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let verbose = members.flag("verbose")?.unwrap_or(false);
        let events = members.array("events")?.ok_or_else(|| members::missing("events"))?;
        let refused = |code| {
            let words = format!("{} events: 1 to {EVENTS_MAX} are taken", events.len());
            Err(Fault::new(code, "/events", words))
        };
        match events.len() {
            0 => return refused(Code::BelowMinItems),
            1..=EVENTS_MAX => {}
            _ => return refused(Code::AboveMaxItems),
        }
        let item = |(at, event): (usize, &RawValue)| {
            item(event, schema).map_err(|fault| fault.under(&format!("/events/{at}")))
        };
        let items = events.into_iter().enumerate().map(item).collect::<Result<_, _>>()?;
        Ok(Self { config_id, items, verbose, prev_root: None })
    }
}

fn item(event: &RawValue, schema: &Schema) -> Result<Item, Fault> {
    let mut members = Members::of(event)?;
    let item = Item::take(&mut members, schema)?;
    members.finish()?;
    Ok(item)
}

/// The contract's pattern has no end: what is longer than a hash, or not in hex, is a root that
/// nobody gave.
fn prev_root(text: &str) -> Result<Option<Hash>, Fault> {
    let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !text.as_bytes().get(..64).is_some_and(|digits| digits.iter().copied().all(is_digit)) {
        return Err(Fault::new(Code::DoesNotMatchPattern, "/prev_root", "a root's 64 hex digits"));
    }
    let mut bytes = [0; Hash::LEN];
    Ok(hex::decode_to_slice(text, &mut bytes).ok().map(|()| Hash::from_bytes(bytes)))
}

/// `/v1/search`, with its window as moments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SearchRequest {
    /// Which log.
    pub config_id: ConfigId,
    /// What is searched for.
    pub search: Search,
    /// Whether hashes' proofs are wanted.
    pub verbose: bool,
    /// Events of the first page.
    pub limit: u64,
}

/// What is searched for, in which order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Search {
    /// In Pangea's query language.
    pub query: String,
    /// Received from this moment on.
    pub start: Timestamp,
    /// Received before this moment.
    pub end: Option<Timestamp>,
    /// The highest count.
    pub results_max: u64,
    /// Which come first.
    pub order: SortOrder,
    /// By which field.
    pub order_by: String,
    /// Whole values for fields, any of them for each.
    pub restriction: BTreeMap<String, Vec<String>>,
}

/// Which come first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SortOrder {
    /// The smallest.
    Ascending,
    /// The largest.
    Descending,
}

const ORDERS: [(&str, SortOrder); 2] =
    [("asc", SortOrder::Ascending), ("desc", SortOrder::Descending)];
/// Fields that the contract lets one order by, and restrict; those of a custom schema come on top.
const ORDERED_BY: [&str; 8] =
    ["actor", "action", "message", RECEIVED_AT, "source", "status", "target", "timestamp"];
const RESTRICTED: [&str; 6] = ["actor", "action", "source", "status", "target", "tenant_id"];

impl SearchRequest {
    /// Reads the body of `/v1/search`.
    pub fn parse(body: &[u8], schema: &Schema, now: Timestamp) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let query = members.text("query")?.unwrap_or_default().into_owned();
        let results_max = members.whole("max_results", 1, RESULTS_MAX)?.unwrap_or(RESULTS_MAX);
        let limit = page_events(&mut members)?;
        let verbose = members.flag("verbose")?.unwrap_or(true);
        let restriction = match members.take("search_restriction") {
            Some(value) => {
                restriction(value, schema).map_err(|fault| fault.under("/search_restriction"))?
            }
            None => BTreeMap::new(),
        };
        members.flag("return_context")?;
        let (start, end) = window(&mut members, START_DEFAULT, now)?;
        let (order, order_by) = order(&mut members, schema)?;
        members.finish()?;
        let search = Search { query, start, end, results_max, order, order_by, restriction };
        Ok(Self { config_id, search, verbose, limit })
    }
}

fn page_events(members: &mut Members<'_>) -> Result<u64, Fault> {
    Ok(members.whole("limit", 1, PAGE_EVENTS_MAX)?.unwrap_or(PAGE_EVENTS_DEFAULT))
}

fn window(
    members: &mut Members<'_>,
    start_default: &str,
    now: Timestamp,
) -> Result<(Timestamp, Option<Timestamp>), Fault> {
    let mut moment = |name: &str, default: Option<&str>| {
        let Some(text) = members.short_text(name, 128)?.or_else(|| default.map(Into::into)) else {
            return Ok(None);
        };
        when::moment(&text, now).map(Some).ok_or_else(|| {
            let words =
                "RFC 3339 such as 2026-11-23T19:01:23Z, or how long ago, such as 7d or 120min";
            Fault::new(Code::BadFormatDateTime, members::at(name), words)
        })
    };
    let start = moment("start", Some(start_default))?;
    Ok((start.unwrap_or_else(|| Timestamp::from_unix_micros(0)), moment("end", None)?))
}

fn order(members: &mut Members<'_>, schema: &Schema) -> Result<(SortOrder, String), Fault> {
    let order = members.word("order", &ORDERS)?.unwrap_or(SortOrder::Descending);
    let by = members.text("order_by")?.map_or_else(|| String::from(RECEIVED_AT), Into::into);
    if schema.has_custom(&by) || ORDERED_BY.contains(&&*by) {
        return Ok((order, by));
    }
    let words = format!("one of {}, or a custom field", ORDERED_BY.join(", "));
    Err(Fault::new(Code::NotEnumMember, "/order_by", words))
}

/// Values by field. An empty list restricts nothing.
fn restriction(value: &RawValue, schema: &Schema) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let mut restriction = BTreeMap::new();
    for (field, values) in Members::of(value)?.iter() {
        let place = members::at(field);
        if !schema.has_custom(field) && !RESTRICTED.contains(&field) {
            let words = format!("one of {}, or a custom field", RESTRICTED.join(", "));
            return Err(Fault::new(Code::UnexpectedProperty, place, words));
        }
        let values = members::array(values).map_err(|fault| fault.under(&place))?;
        if values.len() > RESTRICTION_VALUES_MAX {
            let words = format!("{} values: at most {RESTRICTION_VALUES_MAX}", values.len());
            return Err(Fault::new(Code::AboveMaxItems, place, words));
        }
        let text = |(at, value): (usize, &RawValue)| {
            let text = members::text(value).map(Into::into);
            text.map_err(|fault| fault.under(&format!("{place}/{at}")))
        };
        let values: Vec<String> =
            values.into_iter().enumerate().map(text).collect::<Result<_, _>>()?;
        if !values.is_empty() {
            restriction.insert(field.to_owned(), values);
        }
    }
    Ok(restriction)
}

/// What the restriction of an earlier search is held against.
fn asserted(
    members: &mut Members<'_>,
    schema: &Schema,
) -> Result<Option<BTreeMap<String, Vec<String>>>, Fault> {
    let Some(value) = members.take("assert_search_restriction") else { return Ok(None) };
    let read = restriction(value, schema).map(Some);
    read.map_err(|fault| fault.under("/assert_search_restriction"))
}

/// `/v1/results`.
#[derive(Debug)]
pub struct ResultsRequest {
    /// Which log.
    pub config_id: ConfigId,
    /// Which search; what is no id names none.
    pub id: Option<ResultId>,
    /// Events to pass over.
    pub offset: u64,
    /// Events of the page.
    pub limit: u64,
    /// The restriction that the search must have had.
    pub asserted: Option<BTreeMap<String, Vec<String>>>,
}

impl ResultsRequest {
    /// Reads the body of `/v1/results`. Unknown members are let through, as the contract has it.
    pub fn parse(body: &[u8], schema: &Schema) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let id = members.text("id")?.ok_or_else(|| members::missing("id"))?.parse().ok();
        let offset = members.whole("offset", 0, u64::MAX)?.unwrap_or(0);
        let limit = page_events(&mut members)?;
        members.flag("return_context")?;
        let asserted = asserted(&mut members, schema)?;
        Ok(Self { config_id, id, offset, limit, asserted })
    }
}

/// `/v1/root`.
#[derive(Debug)]
pub struct RootRequest {
    /// Which log.
    pub config_id: ConfigId,
    /// Of the tree with so many leaves; the newest published where none is named.
    pub tree_size: Option<u64>,
}

impl RootRequest {
    /// Reads the body of `/v1/root`.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let tree_size = members.whole("tree_size", 1, u64::MAX)?;
        members.finish()?;
        Ok(Self { config_id, tree_size })
    }
}

/// Reads the body of `/v1/schema`: which log.
pub fn parse_schema(body: &[u8]) -> Result<ConfigId, Fault> {
    let mut members = Members::parse(body)?;
    let config_id = config_id(&mut members)?;
    members.finish()?;
    Ok(config_id)
}

/// In which form records are downloaded.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Format {
    /// Comma-separated values, the envelope's fields as columns.
    Csv,
    /// An array of envelopes.
    Json,
}

/// A span of the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Window {
    /// Received from this moment on.
    pub start: Timestamp,
    /// Received before this moment.
    pub end: Option<Timestamp>,
    /// Which come first.
    pub order: SortOrder,
}

const FORMATS: [(&str, Format); 2] = [("csv", Format::Csv), ("json", Format::Json)];

/// `/v1/export`.
#[derive(Debug)]
pub struct ExportRequest {
    /// Which log.
    pub config_id: ConfigId,
    /// Everything that was received then.
    pub window: Window,
    /// In which form, unless the download names another.
    pub format: Format,
}

impl ExportRequest {
    /// Reads the body of `/v1/export`. Without a start, everything is exported. `verbose` says
    /// nothing here: there are no proofs in a file.
    pub fn parse(body: &[u8], schema: &Schema, now: Timestamp) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let format = members.word("format", &FORMATS)?.unwrap_or(Format::Csv);
        members.flag("verbose")?;
        let (start, end) = window(&mut members, "1970-01-01T00:00:00Z", now)?;
        let (order, order_by) = order(&mut members, schema)?;
        members.finish()?;
        if order_by != RECEIVED_AT {
            let words = format!(
                "an export is ordered by received_at: search with another order, up to {RESULTS_MAX} events, and download that"
            );
            return Err(Fault::new(Code::InvalidConst, "/order_by", words));
        }
        Ok(Self { config_id, window: Window { start, end, order }, format })
    }
}

/// `/v1/download_results`.
#[derive(Debug)]
pub struct DownloadRequest {
    /// Which log.
    pub config_id: ConfigId,
    /// Of what.
    pub of: Downloaded,
    /// In which form.
    pub format: Option<Format>,
    /// The restriction that the search must have had.
    pub asserted: Option<BTreeMap<String, Vec<String>>>,
}

/// What is downloaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Downloaded {
    /// What a search found.
    Search(ResultId),
    /// An export.
    Export(RequestId),
}

impl DownloadRequest {
    /// Reads the body of `/v1/download_results`.
    pub fn parse(body: &[u8], schema: &Schema) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let format = members.word("format", &FORMATS)?;
        members.flag("return_context")?;
        let asserted = asserted(&mut members, schema)?;
        let pattern = |name| {
            Fault::new(Code::DoesNotMatchPattern, members::at(name), "an id as it was given")
        };
        let of = match (members.text("result_id")?, members.text("request_id")?) {
            (Some(id), None) => Downloaded::Search(id.parse().map_err(|_| pattern("result_id"))?),
            (None, Some(id)) => Downloaded::Export(id.parse().map_err(|_| pattern("request_id"))?),
            (None, None) => {
                return Err(Fault::new(Code::MustProvideOne, "", "`result_id` or `request_id`"));
            }
            (Some(_), Some(_)) => {
                let words = "`result_id` or `request_id`, not both";
                return Err(Fault::new(Code::MutuallyExclusive, "/request_id", words));
            }
        };
        members.finish()?;
        Ok(Self { config_id, of, format, asserted })
    }
}

/// `/v1/log_stream`: each record of `logs`, or the whole body where it has none, as a message of
/// its canonical JSON.
pub fn parse_stream(body: &[u8], schema: &Schema) -> Result<LogRequest, Fault> {
    let mut members = Members::parse(body)?;
    let config_id = config_id(&mut members)?;
    let invalid = |error: serde_json::Error| Fault::new(Code::InvalidObject, "", error.to_string());
    let records = match members.take("logs").filter(|logs| logs.get().starts_with('[')) {
        Some(logs) => {
            let logs = members::array(logs).map_err(|fault| fault.under("/logs"))?;
            logs.into_iter().enumerate().map(record_in_logs).collect()
        }
        None => vec![(String::new(), serde_json::from_slice(body).map_err(invalid)?)],
    };
    if records.len() > EVENTS_MAX {
        let words = format!("{} records: at most {EVENTS_MAX} are taken", records.len());
        return Err(Fault::new(Code::AboveMaxItems, "/logs", words));
    }
    let items = records.into_iter().map(|(place, record)| {
        let event = format!(r#"{{"event":{{"message":{}}}}}"#, record.get());
        let item =
            RawValue::from_string(event).map_err(invalid).and_then(|event| item(&event, schema));
        // The request has at its place what is the message here.
        item.map_err(|mut fault| {
            let within = fault.source_pointer.strip_prefix("/event/message").unwrap_or_default();
            fault.source_pointer = format!("{place}{within}");
            fault
        })
    });
    let items = items.collect::<Result<_, _>>()?;
    Ok(LogRequest { config_id, items, verbose: false, prev_root: None })
}

/// A record with its place. Auth0's carry what happened under `data`.
fn record_in_logs((at, record): (usize, &RawValue)) -> (String, &RawValue) {
    match Members::of(record).ok().and_then(|mut members| members.take("data")) {
        Some(data) => (format!("/logs/{at}/data"), data),
        None => (format!("/logs/{at}"), record),
    }
}

fn config_id(members: &mut Members<'_>) -> Result<ConfigId, Fault> {
    Ok(members.text("config_id")?.map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_micros(1_795_600_000_000_000)
    }

    fn search(body: &str) -> Result<SearchRequest, (Code, String)> {
        SearchRequest::parse(body.as_bytes(), &Schema::standard(), now())
            .map_err(|fault| (fault.code, fault.source_pointer))
    }

    #[test]
    fn a_search_has_the_contracts_defaults() {
        let request = search("{}").unwrap();
        assert_eq!((request.limit, request.verbose), (20, true));
        let Search { start, end, results_max, order, order_by, .. } = request.search;
        assert_eq!(now().unix_micros() - start.unix_micros(), 14 * 86_400 * 1_000_000);
        assert_eq!(
            (end, results_max, order, &*order_by),
            (None, 10_000, SortOrder::Descending, "received_at")
        );
        let request = search(
            r#"{"query":"a","search_restriction":{"actor":["x"],"source":[]},"max_results":1.0,"order":"asc","order_by":"actor","start":"0d"}"#,
        );
        let Search { restriction, results_max, start, .. } = request.unwrap().search;
        assert_eq!(
            restriction,
            BTreeMap::from([(String::from("actor"), vec![String::from("x")])]),
            "an empty list is all"
        );
        assert_eq!((results_max, start), (1, now()));
    }

    #[test]
    fn custom_fields_are_restricted_as_the_contracts_are() {
        let batch = crate::schema::Field {
            id: String::from("batch"),
            kind: crate::schema::Kind::String,
            size: 64,
            required: false,
        };
        let schema = Schema::with(vec![batch]).unwrap();
        let restriction = r#"{"batch":["a b"],"actor":["x"]}"#;
        let expected = [("actor", "x"), ("batch", "a b")]
            .map(|(field, value)| (field.to_owned(), vec![value.to_owned()]));
        let body = format!(r#"{{"search_restriction":{restriction}}}"#);
        let request = SearchRequest::parse(body.as_bytes(), &schema, now()).unwrap();
        assert_eq!(request.search.restriction, BTreeMap::from(expected.clone()));
        let body = format!(r#"{{"id":"x","assert_search_restriction":{restriction}}}"#);
        let request = ResultsRequest::parse(body.as_bytes(), &schema).unwrap();
        assert_eq!(request.asserted, Some(BTreeMap::from(expected)));
        let fault = ResultsRequest::parse(body.as_bytes(), &Schema::standard()).unwrap_err();
        assert_eq!(fault.source_pointer, "/assert_search_restriction/batch");
    }

    #[test]
    fn what_the_contract_does_not_have_is_refused() {
        for (body, code, place) in [
            (r#"{"max_results":0}"#, Code::IsTooSmall, "/max_results"),
            (r#"{"max_results":10001}"#, Code::IsTooBig, "/max_results"),
            (r#"{"limit":1e30}"#, Code::IsTooBig, "/limit"),
            (r#"{"order":"up"}"#, Code::NotEnumMember, "/order"),
            (r#"{"order_by":"new"}"#, Code::NotEnumMember, "/order_by"),
            (r#"{"start":"0000-0-0T0:0:0"}"#, Code::BadFormatDateTime, "/start"),
            (
                r#"{"search_restriction":{"message":[]}}"#,
                Code::UnexpectedProperty,
                "/search_restriction/message",
            ),
            (
                r#"{"search_restriction":{"actor":[1]}}"#,
                Code::InvalidString,
                "/search_restriction/actor/0",
            ),
            (r#"{"config_id":{}}"#, Code::InvalidString, "/config_id"),
            (r#"{"queries":""}"#, Code::UnexpectedProperty, "/queries"),
        ] {
            assert_eq!(search(body), Err((code, place.to_owned())), "{body}");
        }
    }

    #[test]
    fn a_bulk_has_one_to_a_thousand_events() {
        let bulk = |count: usize| {
            let events = vec![r#"{"event":{"message":"m"}}"#; count].join(",");
            LogRequest::parse_bulk(
                format!(r#"{{"events":[{events}],"other":1}}"#).as_bytes(),
                &Schema::standard(),
            )
        };
        assert_eq!(bulk(1_000).unwrap().items.len(), 1_000);
        assert_eq!(bulk(0).unwrap_err().code, Code::BelowMinItems);
        assert_eq!(bulk(1_001).unwrap_err().code, Code::AboveMaxItems);
        let body = br#"{"events":[{"event":{"message":"m"}},{"event":{"message":"m"},"x":1}]}"#;
        let fault = LogRequest::parse_bulk(body, &Schema::standard()).unwrap_err();
        assert_eq!((fault.code, &*fault.source_pointer), (Code::UnexpectedProperty, "/events/1/x"));
        let body = br#"{"events":[{"event":{"message":"m"}},{"event":{"message":"m","action":"HOLD_PLACED"}}]}"#;
        let fault = LogRequest::parse_bulk(body, &Schema::standard()).unwrap_err();
        assert_eq!(
            (fault.code, &*fault.source_pointer),
            (Code::InvalidConst, "/events/1/event/action")
        );
    }

    #[test]
    fn a_previous_root_may_be_one_that_nobody_gave() {
        let parse = |root: &str| {
            let body = format!(r#"{{"event":{{"message":"m"}},"prev_root":"{root}"}}"#);
            LogRequest::parse_one(body.as_bytes(), &Schema::standard())
                .map(|request| request.prev_root)
        };
        let root = "ab".repeat(32);
        assert_eq!(parse(&root).unwrap(), Some(Hash::from_bytes([0xab; 32])));
        assert_eq!(parse(&format!("{root}00")).unwrap(), None, "the contract's pattern has no end");
        assert_eq!(parse(&"z".repeat(64)).unwrap(), None);
        assert_eq!(parse("abc").unwrap_err().code, Code::DoesNotMatchPattern);
        assert!(parse("").is_err());
    }

    #[test]
    fn a_stream_is_a_message_for_each_record() {
        let messages = |body: &str| {
            let request = parse_stream(body.as_bytes(), &Schema::standard()).unwrap();
            request
                .items
                .iter()
                .map(|item| serde_json::to_string(&item.fields).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            messages(r#"{"logs":[{"log_id":"1","data":{"b":1,"a":2}},{"c":3}]}"#),
            [r#"{"message":"{\"a\":2,\"b\":1}"}"#, r#"{"message":"{\"c\":3}"}"#]
        );
        assert_eq!(messages(r#"{"kind":"x"}"#), [r#"{"message":"{\"kind\":\"x\"}"}"#]);
        assert!(messages(r#"{"logs":[]}"#).is_empty());
        for (record, place) in [
            (r#"{"logs":[{},{"data":7}]}"#, "/logs/1/data"),
            (r#"{"logs":["m",7]}"#, "/logs/1"),
            (&format!(r#"{{"kind":"{}"}}"#, "x".repeat(40_000)), ""),
        ] {
            let fault = parse_stream(record.as_bytes(), &Schema::standard()).unwrap_err();
            assert_eq!(fault.source_pointer, place, "{}", fault.detail);
        }
    }

    #[test]
    fn a_download_is_of_one_thing() {
        let parse = |body: &str| {
            DownloadRequest::parse(body.as_bytes(), &Schema::standard())
                .map_err(|fault| fault.code)
                .map(|request| request.of)
        };
        let id = "0".repeat(32);
        assert_eq!(
            parse(&format!(r#"{{"request_id":"prq_{id}"}}"#)),
            Ok(Downloaded::Export(format!("prq_{id}").parse().unwrap()))
        );
        assert_eq!(parse("{}"), Err(Code::MustProvideOne));
        assert_eq!(
            parse(&format!(r#"{{"request_id":"prq_{id}","result_id":"pas_{id}"}}"#)),
            Err(Code::MutuallyExclusive)
        );
        assert_eq!(parse(r#"{"result_id":"x"}"#), Err(Code::DoesNotMatchPattern));
    }
}

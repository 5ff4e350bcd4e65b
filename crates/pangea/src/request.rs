//! Requests of clients: parses the body of each endpoint.

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

/// Most events of one bulk request, from the contract.
pub const EVENTS_MAX: usize = 1_000;
/// Most events of a page. The contract names no limit; the SDKs' dump asks for this many.
pub const PAGE_EVENTS_MAX: u64 = 1_000;
/// Events of a page if the request names no limit.
const PAGE_EVENTS_DEFAULT: u64 = 20;
/// Most results of a search, from the contract.
pub const RESULTS_MAX: u64 = 10_000;
/// Name of the field that gives the log's own order.
pub const RECEIVED_AT: &str = "received_at";
/// How far a search looks back if it names no start, from the contract.
const START_DEFAULT: &str = "14d";
/// Most values to which a search can restrict one field.
const RESTRICTION_VALUES_MAX: usize = 1_000;

/// The log that a request is for; `None` for the log of its token.
pub type ConfigId = Option<String>;

/// Request of `/v1/log`, `/v2/log` and `/v2/log_async`.
#[derive(Debug)]
pub struct LogRequest {
    /// The log to write to.
    pub config_id: ConfigId,
    /// The events to seal: 1 to [`EVENTS_MAX`].
    pub items: Vec<Item>,
    /// Whether the client wants envelopes and proofs.
    pub verbose: bool,
    /// Newest root that the client has seen.
    pub prev_root: Option<Hash>,
}

impl LogRequest {
    /// Parses the body of `/v1/log`.
    ///
    /// # Errors
    /// The body is not valid for this endpoint. The fault names the place.
    pub fn parse_one(body: &[u8], schema: &Schema) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let verbose = members.flag("verbose")?.unwrap_or(false);
        let prev_root = members.text("prev_root")?.map(|text| prev_root(&text)).transpose()?;
        let item = Item::take(&mut members, schema)?;
        members.finish()?;
        Ok(Self { config_id, items: vec![item], verbose, prev_root: prev_root.flatten() })
    }

    /// Parses the body of `/v2/log`. It ignores unknown members, as the contract demands.
    ///
    /// # Errors
    /// The body is not valid for this endpoint. The fault names the place.
    pub fn parse_bulk(body: &[u8], schema: &Schema) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let verbose = members.flag("verbose")?.unwrap_or(false);
        let events = members.array("events")?.ok_or_else(|| members::missing("events"))?;
        let refused = |code| {
            let words = format!("{} events, but 1 to {EVENTS_MAX} are allowed", events.len());
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

/// The contract sets no maximum length. A text that is longer than a hash or not hex is a root that
/// this log never had.
fn prev_root(text: &str) -> Result<Option<Hash>, Fault> {
    let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !text.as_bytes().get(..64).is_some_and(|digits| digits.iter().copied().all(is_digit)) {
        return Err(Fault::new(Code::DoesNotMatchPattern, "/prev_root", "a root's 64 hex digits"));
    }
    let mut bytes = [0; Hash::LEN];
    Ok(hex::decode_to_slice(text, &mut bytes).ok().map(|()| Hash::from_bytes(bytes)))
}

/// Request of `/v1/search`, with absolute times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SearchRequest {
    /// The log to search.
    pub config_id: ConfigId,
    /// The search itself.
    pub search: Search,
    /// Whether the client wants hashes and proofs.
    pub verbose: bool,
    /// Most events of the first page.
    pub limit: u64,
}

/// What to search for, and the order of the results.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Search {
    /// Search in Pangea's query language.
    pub query: String,
    /// Only events received at or after this time.
    pub start: Timestamp,
    /// Only events received before this time.
    pub end: Option<Timestamp>,
    /// Most events to count.
    pub results_max: u64,
    /// Direction of the order.
    pub order: SortOrder,
    /// Name of the field that orders the results.
    pub order_by: String,
    /// For each field, texts one of which its whole value must equal.
    pub restriction: BTreeMap<String, Vec<String>>,
}

/// Direction of an order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SortOrder {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

const ORDERS: [(&str, SortOrder); 2] =
    [("asc", SortOrder::Ascending), ("desc", SortOrder::Descending)];
/// Fields by which the contract lets a client order, and which it can restrict. Custom fields come
/// in addition.
const ORDERED_BY: [&str; 8] =
    ["actor", "action", "message", RECEIVED_AT, "source", "status", "target", "timestamp"];
const RESTRICTED: [&str; 6] = ["actor", "action", "source", "status", "target", "tenant_id"];

impl SearchRequest {
    /// Parses the body of `/v1/search`.
    ///
    /// # Errors
    /// The body is not valid for this endpoint. The fault names the place.
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

/// Parses restrictions. An empty list restricts nothing.
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
            let words = format!(
                "{} values, but at most {RESTRICTION_VALUES_MAX} are allowed",
                values.len()
            );
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

/// Parses the restriction that the earlier search must have had.
fn asserted(
    members: &mut Members<'_>,
    schema: &Schema,
) -> Result<Option<BTreeMap<String, Vec<String>>>, Fault> {
    let Some(value) = members.take("assert_search_restriction") else { return Ok(None) };
    let read = restriction(value, schema).map(Some);
    read.map_err(|fault| fault.under("/assert_search_restriction"))
}

/// Request of `/v1/results`.
#[derive(Debug)]
pub struct ResultsRequest {
    /// The log that was searched.
    pub config_id: ConfigId,
    /// The search; `None` if the text is not an id.
    pub id: Option<ResultId>,
    /// Number of events to skip.
    pub offset: u64,
    /// Most events of the page.
    pub limit: u64,
    /// Restriction that the search must have had.
    pub asserted: Option<BTreeMap<String, Vec<String>>>,
}

impl ResultsRequest {
    /// Parses the body of `/v1/results`. It ignores unknown members, as the contract demands.
    ///
    /// # Errors
    /// The body is not valid for this endpoint. The fault names the place.
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

/// Request of `/v1/root`.
#[derive(Debug)]
pub struct RootRequest {
    /// The log whose root is asked for.
    pub config_id: ConfigId,
    /// Number of leaves of the tree; `None` for the newest published tree.
    pub tree_size: Option<u64>,
}

impl RootRequest {
    /// Parses the body of `/v1/root`.
    ///
    /// # Errors
    /// The body is not valid for this endpoint. The fault names the place.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut members = Members::parse(body)?;
        let config_id = config_id(&mut members)?;
        let tree_size = members.whole("tree_size", 1, u64::MAX)?;
        members.finish()?;
        Ok(Self { config_id, tree_size })
    }
}

/// Parses the body of `/v1/schema`, which names only a log.
///
/// # Errors
/// The body is not valid for this endpoint. The fault names the place.
pub fn parse_schema(body: &[u8]) -> Result<ConfigId, Fault> {
    let mut members = Members::parse(body)?;
    let config_id = config_id(&mut members)?;
    members.finish()?;
    Ok(config_id)
}

/// Format of a download.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Format {
    /// Comma-separated values, with the envelope's fields as columns.
    Csv,
    /// A JSON array of envelopes.
    Json,
}

/// A time span of the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Window {
    /// Only events received at or after this time.
    pub start: Timestamp,
    /// Only events received before this time.
    pub end: Option<Timestamp>,
    /// Direction of the order.
    pub order: SortOrder,
}

const FORMATS: [(&str, Format); 2] = [("csv", Format::Csv), ("json", Format::Json)];

/// Request of `/v1/export`.
#[derive(Debug)]
pub struct ExportRequest {
    /// The log to export.
    pub config_id: ConfigId,
    /// All events received in this span are exported.
    pub window: Window,
    /// Format, unless the download names another.
    pub format: Format,
}

impl ExportRequest {
    /// Parses the body of `/v1/export`. Without a start, everything is exported. `verbose` has no
    /// effect, because a file holds no proofs.
    ///
    /// # Errors
    /// The body is not valid for this endpoint. The fault names the place.
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
                "an export is always ordered by received_at: for another order, search for up to {RESULTS_MAX} events and download the results"
            );
            return Err(Fault::new(Code::InvalidConst, "/order_by", words));
        }
        Ok(Self { config_id, window: Window { start, end, order }, format })
    }
}

/// Request of `/v1/download_results`.
#[derive(Debug)]
pub struct DownloadRequest {
    /// The log that the download is from.
    pub config_id: ConfigId,
    /// The results to download.
    pub of: Downloaded,
    /// Format; `None` for the default.
    pub format: Option<Format>,
    /// Restriction that the search must have had.
    pub asserted: Option<BTreeMap<String, Vec<String>>>,
}

/// The results that a download holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Downloaded {
    /// Results of this search.
    Search(ResultId),
    /// Records of the export with this request id.
    Export(RequestId),
}

impl DownloadRequest {
    /// Parses the body of `/v1/download_results`.
    ///
    /// # Errors
    /// The body is not valid for this endpoint. The fault names the place.
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

/// Parses the body of `/v1/log_stream`: each record of `logs`, or the whole body if it has none.
/// The canonical JSON of a record becomes the message of an event.
///
/// # Errors
/// The body is not valid for this endpoint. The fault names the place.
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
        let words = format!("{} records, but at most {EVENTS_MAX} are allowed", records.len());
        return Err(Fault::new(Code::AboveMaxItems, "/logs", words));
    }
    let items = records.into_iter().map(|(place, record)| {
        let event = format!(r#"{{"event":{{"message":{}}}}}"#, record.get());
        let item =
            RawValue::from_string(event).map_err(invalid).and_then(|event| item(&event, schema));
        // In the request, the record itself stands where this event has its message.
        item.map_err(|mut fault| {
            let within = fault.source_pointer.strip_prefix("/event/message").unwrap_or_default();
            fault.source_pointer = format!("{place}{within}");
            fault
        })
    });
    let items = items.collect::<Result<_, _>>()?;
    Ok(LogRequest { config_id, items, verbose: false, prev_root: None })
}

/// A record and its place. Auth0 puts the event of a record under `data`.
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

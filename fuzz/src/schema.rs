//! Fields and patterns, as the file `pangea.json` names them: a schema that is taken has all of its
//! fields and the contract's, and sends an event through.

use std::collections::BTreeMap;

use pangea::{Schema, schema::Field};

pub(crate) fn run(file: &[u8]) {
    let Ok((fields, redact)) =
        serde_json::from_slice::<(Vec<Field>, BTreeMap<String, Vec<String>>)>(file)
    else {
        return;
    };
    let ids: Vec<String> = fields.iter().map(|field| field.id.clone()).collect();
    let Ok(schema) = Schema::with(fields) else { return };
    for id in ids.iter().map(String::as_str).chain(["message", "timestamp"]) {
        assert!(schema.field(id).is_some(), "{id}");
    }
    let _redacting = schema.redacting(redact);
}

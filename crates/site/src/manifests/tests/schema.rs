//! Checks a resource against the schema that wasmCloud publishes for its kind, more strictly than
//! Kubernetes does: what the schema does not name is a fault, where Kubernetes would drop it and
//! say nothing. A keyword that this check does not know is one, too.

use std::{collections::HashSet, fs};

use regex_lite::Regex;
use serde_json::{Map, Value};

/// The rules in Kubernetes' own language, by how their messages begin. Both hold if no two entries
/// have the same namespace and package, and none a name.
const RULES: [&str; 2] =
    ["hostInterfaces must not contain duplicate", "at most one unnamed hostInterface"];

/// The schema of a kind's only version. `plural` is the kind's name in the file's.
pub(super) fn of(plural: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/wasmcloud-crds");
    let path = format!("{folder}/runtime.wasmcloud.dev_{plural}.yaml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let definition: Value = serde_saphyr::from_str(&text).unwrap();
    let [version] = definition["spec"]["versions"].as_array().unwrap().as_slice() else {
        panic!("{path} has not one version")
    };
    assert_eq!(version["name"], "v1alpha1");
    version["schema"]["openAPIV3Schema"].clone()
}

/// What is wrong with a resource, each with its place.
pub(super) fn faults(schema: &Value, resource: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    // Kubernetes itself checks a resource's metadata, whatever its schema says.
    let mut own = resource.clone();
    own.as_object_mut().unwrap().remove("metadata");
    check(schema, &own, "", &mut faults);
    faults
}

fn check(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    for (keyword, says) in schema.as_object().unwrap() {
        let fault = match keyword.as_str() {
            "description" | "default" | "x-kubernetes-map-type" => None,
            "type" => (!is_of_type(value, says.as_str().unwrap())).then(|| format!("is no {says}")),
            "format" if says == "int32" => value
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_err())
                .then(|| String::from("is no int32")),
            "minimum" => (value.as_i64() < says.as_i64()).then(|| format!("is less than {says}")),
            "minItems" | "maxItems" => {
                let (has, says) = (items(value).len() as u64, says.as_u64().unwrap());
                let is_within = if keyword == "minItems" { has >= says } else { has <= says };
                (!is_within).then(|| format!("has {has} items, {keyword} is {says}"))
            }
            "maxLength" => {
                let has = value.as_str().unwrap_or_default().chars().count() as u64;
                (has > says.as_u64().unwrap()).then(|| format!("has {has} characters"))
            }
            "pattern" => {
                let pattern = Regex::new(says.as_str().unwrap()).unwrap();
                let is_match = value.as_str().is_some_and(|text| pattern.is_match(text));
                (!is_match).then(|| format!("does not match {says}"))
            }
            "items" => {
                for (index, item) in items(value).iter().enumerate() {
                    check(says, item, &format!("{at}/{index}"), faults);
                }
                None
            }
            "properties" => {
                for (name, value) in fields(value) {
                    if let Some(schema) = says.get(name) {
                        check(schema, value, &format!("{at}/{name}"), faults);
                    }
                }
                None
            }
            "additionalProperties" => {
                for (name, value) in fields(value) {
                    check(says, value, &format!("{at}/{name}"), faults);
                }
                None
            }
            "required" => {
                let missing = items(says).iter().find(|name| {
                    !fields(value).any(|(field, _)| Some(field.as_str()) == name.as_str())
                });
                missing.map(|name| format!("has no {name}"))
            }
            "x-kubernetes-validations" => {
                for rule in items(says) {
                    let words = rule["message"].as_str().unwrap();
                    assert!(RULES.iter().any(|known| words.starts_with(known)), "{words}");
                }
                let all = items(value);
                let package = |it: &Value| (it["namespace"].clone(), it["package"].clone());
                let packages: HashSet<_> = all.iter().map(package).collect();
                let is_met =
                    packages.len() == all.len() && all.iter().all(|it| it["name"].is_null());
                (!is_met).then(|| String::from("names a package twice"))
            }
            unknown => panic!("the check does not know the keyword {unknown} at {at}"),
        };
        faults.extend(fault.map(|fault| format!("{at} {fault}")));
    }
    if schema.get("additionalProperties").is_none() {
        let known = schema.get("properties").and_then(Value::as_object);
        for (name, _) in fields(value) {
            if !known.is_some_and(|known| known.contains_key(name)) {
                faults.push(format!("{at} has the unknown field {name}"));
            }
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        unknown => panic!("the check does not know the type {unknown}"),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

//! The document has every route and no other, and what it says of methods is so.

use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::from_str(openapi::DOCUMENT).expect("JSON")
}

/// Every operation: path and method.
fn operations(document: &Value) -> Vec<(&str, &str)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (path.as_str(), method.as_str()))
        })
        .collect()
}

#[test]
fn it_has_every_route_and_no_other() {
    let document = document();
    let described: BTreeSet<&str> =
        operations(&document).iter().map(|(path, _)| path.split('{').next().unwrap()).collect();
    let routed: BTreeSet<&str> = ROUTES.iter().map(|(pattern, _)| *pattern).collect();
    assert_eq!(described, routed);
    // What takes everything below it either lists and finds by id, or says the same for all of it.
    for (path, _) in operations(&document) {
        let below = path.strip_suffix("{id}").is_some_and(|list| document["paths"].get(list).is_some());
        assert!(!path.contains('{') || below || path == "/console/{path}", "{path}");
    }
}

#[test]
fn every_operation_is_answered() {
    let f = Fixture::new();
    let document = document();
    for (path, method) in operations(&document) {
        let target = path.replace("{id}", "7").replace("{path}", "x");
        let line = format!("{} {target}", method.to_ascii_uppercase());
        if let ApiCall::Answer(response) = f.route(&request(&line, "Host: localhost\r\n")) {
            let responses = &document["paths"][path][method]["responses"];
            let described = &responses[response.status.to_string()];
            assert!(!described.is_null(), "{line}: {} is not described", response.status);
            let content_type = response.content_type.split(';').next().unwrap();
            let content = described["content"].as_object().is_some_and(|all| all.contains_key(content_type));
            assert!(content || described.get("$ref").is_some(), "{line}: {content_type}");
            assert!(!matches!(response.status, 404 | 405), "{line}: {}", response.status);
        }
    }
}

#[test]
fn what_it_refers_to_is_there_and_all_of_it_is_used() {
    let document = document();
    let text = openapi::DOCUMENT;
    let used: BTreeSet<&str> =
        text.split("\"#/components/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let kinds = document["components"].as_object().unwrap().iter();
    let there: BTreeSet<String> = kinds
        .flat_map(|(kind, all)| all.as_object().unwrap().keys().map(move |name| format!("{kind}/{name}")))
        .collect();
    assert_eq!(used, there.iter().map(String::as_str).collect());
    assert_eq!(document["info"]["version"], crate::srs_version());
}

#[test]
fn it_is_served_as_it_is() {
    let f = Fixture::new();
    let answer = f.answer(&get("/api/v1/openapi.json"));
    assert_eq!((answer.status, &*answer.content_type), (200, "application/json"));
    assert_eq!(text(&answer), openapi::DOCUMENT);
}

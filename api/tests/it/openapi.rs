//! The OpenAPI document: what it says is committed, so that every change of the contract is seen in review.

use std::{collections::BTreeSet, path::Path};

use crate::{harness::Server, routes::listed};

/// Set to write `api/openapi.json` anew instead of comparing with it.
const REFRESH: &str = "WEBCHAT_REFRESH_OPENAPI";

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let server = Server::spawn().await;
    let answer = server.client().get("/api/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let served = format!("{}\n", serde_json::to_string_pretty(&answer.json()).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os(REFRESH).is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let first =
        served.lines().zip(committed.lines()).find(|(served, committed)| served != committed);
    assert!(
        served == committed,
        "api/openapi.json is not what the api serves, from {first:?} on; if the change is meant: \
         {REFRESH}=1 cargo test -p api --test it the_committed_document"
    );
}

/// Paths of all handlers in the sources, as (method, path).
fn handlers() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for part in text.split("#[utoipa::path(").skip(1) {
            let method = part.split(',').next().unwrap().trim().to_uppercase();
            let path = part.split("path = \"").nth(1).unwrap().split('"').next().unwrap();
            found.insert(format!("{method} {path}"));
        }
    }
    found
}

#[tokio::test]
async fn the_document_names_every_handler_and_every_route_is_documented() {
    let server = Server::spawn().await;
    let document = server.client().get("/api/openapi.json").await.ok();
    let documented: BTreeSet<String> = listed(&document).iter().map(|o| o.name()).collect();
    assert_eq!(documented, handlers(), "a handler that no router has, or the other way round");
    // Only the document itself and its page are routed by hand.
    let router = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/mod.rs");
    let by_hand: Vec<String> = std::fs::read_to_string(router)
        .unwrap()
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(by_hand, ["/api/openapi.json", "/api/docs"]);
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let server = Server::spawn().await;
    let document = server.client().get("/api/openapi.json").await;
    let text = String::from_utf8(document.body.to_vec()).unwrap();
    let document = document.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn the_page_shows_every_path_and_runs_no_script() {
    let server = Server::spawn().await;
    let client = server.client();
    let document = client.get("/api/openapi.json").await.json();
    let page = client.get("/api/docs").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for operation in listed(&document) {
        assert!(text.contains(&operation.path), "{}", operation.path);
    }
    assert!(!text.contains("<script") && !text.contains("http://") && !text.contains("https://"));
}

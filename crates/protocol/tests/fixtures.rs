//! The golden frames that the Rust types, the frontend and PROTOCOL.md agree on.
//!
//! Owns: reading `fixtures/*.json`. Never does: talk to a server. Talks to: `protocol`; `wire.test.ts` reads the same files.
//! Start reading at: the first test.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    CloseCode, ErrorCode, EventKind, ServerFrame, close::Reconnect, command::Parser, error::Retry,
};
use serde_json::Value;

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_server_frame_survives_parsing_and_printing() {
    let mut types = BTreeSet::new();
    for value in read::<Vec<Value>>("server_frames") {
        types.insert(value["type"].as_str().unwrap().to_owned());
        let frame: ServerFrame = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&frame).unwrap(), value);
    }
    for kind in EventKind::ALL {
        assert!(types.contains(kind.as_str()), "no fixture for {kind:?}");
    }
    assert_eq!(types.len(), 20, "{types:?}");
}

#[test]
fn every_command_is_parsed_with_its_id() {
    let mut ops = BTreeSet::new();
    for value in read::<Vec<Value>>("commands") {
        let mut message = value.to_string().into_bytes();
        let mut parser = Parser::default();
        let (command, id) = parser.parse(&mut message).unwrap();
        assert_eq!(command.op(), value["type"].as_str().unwrap());
        assert_eq!(id.map(u64::from), value["id"].as_u64());
        ops.insert(command.op());
    }
    assert_eq!(ops.len(), 7, "{ops:?}");
}

#[test]
fn what_is_no_command_is_refused_with_its_code() {
    for case in read::<Vec<Value>>("refused_commands") {
        let mut message = case["command"].to_string().into_bytes();
        let refused = Parser::default().parse(&mut message).unwrap_err();
        assert_eq!(refused.code.as_str(), case["code"].as_str().unwrap(), "{}", case["command"]);
    }
}

#[test]
fn r41_error_codes_and_their_retry() {
    let ours: BTreeMap<String, String> = ErrorCode::ALL
        .iter()
        .map(|code| {
            let retry = match code.retry() {
                Retry::Never => "never",
                Retry::Later => "later",
                Retry::Unknown => "unknown",
            };
            (code.as_str().to_owned(), retry.to_owned())
        })
        .collect();
    assert_eq!(ours, read("error_codes"));
}

#[test]
fn close_codes_and_their_reconnect() {
    let ours: BTreeMap<String, String> = CloseCode::ALL
        .iter()
        .map(|code| {
            let reconnect = match code.reconnect() {
                Reconnect::Now => "now",
                Reconnect::Backoff => "backoff",
                Reconnect::AfterRefresh => "after_refresh",
                Reconnect::Never => "never",
            };
            (code.code().to_string(), reconnect.to_owned())
        })
        .collect();
    assert_eq!(ours, read("close_codes"));
}

//! The api's own metrics (OPS.md §4, `api_*`).
//!
//! Owns: a recorder of its own, so that an all-in-one process has no second global one; the text for `/metrics`.
//! Never does: labels that grow with users or conversations (routes are templates). Talks to: metrics.
//! Start reading at: [`Metrics`].

use std::sync::Arc;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// Buckets of every duration, in seconds.
const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of sizes, in events.
const EVENTS: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];

fn events_together() -> Matcher {
    Matcher::Full("api_persister_batch_messages".to_owned())
}

static METADATA: Metadata<'static> = Metadata::new("api", Level::INFO, None);

/// Counts and times. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(events_together(), &EVENTS))
            .expect("invariant: no list of buckets is empty")
            .build_recorder();
        recorder.describe_counter(
            "api_http_requests_total".into(),
            None,
            "requests by route template, method and status".into(),
        );
        recorder.describe_histogram(
            "api_http_request_duration_seconds".into(),
            None,
            "time to the head of the answer, by route template".into(),
        );
        recorder.describe_counter(
            "api_messages_appended_total".into(),
            None,
            "durable events appended through http, by kind and result".into(),
        );
        recorder.describe_gauge(
            "api_persister_lag_seconds".into(),
            Some(metrics::Unit::Seconds),
            "age of the oldest batch that is in the log and not in the store".into(),
        );
        recorder.describe_gauge(
            "api_persister_lag_messages".into(),
            None,
            "batches that are in the log and not in the store".into(),
        );
        recorder.describe_gauge(
            "api_log_memory_ratio".into(),
            None,
            "share of its memory that the log uses; above 0.8 it takes no publishes until below 0.7"
                .into(),
        );
        recorder.describe_histogram(
            "api_persister_batch_messages".into(),
            None,
            "events stored together".into(),
        );
        recorder.describe_counter(
            "api_persister_dead_letters_total".into(),
            None,
            "events that could not be stored; must be 0".into(),
        );
        let handle = recorder.handle();
        Self { recorder: Arc::new(recorder), handle }
    }
}

impl Metrics {
    /// One answered request.
    pub fn request(&self, route: &str, method: &str, status: u16, seconds: f64) {
        let route = Label::new("route", route.to_owned());
        let labels = vec![
            route.clone(),
            Label::new("method", method.to_owned()),
            Label::new("code", status.to_string()),
        ];
        let key = Key::from_parts("api_http_requests_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
        let key = Key::from_parts("api_http_request_duration_seconds", vec![route]);
        self.recorder.register_histogram(&key, &METADATA).record(seconds);
    }

    /// One envelope with its outcome.
    pub fn appended(&self, kind: &'static str, result: &'static str) {
        let labels = vec![Label::new("kind", kind), Label::new("result", result)];
        let key = Key::from_parts("api_messages_appended_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// How far the store is behind the log.
    pub fn persister_lag(&self, partition: u16, seconds: f64, batches: u64) {
        let labels = vec![Label::new("partition", partition.to_string())];
        let key = Key::from_parts("api_persister_lag_seconds", labels.clone());
        self.recorder.register_gauge(&key, &METADATA).set(seconds);
        let key = Key::from_parts("api_persister_lag_messages", labels);
        self.recorder.register_gauge(&key, &METADATA).set(batches as f64);
    }

    /// The share of its memory that the log uses.
    pub fn log_memory(&self, partition: u16, ratio: f64) {
        let labels = vec![Label::new("partition", partition.to_string())];
        let key = Key::from_parts("api_log_memory_ratio", labels);
        self.recorder.register_gauge(&key, &METADATA).set(ratio);
    }

    /// Events stored together.
    pub fn persisted(&self, n_events: usize) {
        let key = Key::from_name("api_persister_batch_messages");
        self.recorder.register_histogram(&key, &METADATA).record(n_events as f64);
    }

    /// An event that could not be stored.
    pub fn dead_letter(&self, reason: &'static str) {
        let labels = vec![Label::new("reason", reason)];
        let key = Key::from_parts("api_persister_dead_letters_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// For other parts of the api that record through the macros of `metrics`.
    pub fn recorder(&self) -> &PrometheusRecorder {
        &self.recorder
    }

    /// Folds histogram samples into buckets; they pile up unless somebody does this now and then.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The text format 0.0.4.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

//! What a node counts, and how it is shown at `/metrics` (OPS.md §4 names).
//!
//! Owns: per-shard counters (plain, single writer) and their names. Never does: labels that grow with users.
//! Talks to: nobody. Start reading at: [`ShardMetrics`].

use std::{
    fmt::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use backplane::standing::Standing;
use protocol::CloseCode;

use crate::handshake::Refusal;

/// Upper bounds of latency buckets, in microseconds.
const LATENCY_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
/// Upper bounds of size buckets.
const SIZES: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// A counter or gauge. Relaxed: nothing is ordered by it.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
    /// Takes away (gauges).
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }
    /// Sets (gauges).
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram with fixed buckets: memory stays the same whoever scrapes, or nobody.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: [Number; N],
    over: Number,
    sum: Number,
}

/// Of latencies.
pub type Latency = Histogram<16>;
/// Of counts.
pub type Sizes = Histogram<11>;

impl Default for Latency {
    fn default() -> Self {
        Self::with(&LATENCY_US)
    }
}
impl Default for Sizes {
    fn default() -> Self {
        Self::with(&SIZES)
    }
}

impl<const N: usize> Histogram<N> {
    fn with(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| Number::default()),
            over: Number::default(),
            sum: Number::default(),
        }
    }

    /// Counts one observation, in the unit of the bounds (microseconds, or items).
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(bucket).unwrap_or(&self.over).add(1);
        self.sum.add(value);
    }

    fn render(&self, out: &mut String, name: &str, help: &str, scale: f64) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        self.render_series(out, name, "", scale);
    }

    /// The series of one set of labels (`a="b"`, or none), without the head.
    fn render_series(&self, out: &mut String, name: &str, labels: &str, scale: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count.get();
            let bound = *bound as f64 / scale;
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
        }
        total += self.over.get();
        let sum = self.sum.get() as f64 / scale;
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(
            out,
            "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}\n{name}_sum{braces} {sum}\n{name}_count{braces} {total}"
        );
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the label is the documentation")]
        pub enum $name { $($variant,)* }
        impl $name {
            /// All labels, in order.
            pub const ALL: &'static [(&'static str, $name)] = &[$(($text, $name::$variant),)*];
        }
    };
}

labels! {
    /// Why a connection ended.
    Closed {
        ClientClose = "client_close", ClientGone = "client_gone", PingTimeout = "ping_timeout",
        SlowConsumer = "slow_consumer", AuthExpired = "auth_expired", ProtocolError = "protocol_error",
        RateLimited = "rate_limited", Drain = "drain", Kicked = "kicked", IoError = "io_error", Internal = "internal",
    }
}
/// How a close of ours is counted.
impl From<CloseCode> for Closed {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Normal => Self::ClientClose,
            CloseCode::ProtocolError
            | CloseCode::UnsupportedData
            | CloseCode::InvalidUtf8
            | CloseCode::TooBig
            | CloseCode::BadCommands
            | CloseCode::HelloTimeout => Self::ProtocolError,
            CloseCode::Internal | CloseCode::TryAgainLater => Self::Internal,
            CloseCode::ServiceRestart => Self::Drain,
            CloseCode::Unauthorized => Self::AuthExpired,
            CloseCode::Forbidden => Self::Kicked,
            CloseCode::PingTimeout => Self::PingTimeout,
            CloseCode::SlowConsumer => Self::SlowConsumer,
            CloseCode::RateLimited => Self::RateLimited,
        }
    }
}

labels! {
    /// What became of a publish.
    Published {
        Ok = "ok", Denied = "denied", RateLimited = "rate_limited", Invalid = "invalid", TooLarge = "too_large", Error = "error",
    }
}
labels! {
    /// How a connection continued.
    Resumed { Memory = "memory", Api = "api", Reset = "reset", }
}
labels! {
    /// Why a delivery fell.
    Dropped { SlowConsumer = "slow_consumer", QueueFull = "queue_full", ConnClosed = "conn_closed", }
}

/// Counters of one shard. Written by its thread, read at a scrape.
#[derive(Debug)]
#[allow(missing_docs, reason = "the table in `SHARD` documents each one")]
pub struct ShardMetrics {
    pub connections: Number,
    pub opened: Number,
    pub closed: [Number; Closed::ALL.len()],
    pub published: [Number; Published::ALL.len()],
    pub delivered: Number,
    pub dropped: [Number; Dropped::ALL.len()],
    pub frames_in: Number,
    pub frames_out: Number,
    pub bytes_in: Number,
    pub bytes_out: Number,
    pub users: Number,
    pub groups: Number,
    pub outbox_bytes: Number,
    pub ring_lost: Number,
    pub mailbox_full: Number,
    pub busy_us: Number,
    pub shed: Number,
    pub loop_lag: Latency,
    pub resumed: [Number; Resumed::ALL.len()],
}

impl Default for ShardMetrics {
    fn default() -> Self {
        Self {
            connections: Number::default(),
            opened: Number::default(),
            closed: std::array::from_fn(|_| Number::default()),
            published: std::array::from_fn(|_| Number::default()),
            delivered: Number::default(),
            dropped: std::array::from_fn(|_| Number::default()),
            frames_in: Number::default(),
            frames_out: Number::default(),
            bytes_in: Number::default(),
            bytes_out: Number::default(),
            users: Number::default(),
            groups: Number::default(),
            outbox_bytes: Number::default(),
            ring_lost: Number::default(),
            mailbox_full: Number::default(),
            busy_us: Number::default(),
            shed: Number::default(),
            loop_lag: Latency::default(),
            resumed: std::array::from_fn(|_| Number::default()),
        }
    }
}

/// Counters of one node.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "`render` documents each one")]
pub struct NodeMetrics {
    /// Which run of which process: what `welcome` calls `node`.
    pub node: Number,
    pub shards: Vec<Arc<ShardMetrics>>,
    pub handshakes_ok: Number,
    pub handshakes: [Number; 6],
    pub connections_limit: Number,
    pub ack_seconds: Latency,
    pub append_seconds: Latency,
    pub batch_messages: Sizes,
    pub write_batch_frames: Sizes,
    pub fanout_recipients: Sizes,
    pub append_errors: Number,
    /// Set once the log is there: one per partition.
    pub standings: OnceLock<Vec<Arc<Standing>>>,
    pub ring_bytes: Number,
    pub tail_bytes: Number,
    pub presence_entries: Number,
    /// 0 starting, 1 ready, 2 draining, 3 stopped.
    pub state: Number,
    pub accept_errors: Number,
}

type ShardRow = (&'static str, &'static str, &'static str, fn(&ShardMetrics) -> u64);

/// Name, type, help, value: one line per shard and row.
const SHARD: &[ShardRow] = &[
    ("broker_connections", "gauge", "Open connections.", |m| m.connections.get()),
    ("broker_connections_opened_total", "counter", "Connections accepted.", |m| m.opened.get()),
    ("broker_messages_delivered_total", "counter", "Events handed to sockets.", |m| {
        m.delivered.get()
    }),
    ("broker_subscriptions", "gauge", "Users with a connection.", |m| m.users.get()),
    ("broker_conversations_active", "gauge", "Groups with a member here.", |m| m.groups.get()),
    ("broker_outbox_bytes", "gauge", "Bytes waiting to be written.", |m| m.outbox_bytes.get()),
    ("broker_ring_lost_total", "counter", "Times the shard fell off the ring.", |m| {
        m.ring_lost.get()
    }),
    ("broker_mailbox_full_total", "counter", "Mails that found no room.", |m| m.mailbox_full.get()),
];

impl NodeMetrics {
    /// Metrics of a node with so many shards.
    pub fn new(shards: usize) -> Arc<Self> {
        let shards = (0..shards).map(|_| Arc::default()).collect();
        Arc::new(Self { shards, ..Self::default() })
    }

    /// Counts a refused handshake.
    pub fn refused(&self, refusal: Refusal) {
        self.handshakes[refusal as usize].add(1);
    }

    /// The page, in Prometheus text format 0.0.4. Every series of an enum is there from the start.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        self.render_node(&mut out);
        self.render_partitions(&mut out);
        for (name, kind, help, value) in SHARD {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (shard, metrics) in self.shards.iter().enumerate() {
                let _ = writeln!(out, "{name}{{shard=\"{shard}\"}} {}", value(metrics));
            }
        }
        let busy = "broker_shard_busy_seconds_total";
        let _ = writeln!(out, "# HELP {busy} Time spent working.\n# TYPE {busy} counter");
        for (shard, metrics) in self.shards.iter().enumerate() {
            let _ =
                writeln!(out, "{busy}{{shard=\"{shard}\"}} {}", metrics.busy_us.get() as f64 / 1e6);
        }
        let lag = "broker_shard_loop_lag_seconds";
        let _ = writeln!(out, "# HELP {lag} How late ticks come.\n# TYPE {lag} histogram");
        for (shard, metrics) in self.shards.iter().enumerate() {
            metrics.loop_lag.render_series(&mut out, lag, &format!("shard=\"{shard}\""), 1e6);
        }
        self.render_labelled(&mut out);
        self.ack_seconds.render(
            &mut out,
            "broker_publish_ack_seconds",
            "Frame read to ack queued.",
            1e6,
        );
        self.append_seconds.render(
            &mut out,
            "broker_backplane_append_seconds",
            "Envelope queued to append answered.",
            1e6,
        );
        self.batch_messages.render(
            &mut out,
            "broker_backplane_batch_messages",
            "Envelopes per append.",
            1.0,
        );
        self.write_batch_frames.render(
            &mut out,
            "broker_write_batch_frames",
            "Frames per write.",
            1.0,
        );
        self.fanout_recipients.render(
            &mut out,
            "broker_fanout_recipients",
            "Local recipients of an event.",
            1.0,
        );
        out
    }

    fn render_node(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "# HELP broker_build_info What runs here.\n# TYPE broker_build_info gauge\nbroker_build_info{{version=\"{}\",node=\"{:016x}\"}} 1",
            env!("CARGO_PKG_VERSION"),
            self.node.get()
        );
        let _ = writeln!(
            out,
            "# HELP broker_node_state Where the node is in its life.\n# TYPE broker_node_state gauge"
        );
        for (number, state) in ["starting", "ready", "draining", "stopped"].iter().enumerate() {
            let is = u64::from(self.state.get() == number as u64);
            let _ = writeln!(out, "broker_node_state{{state=\"{state}\"}} {is}");
        }
        let rows: [(&str, &str, &str, u64); 7] = [
            (
                "broker_connections_limit",
                "gauge",
                "Connections at most.",
                self.connections_limit.get(),
            ),
            (
                "broker_backplane_errors_total",
                "counter",
                "Appends without verdicts.",
                self.append_errors.get(),
            ),
            ("broker_ring_bytes", "gauge", "Bytes in the ring.", self.ring_bytes.get()),
            ("broker_tail_bytes", "gauge", "Bytes in the Tail.", self.tail_bytes.get()),
            (
                "broker_presence_entries",
                "gauge",
                "Users in the presence map.",
                self.presence_entries.get(),
            ),
            (
                "broker_shed_state",
                "gauge",
                "Overload ladder of the worst shard: 1 typing and presence, 2 receipts, 3 publishes.",
                self.shards.iter().map(|shard| shard.shed.get()).max().unwrap_or(0),
            ),
            (
                "broker_accept_errors_total",
                "counter",
                "Accepts that failed.",
                self.accept_errors.get(),
            ),
        ];
        for (name, kind, help, value) in rows {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        let name = "broker_handshakes_total";
        let _ = writeln!(out, "# HELP {name} Upgrades by result.\n# TYPE {name} counter");
        let _ = writeln!(out, "{name}{{result=\"ok\"}} {}", self.handshakes_ok.get());
        use Refusal::{Auth, BadRequest, Draining, Limit, Origin, RateLimit};
        for refusal in [BadRequest, Auth, Origin, Limit, RateLimit, Draining] {
            let count = self.handshakes[refusal as usize].get();
            let _ = writeln!(out, "{name}{{result=\"{}\"}} {count}", refusal.label());
        }
    }

    fn render_partitions(&self, out: &mut String) {
        type Value = fn(&Standing) -> u64;
        let rows: [(&str, &str, Value); 2] = [
            ("broker_backplane_up", "1 = appends are accepted.", |s| u64::from(s.is_good())),
            ("broker_backplane_epoch", "Epoch of the log as this node sees it.", |s| {
                u64::from(s.epoch())
            }),
        ];
        for (name, help, value) in rows {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (partition, standing) in self.standings.get().into_iter().flatten().enumerate() {
                let _ = writeln!(out, "{name}{{partition=\"{partition}\"}} {}", value(standing));
            }
        }
    }

    fn render_labelled(&self, out: &mut String) {
        let mut table = |name: &str,
                         help: &str,
                         label: &str,
                         rows: &[&'static str],
                         value: &dyn Fn(&ShardMetrics, usize) -> u64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (shard, metrics) in self.shards.iter().enumerate() {
                for (i, row) in rows.iter().enumerate() {
                    let _ = writeln!(
                        out,
                        "{name}{{shard=\"{shard}\",{label}=\"{row}\"}} {}",
                        value(metrics, i)
                    );
                }
            }
        };
        let names =
            |all: &[(&'static str, Closed)]| all.iter().map(|row| row.0).collect::<Vec<_>>();
        table(
            "broker_connections_closed_total",
            "Connections ended.",
            "reason",
            &names(Closed::ALL),
            &|m, i| m.closed[i].get(),
        );
        let rows: Vec<_> = Published::ALL.iter().map(|row| row.0).collect();
        table(
            "broker_messages_published_total",
            "Publishes by result.",
            "result",
            &rows,
            &|m, i| m.published[i].get(),
        );
        let rows: Vec<_> = Dropped::ALL.iter().map(|row| row.0).collect();
        table(
            "broker_messages_dropped_total",
            "Deliveries that fell.",
            "reason",
            &rows,
            &|m, i| m.dropped[i].get(),
        );
        let rows: Vec<_> = Resumed::ALL.iter().map(|row| row.0).collect();
        table(
            "broker_resume_total",
            "Reconnects by how they continued.",
            "result",
            &rows,
            &|m, i| m.resumed[i].get(),
        );
        table("broker_frames_total", "Frames.", "direction", &["in", "out"], &|m, i| {
            [&m.frames_in, &m.frames_out][i].get()
        });
        table(
            "broker_wire_bytes_total",
            "Bytes on sockets.",
            "direction",
            &["in", "out"],
            &|m, i| [&m.bytes_in, &m.bytes_out][i].get(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_series_from_the_start_and_stays_inside_its_budget() {
        let metrics = NodeMetrics::new(2);
        metrics.ack_seconds.observe(300);
        let page = metrics.render();
        for series in [
            "broker_connections_closed_total{shard=\"1\",reason=\"slow_consumer\"} 0",
            "broker_handshakes_total{result=\"origin\"} 0",
            "broker_publish_ack_seconds_bucket{le=\"0.0005\"} 1",
            "broker_publish_ack_seconds_count 1",
            "broker_shard_loop_lag_seconds_bucket{shard=\"1\",le=\"10\"} 0",
            "broker_shard_loop_lag_seconds_count{shard=\"0\"} 0",
            "broker_shed_state 0",
        ] {
            assert!(page.contains(series), "{series} is missing in\n{page}");
        }
        let series = page.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= 1_500 + 100 * 2, "{series} series");
    }
}

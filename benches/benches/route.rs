//! From text to a decision: parsing a command, and routing it; simd-json against serde_json on messages of chat size.

use benches::input::publish;
use broker::route::{Route, Standing, Who, conversation_of, route};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::{Command, ConversationId, Producer, UserId, body::MessageBody, command::Parser};
use serde::Deserialize;

/// Bytes of the text in the message.
const SIZES: [usize; 4] = [20, 100, 300, 2_000];

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for size in SIZES {
        let message = publish(size);
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(BenchmarkId::new("command", size), |bencher| {
            let mut parser = Parser::default();
            bencher.iter_batched_ref(
                || message.clone(),
                |bytes| parser.parse(bytes).is_ok(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// What both JSON parsers have to find; fewer checks than a command's, the same for both.
#[derive(Deserialize)]
struct Publish<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    conversation: &'a str,
    producer: &'a str,
    no: u64,
    #[serde(borrow)]
    body: Body<'a>,
    id: u32,
}

#[derive(Deserialize)]
struct Body<'a> {
    text: &'a str,
}

impl Publish<'_> {
    fn sum(&self) -> usize {
        let texts = [self.kind, self.conversation, self.producer, self.body.text];
        texts.iter().map(|text| text.len()).sum::<usize>() + self.no as usize + self.id as usize
    }
}

fn json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("json");
    for size in SIZES {
        let message = publish(size);
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(BenchmarkId::new("simd-json, kept buffers", size), |bencher| {
            let mut buffers = simd_json::Buffers::new(4_096);
            bencher.iter_batched_ref(
                || message.clone(),
                |bytes| {
                    let read: Publish<'_> =
                        simd_json::serde::from_slice_with_buffers(bytes, &mut buffers)
                            .expect("good json");
                    read.sum()
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("simd-json", size), |bencher| {
            bencher.iter_batched_ref(
                || message.clone(),
                |bytes| {
                    let read: Publish<'_> = simd_json::serde::from_slice(bytes).expect("good json");
                    read.sum()
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("serde_json", size), |bencher| {
            bencher.iter_batched_ref(
                || message.clone(),
                |bytes| {
                    let read: Publish<'_> = serde_json::from_slice(bytes).expect("good json");
                    read.sum()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    let conversation = ConversationId::group(7);
    let body = MessageBody { text: "hi".into(), reply_to: None, attachments: vec![] };
    let commands = [
        Command::Publish { conversation, producer: Producer(1), no: 1, body },
        Command::Receipt { conversation, delivered: Some(4), read: Some(3) },
        Command::Typing { conversation, producer: Producer(1), no: 0 },
        Command::Ping,
    ];
    let who = Who {
        user: UserId(1),
        welcomed: true,
        standing: Standing::Member { mver: 4 },
        draining: false,
        ladder: 0,
    };
    criterion.bench_function("route four commands", |bencher| {
        bencher.iter(|| {
            let decided = std::hint::black_box(&commands).iter().map(|command| {
                std::hint::black_box(conversation_of(command));
                route(command, std::hint::black_box(who))
            });
            decided.filter(|route| *route != Route::Drop).count()
        });
    });
}

criterion_group!(benches, parse, json, decide);
criterion_main!(benches);

//! Frames in and out: our codec, and fastwebsockets on the same bytes in the same run.
//!
//! The reference reads from memory through its async reader, as it must; a current-thread runtime polls it without ever
//! waiting. Both get frames back to back: sixteen per read of ours.

use benches::input::{client_frame, publish, text};
use broker::websocket::{Decoder, Input, Limits, decode::Flow, encode};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket};
use tokio::io::AsyncWriteExt;

/// Payload bytes: a chat message, a long one, the largest text.
const SIZES: [usize; 3] = [100, 1_024, 16 * 1_024];
/// Frames per iteration.
const FRAMES: usize = 16;

fn payload(bytes: usize) -> Vec<u8> {
    text(bytes).into_bytes()
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for size in SIZES {
        let stream = client_frame(&payload(size)).repeat(FRAMES);
        group.throughput(Throughput::Bytes((size * FRAMES) as u64));
        group.bench_function(BenchmarkId::new("ours", size), |bencher| {
            let mut decoder = Decoder::default();
            bencher.iter_batched_ref(
                || stream.clone(),
                |bytes| feed(&mut decoder, bytes),
                BatchSize::SmallInput,
            );
        });
        // The way of a read that ends in the middle of a frame: one copy more.
        group.bench_function(BenchmarkId::new("ours, split reads", size), |bencher| {
            let mut decoder = Decoder::default();
            bencher.iter_batched_ref(
                || stream.clone(),
                |bytes| {
                    let (first, second) = bytes.split_at_mut(size + size / 2);
                    feed(&mut decoder, first) + feed(&mut decoder, second)
                },
                BatchSize::SmallInput,
            );
        });
        let runtime = current_thread();
        group.bench_function(BenchmarkId::new("fastwebsockets", size), |bencher| {
            bencher.iter_batched(
                || reader(&runtime, &stream),
                |mut socket| {
                    runtime.block_on(async {
                        let mut bytes = 0;
                        for _ in 0..FRAMES {
                            let frame = socket.read_frame().await.expect("good frames");
                            assert!(frame.opcode == OpCode::Text && frame.is_utf8());
                            bytes += frame.payload.len();
                        }
                        bytes
                    })
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn feed(decoder: &mut Decoder, bytes: &mut [u8]) -> usize {
    let mut sum = 0;
    let fed = decoder.feed(bytes, 0, &Limits::PRODUCT, |input| {
        if let Input::Text(text) = input {
            sum += text.len();
        }
        Flow::Continue
    });
    fed.expect("good frames");
    sum
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

/// A server's socket whose peer has already sent everything.
fn reader(runtime: &tokio::runtime::Runtime, stream: &[u8]) -> WebSocket<tokio::io::DuplexStream> {
    let (mut client, server) = tokio::io::duplex(stream.len());
    runtime.block_on(client.write_all(stream)).expect("there is room");
    let mut socket = WebSocket::after_handshake(server, Role::Server);
    socket.set_auto_apply_mask(true);
    socket
}

fn encode_text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for size in SIZES {
        let payload = payload(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("ours", size), |bencher| {
            bencher.iter(|| encode::text(std::hint::black_box(&payload)));
        });
        group.bench_function(BenchmarkId::new("fastwebsockets", size), |bencher| {
            bencher.iter(|| {
                // Into a buffer of its own, as a frame that several connections share must be.
                let mut out = Vec::with_capacity(size + 10);
                let mut frame =
                    Frame::text(Payload::Borrowed(std::hint::black_box(payload.as_slice())));
                frame.write(&mut out);
                out
            });
        });
    }
    group.finish();
}

/// A publish as the broker gets it: frame and JSON.
fn frame_and_parse(criterion: &mut Criterion) {
    let frame = client_frame(&publish(100));
    let mut parser = protocol::command::Parser::default();
    let mut decoder = Decoder::default();
    criterion.bench_function("decode and parse a publish of 100 bytes", |bencher| {
        bencher.iter_batched_ref(
            || frame.clone(),
            |bytes| {
                decoder.feed(bytes, 0, &Limits::PRODUCT, |input| {
                    if let Input::Text(text) = input {
                        parser.parse(text).expect("a good command");
                    }
                    Flow::Continue
                })
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, decode, encode_text, frame_and_parse);
criterion_main!(benches);

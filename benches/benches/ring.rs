//! The node's ring: one writer, a cursor per shard.
//!
//! First on one thread (what push and read cost), then with readers on threads of their own that spin on their cursors.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use backplane::ring::Ring;
use benches::input::{batch, envelope};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::{ConversationId, UserId};

const SLOTS: usize = 4_096;
/// Batches between two looks of a reader.
const RUN: u64 = 64;

fn conversation() -> ConversationId {
    ConversationId::direct(UserId(1), UserId(2))
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(RUN));
    let batch = batch(1, envelope(conversation(), UserId(1), 2, 100));
    for cursors in [1, 2, 4, 8] {
        group.bench_function(BenchmarkId::new("push 64, read by", cursors), |bencher| {
            let ring = Ring::new(SLOTS, usize::MAX);
            let mut readers: Vec<_> = (0..cursors).map(|_| ring.reader()).collect();
            bencher.iter(|| {
                (0..RUN).for_each(|_| ring.push(0, batch.clone()));
                let mut read = 0;
                for reader in &mut readers {
                    while let Some((_, batch)) = reader.next().expect("nobody falls off") {
                        read += batch.events.len();
                    }
                }
                read
            });
        });
    }
    group.finish();
}

/// Time of the writer alone, while others read: readers must not hold it up.
fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    let batch = batch(1, envelope(conversation(), UserId(1), 2, 100));
    for readers in [1, 2] {
        group.bench_function(BenchmarkId::new("push, readers on threads", readers), |bencher| {
            bencher.iter_custom(|pushes| {
                let (ring, over) = (Ring::new(SLOTS, usize::MAX), AtomicBool::new(false));
                thread::scope(|scope| {
                    for _ in 0..readers {
                        let mut reader = ring.reader();
                        let over = &over;
                        // Who falls off goes on at the newest place: the writer does not wait for anybody.
                        scope.spawn(move || {
                            while !over.load(Relaxed) {
                                while let Ok(Some(item)) = reader.next() {
                                    std::hint::black_box(item);
                                }
                                std::hint::spin_loop();
                            }
                        });
                    }
                    let begun = Instant::now();
                    (0..pushes).for_each(|_| ring.push(0, batch.clone()));
                    let spent: Duration = begun.elapsed();
                    over.store(true, Relaxed);
                    spent
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one_thread, threads);
criterion_main!(benches);

//! The queue of one connection: push and take, and what one message costs a connection that is idle in between.

use broker::outbox::Outbox;
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::limits::{OUTBOX_BYTES_MAX, OUTBOX_EVENTS_MAX};

/// Frames queued before they are taken.
const DEPTHS: [usize; 4] = [1, 8, 64, 512];
/// Bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;

fn push_and_take(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outbox");
    let frame = Bytes::from(vec![b'x'; 200]);
    for depth in DEPTHS {
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::new("push and take", depth), |bencher| {
            let (mut outbox, mut out) = (Outbox::default(), Vec::with_capacity(depth));
            bencher.iter(|| {
                for _ in 0..depth {
                    let pushed =
                        outbox.push(frame.clone(), false, OUTBOX_EVENTS_MAX, OUTBOX_BYTES_MAX);
                    pushed.expect("there is room");
                }
                while outbox.take(WRITE_BYTES, &mut out) > 0 {}
                let taken = out.len();
                out.clear();
                taken
            });
        });
    }
    group.bench_function("push to a full one", |bencher| {
        let mut outbox = Outbox::default();
        while outbox.push(frame.clone(), false, OUTBOX_EVENTS_MAX, OUTBOX_BYTES_MAX).is_ok() {}
        bencher.iter(|| outbox.push(frame.clone(), true, OUTBOX_EVENTS_MAX, OUTBOX_BYTES_MAX));
    });
    group.finish();
}

criterion_group!(benches, push_and_take);
criterion_main!(benches);

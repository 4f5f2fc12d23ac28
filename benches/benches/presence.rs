//! What a flush to one watcher costs, while another thread applies changes. The comparison with ranges is
//! `presence_rounds`; this is for a quick look and for regressions.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use benches::presence::{CANDIDATES, PEOPLE, Workload, fill};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn flush(criterion: &mut Criterion) {
    for writes in ["quiet", "storm"] {
        let mut group = criterion.benchmark_group(format!("presence/{writes}"));
        group.throughput(Throughput::Elements(PEOPLE as u64));
        for (name, make) in CANDIDATES {
            let (map, over) = (make(), AtomicBool::new(false));
            fill(&*map);
            let people = Workload::new(1).people();
            thread::scope(|scope| {
                if writes == "storm" {
                    scope.spawn(|| {
                        let mut work = Workload::new(2);
                        while !over.load(Relaxed) {
                            let (node, changes) = work.changes();
                            map.apply(node, &changes);
                        }
                    });
                }
                group.bench_function(name, |bencher| bencher.iter(|| map.flush(&people)));
                over.store(true, Relaxed);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, flush);
criterion_main!(benches);

//! Times each step of a packet's way: `cargo bench -p srs-shard-benches --bench packet`.

#![allow(missing_docs)] // criterion's macros make public items

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use srs_shard_benches::ALL;

fn packet(criterion: &mut Criterion) {
    for make in ALL {
        let mut case = make();
        case.check();
        let (room, step) = case.name.split_once('/').unwrap_or(("", case.name));
        let mut group = criterion.benchmark_group(room);
        group.throughput(Throughput::ElementsAndBytes { elements: case.elements, bytes: case.bytes });
        group.bench_function(step, |bencher| bencher.iter(&mut case.run));
        group.finish();
        case.check();
    }
}

criterion_group!(benches, packet);
criterion_main!(benches);

//! Counts the instructions of each step of a packet's way, where noise would hide a change:
//! `cargo bench -p srs-shard-benches --bench instructions` (needs valgrind, and `cargo install gungraun-runner`).

#![allow(missing_docs)] // the macros make public items

use gungraun::{library_benchmark, library_benchmark_group, main};
use srs_shard_benches::{Case, Make, formats, protocol, viewers};
use std::hint::black_box;

/// Made, and warm.
fn ready(make: Make) -> Case {
    let mut case = make();
    case.check();
    case
}

#[library_benchmark(setup = ready)]
#[bench::protocol_chunk_read(protocol::chunk_read)]
#[bench::protocol_chunk_read_small_chunks(protocol::chunk_read_small_chunks)]
#[bench::protocol_amf0_read(protocol::amf0_read)]
#[bench::protocol_amf0_write(protocol::amf0_write)]
#[bench::protocol_http_request(protocol::http_request)]
#[bench::protocol_flv_inspect(protocol::flv_inspect)]
#[bench::formats_rtmp(formats::rtmp)]
#[bench::formats_flv(formats::flv)]
#[bench::formats_ts(formats::ts)]
#[bench::formats_fmp4(formats::fmp4)]
#[bench::protocol_flv_read(protocol::flv_read)]
#[bench::viewers_own(viewers::own)]
#[bench::viewers_in_step(viewers::in_step)]
#[bench::viewers_merged(viewers::merged)]
#[bench::viewers_catch_up(viewers::catch_up)]
fn step(mut case: Case) -> u64 {
    black_box((case.run)())
}

library_benchmark_group!(name = packet; benchmarks = step);
main!(library_benchmark_groups = packet);

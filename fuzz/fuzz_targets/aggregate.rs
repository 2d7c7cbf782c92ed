//! See `srs_shard::fuzzing::rtmp::aggregate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::rtmp::aggregate(data));

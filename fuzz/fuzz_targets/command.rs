//! See `srs_shard::fuzzing::rtmp::command`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::rtmp::command(data));

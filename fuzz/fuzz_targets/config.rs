//! See `srs_shard::fuzzing::config::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::config::config(data));

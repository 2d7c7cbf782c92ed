//! See `srs_shard::fuzzing::timeline::timeline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::timeline::timeline(data));

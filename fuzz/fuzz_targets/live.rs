//! See `srs_shard::fuzzing::live::live`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::live::live(data));

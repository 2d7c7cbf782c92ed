//! See `srs_shard::fuzzing::session::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::session::session(data));

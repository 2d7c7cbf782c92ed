//! See `srs_shard::fuzzing::session::client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::session::client(data));

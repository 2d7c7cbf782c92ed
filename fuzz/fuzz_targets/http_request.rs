//! See `srs_shard::fuzzing::http::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::http::request(data));

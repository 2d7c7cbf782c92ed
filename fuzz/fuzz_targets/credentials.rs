//! See `srs_shard::fuzzing::access::credentials`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::access::credentials(data));

//! See `srs_shard::fuzzing::hub::hub`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::hub::hub(data));

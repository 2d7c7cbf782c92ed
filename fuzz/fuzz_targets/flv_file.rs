//! See `srs_shard::fuzzing::formats::flv_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::formats::flv_file(data));

//! See `srs_shard::fuzzing::formats::flv_tag`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::formats::flv_tag(data));

//! See `srs_shard::fuzzing::formats::amf0`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::formats::amf0(data));

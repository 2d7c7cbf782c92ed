//! See `srs_shard::fuzzing::formats::codec_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srs_shard::fuzzing::formats::codec_headers(data));

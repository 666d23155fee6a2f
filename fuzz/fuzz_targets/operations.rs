//! See `tango_fuzz::operations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tango_fuzz::operations(data));

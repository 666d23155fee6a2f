//! See `tango_fuzz::open_link`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tango_fuzz::open_link(data));

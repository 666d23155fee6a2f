//! See `tango_fuzz::observe_ring`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tango_fuzz::observe_ring(data));

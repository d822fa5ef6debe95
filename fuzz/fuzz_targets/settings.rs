//! `make fuzz TARGET=settings`: what it checks is in `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imin_customer_worker_fuzz::settings(data));

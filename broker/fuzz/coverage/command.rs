//! libFuzzer's way into `fuzz::Target::Command`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = fuzz::run_bytes(fuzz::Target::Command, bytes) {
        panic!("{broken}");
    }
});

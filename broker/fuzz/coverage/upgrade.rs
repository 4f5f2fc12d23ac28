//! libFuzzer's way into `fuzz::Target::Upgrade`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = fuzz::run_bytes(fuzz::Target::Upgrade, bytes) {
        panic!("{broken}");
    }
});

//! libFuzzer's way into `fuzz::Target::Codec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = fuzz::run_bytes(fuzz::Target::Codec, bytes) {
        panic!("{broken}");
    }
});

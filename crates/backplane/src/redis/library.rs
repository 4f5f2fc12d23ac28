//! The Redis functions as one library: the `.lua` files in order, behind a header with the numbers that Rust has, too.
//!
//! Owns: the library's name and text. Never does: call anything. Talks to: nobody. Start reading at: [`source`], then
//! `append.lua`.

use protocol::limits;

use crate::sequencer::EPOCH_SKIP;

/// Changes with the functions or the form of an entry: programs of two releases may run side by side.
pub(super) const NAME: &str = "webchat_log_1";

const FILES: [&str; 4] = [
    include_str!("common.lua"),
    include_str!("append.lua"),
    include_str!("keep.lua"),
    include_str!("fence.lua"),
];

/// Tells texts of one name apart: a data set keeps its functions, also those that a later release has mended.
pub(super) fn checksum() -> u64 {
    u64::from(crc32c::crc32c(FILES.concat().as_bytes()))
}

/// What `FUNCTION LOAD` takes.
pub(super) fn source() -> String {
    let checksum = checksum();
    let (window, dedupe_ms) = (limits::DEDUPE_WINDOW, limits::DEDUPE_MS);
    let header = format!(
        "#!lua name={NAME}\nlocal NAME, WINDOW, DEDUPE_MS, EPOCH_SKIP, CHECKSUM = \
         '{NAME}_', {window}, {dedupe_ms}, {EPOCH_SKIP}, {checksum}\n"
    );
    header + &FILES.concat()
}

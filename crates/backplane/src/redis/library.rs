//! The Redis functions as one library: the `.lua` files in order, behind a header with the numbers that Rust has, too.
//!
//! Owns: the library's name and text. Never does: call anything. Talks to: nobody. Start reading at: [`source`], then
//! `append.lua`.

use protocol::limits;

use crate::sequencer::{EPOCH_SKIP, Mutation};

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

/// What a mutant's functions have otherwise.
fn mutated(source: String, mutation: Mutation) -> String {
    let (line, instead) = match mutation {
        Mutation::None | Mutation::GapUnchecked => return source,
        Mutation::DedupeOff => ("if no == last + 1 then", "if true then"),
        Mutation::MverUnchecked => ("head.mver ~= run.mver", "false"),
        Mutation::AckBeforeAppend => {
            ("redis.call('XADD', keys[LOG], id_of(state.epoch, n), 'b', entry)", "")
        }
        Mutation::TrimUnchecked => {
            ("n > floor_of(keys, state, args[4], args[5], args[6])", "false")
        }
        Mutation::NumbersUnchecked => ("if no == last + 1 then", "if no > last then"),
        Mutation::FenceOff => ("state.run ~= args[1] or state.epoch ~= tonumber(args[2])", "false"),
    };
    assert!(source.contains(line), "{mutation:?} would change nothing");
    source.replacen(line, instead, 1)
}

/// What `FUNCTION LOAD` takes.
pub(super) fn source(mutation: Mutation) -> String {
    let checksum = checksum();
    let (window, dedupe_ms) = (limits::DEDUPE_WINDOW, limits::DEDUPE_MS);
    let header = format!(
        "#!lua name={NAME}\nlocal NAME, WINDOW, DEDUPE_MS, EPOCH_SKIP, CHECKSUM = \
         '{NAME}_', {window}, {dedupe_ms}, {EPOCH_SKIP}, {checksum}\n"
    );
    mutated(header + &FILES.concat(), mutation)
}

//! The functions of live state as one library.
//!
//! Owns: the library's name and text. Never does: call anything. Talks to: nobody. Start reading at: `live.lua`.

/// Changes with the functions or the form of what they write: programs of two releases may run side by side.
pub(super) const NAME: &str = "webchat_live_1";

/// What `FUNCTION LOAD` takes.
pub(super) fn source() -> String {
    format!("#!lua name={NAME}\nlocal NAME = '{NAME}_'\n{}", include_str!("live.lua"))
}

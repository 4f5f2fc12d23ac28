//! RFC 6455 frames: our own codec, strict and small, because framing is what the broker exists for.
//!
//! Owns: bytes ↔ messages. Never does: IO, HTTP, extensions (none is ever negotiated). Talks to: nobody.
//! Start reading at: [`decode::Decoder::feed`].

pub mod decode;
pub mod encode;
mod mask;

pub use decode::{Decoder, Input, Limits};

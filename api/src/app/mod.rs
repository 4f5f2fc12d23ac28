//! What the api does, without HTTP.
//!
//! Owns: rules and refusals. Never does: HTTP. Talks to: the log, live state, the store. Start reading at: [`AppError`].

mod error;
pub mod names;
pub mod rules;

pub use error::AppError;

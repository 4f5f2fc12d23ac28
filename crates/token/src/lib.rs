//! Session tokens: who signs them, what they say, and the one place that verifies them.
//!
//! Owns: claims, the key folder, JWKS, cookie names. Never does: a clock (it is passed in), the network, sessions.
//! Talks to: jsonwebtoken (Ed25519 through aws-lc). Start reading at: [`Verifier::verify`].

pub mod claims;
pub mod cookie;
pub mod keys;
mod verifier;

pub use claims::{Audience, Claims};
pub use keys::{KeyError, Keyring};
pub use verifier::{Refresh, TokenRefused, Verifier};

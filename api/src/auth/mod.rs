//! Passwords, tokens, and who asks.
//!
//! Owns: hashing, refresh tokens, [`AuthContext`]. Never does: HTTP, or read the store. Talks to: bcrypt, aws-lc.
//! Start reading at: `context.rs`, then `pool.rs`.

pub mod context;
pub mod password;
pub mod pool;
pub mod refresh_token;

pub use context::{AuthContext, Caller};
pub use password::{Pepper, check_password};
pub use pool::HashPool;
pub use refresh_token::RefreshToken;

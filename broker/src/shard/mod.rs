//! One shard: everything it does is a synchronous function of its state, an input and the time.
//!
//! Owns: connections, local indexes, timers. Never does: IO, clocks, tasks. Talks to: the edge through [`Action`].
//! Start reading at: [`Action`].

pub mod action;

pub use action::{
    Action, Actions, AppendOutcome, AppendTicket, ConnectionId, Now, Principal, ViewTicket,
};

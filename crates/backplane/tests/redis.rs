//! The log on a real Redis or Valkey: the contract suite, the function against its model, and what only a server of its
//! own can lose. The program is `WEBCHAT_REDIS_SERVER`, or `redis-server` or `valkey-server` on the path.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

#[path = "redis/bench.rs"]
mod bench;
#[path = "redis/contract.rs"]
mod contract;
#[path = "redis/differential.rs"]
mod differential;
#[path = "redis/failures.rs"]
mod failures;
#[path = "redis/fence.rs"]
mod fence;
#[path = "redis/follow.rs"]
mod follow;
#[path = "redis/live.rs"]
mod live;
#[path = "redis/live_losses.rs"]
mod live_losses;
#[path = "redis/server.rs"]
mod server;

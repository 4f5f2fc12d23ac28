//! A log on a server of its own, admitted and ready.

use backplane::{
    Log, LogError,
    redis::{Options, RedisLog},
};
use protocol::Pos;

/// Opens, and tells until the log is open, too. Whoever tests what a node restores does that by hand.
pub(crate) async fn open_until_admitted(options: Options, seen: Pos) -> RedisLog {
    let node = options.node;
    let partitions = options.servers.len() as u16;
    let log = RedisLog::open(options).await.unwrap();
    for partition in 0..partitions {
        admit(&log, partition, node, seen).await;
    }
    log
}

pub(crate) async fn admit(log: &RedisLog, partition: u16, node: u64, seen: Pos) {
    for _ in 0..2_000 {
        match log.rejoin(partition, node, seen, Pos::default()).await {
            Ok(admitted) if admitted.restore.is_none() => return,
            Ok(admitted) => panic!("nothing was lost, and yet: {admitted:?}"),
            Err(LogError::Unavailable(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("never admitted");
}

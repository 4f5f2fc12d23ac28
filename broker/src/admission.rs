//! How many connections an address, a user and the node may have.
//!
//! Owns: the counts, and the [`Seat`] that gives one back when it is dropped. Never does: answer clients (the server does).
//! Talks to: nobody. Start reading at: [`Admission::admit`].

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use foldhash::fast::RandomState;
use protocol::{Network, UserId};

use crate::{config::BrokerConfig, handshake::Refusal};

type Counts<K> = HashMap<K, u32, RandomState>;

#[derive(Debug, Default)]
struct Seats {
    total: usize,
    by_ip: Counts<IpAddr>,
    by_user: Counts<UserId>,
    visitors: usize,
    visitors_by_ip: Counts<IpAddr>,
}

/// The node's book of connections.
#[derive(Debug)]
pub(crate) struct Admission {
    seats: Mutex<Seats>,
    connections_max: usize,
    per_ip_max: u32,
    per_user_max: u32,
    visitors_max: usize,
    visitors_per_ip_max: u32,
    trusted: Vec<Network>,
}

/// One connection's place. `load` is that of its shard.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    load: Option<Arc<AtomicUsize>>,
    user: UserId,
    ip: IpAddr,
}

/// One connection that still speaks http.
#[derive(Debug)]
pub(crate) struct Visit {
    admission: Arc<Admission>,
    ip: IpAddr,
}

fn up<K: Eq + Hash + Copy>(counts: &mut Counts<K>, key: K) {
    *counts.entry(key).or_insert(0) += 1;
}

fn down<K: Eq + Hash + Copy>(counts: &mut Counts<K>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn of<K: Eq + Hash>(counts: &Counts<K>, key: &K) -> u32 {
    counts.get(key).copied().unwrap_or(0)
}

impl Admission {
    pub(crate) fn new(config: &BrokerConfig) -> Arc<Self> {
        Arc::new(Self {
            seats: Mutex::default(),
            connections_max: config.connections_max,
            per_ip_max: config.connections_per_ip_max,
            per_user_max: config.connections_per_user_max,
            visitors_max: config.http_connections_max,
            visitors_per_ip_max: config.http_connections_per_ip_max,
            trusted: config.trusted_sources.clone(),
        })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an address is one of `limits.trusted_sources`.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(ip))
    }

    /// A seat, or why there is none: a full node is `Limit`, too many of one address or user are `RateLimit`.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr, user: UserId) -> Result<Seat, Refusal> {
        let mut seats = self.seats();
        if seats.total >= self.connections_max {
            return Err(Refusal::Limit);
        }
        let crowded = of(&seats.by_ip, &ip) >= self.per_ip_max && !self.trusts(ip);
        if crowded || of(&seats.by_user, &user) >= self.per_user_max {
            return Err(Refusal::RateLimit);
        }
        seats.total += 1;
        up(&mut seats.by_ip, ip);
        up(&mut seats.by_user, user);
        Ok(Seat { admission: Arc::clone(self), load: None, user, ip })
    }

    /// Room for a connection that has said nothing yet.
    pub(crate) fn visit(self: &Arc<Self>, ip: IpAddr) -> Option<Visit> {
        let mut seats = self.seats();
        let crowded =
            of(&seats.visitors_by_ip, &ip) >= self.visitors_per_ip_max && !self.trusts(ip);
        if seats.visitors >= self.visitors_max || crowded {
            return None;
        }
        seats.visitors += 1;
        up(&mut seats.visitors_by_ip, ip);
        Some(Visit { admission: Arc::clone(self), ip })
    }

    /// Seats taken.
    pub(crate) fn taken(&self) -> usize {
        self.seats().total
    }
}

impl Seat {
    /// Counts against a shard from now on.
    pub(crate) fn place(&mut self, load: &Arc<AtomicUsize>) {
        load.fetch_add(1, Relaxed);
        self.load = Some(Arc::clone(load));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.admission.seats();
        seats.total -= 1;
        down(&mut seats.by_ip, self.ip);
        down(&mut seats.by_user, self.user);
        if let Some(load) = &self.load {
            load.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut seats = self.admission.seats();
        seats.visitors -= 1;
        down(&mut seats.visitors_by_ip, self.ip);
    }
}

#[cfg(test)]
mod tests {
    use backplane::NodeId;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn admission(change: impl FnOnce(&mut BrokerConfig)) -> Arc<Admission> {
        let mut config = BrokerConfig::new(NodeId(1));
        change(&mut config);
        Admission::new(&config)
    }

    #[test]
    fn r4_a_full_node_an_address_and_a_user_have_limits_and_seats_come_back() {
        let book = admission(|c| {
            (c.connections_max, c.connections_per_ip_max, c.connections_per_user_max) = (3, 2, 1);
        });
        let first = book.admit(HERE, UserId(1)).expect("room");
        assert_eq!(book.admit(THERE, UserId(1)).err(), Some(Refusal::RateLimit), "user");
        let _second = book.admit(HERE, UserId(2)).expect("room");
        assert_eq!(book.admit(HERE, UserId(3)).err(), Some(Refusal::RateLimit), "address");
        let _third = book.admit(THERE, UserId(3)).expect("room");
        assert_eq!(book.admit(THERE, UserId(4)).err(), Some(Refusal::Limit), "node");
        drop(first);
        assert!(book.admit(HERE, UserId(1)).is_ok());
        assert_eq!(book.taken(), 2, "dropped seats are free");
    }

    #[test]
    fn visitors_are_bounded_and_trusted_sources_are_not_bounded_by_address() {
        let book = admission(|c| {
            c.http_connections_per_ip_max = 1;
            c.trusted_sources = vec![THERE.into()];
        });
        let _visit = book.visit(HERE).expect("room");
        assert!(book.visit(HERE).is_none());
        let _many = [book.visit(THERE).expect("room"), book.visit(THERE).expect("room")];
    }
}

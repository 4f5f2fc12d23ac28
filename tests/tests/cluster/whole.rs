//! A whole cluster of the product, and where its parts are.

use std::{net::SocketAddr, time::Duration};

use loadtest::{
    cluster::{
        starter::{Cluster, Options},
        topology::{Kind, Topology, local},
    },
    scenario::{
        fleet::{Fleet, FleetPlan, Judged},
        world::World,
    },
};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// For acks to flow again, and for everything to be answered and read at the end.
const HEAL: Duration = Duration::from_secs(60);

pub(crate) struct Whole {
    pub(crate) cluster: Cluster,
}

impl Whole {
    /// One api, and so many brokers. Everybody comes from this machine: no limits per address.
    pub(crate) async fn up(brokers: usize, nginx: bool, proxied: bool) -> Self {
        let options = Options {
            topology: Topology { brokers, apis: 1, nginx, ..Topology::default() },
            arguments: vec!["--trusted-source".to_owned(), "127.0.0.0/8".to_owned()],
            nginx_shutdown: Duration::from_secs(1),
            proxied,
            seed: 3,
            ..Options::default()
        };
        Self { cluster: Cluster::up(options).await.unwrap() }
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.cluster.row("api-1").unwrap().address()
    }

    pub(crate) fn nginx(&self) -> SocketAddr {
        self.cluster.row("nginx").unwrap().address()
    }

    pub(crate) fn brokers(&self) -> Vec<SocketAddr> {
        self.cluster.of_kind(Kind::Broker).iter().map(|row| row.address()).collect()
    }

    /// Health of all programs of ours, by name.
    pub(crate) fn admins(&self) -> Vec<(String, SocketAddr)> {
        let rows = self.cluster.rows().iter();
        rows.filter_map(|row| Some((row.name.clone(), local(row.admin?)))).collect()
    }

    /// People who write to each other, over these routes.
    pub(crate) async fn people_who_write(
        &self,
        routes: &[Vec<SocketAddr>],
        connections: usize,
    ) -> (World, Fleet) {
        let world = World::build(self.api(), "writer", 8, 4).await.unwrap();
        let plan = FleetPlan { connections, window: 4, text_bytes: 64, per_second: 20, heal: HEAL };
        let fleet = Fleet::launch(&plan, routes, &world, &mut Pcg64Mcg::seed_from_u64(7));
        fleet.send();
        fleet.wait_for_acks(connections as u64).await.unwrap();
        (world, fleet)
    }

    /// Everything is answered, stored and handed over, once and in order; nothing panicked.
    pub(crate) async fn holds(&self, world: &World, fleet: Fleet) -> Judged {
        let judged = fleet.finish(world).await.unwrap();
        assert!(judged.holds(), "{judged:?}");
        assert_eq!(self.cluster.panics(), Vec::<String>::new());
        judged
    }
}

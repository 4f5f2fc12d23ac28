//! How each process is called, and over which proxies it reaches the others.
//!
//! Owns: the settings files of a running cluster, its proxies. Never does: start a process. Talks to: the folder.
//! Start reading at: `Cluster::command`.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Context;

use super::{Cluster, Link, Options};
use crate::{
    cluster::{
        process,
        settings::{self, Nginx, Surroundings},
        topology::{Kind, Row, local},
    },
    faults::proxy::FaultProxy,
};

/// How long a reload of nginx leaves open sockets alone, unless said otherwise.
const NGINX_SHUTDOWN: Duration = Duration::from_secs(5);

impl Cluster {
    /// A proxy before each server that somebody connects to, if asked for.
    pub(super) async fn lay_links(&mut self) -> anyhow::Result<()> {
        if !self.options.proxied {
            return Ok(());
        }
        let ours = |row: &&Row| matches!(row.kind, Kind::Api | Kind::Broker);
        let mut links = Vec::new();
        for from in self.rows().iter().filter(ours) {
            let asks = |to: &&Row| to.kind == Kind::Api && from.kind == Kind::Broker;
            let servers = self
                .rows()
                .iter()
                .filter(|to| matches!(to.kind, Kind::Log | Kind::Live) || asks(to));
            for to in servers {
                let seed = self.options.seed.wrapping_add(links.len() as u64);
                let proxy = FaultProxy::start(local(to.internal.unwrap_or(to.port)), seed).await?;
                links.push(Link { from: from.name.clone(), to: to.name.clone(), proxy });
            }
        }
        self.links = links;
        Ok(())
    }

    fn port_to(&self, from: &Row, to: &Row) -> u16 {
        let direct = to.internal.filter(|_| from.kind == Kind::Broker).unwrap_or(to.port);
        self.link(&from.name, &to.name).map_or(direct, |proxy| proxy.address.port())
    }

    pub(super) fn command(&self, row: &Row) -> anyhow::Result<Command> {
        let data = self.data(&row.name);
        std::fs::create_dir_all(&data)?;
        let ports = |kind| self.of_kind(kind).iter().map(|row| row.port).collect::<Vec<_>>();
        let programs = &self.options.programs;
        let file = self.folder.join(format!("{}.conf", row.name));
        let mut command;
        match row.kind {
            Kind::Log | Kind::Live => {
                let text = if row.kind == Kind::Log { settings::log } else { settings::live };
                std::fs::write(&file, text(row.port, &data)?)?;
                command = self.pinned(&programs.redis);
                command.arg(file);
                if row.kind == Kind::Log {
                    command.args(&self.options.log_arguments);
                }
            }
            Kind::Nginx => {
                let shutdown = match self.options.nginx_shutdown {
                    Duration::ZERO => NGINX_SHUTDOWN,
                    set => set,
                };
                let (brokers, apis) = (ports(Kind::Broker), ports(Kind::Api));
                let nginx = Nginx { folder: &data, port: row.port, brokers, apis, shutdown };
                std::fs::write(&file, nginx.text()?)?;
                command = self.pinned(&programs.nginx);
                // Its first words go to a file of its own: the compiled-in one belongs to root.
                command.arg("-e").arg("stderr").arg("-p").arg(&data).arg("-c").arg(file);
            }
            Kind::Api | Kind::Broker => {
                let to = |kind| {
                    let rows = self.of_kind(kind);
                    rows.iter().map(|to| self.port_to(row, to)).collect::<Vec<_>>()
                };
                let mut public = ports(Kind::Nginx);
                public.extend(ports(Kind::Api));
                let around = Surroundings {
                    logs: to(Kind::Log),
                    live: to(Kind::Live).first().copied().context("no live server")?,
                    archives: to(Kind::Api),
                    public,
                    secret: &self.secret(),
                    folder: &data,
                };
                let Options { api_arguments, broker_arguments, .. } = &self.options;
                let (program, own) = match row.kind {
                    Kind::Api => (&programs.api, api_arguments),
                    _ => (&programs.broker, broker_arguments),
                };
                command = self.pinned(program);
                command.args(settings::arguments(row, &around)?).args(&self.state.arguments);
                command.args(own);
            }
        }
        Ok(command)
    }

    /// A program on the cores that servers have.
    fn pinned(&self, program: &Path) -> Command {
        process::pinned(program, self.options.cores.as_deref())
    }
}

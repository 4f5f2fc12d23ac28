//! A cluster by hand: `up`, `status`, `kill`, `restart`, `down`, each a run of its own.
//!
//! Owns: what is printed. Never does: start or end anything by itself. Talks to: the starter. Start reading at: [`run`].

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use loadtest::cluster::{
    starter::{Cluster, Options, Status},
    topology::{Kind, Topology},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Starts what does not run yet: Redis for the log and the live data, apis, brokers, nginx.
    Up(UpOptions),
    /// Ends everything, in the right order. The data stays.
    Down(Place),
    /// What runs, and where.
    Status(Place),
    /// `kill -9` of one process.
    Kill(Named),
    /// Ends one process as an operator would (a broker drains), or finds it dead, and starts it again.
    Restart(Named),
}

/// Where a cluster lives.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Settings, logs and data.
    #[arg(long, default_value = "data/cluster")]
    dir: PathBuf,
}

/// One of its processes.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// As `status` names it.
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    #[arg(long, default_value_t = 3)]
    brokers: usize,
    /// More than one need a store that they share.
    #[arg(long, default_value_t = 1)]
    apis: usize,
    /// Further arguments of brokers and apis.
    #[arg(long = "arg", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// Stays until its input ends, then ends the cluster and takes its folder away: whoever started it may die, too.
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    place: Place,
}

/// Does it. Errors: in words for the terminal.
pub(crate) async fn run(operation: Operation) -> anyhow::Result<()> {
    match operation {
        Operation::Up(UpOptions { brokers, apis, arguments, hold, place }) => {
            let topology = Topology { brokers, apis, ..Topology::default() };
            let folder = Some(place.dir.clone());
            let options =
                Options { topology, folder, arguments, detached: true, ..Options::default() };
            let mut cluster = Cluster::up(options).await?;
            show(&cluster.status().await);
            for row in cluster.of_kind(Kind::Nginx) {
                println!("\nopen http://localhost:{}", row.port);
            }
            if hold { end_with_input(&place.dir).await } else { Ok(()) }
        }
        Operation::Down(place) => Cluster::attach(&place.dir)?.down().await,
        Operation::Status(place) => {
            show(&Cluster::attach(&place.dir)?.status().await);
            Ok(())
        }
        Operation::Kill(Named { name, place }) => Cluster::attach(&place.dir)?.kill(&name),
        Operation::Restart(Named { name, place }) => {
            let by_itself = Cluster::attach(&place.dir)?.restart(&name).await?;
            if !by_itself {
                println!("{name} did not end in time and was killed");
            }
            Ok(())
        }
    }
}

/// The folder stays if something panicked. Others kill and restart processes meanwhile: the state file, not this run, knows which there are at the end.
async fn end_with_input(folder: &Path) -> anyhow::Result<()> {
    let ended = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(ended).await??;
    let mut cluster = Cluster::attach(folder)?;
    cluster.down().await?;
    let panics = cluster.panics();
    anyhow::ensure!(panics.is_empty(), "{}", panics.join("\n"));
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn show(all: &[Status]) {
    for Status { row, pid, trouble } in all {
        let pid = pid.map_or("-".to_owned(), |pid| pid.to_string());
        let trouble = trouble.as_deref().unwrap_or("ready");
        let admin = row.admin.map_or(String::new(), |port| format!(" admin {port}"));
        println!("{:<10} {pid:>8}  127.0.0.1:{:<5}{admin}  {trouble}", row.name, row.port);
    }
}

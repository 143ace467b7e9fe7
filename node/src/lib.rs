//! What the binaries are made of: a node, a whole cluster for development, and the command line of an operator.
//!
//! There are two, `portolan` and, for tests of the tests, `portolan-sabotaged`: two files of one line over this crate, so
//! that they differ in nothing but what the feature `sabotage` changes on the floors below.
//!
//! Reading order: [`cli`] says what there is, [`commands`] does it, [`config`] reads what a node is told, [`assembly`]
//! builds a node from the floors below and takes it down again, [`sabotage`] keeps the two binaries apart.

mod admin;
mod answer;
mod ask;
mod assembly;
mod boot;
mod bootstrap;
mod cli;
mod client;
mod commands;
mod condition;
mod config;
mod error;
mod front;
mod https;
mod listeners;
mod members;
mod net;
mod part;
mod public_tls;
mod recorder;
mod remarks;
mod sabotage;
mod shutdown;
mod telemetry;

use anyhow::Context;
use clap::Parser;
use cli::{BandwidthCommand, Cli, ClusterCommand, Command, ImageCommand, RepoCommand, TagCommand};
use error::{Failure, UsageError};
use std::process::ExitCode;
use std::time::Duration;

/// How long work on the disk that nobody waits for may take at the end.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Does what the command line says. The exit code is 0 when it is done, 2 for wrong usage or configuration, else 1.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = error.downcast_ref::<Failure>();
            if !failure.is_some_and(Failure::is_told) {
                eprintln!("portolan: {}", failure.map_or_else(|| format!("{error:#}"), Failure::in_words));
            }
            failure.map_or(ExitCode::FAILURE, Failure::exit_code)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runs_nodes = matches!(cli.command, Command::Serve(_) | Command::Dev(_));
    sabotage::check(runs_nodes).map_err(UsageError::Sabotage).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => commands::serve::run(&args).await,
            Command::Dev(args) => commands::dev::run(&args).await,
            Command::Top(args) => commands::top::run(&args).await,
            Command::Cluster(ClusterCommand::Status(args)) => commands::cluster::status(&args).await,
            Command::Cluster(ClusterCommand::TransferLeader(args)) => commands::leader::transfer(&args).await,
            Command::Repo(RepoCommand::Ls(args)) => commands::repo::ls(&args).await,
            Command::Repo(RepoCommand::Show(args)) => commands::repo::show(&args).await,
            Command::Repo(RepoCommand::Set(args)) => commands::repo::set(&args).await,
            Command::Image(ImageCommand::Status(args)) => commands::image::status(&args).await,
            Command::Image(ImageCommand::Wait(args)) => commands::image::wait(&args).await,
            Command::Tag(TagCommand::History(args)) => commands::tag::history(&args).await,
            Command::Rpo(args) => commands::rpo::run(&args).await,
            Command::Bandwidth(BandwidthCommand::Ls(args)) => commands::bandwidth::ls(&args).await,
            Command::Bandwidth(BandwidthCommand::Set(args)) => commands::bandwidth::set(&args).await,
        }
    });
    // Work on the disk cannot be cancelled: what nobody waits for any more must not hold up the end.
    runtime.shutdown_timeout(LAST_WORK);
    Ok(result?)
}

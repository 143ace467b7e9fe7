//! Clients like those of production registries, in every region, for as long as a run lasts. Every call is recorded with
//! what came of it; judging is for the invariants.
//!
//! A client is a generator of choices from a seed of its own. It chooses by that and by the answers that it got, by
//! nothing else, so that a run can be made again as far as the answers are the same. In reading order: `plan` and `mix`
//! say what clients do, `study` draws sizes and popularity, `client` and `memory` are one client, `reads` and `writes` its
//! calls, and the kinds of turns are `pusher`, `tagger`, `puller`, `ranger`, `deleter`, `hopper`, `lister` and `referrers`,
//! which `turn` chooses among. `door` is a request and its answer, `http` asks real nodes, `recorder` writes everything down.

mod client;
mod deleter;
mod door;
mod hopper;
mod http;
mod lister;
mod memory;
mod mix;
mod plan;
mod puller;
mod pusher;
mod ranger;
mod reads;
mod recorder;
mod referrers;
mod study;
mod tagger;
mod turn;
mod writes;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
mod stand_in;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
mod tests;

pub use mix::{Kind, Mix};
pub use plan::{ACK_REGIONS, Plan, STALE_SECONDS};
pub use recorder::{Clock, Counts, word};
pub use study::{LARGEST_LAYER, MEDIAN_LAYER, Popularity, Sizes};

use crate::cluster::Node;
use crate::geo;
use crate::history::History;
use crate::truth::Truth;
use client::{Client, Shared};
use http::Nodes;
use recorder::{Desk, Recorder};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

/// Starts workloads.
pub struct Workload;

/// A workload that goes on until it is stopped, or its plan's length is over. Dropping it stops it, too.
pub struct Running {
    stop: watch::Sender<bool>,
    regions: JoinSet<crate::Result<()>>,
    /// Ends the run after the plan's length. In a set, so that it goes when this is dropped, and does not keep `stop` alive.
    timer: JoinSet<()>,
    recorder: Recorder,
    truth: Arc<Truth>,
    clock: Clock,
}

impl Workload {
    /// Starts the clients of every region: inside its network namespace, or on loopback when the nodes are there. Wants a
    /// runtime around it. What [`Plan::settings`] names has to be set before.
    ///
    /// # Errors
    /// When the plan cannot be, or its file cannot be made.
    pub fn start(nodes: &[Node], plan: Plan) -> crate::Result<Running> {
        let regions: Vec<Arc<str>> = nodes.iter().map(|node| node.region.as_str().into()).collect();
        let addresses: Vec<String> = nodes.iter().map(|node| node.registry.clone()).collect();
        let (clock, truth) = (plan.clock, Arc::<Truth>::default());
        let (recorder, desk) = Recorder::start(clock, plan.file.as_deref())?;
        let shared = Arc::new(Shared::new(plan, Arc::clone(&truth), regions.clone())?);
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        for (number, region) in regions.into_iter().collect::<BTreeSet<_>>().into_iter().enumerate() {
            let first = u32::try_from(number)? * shared.plan.clients_per_region;
            let shared = Arc::clone(&shared);
            let (desk, stopped, addresses) = (desk.clone(), stopped.clone(), addresses.clone());
            let is_local = addresses.iter().all(|address| is_loopback(address));
            let name = region.to_string();
            let clients = move || serve(first, region, shared, addresses, desk, stopped);
            if is_local {
                running.spawn(async move {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    spawn_blocking(move || runtime.block_on(clients())).await?
                });
            } else {
                running.spawn(geo::inside(name, clients));
            }
        }
        let mut timer = JoinSet::new();
        if let Some(length) = shared.plan.length {
            let (stop, mut stopped) = (stop.clone(), stopped);
            timer.spawn(async move {
                if tokio::time::timeout(length, stopped.wait_for(|stop| *stop)).await.is_err() {
                    stop.send_replace(true);
                }
            });
        }
        Ok(Running { stop, regions: running, timer, recorder, truth, clock })
    }
}

impl Running {
    /// Live counts of what has happened so far.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Counts> {
        self.recorder.counts()
    }

    /// What was made so far, and is made on the way.
    #[must_use]
    pub fn truth(&self) -> Arc<Truth> {
        Arc::clone(&self.truth)
    }

    /// The clock by which calls are recorded.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Stops it, waits until every call under way has ended, and gives all calls.
    ///
    /// # Errors
    /// When a client's thread failed, or the records could not be written.
    pub async fn stop(self) -> crate::Result<History> {
        self.stop.send_replace(true);
        self.finish().await
    }

    /// Waits until the plan's length is over, and gives all calls.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub async fn finish(mut self) -> crate::Result<History> {
        while let Some(region) = self.regions.join_next().await {
            region??;
        }
        self.stop.send_replace(true);
        while let Some(timer) = self.timer.join_next().await {
            timer?;
        }
        self.recorder.finish().await
    }
}

/// All clients of one region, on one thread.
async fn serve(
    first: u32,
    region: Arc<str>,
    shared: Arc<Shared>,
    addresses: Vec<String>,
    desk: Desk,
    stop: watch::Receiver<bool>,
) -> crate::Result<()> {
    let nodes = Arc::new(Nodes::new(addresses, shared.plan.clock, shared.plan.within)?);
    let clients = (first..first + shared.plan.clients_per_region).map(|number| {
        let door = Arc::clone(&nodes);
        let mut client =
            Client::new(number, Arc::clone(&region), Arc::clone(&shared), door, desk.clone(), stop.clone());
        async move { turn::live(&mut client, None).await }
    });
    futures::future::join_all(clients).await;
    Ok(())
}

fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback())
}

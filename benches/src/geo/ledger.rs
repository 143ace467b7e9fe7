//! Who used the machine's cores meanwhile: nodes, clients and router share them, so that no figure stands without it.

use super::site::Site;
use crate::compare::outcome::Bar;
use crate::process;
use portolan_chaos_tests::Result;
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// Linux reports CPU time in hundredths of a second to user space on every architecture that Debian has.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds since some beginning.
#[derive(Clone, Debug, Default)]
struct Reading {
    nodes: BTreeMap<i32, f64>,
    router: f64,
    own: f64,
    machine: f64,
}

/// An account that is open.
pub struct Ledger {
    began: Instant,
    opened: Reading,
}

/// What was used while it was open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// How long it was open, in seconds.
    pub seconds: f64,
    /// CPU seconds of the nodes, all together.
    pub nodes: f64,
    /// Those of the clients, which are in this process.
    pub clients: f64,
    /// Those of the router, a thread of this process.
    pub router: f64,
    /// Those of everything else, the kernel's own included.
    pub others: f64,
}

impl Ledger {
    /// Opens an account.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn open(site: &Site) -> Result<Self> {
        Ok(Self { began: Instant::now(), opened: read(site)? })
    }

    /// Closes it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn close(self, site: &Site) -> Result<Costs> {
        Ok(costs(self.began.elapsed().as_secs_f64(), &self.opened, &read(site)?))
    }
}

/// The difference of two readings. A node that is gone by the second counts with what it had used before the first.
fn costs(seconds: f64, opened: &Reading, closed: &Reading) -> Costs {
    let used = |(pid, now): (&i32, &f64)| now - opened.nodes.get(pid).unwrap_or(now);
    let nodes: f64 = closed.nodes.iter().map(used).sum();
    let router = closed.router - opened.router;
    // The router's own clock and the kernel's tick may differ by a hundredth.
    let clients = (closed.own - opened.own - router).max(0.0);
    let others = (closed.machine - opened.machine - nodes - clients - router).max(0.0);
    Costs { seconds, nodes, clients, router, others }
}

impl Costs {
    /// Books them on a bar.
    pub fn book(&self, bar: &mut Bar) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        bar.seconds += self.seconds;
        bar.core_seconds += self.seconds * cores as f64;
        bar.cpu_seconds += self.nodes;
        bar.client_cpu_seconds += self.clients;
        bar.router_cpu_seconds += self.router;
        bar.other_cpu_seconds += self.others;
    }
}

fn read(site: &Site) -> Result<Reading> {
    let nodes = site.pids().into_iter().filter_map(|pid| Some((pid, process::cpu_seconds(pid).ok()?))).collect();
    let own = process::cpu_seconds(i32::try_from(std::process::id())?)?;
    let machine = machine_seconds(&fs::read_to_string("/proc/stat")?).ok_or("an unknown form of /proc/stat")?;
    Ok(Reading { nodes, router: site.router_seconds(), own, machine })
}

/// The CPU seconds of all cores that were not idle.
fn machine_seconds(stat: &str) -> Option<f64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = fields.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests used is in the first two.
    let busy: f64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, ticks)| ticks).sum();
    Some(busy / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::{Reading, costs, machine_seconds};

    #[test]
    fn idle_and_waiting_cores_are_not_busy() {
        let stat = "cpu  100 10 200 5000 700 3 4 5 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(machine_seconds(stat), Some(3.22));
        assert_eq!(machine_seconds("intr 5"), None);
    }

    #[test]
    fn the_router_is_no_client_and_a_node_that_died_costs_nothing_more() {
        let reading = |nodes: &[(i32, f64)], router, own, machine| Reading {
            nodes: nodes.iter().copied().collect(),
            router,
            own,
            machine,
        };
        let opened = reading(&[(1, 5.0), (2, 7.0)], 1.0, 2.0, 20.0);
        let closed = reading(&[(1, 6.5)], 1.5, 3.0, 24.0);
        let costs = costs(2.0, &opened, &closed);
        assert_eq!((costs.nodes, costs.router, costs.clients, costs.others), (1.5, 0.5, 0.5, 1.5));
    }
}

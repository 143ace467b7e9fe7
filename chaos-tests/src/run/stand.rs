//! The cluster of a run, and what is below it.

use crate::Result;
use crate::cluster::{Cluster, Options};
use crate::faults::clock;
use crate::forget::Forgetting;
use crate::geo::{self, Geo};
use crate::scenario::{Disk, Ground, Scenario};
use crate::tmpfs::Tmpfs;
use crate::wan::{Topology, Wan};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The regions of `portolan dev`.
const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];

/// What a small disk keeps for the metadata: the usual gibibyte would be all of it.
const SMALL_RESERVE: u64 = 64 << 20;

enum On {
    Loopback(Box<Cluster>),
    Wan(Box<Geo>),
}

/// A cluster that stands. Dropping it takes everything down.
pub(super) struct Stand {
    // The cluster goes before its disks, and they before their folder.
    on: On,
    _disks: Vec<Tmpfs>,
    _folders: Vec<TempDir>,
}

impl Stand {
    /// Starts it and waits until every node takes pushes.
    pub(super) async fn start(scenario: &Scenario, report: &Path, keep: bool) -> Result<Self> {
        let (mut folders, mut disks, mut folder) = (Vec::new(), Vec::new(), None);
        let mut environment = scenario.settings.clone();
        if scenario.clocks {
            let clocks = TempDir::with_prefix("portolan-clocks")?;
            let wanted = clock::environment(clocks.path());
            if wanted.is_empty() {
                return Err(format!("{} wants libfaketime (Debian: libfaketime)", scenario.name).into());
            }
            environment.extend(wanted);
            folders.push(clocks);
        }
        if let Disk::Small(mib) = scenario.disk {
            let data = TempDir::with_prefix("portolan-disks")?;
            for name in names(scenario)? {
                disks.push(Tmpfs::mount_at(&data.path().join(name), mib).await?);
            }
            environment.push(("PORTOLAN_STORAGE_RESERVE_BYTES", SMALL_RESERVE.to_string()));
            folder = Some(data.path().to_owned());
            folders.push(data);
        } else if keep && scenario.disk == Disk::Plain {
            folder = Some(empty(report.join("data"))?);
        }
        if keep && scenario.disk != Disk::Plain {
            eprintln!("--keep: the data of {} are not kept: they go with the disks that it makes", scenario.name);
        }
        let forgetting = (scenario.disk == Disk::Forgetting).then(Forgetting::default);
        let nodes_per_region = scenario.nodes_per_region;
        let on = match scenario.ground {
            Ground::Loopback => {
                let options = Options { nodes_per_region, environment, folder, forgetting, ..Options::default() };
                On::Loopback(Box::new(Cluster::start(options).await?))
            }
            Ground::Wan(topology) => {
                let plan = geo::Plan { nodes_per_region, environment, folder, forgetting };
                On::Wan(Box::new(Geo::start(topology, plan).await?))
            }
        };
        let mut stand = Self { on, _disks: disks, _folders: folders };
        let cluster = stand.parts().0;
        for node in 0..cluster.nodes().len() {
            cluster.wait_writable(node).await?;
        }
        Ok(stand)
    }

    pub(super) fn parts(&mut self) -> (&mut Cluster, Option<&Wan>) {
        match &mut self.on {
            On::Loopback(cluster) => (cluster, None),
            On::Wan(geo) => (&mut geo.cluster, Some(&geo.wan)),
        }
    }

    /// Copies what the nodes logged, for whoever looks for the reason of a violation.
    pub(super) fn keep_logs(&mut self, folder: &Path) -> Result<()> {
        let (cluster, _) = self.parts();
        let logs = folder.join("logs");
        fs::create_dir_all(&logs)?;
        for (at, node) in cluster.nodes().iter().enumerate() {
            fs::write(logs.join(format!("{}.log", node.name)), cluster.logs(at)?)?;
        }
        Ok(())
    }

    pub(super) async fn down(self) -> Result<()> {
        match self.on {
            On::Loopback(mut cluster) => {
                cluster.stop().await?;
                Ok(())
            }
            On::Wan(geo) => geo.down().await,
        }
    }
}

/// A folder that has nothing in it yet: nodes would go on with what another run left.
fn empty(folder: PathBuf) -> Result<PathBuf> {
    let which = folder.display();
    let is_empty = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(format!("{which}: {error}").into()),
        Ok(mut entries) => entries.next().is_none(),
    };
    if is_empty {
        return Ok(folder);
    }
    Err(format!("{which} has the data of an earlier run: remove it, or give another folder with --report").into())
}

/// The names of the nodes that a scenario starts.
fn names(scenario: &Scenario) -> Result<Vec<String>> {
    let regions: Vec<String> = match scenario.ground {
        Ground::Loopback => REGIONS.map(str::to_owned).into(),
        Ground::Wan(text) => Topology::parse(text)?.regions.into_iter().map(|region| region.name).collect(),
    };
    let of = |region: &String| -> Vec<String> {
        (1..=scenario.nodes_per_region.max(1)).map(|at| format!("{region}-{at}")).collect()
    };
    Ok(regions.iter().flat_map(of).collect())
}

/// What the nodes say that they are.
pub(super) async fn version(cluster: &Cluster) -> Result<String> {
    let registry = crate::client::Registry::new(&cluster.nodes()[0].registry, Duration::from_secs(10));
    let status: serde_json::Value = registry.get("/api/v1/cluster").await?.json().await?;
    let version = status["nodes"].as_array().and_then(|nodes| nodes.first()?["version"].as_str().map(str::to_owned));
    Ok(format!("portolan {}", version.unwrap_or_else(|| "of no known version".to_owned())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::empty;
    use std::fs;

    #[test]
    fn data_of_an_earlier_run_are_refused_with_what_to_do() {
        let report = tempfile::tempdir().unwrap();
        let data = report.path().join("data");
        assert_eq!(empty(data.clone()).unwrap(), data, "none is there");
        fs::create_dir(&data).unwrap();
        assert_eq!(empty(data.clone()).unwrap(), data, "nothing is in it");
        fs::create_dir(data.join("eu-west-1")).unwrap();
        let refused = empty(data.clone()).unwrap_err().to_string();
        assert!(refused.contains(&*data.to_string_lossy()) && refused.contains("remove it"), "{refused}");
    }
}

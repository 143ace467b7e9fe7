//! Where the nodes of `portolan dev` are: names, ports, addresses, folders. Pure.

use crate::cli::DevArgs;
use crate::error::UsageError;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The most nodes that one machine is asked to run.
const MOST_NODES: usize = 100;
/// From the public port of the first node to its peer port.
const PEER_OFFSET: u32 = 2000;
/// From the public port of the first node to its ops port.
const OPS_OFFSET: u32 = 4100;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// Its id, from 1, by region and then by number in the region.
    pub(crate) id: u64,
    /// Its name, such as `eu-west-1`.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// Where clients reach it.
    pub(crate) public: SocketAddr,
    /// Where its peers reach it.
    pub(crate) peer: SocketAddr,
    /// Where its health and metrics are.
    pub(crate) ops: SocketAddr,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The words to start it with, before the binary's own.
    pub(crate) launcher: Vec<String>,
}

impl NodePlan {
    /// Its configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("portolan.toml")
    }

    /// Its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }
}

/// Plans all nodes below `data`, an absolute path.
///
/// # Errors
/// When the arguments do not go together.
pub(crate) fn plan(args: &DevArgs, data: &Path) -> Result<Vec<NodePlan>, UsageError> {
    check(args)?;
    let mut nodes = Vec::new();
    for (region_at, region) in args.regions.iter().enumerate() {
        for index in 1..=args.nodes_per_region {
            let number = nodes.len();
            let name = format!("{region}-{index}");
            let fill = |template: &str| {
                template
                    .replace("{region}", region)
                    .replace("{name}", &name)
                    .replace("{r}", &(region_at + 1).to_string())
                    .replace("{i}", &index.to_string())
                    .replace("{id}", &(number + 1).to_string())
            };
            let address = fill(&args.address);
            let address: IpAddr = address
                .parse()
                .map_err(|_| UsageError::Address { template: args.address.clone(), address: address.clone() })?;
            let at = |offset| SocketAddr::new(address, port(args.base_port, offset, number));
            nodes.push(NodePlan {
                id: number as u64 + 1,
                region: region.clone(),
                public: at(0),
                peer: at(PEER_OFFSET),
                ops: at(OPS_OFFSET),
                folder: data.join(&name),
                launcher: args.launcher.iter().flat_map(|launcher| launcher.split_whitespace()).map(fill).collect(),
                name,
            });
        }
    }
    Ok(nodes)
}

fn check(args: &DevArgs) -> Result<(), UsageError> {
    let mut seen = BTreeSet::new();
    for region in &args.regions {
        // A node's name is the region's and a number, and has at most 63 letters as well.
        if !crate::config::is_name(region) || region.len() > 58 {
            return Err(UsageError::RegionName(region.clone()));
        }
        if !seen.insert(region) {
            return Err(UsageError::RegionTwice(region.clone()));
        }
    }
    let nodes = args.regions.len().saturating_mul(args.nodes_per_region);
    if nodes == 0 || nodes > MOST_NODES {
        return Err(UsageError::NodeCount { nodes, most: MOST_NODES });
    }
    let last = u32::from(args.base_port) + OPS_OFFSET + nodes as u32 - 1;
    if args.base_port == 0 || last > u32::from(u16::MAX) {
        return Err(UsageError::PortRange { base: args.base_port, last });
    }
    if args.demo && args.regions.len() < 3 {
        return Err(UsageError::DemoRegions);
    }
    Ok(())
}

fn port(base: u16, offset: u32, number: usize) -> u16 {
    u16::try_from(u32::from(base) + offset + number as u32).expect("check() has refused what lies beyond the last port")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{DevArgs, UsageError, plan};
    use std::path::Path;

    fn args(regions: &[&str], nodes_per_region: usize, base_port: u16) -> DevArgs {
        DevArgs {
            regions: regions.iter().map(ToString::to_string).collect(),
            nodes_per_region,
            data: "unused".into(),
            base_port,
            launcher: None,
            address: "127.0.0.1".to_owned(),
            json: false,
            demo: false,
            keep: false,
        }
    }

    #[test]
    fn nodes_are_numbered_by_region_and_then_by_index() {
        let nodes = plan(&args(&["eu-west", "us-east"], 2, 5001), Path::new("/data")).unwrap();
        let seen: Vec<_> = nodes
            .iter()
            .map(|node| (node.id, node.name.as_str(), node.public.port(), node.peer.port(), node.ops.port()))
            .collect();
        assert_eq!(
            seen,
            [
                (1, "eu-west-1", 5001, 7001, 9101),
                (2, "eu-west-2", 5002, 7002, 9102),
                (3, "us-east-1", 5003, 7003, 9103),
                (4, "us-east-2", 5004, 7004, 9104),
            ]
        );
        assert_eq!(nodes[2].config(), Path::new("/data/us-east-1/portolan.toml"));
    }

    #[test]
    fn templates_are_filled_for_each_node() {
        let mut args = args(&["eu", "us"], 2, 5001);
        args.address = "10.77.{r}.{i}".to_owned();
        args.launcher = Some("ip netns exec wan-{region} env NODE={name}/{id}".to_owned());
        let nodes = plan(&args, Path::new("/data")).unwrap();
        assert_eq!(nodes[3].public.to_string(), "10.77.2.2:5004");
        assert_eq!(nodes[3].launcher, ["ip", "netns", "exec", "wan-us", "env", "NODE=us-2/4"]);
    }

    #[test]
    fn arguments_that_do_not_go_together_are_refused() {
        let mut demo = args(&["a", "b"], 1, 5001);
        demo.demo = true;
        let mut address = args(&["a"], 1, 5001);
        address.address = "host-{i}".to_owned();
        for (args, expected) in [
            (args(&["A"], 1, 5001), UsageError::RegionName("A".to_owned())),
            (args(&["a", "b", "a"], 1, 5001), UsageError::RegionTwice("a".to_owned())),
            (args(&["a"], 0, 5001), UsageError::NodeCount { nodes: 0, most: 100 }),
            (args(&["a", "b"], 51, 5001), UsageError::NodeCount { nodes: 102, most: 100 }),
            (args(&["a", "b"], 1, 61_435), UsageError::PortRange { base: 61_435, last: 65_536 }),
            (args(&["a"], 1, 0), UsageError::PortRange { base: 0, last: 4100 }),
            (demo, UsageError::DemoRegions),
            (address, UsageError::Address { template: "host-{i}".to_owned(), address: "host-1".to_owned() }),
        ] {
            assert_eq!(plan(&args, Path::new("/data")).unwrap_err(), expected);
        }
    }

    #[test]
    fn one_voter_per_region_and_a_second_in_the_first_when_the_regions_are_even() {
        for (regions, per_region, expected) in [
            (&["a", "b", "c"][..], 1, &["a-1", "b-1", "c-1"][..]),
            (&["a", "b", "c"], 2, &["a-1", "b-1", "c-1"]),
            (&["a", "b"], 2, &["a-1", "a-2", "b-1"]),
            (&["a"], 2, &["a-1"]),
            (&["a"], 3, &["a-1", "a-2", "a-3"]),
            (&["a"], 5, &["a-1", "a-2", "a-3"]),
        ] {
            let nodes = plan(&args(regions, per_region, 5001), Path::new("/data")).unwrap();
            let members: Vec<_> = nodes.iter().map(|node| (node.name.clone(), node.region.clone())).collect();
            let voters = crate::members::voters(&members);
            assert_eq!(voters, expected, "{regions:?} x {per_region}");
        }
    }
}

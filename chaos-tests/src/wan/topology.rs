//! Topologies: regions, how many nodes each has, and the links between them, as TOML.

use super::link::{ChangeError, Link, LinkChange};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Most regions that a topology may have: the third number of an address, and few enough to read a table of all pairs.
pub const MOST_REGIONS: usize = 16;

/// Most nodes of a region; the last number of an address, 254 being the router's own.
pub const MOST_NODES: u8 = 200;

/// The longest region name: `wan-` and it name a network namespace.
const LONGEST_NAME: usize = 58;

/// A region and its nodes' number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name; `wan-` and it name its network namespace.
    pub name: String,
    /// How many addresses `10.77.r.1`, `10.77.r.2`, ... it has, `r` being its place in the topology from 1.
    pub nodes: u8,
}

/// Regions and the links of every ordered pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// What people call it.
    pub name: String,
    /// The largest packet on the links, in bytes.
    pub mtu: u16,
    /// Seeds loss, jitter and reordering.
    pub seed: u64,
    /// The regions in the order of their addresses.
    pub regions: Vec<Region>,
    links: Vec<Link>,
}

/// A topology that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML of our form.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A region's name cannot be a name.
    #[error("{0:?} is no name for a region: small letters, digits and hyphens, at most {LONGEST_NAME}")]
    Name(String),
    /// Two regions of one name.
    #[error("two regions are named {0:?}")]
    Twice(String),
    /// A number of regions or nodes that the addresses do not hold.
    #[error("{0} regions or nodes in one place: from 1 to {MOST_REGIONS} regions, each with 1 to {MOST_NODES} nodes")]
    Count(usize),
    /// A link names a region that is not there.
    #[error("no region is named {0:?}")]
    Unknown(String),
    /// A link leads from a region to itself.
    #[error("{0:?} has no link to itself")]
    Loop(String),
    /// A link's property cannot be read.
    #[error("link {from} to {to}: {source}")]
    Link {
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
        /// What is wrong.
        source: ChangeError,
    },
    /// A link with neither `between` nor `from` and `to`.
    #[error("a link wants `between = [A, B]` or `from = A` and `to = B`")]
    Ends,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default = "default_mtu")]
    mtu: u16,
    #[serde(default)]
    seed: u64,
    regions: Vec<FileRegion>,
    #[serde(default)]
    defaults: BTreeMap<String, String>,
    #[serde(default)]
    links: Vec<FileLink>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRegion {
    name: String,
    #[serde(default = "default_nodes")]
    nodes: u8,
}

#[derive(Deserialize)]
struct FileLink {
    between: Option<[String; 2]>,
    from: Option<String>,
    to: Option<String>,
    // Not `deny_unknown_fields`: what is left is read by the parser of changes, which refuses unknown keys.
    #[serde(flatten)]
    properties: BTreeMap<String, String>,
}

fn default_mtu() -> u16 {
    1500
}

fn default_nodes() -> u8 {
    1
}

impl Topology {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub fn load(path: &Path) -> Result<Self, TopologyError> {
        let read = |source| TopologyError::Read { path: path.to_owned(), source };
        Self::parse(&std::fs::read_to_string(path).map_err(read)?)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn parse(text: &str) -> Result<Self, TopologyError> {
        let file: File = toml::from_str(text)?;
        let count = file.regions.len();
        if count == 0 || count > MOST_REGIONS {
            return Err(TopologyError::Count(count));
        }
        let mut regions: Vec<Region> = Vec::new();
        for FileRegion { name, nodes } in file.regions {
            check_name(&name)?;
            if nodes == 0 || nodes > MOST_NODES {
                return Err(TopologyError::Count(nodes.into()));
            }
            if regions.iter().any(|region| region.name == name) {
                return Err(TopologyError::Twice(name));
            }
            regions.push(Region { name, nodes });
        }
        let links = vec![Link::default(); count * count];
        let mut topology = Self { name: file.name, mtu: file.mtu, seed: file.seed, regions, links };
        topology.connect(&file.defaults, file.links)?;
        Ok(topology)
    }

    fn connect(&mut self, defaults: &BTreeMap<String, String>, links: Vec<FileLink>) -> Result<(), TopologyError> {
        let names: Vec<_> = self.regions.iter().map(|region| region.name.clone()).collect();
        for from in &names {
            for to in names.iter().filter(|to| *to != from) {
                self.change(from, to, defaults)?;
            }
        }
        for FileLink { between, from, to, properties } in links {
            match (between, from, to) {
                (Some([a, b]), None, None) => {
                    self.change(&a, &b, &properties)?;
                    self.change(&b, &a, &properties)?;
                }
                (None, Some(from), Some(to)) => self.change(&from, &to, &properties)?,
                _ => return Err(TopologyError::Ends),
            }
        }
        Ok(())
    }

    fn change(&mut self, from: &str, to: &str, properties: &BTreeMap<String, String>) -> Result<(), TopologyError> {
        let mut change = LinkChange::default();
        for (key, value) in properties {
            let wrong = |source| TopologyError::Link { from: from.to_owned(), to: to.to_owned(), source };
            change.put(key, value).map_err(wrong)?;
        }
        let (a, b) = (self.region(from)?, self.region(to)?);
        if a == b {
            return Err(TopologyError::Loop(from.to_owned()));
        }
        let count = self.regions.len();
        change.apply(&mut self.links[a * count + b]);
        Ok(())
    }

    /// The place of a region, from 0.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn region(&self, name: &str) -> Result<usize, TopologyError> {
        let place = self.regions.iter().position(|region| region.name == name);
        place.ok_or_else(|| TopologyError::Unknown(name.to_owned()))
    }

    /// The link from one region to another, both by their places.
    #[must_use]
    pub fn link(&self, from: usize, to: usize) -> Link {
        self.links[from * self.regions.len() + to]
    }

    /// The address of a node: region by its place from 0, node from 1.
    #[must_use]
    pub fn address(region: usize, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, region as u8 + 1, node)
    }
}

fn check_name(name: &str) -> Result<(), TopologyError> {
    let fits = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits { Ok(()) } else { Err(TopologyError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Topology, TopologyError};
    use std::path::Path;
    use std::time::Duration;

    const TWO: &str = r#"
        name = "two"
        defaults = { rate = "1gbit" }
        regions = [{ name = "a" }, { name = "b", nodes = 2 }]
        [[links]]
        between = ["a", "b"]
        rtt = "80ms"
        [[links]]
        from = "b"
        to = "a"
        loss = "1%"
    "#;

    #[test]
    fn links_are_set_for_both_directions_or_for_one() {
        let topology = Topology::parse(TWO).unwrap();
        let (there, back) = (topology.link(0, 1), topology.link(1, 0));
        assert_eq!((there.delay, there.rate, there.loss), (Duration::from_millis(40), 1_000_000_000, 0.0));
        assert_eq!((back.delay, back.rate, back.loss), (Duration::from_millis(40), 1_000_000_000, 0.01));
        assert_eq!(Topology::address(1, 2).to_string(), "10.77.2.2");
    }

    #[test]
    fn a_topology_that_cannot_be_used_is_refused() {
        let refused = |from: &str, to: &str| Topology::parse(&TWO.replace(from, to)).unwrap_err();
        assert!(matches!(refused("\"a\", \"b\"", "\"a\", \"c\""), TopologyError::Unknown(name) if name == "c"));
        assert!(matches!(refused("\"a\", \"b\"", "\"a\", \"a\""), TopologyError::Loop(_)));
        assert!(matches!(refused("name = \"b\"", "name = \"a\""), TopologyError::Twice(_)));
        assert!(matches!(refused("name = \"a\" }", "name = \"../a\" }"), TopologyError::Name(_)));
        assert!(matches!(refused("nodes = 2", "nodes = 0"), TopologyError::Count(0)));
        assert!(matches!(refused("rtt", "rrt"), TopologyError::Link { .. }));
        assert!(matches!(refused("from = \"b\"", ""), TopologyError::Ends));
    }

    #[test]
    fn the_topologies_that_come_with_us_are_good() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let topology = Topology::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(topology.regions.len() > 1);
            seen += 1;
        }
        assert!(seen >= 4, "{seen} topologies");
    }
}

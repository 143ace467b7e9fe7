//! The folder of `portolan dev`: which cluster it holds, and each node's configuration.

use super::certificates::{authority_path, node_paths};
use super::layout::NodePlan;
use crate::cli::DevArgs;
use crate::error::{Failure, UsageError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Which cluster a folder holds. Ports may change between starts; members may not.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    regions: Vec<String>,
    nodes_per_region: usize,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--regions {} --nodes-per-region {}", self.regions.join(","), self.nodes_per_region)
    }
}

/// Makes the folder, or checks that it holds the cluster that was asked for. Gives its absolute path.
///
/// # Errors
/// When it holds another cluster, or cannot be used.
pub(crate) fn open(args: &DevArgs) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(&args.data).map_err(Failure::file(&args.data))?;
    let data = args.data.canonicalize().map_err(Failure::file(&args.data))?;
    let asked = Layout { regions: args.regions.clone(), nodes_per_region: args.nodes_per_region };
    let path = data.join("dev.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let found: Layout = serde_json::from_str(&text).map_err(|error| Failure::file(&path)(error.into()))?;
            if found != asked {
                let (found, asked) = (found.to_string(), asked.to_string());
                return Err(Failure::Usage(UsageError::OtherLayout { folder: data, found, asked }));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = serde_json::to_string(&asked).map_err(|error| Failure::file(&path)(error.into()))?;
            std::fs::write(&path, text + "\n").map_err(Failure::file(&path))?;
        }
        Err(error) => return Err(Failure::file(&path)(error)),
    }
    Ok(data)
}

/// Makes each node's folder.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn make_folders(nodes: &[NodePlan]) -> Result<(), Failure> {
    for node in nodes {
        std::fs::create_dir_all(&node.folder).map_err(Failure::file(&node.folder))?;
    }
    Ok(())
}

/// Writes each node's configuration.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn write_configs(data: &Path, nodes: &[NodePlan]) -> Result<(), Failure> {
    for node in nodes {
        let path = node.config();
        std::fs::write(&path, config(data, node, nodes)).map_err(Failure::file(&path))?;
    }
    Ok(())
}

/// A node's configuration as TOML.
pub(crate) fn config(data: &Path, node: &NodePlan, nodes: &[NodePlan]) -> String {
    let (cert, key) = node_paths(node);
    let members: String = nodes
        .iter()
        .map(|member| {
            let (name, region, peer) = (&member.name, &member.region, member.peer);
            format!("  {{ name = \"{name}\", region = \"{region}\", peer = \"{peer}\" }},\n")
        })
        .collect();
    format!(
        "# Written by `portolan dev`, anew at each of its starts.\n\
         \n[node]\nname = \"{name}\"\nregion = \"{region}\"\ndata_dir = {folder}\n\
         \n[cluster]\nname = \"dev\"\nprofile = \"lan\"\nmembers = [\n{members}]\n\
         \n[public]\nlisten = \"{public}\"\nplain_http = true\n\
         \n[peer]\nlisten = \"{peer}\"\nca = {ca}\ncert = {cert}\nkey = {key}\n\
         \n[ops]\nlisten = \"{ops}\"\n\
         \n[auth]\nmode = \"open\"\n",
        name = node.name,
        region = node.region,
        folder = quoted(&node.folder),
        public = node.public,
        peer = node.peer,
        ca = quoted(&authority_path(data)),
        cert = quoted(&cert),
        key = quoted(&key),
        ops = node.ops,
    )
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::super::{certificates, layout};
    use super::{config, make_folders, open};
    use crate::cli::{Cli, Command, DevArgs};
    use crate::config::Config;
    use clap::Parser;

    fn args(folder: &std::path::Path, regions: &str) -> DevArgs {
        let data = folder.display().to_string();
        match Cli::try_parse_from(["portolan", "dev", "--regions", regions, "--data", &data]).unwrap().command {
            Command::Dev(args) => args,
            other => panic!("not dev: {other:?}"),
        }
    }

    #[test]
    fn the_written_configuration_is_accepted_by_serve() {
        let folder = tempfile::tempdir().unwrap();
        // A folder's name may hold what TOML must escape.
        let args = args(&folder.path().join("with \"quotes\" and spaces"), "eu-west,us-east,ap-south");
        let data = open(&args).unwrap();
        let nodes = layout::plan(&args, &data).unwrap();
        make_folders(&nodes).unwrap();
        certificates::ensure(&data, &nodes).unwrap();
        for node in &nodes {
            let config = Config::parse(&config(&data, node, &nodes), []).unwrap();
            assert_eq!(config.me().0, node.id);
            assert_eq!(config.node.data_dir, node.folder);
            assert_eq!(config.public.listen, node.public);
        }
    }

    #[test]
    fn certificates_are_made_once_and_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path(), "a,b,c");
        let nodes = layout::plan(&args, folder.path()).unwrap();
        make_folders(&nodes).unwrap();
        let read = || {
            certificates::ensure(folder.path(), &nodes).unwrap();
            let (cert, key) = certificates::node_paths(&nodes[1]);
            [certificates::authority_path(folder.path()), cert, key].map(|path| std::fs::read_to_string(path).unwrap())
        };
        assert_eq!(read(), read());
    }

    #[test]
    fn a_folder_with_another_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        open(&args(folder.path(), "a,b,c")).unwrap();
        open(&args(folder.path(), "a,b,c")).unwrap();
        let said = open(&args(folder.path(), "a,b")).unwrap_err().to_string();
        assert!(said.contains("holds a cluster of --regions a,b,c --nodes-per-region 1"), "{said}");
    }
}

//! The admin token: whoever can read its file may change the cluster.

use crate::config::is_name;
use crate::error::{Failure, chain};
use portolan_meta::id::NodeId;
use portolan_store::Identity;
use rand::RngCore;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file in the data folder.
const FILE: &str = "admin.token";
/// Where a node's configuration usually is.
const CONFIG: &str = "/etc/portolan/portolan.toml";
/// Where it usually keeps its data.
const USUAL: &str = "/var/lib/portolan";
/// Where `portolan dev` keeps the folders of its nodes.
const DEV: &str = "portolan-dev";
/// How many random bytes a token has.
const BYTES: usize = 32;

/// The token of a data folder, made at the first start.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn token(data_dir: &Path) -> Result<String, Failure> {
    let path = data_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => return Ok(token),
        // A crash between creating and writing it left it empty: nobody can have used it.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::file(&path)(error)),
    }
    let mut bytes = [0; BYTES];
    rand::rng().fill_bytes(&mut bytes);
    let mut token = bytes.iter().fold(String::with_capacity(2 * BYTES + 1), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    token.push('\n');
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&path).map_err(Failure::file(&path))?;
    file.write_all(token.as_bytes()).and_then(|()| file.sync_all()).map_err(Failure::file(&path))?;
    Ok(token)
}

/// The folders on this machine in which a node may keep its data: what the environment and the usual configuration say,
/// the usual folder, and that of a cluster of `portolan dev`. The node's name is what whoever answers calls itself: what
/// names no node leads nowhere.
pub(crate) fn candidates(node: &str) -> Vec<PathBuf> {
    let configured = std::fs::read_to_string(CONFIG).ok().and_then(|text| {
        let config: toml::Table = toml::from_str(&text).ok()?;
        Some(PathBuf::from(config.get("node")?.get("data_dir")?.as_str()?))
    });
    let folders = [
        std::env::var_os("PORTOLAN_NODE_DATA_DIR").map(PathBuf::from),
        configured,
        Some(PathBuf::from(USUAL)),
        is_name(node).then(|| Path::new(DEV).join(node)),
    ];
    let mut found = Vec::new();
    for folder in folders.into_iter().flatten() {
        if !found.contains(&folder) {
            found.push(folder);
        }
    }
    found
}

/// The token in a folder, if its data are those of that node of that cluster: the token of another node is nobody's
/// business there.
///
/// # Errors
/// Why the folder is of no use, in words.
pub(crate) fn token_of(folder: &Path, cluster: &str, node: NodeId) -> Result<String, String> {
    let path = folder.join(FILE);
    let of_no_use = |why: String| format!("{}: {why}", path.display());
    let identity = match Identity::load(folder) {
        Ok(Some(identity)) => identity,
        Ok(None) => return Err(of_no_use("its folder holds no node's data".to_owned())),
        Err(error) => return Err(of_no_use(chain(&error))),
    };
    if identity.cluster_id != cluster || identity.node_id != node {
        return Err(of_no_use("its folder is another node's".to_owned()));
    }
    std::fs::read_to_string(&path).map_err(|error| of_no_use(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{DEV, FILE, candidates, token, token_of};
    use portolan_meta::id::NodeId;
    use portolan_store::Identity;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn only_the_name_of_a_node_names_a_folder() {
        let dev = |name: &str| candidates(name).iter().any(|folder| *folder == Path::new(DEV).join(name));
        for (name, named) in [("eu-west-1", true), ("", false), ("..", false), ("/etc", false), ("a/b", false)] {
            assert_eq!(dev(name), named, "{name:?}");
        }
    }

    #[test]
    fn a_token_is_for_the_node_whose_data_lie_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let made = token(path).unwrap();
        assert!(token_of(path, "c", NodeId(1)).unwrap_err().contains("holds no node's data"));
        let identity =
            Identity { cluster_id: "c".to_owned(), node_id: NodeId(1), storage_uuid: "s".to_owned(), incarnation: 1 };
        identity.save(path).unwrap();
        assert_eq!(token_of(path, "c", NodeId(1)).unwrap(), made);
        for (cluster, node) in [("c", 2), ("d", 1), ("", 1)] {
            let refused = token_of(path, cluster, NodeId(node)).unwrap_err();
            assert!(refused.contains("another node's") && refused.contains(FILE), "{refused}");
        }
        std::fs::remove_file(path.join(FILE)).unwrap();
        assert!(token_of(path, "c", NodeId(1)).unwrap_err().contains(FILE));
    }

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let made = token(folder.path()).unwrap();
        assert_eq!(made.trim().len(), 64);
        assert_eq!(token(folder.path()).unwrap(), made);
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

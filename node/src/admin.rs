//! The admin token: whoever can read its file may change the cluster.

use crate::error::Failure;
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

/// The folders on this machine in which the token of a node may lie: what the environment and the usual configuration
/// say, the usual folder, and that of a cluster of `portolan dev`.
pub(crate) fn candidates(node: &str) -> Vec<PathBuf> {
    let configured = std::fs::read_to_string(CONFIG).ok().and_then(|text| {
        let config: toml::Table = toml::from_str(&text).ok()?;
        Some(PathBuf::from(config.get("node")?.get("data_dir")?.as_str()?))
    });
    let folders = [
        std::env::var_os("PORTOLAN_NODE_DATA_DIR").map(PathBuf::from),
        configured,
        Some(PathBuf::from(USUAL)),
        (!node.is_empty()).then(|| Path::new(DEV).join(node)),
    ];
    folders.into_iter().flatten().map(|folder| folder.join(FILE)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{FILE, token};
    use std::os::unix::fs::PermissionsExt;

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

//! What lies in a node's data folder, as far as a test may know: blob files, logs, and what an operator put there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a node is given, and not its data: configuration and certificates. Logs stay where the test reads them.
const KEPT: [&str; 5] = ["toml", "pem", "key", "crt", "log"];

/// A folder of certificates.
const CERTIFICATES: &str = "tls";

/// Whether something in a data folder is there again on a fresh disk.
#[must_use]
pub fn is_kept(path: &Path) -> bool {
    let named = |kept: &str| path.extension().is_some_and(|ending| ending == kept);
    KEPT.into_iter().any(named) || path.file_name().is_some_and(|name| name == CERTIFICATES)
}

/// One file of a blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it, unless it is damaged.
    pub digest: String,
}

/// The blob files of a data folder, in the order of their paths, without the checksums beside them.
///
/// # Errors
/// When a folder cannot be read.
pub fn blob_files(data: &Path) -> io::Result<Vec<BlobFile>> {
    let mut files = Vec::new();
    for algorithm in fs::read_dir(data.join("blobs"))? {
        let algorithm = algorithm?;
        for prefix in fs::read_dir(algorithm.path())? {
            for file in fs::read_dir(prefix?.path())? {
                let path = file?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if !name.contains(".sum") {
                    let hex = name.split('.').next().unwrap_or_default();
                    let digest = format!("{}:{hex}", algorithm.file_name().to_string_lossy());
                    files.push(BlobFile { digest, path: path.clone() });
                }
            }
        }
    }
    files.sort();
    Ok(files)
}

/// How far a node's logs went at a moment; the default is before their beginning.
#[derive(Clone, Debug, Default)]
pub struct LogMark(BTreeMap<PathBuf, u64>);

impl LogMark {
    /// Where the logs of a data folder end now.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn now(data: &Path) -> io::Result<Self> {
        let ends = logs(data)?.into_iter().map(|path| Ok((path.clone(), fs::metadata(path)?.len())));
        Ok(Self(ends.collect::<io::Result<_>>()?))
    }

    /// What was logged after it.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn since(&self, data: &Path) -> io::Result<String> {
        let mut text = String::new();
        for path in logs(data)? {
            let (mut file, mut bytes) = (File::open(&path)?, Vec::new());
            file.seek(SeekFrom::Start(self.0.get(&path).copied().unwrap_or(0)))?;
            file.read_to_end(&mut bytes)?;
            text += &String::from_utf8_lossy(&bytes);
        }
        Ok(text)
    }
}

/// The files that a node logs to.
fn logs(data: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(data)?.map(|entry| Ok(entry?.path()));
    let is_log = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "log");
    let mut logs: Vec<_> = paths.collect::<io::Result<Vec<_>>>()?.into_iter().filter(is_log).collect();
    logs.sort();
    Ok(logs)
}

/// When a line was logged, by the node's own clock.
#[must_use]
pub fn logged_at(line: &str) -> Option<SystemTime> {
    let (_, rest) = line.split_once(r#""timestamp":""#)?;
    humantime::parse_rfc3339(rest.split('"').next()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{LogMark, blob_files, is_kept, logged_at};
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn blob_files_are_named_by_their_digest_and_checksums_are_none() {
        let folder = tempfile::tempdir().unwrap();
        for (prefix, name) in [("sha512/bb", "bb2.01"), ("sha256/aa", "aa1.02"), ("sha256/aa", "aa1.02.sum")] {
            let prefix = folder.path().join("blobs").join(prefix);
            fs::create_dir_all(&prefix).unwrap();
            fs::write(prefix.join(name), "x").unwrap();
        }
        let digests: Vec<_> = blob_files(folder.path()).unwrap().into_iter().map(|file| file.digest).collect();
        assert_eq!(digests, ["sha256:aa1", "sha512:bb2"]);
    }

    #[test]
    fn a_fresh_disk_has_what_an_operator_puts_there() {
        for (name, kept) in
            [("portolan.toml", true), ("tls", true), ("peer.key", true), ("raft", false), ("lock", false)]
        {
            assert_eq!(is_kept(&Path::new("/data").join(name)), kept, "{name}");
        }
    }

    #[test]
    fn logs_are_read_from_a_mark_on_also_those_that_began_later() {
        let folder = tempfile::tempdir().unwrap();
        let line = |second: u32| format!("{{\"timestamp\":\"1970-01-01T00:00:0{second}.000000Z\"}}\n");
        fs::write(folder.path().join("a.log"), line(1)).unwrap();
        fs::write(folder.path().join("a.toml"), "x").unwrap();
        let mark = LogMark::now(folder.path()).unwrap();
        assert_eq!(mark.since(folder.path()).unwrap(), "");
        fs::write(folder.path().join("a.log"), line(1) + &line(2)).unwrap();
        fs::write(folder.path().join("b.log"), line(3)).unwrap();
        let times = |text: String| text.lines().map(|line| logged_at(line).unwrap()).collect::<Vec<_>>();
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(times(mark.since(folder.path()).unwrap()), [at(2), at(3)]);
        assert_eq!(times(LogMark::default().since(folder.path()).unwrap()), [at(1), at(2), at(3)]);
        assert_eq!(logged_at("portolan: not ready"), None);
    }
}

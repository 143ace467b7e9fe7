#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::{CurrentTls, PublicTls, Verdict, Watch};
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A certificate and its key, PEM.
fn made(ends: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec!["registry".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(ends, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A folder with a pair in use.
struct Served {
    folder: tempfile::TempDir,
    tls: PublicTls,
    current: CurrentTls,
    first: Arc<ServerConfig>,
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("tls.crt"), folder.join("tls.key"))
}

fn write(folder: &Path, cert: &str, key: &str) {
    let (cert_path, key_path) = paths(folder);
    std::fs::write(cert_path, cert).unwrap();
    std::fs::write(key_path, key).unwrap();
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = made(2099);
        write(folder.path(), &cert, &key);
        Self::of(folder)
    }

    fn of(folder: tempfile::TempDir) -> Self {
        let (cert, key) = paths(folder.path());
        let tls = PublicTls::load(&cert, &key, Duration::from_secs(10)).unwrap();
        let current = tls.current();
        let first = Arc::clone(&current.borrow());
        Self { folder, tls, current, first }
    }

    fn is_renewed(&self) -> bool {
        !Arc::ptr_eq(&self.first, &self.current.borrow())
    }
}

#[test]
fn what_is_new_is_tried_once_it_stays_as_it_is_and_refused_once() {
    let [old, new, newer] = [1, 2, 3].map(|byte| [byte; 32]);
    let mut watch = Watch { current: old, candidate: None, refused: None };
    assert_eq!(watch.judge(Ok(old)), Verdict::Rest);
    // Still being written.
    assert_eq!(watch.judge(Ok(new)), Verdict::LookAgain);
    assert_eq!(watch.judge(Err("gone".to_owned())), Verdict::LookAgain);
    assert_eq!(watch.judge(Ok(newer)), Verdict::LookAgain);
    assert_eq!(watch.judge(Ok(newer)), Verdict::Try);
    watch.refuse();
    assert_eq!(watch.judge(Ok(newer)), Verdict::Rest);
    assert_eq!(watch.judge(Ok(newer)), Verdict::Rest);
    // Another one gets its own try.
    assert_eq!(watch.judge(Ok(new)), Verdict::LookAgain);
    assert_eq!(watch.judge(Ok(new)), Verdict::Try);
    watch.served(new);
    assert_eq!(watch.judge(Ok(new)), Verdict::Rest);
    // What was refused and taken back may be tried again.
    for _ in 0..2 {
        assert_eq!(watch.judge(Ok(newer)), Verdict::LookAgain);
        assert_eq!(watch.judge(Ok(newer)), Verdict::Try);
        watch.refuse();
        assert_eq!(watch.judge(Ok(new)), Verdict::Rest);
    }
}

#[tokio::test]
async fn a_renewed_pair_is_served_after_it_was_seen_twice() {
    let mut served = Served::new();
    assert_eq!(served.tls.look().await, Verdict::Rest);
    let (cert, key) = made(2098);
    write(served.folder.path(), &cert, &key);
    assert_eq!(served.tls.look().await, Verdict::LookAgain);
    assert!(!served.is_renewed());
    assert_eq!(served.tls.look().await, Verdict::Try);
    assert!(served.is_renewed());
    assert_eq!(served.tls.look().await, Verdict::Rest);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_that_points_elsewhere_is_a_renewal() {
    let folder = tempfile::tempdir().unwrap();
    let link = |to: &str| {
        let new = folder.path().join("new");
        std::os::unix::fs::symlink(to, &new).unwrap();
        std::fs::rename(new, folder.path().join("data")).unwrap();
    };
    for generation in ["1", "2"] {
        let path = folder.path().join(generation);
        std::fs::create_dir(&path).unwrap();
        let (cert, key) = made(2099);
        write(&path, &cert, &key);
    }
    link("1");
    let (cert, key) = paths(&folder.path().join("data"));
    let mut tls = PublicTls::load(&cert, &key, Duration::from_secs(10)).unwrap();
    let current = tls.current();
    let first = Arc::clone(&current.borrow());
    assert_eq!(tls.look().await, Verdict::Rest);
    link("2");
    assert_eq!(tls.look().await, Verdict::LookAgain);
    assert_eq!(tls.look().await, Verdict::Try);
    assert!(!Arc::ptr_eq(&first, &current.borrow()));
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_a_good_pair_after_it_does() {
    let mut served = Served::new();
    let (cert, key) = made(2098);
    let (other, _) = made(2098);
    let (ended, ended_key) = made(2001);
    let half = &cert[..cert.len() / 2];
    for (what, cert, key) in [
        ("the key of another", other.as_str(), key.as_str()),
        ("half a certificate", half, &key),
        ("half a key", &cert, &key[..key.len() / 2]),
        ("no certificate", "", &key),
        ("no key", &cert, ""),
        ("a key for a certificate", &key, &key),
        ("one that has ended", &ended, &ended_key),
        ("a chain that breaks off", &format!("{cert}{half}"), &key),
    ] {
        write(served.folder.path(), cert, key);
        assert_eq!(served.tls.look().await, Verdict::LookAgain, "{what}");
        assert_eq!(served.tls.look().await, Verdict::Try, "{what}");
        assert_eq!(served.tls.look().await, Verdict::Rest, "{what}: tried once only");
        assert!(!served.is_renewed(), "{what}");
    }
    std::fs::remove_file(paths(served.folder.path()).1).unwrap();
    for verdict in [Verdict::LookAgain, Verdict::Try, Verdict::Rest] {
        assert_eq!(served.tls.look().await, verdict, "no file");
    }
    assert!(!served.is_renewed());
    write(served.folder.path(), &cert, &key);
    assert_eq!(served.tls.look().await, Verdict::LookAgain);
    assert_eq!(served.tls.look().await, Verdict::Try);
    assert!(served.is_renewed());
}

#[test]
fn a_start_says_what_is_wrong_with_the_pair() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = made(2099);
    let (_, other) = made(2099);
    let (cert_path, key_path) = paths(folder.path());
    let large = "x".repeat(2 << 20);
    for (cert, key, said) in [
        (cert.as_str(), other.as_str(), "public.tls_key is not the key of public.tls_cert"),
        (&cert, "nonsense", "public.tls_key: "),
        (&large, &key, "the file is too large"),
    ] {
        write(folder.path(), cert, key);
        let failed = PublicTls::load(&cert_path, &key_path, Duration::from_secs(10)).err().unwrap().to_string();
        assert!(failed.contains(said), "{failed}");
    }
}

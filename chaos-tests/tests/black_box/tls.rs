//! TLS of the public port as clients meet it: versions, protocols, and a certificate that is renewed while they talk.

use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::cluster::binary;
use portolan_chaos_tests::{Result, tool, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const WITHIN: Duration = Duration::from_secs(60);
/// How often the node looks at its certificate here.
const LOOK_MS: u64 = 200;

/// One node of its own.
struct Node {
    folder: TempDir,
    public: String,
    ops: Registry,
    child: Child,
}

/// Whether the programs that a test needs are there.
fn have_programs(test: &str) -> bool {
    tool::have("openssl", test) && tool::have("curl", test)
}

/// Makes the public port a certificate that signs itself, as `NAME.pem` and `NAME.key`; the name is its subject.
async fn public_certificate(folder: &Path, name: &str, days: u32) -> Result<()> {
    let make = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {days} -subj /CN={name} \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
         -keyout {name}.key -out {name}.pem"
    );
    tool::run_in(WITHIN, Some(folder), "bash", &["-ec", &make]).await?;
    Ok(())
}

/// Makes what the peer port wants: an authority, and a certificate that it has signed.
async fn peer_certificates(folder: &Path) -> Result<()> {
    let make = "ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $ec -days 9 -subj /CN=authority -keyout ca.key -out ca.pem
        openssl req $ec -subj /CN=peer -keyout peer.key -out peer.csr
        printf 'subjectAltName = DNS:portolan-peer\nextendedKeyUsage = serverAuth, clientAuth\n' >peer.ext
        openssl x509 -req -in peer.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile peer.ext -out peer.pem";
    tool::run_in(WITHIN, Some(folder), "bash", &["-ec", make]).await?;
    Ok(())
}

/// Where a node listens.
struct Ports {
    public: String,
    ops: String,
}

/// Writes the configuration of a node of its own; its `[public]` has `settings`.
async fn configure(folder: &Path, settings: &str) -> Result<Ports> {
    peer_certificates(folder).await?;
    let held = (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let ports = held.iter().map(|held| Ok(held.local_addr()?.to_string())).collect::<std::io::Result<Vec<_>>>()?;
    let [public, peer, ops] = [&ports[0], &ports[1], &ports[2]];
    let path = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "[node]\nname = \"one\"\nregion = \"eu\"\ndata_dir = \"{data}\"\n\
         [cluster]\nmembers = [{{ name = \"one\", region = \"eu\", peer = \"{peer}\" }}]\n\
         [public]\nlisten = \"{public}\"\n{settings}\n\
         [peer]\nlisten = \"{peer}\"\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n\
         [ops]\nlisten = \"{ops}\"\n[auth]\nmode = \"open\"\n",
        data = path("data"),
        ca = path("ca.pem"),
        cert = path("peer.pem"),
        key = path("peer.key"),
    );
    std::fs::write(folder.join("node.toml"), config)?;
    Ok(Ports { public: public.clone(), ops: ops.clone() })
}

fn serve(folder: &Path) -> Result<Command> {
    let mut command = Command::new(binary());
    let log = std::fs::File::create(folder.join("node.log"))?;
    command.args(["serve", "--config"]).arg(folder.join("node.toml")).stderr(log).kill_on_drop(true);
    Ok(command)
}

impl Node {
    /// Starts a node whose `[public]` has `settings`.
    async fn start(folder: TempDir, settings: &str) -> Result<Self> {
        let ports = configure(folder.path(), settings).await?;
        let child = serve(folder.path())?.spawn()?;
        let ops = Registry::new(&ports.ops, Duration::from_secs(5));
        wait::until("the node to be ready", WITHIN, || async {
            let answer = ops.get("/readyz/write").await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await?;
        Ok(Self { folder, public: ports.public, ops, child })
    }

    /// Starts one with TLS of the pair `tls.pem` and `tls.key` in its folder.
    async fn with_tls(folder: TempDir) -> Result<Self> {
        let [cert, key] = ["tls.pem", "tls.key"].map(|name| folder.path().join(name).display().to_string());
        let settings = format!("tls_cert = \"{cert}\"\ntls_key = \"{key}\"\ntls_reload_ms = {LOOK_MS}");
        Self::start(folder, &settings).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.path("node.log"))?)
    }

    /// Waits for words in the log, and gives how often they are there.
    async fn says(&self, words: &str) -> Result<usize> {
        wait::until(words, WITHIN, || async {
            let log = self.log().map_err(|error| error.to_string())?;
            match log.matches(words).count() {
                0 => Err(log.lines().last().unwrap_or_default().to_owned()),
                count => Ok(count),
            }
        })
        .await
    }

    /// The subject of the certificate that a new connection gets.
    async fn subject(&self) -> Result<String> {
        let ask =
            format!("openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -subject", self.public);
        let said = tool::run(WITHIN, "bash", &["-o", "pipefail", "-ec", &ask]).await?;
        Ok(said.trim().rsplit(' ').next().unwrap_or_default().to_owned())
    }

    /// Until when the public certificate holds, as the metrics tell.
    async fn certificate_ends(&self) -> Result<f64> {
        let metrics = self.ops.get("/metrics").await?.text().await?;
        let name = "portolan_certificate_expiry_timestamp_seconds{certificate=\"public\"} ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such metric")?;
        Ok(value.parse()?)
    }

    async fn is_served(&self, name: &str) -> Result<()> {
        wait::until(name, WITHIN, || async {
            let subject = self.subject().await.map_err(|error| error.to_string())?;
            if subject == name { Ok(()) } else { Err(format!("{subject} is served")) }
        })
        .await
    }

    async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or("the node is gone")?;
        kill_process(pid, Signal::TERM)?;
        let ended = tokio::time::timeout(WITHIN, self.child.wait()).await??;
        assert_eq!(ended.code(), Some(0), "SIGTERM is a clean end: {}", self.log()?);
        Ok(())
    }
}

/// What curl says of a request: protocol, and status.
async fn curl(arguments: &[&str]) -> Result<String> {
    let always = ["-sS", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    tool::run(WITHIN, "curl", &[&always[..], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_of_tls_and_http_that_is_current_is_spoken_and_no_older_one() -> Result<()> {
    if !have_programs("every_version_of_tls_and_http_that_is_current_is_spoken_and_no_older_one") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    public_certificate(folder.path(), "tls", 9).await?;
    let node = Node::with_tls(folder).await?;
    let (url, plain) = (format!("https://{}/v2/", node.public), format!("http://{}/v2/", node.public));
    let authority = node.path("tls.pem").display().to_string();
    for (arguments, want) in [
        (["--http1.1", "--tlsv1.2", "--tls-max", "1.2"], "1.1 200"),
        (["--http1.1", "--tlsv1.3", "--tls-max", "1.3"], "1.1 200"),
        (["--http2", "--tlsv1.2", "--tls-max", "1.2"], "2 200"),
        (["--http2", "--tlsv1.3", "--tls-max", "1.3"], "2 200"),
    ] {
        let said = curl(&[&arguments[..], &["--cacert", &authority, &url]].concat()).await?;
        assert_eq!(said, want, "{arguments:?}");
    }
    // Debian's OpenSSL speaks these only when told that security does not matter.
    let old = ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0", "--cacert", &authority, &url];
    let refused = curl(&old).await.err().ok_or("TLS 1.1 was spoken")?.to_string();
    assert!(refused.contains("alert"), "not refused by the node: {refused}");
    assert!(curl(&["--max-time", "5", &plain]).await.is_err(), "plain HTTP was answered on a port with TLS");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_both_versions_of_http_are_spoken_in_the_clear() -> Result<()> {
    if !have_programs("without_tls_both_versions_of_http_are_spoken_in_the_clear") {
        return Ok(());
    }
    let node = Node::start(tempfile::tempdir()?, "plain_http = true").await?;
    let url = format!("http://{}/v2/", node.public);
    assert_eq!(curl(&["--http1.1", &url]).await?, "1.1 200");
    assert_eq!(curl(&["--http2-prior-knowledge", &url]).await?, "2 200");
    node.stop().await
}

#[tokio::test]
async fn a_node_must_be_told_whether_its_clients_come_in_by_tls() -> Result<()> {
    if !have_programs("a_node_must_be_told_whether_its_clients_come_in_by_tls") {
        return Ok(());
    }
    for (settings, said) in [
        ("", "must be true (no TLS), or public.tls_cert and public.tls_key must be given"),
        ("plain_http = false", "must be true (no TLS), or public.tls_cert and public.tls_key must be given"),
        ("tls_cert = \"FOLDER/peer.pem\"", "needs public.tls_key beside it"),
        (
            "plain_http = true\ntls_cert = \"FOLDER/peer.pem\"\ntls_key = \"FOLDER/peer.key\"",
            "must not be true together with public.tls_cert",
        ),
        (
            "tls_cert = \"FOLDER/peer.pem\"\ntls_key = \"FOLDER/ca.key\"",
            "public.tls_key is not the key of public.tls_cert",
        ),
    ] {
        let folder = tempfile::tempdir()?;
        let settings = settings.replace("FOLDER", &folder.path().display().to_string());
        configure(folder.path(), &settings).await?;
        let mut child = serve(folder.path())?.spawn()?;
        let ended = tokio::time::timeout(WITHIN, child.wait()).await??;
        let words = std::fs::read_to_string(folder.path().join("node.log"))?;
        assert_eq!(ended.code(), Some(2), "{settings}: {words}");
        assert!(words.contains(said), "{settings}: {words}");
        assert!(!folder.path().join("data").exists(), "{settings}: something was begun");
    }
    Ok(())
}

/// A connection that is held open by hand: what is asked on it, and what comes back.
struct Held {
    _process: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Held {
    async fn open(node: &Node) -> Result<Self> {
        let mut process = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_quiet", "-ign_eof", "-alpn", "http/1.1", "-connect", &node.public])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let ask = process.stdin.take().ok_or("no standard input")?;
        let answer = BufReader::new(process.stdout.take().ok_or("no standard output")?);
        Ok(Self { _process: process, ask, answer })
    }

    /// The status of `GET /v2/`.
    async fn get(&mut self) -> Result<String> {
        let talk = async {
            self.ask.write_all(b"GET /v2/ HTTP/1.1\r\nHost: held\r\n\r\n").await?;
            let (mut status, mut length) = (String::new(), 0);
            self.answer.read_line(&mut status).await?;
            loop {
                let mut line = String::new();
                self.answer.read_line(&mut line).await?;
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().map_err(std::io::Error::other)?;
                }
            }
            self.answer.read_exact(&mut vec![0; length]).await?;
            Ok::<_, std::io::Error>(status.trim().to_owned())
        };
        Ok(tokio::time::timeout(WITHIN, talk).await??)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_served_and_nobody_is_cut_off() -> Result<()> {
    if !have_programs("a_renewed_certificate_is_served_and_nobody_is_cut_off") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    for (name, days) in [("tls", 9), ("renewed", 99)] {
        public_certificate(folder.path(), name, days).await?;
    }
    let node = Node::with_tls(folder).await?;
    node.is_served("tls").await?;
    let ends = node.certificate_ends().await?;
    let mut held = Held::open(&node).await?;
    assert_eq!(held.get().await?, "HTTP/1.1 200 OK");
    let download = begin_download(&node).await?;

    // As most tools do it: one file, then the other.
    std::fs::copy(node.path("renewed.pem"), node.path("tls.pem"))?;
    std::fs::copy(node.path("renewed.key"), node.path("tls.key"))?;
    node.is_served("renewed").await?;
    assert_eq!(node.says("the public port serves a renewed certificate").await?, 1);
    assert!(node.log()?.contains("valid_until"), "it does not say until when");
    let longer = node.certificate_ends().await? - ends;
    assert!((longer / 86_400.0 - 90.0).abs() < 0.01, "the metric tells of {longer} s more");
    assert_eq!(held.get().await?, "HTTP/1.1 200 OK", "a connection from before");
    let url = format!("https://{}/v2/", node.public);
    let authority = node.path("renewed.pem").display().to_string();
    assert_eq!(curl(&["--http2", "--cacert", &authority, &url]).await?, "2 200");
    assert!(download.await??.success(), "a download from before was cut");
    node.stop().await
}

/// Begins a download of some seconds; what is returned waits for its end.
async fn begin_download(node: &Node) -> Result<tokio::task::JoinHandle<std::io::Result<std::process::ExitStatus>>> {
    let (layer, authority) = (node.path("layer"), node.path("old.pem"));
    std::fs::copy(node.path("tls.pem"), &authority)?;
    std::fs::write(&layer, vec![7; 12 << 20])?;
    let sum = tool::run(WITHIN, "sha256sum", &[&layer.display().to_string()]).await?;
    let digest = format!("sha256:{}", sum.split_whitespace().next().ok_or("no sum")?);
    let (base, data) = (format!("https://{}/v2/tls/blobs", node.public), format!("@{}", layer.display()));
    let (authority, got) = (authority.display().to_string(), node.path("got"));
    let push = format!("{base}/uploads/?digest={digest}");
    let said = curl(&["--cacert", &authority, "-X", "POST", "--data-binary", &data, &push]).await?;
    assert!(said.ends_with("201"), "{said}");
    let mut download = Command::new("curl")
        .args(["-sSf", "--http2", "--limit-rate", "4M", "--cacert", &authority, "-o"])
        .arg(&got)
        .arg(format!("{base}/{digest}"))
        .kill_on_drop(true)
        .spawn()?;
    wait::until("the download to begin", WITHIN, || async {
        match std::fs::metadata(&got) {
            Ok(file) if file.len() > 0 => Ok(()),
            _ => Err("no byte yet".to_owned()),
        }
    })
    .await?;
    Ok(tokio::spawn(async move { download.wait().await }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_cannot_be_used_changes_nothing_and_is_said_once() -> Result<()> {
    if !have_programs("a_pair_that_cannot_be_used_changes_nothing_and_is_said_once") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    for name in ["tls", "renewed"] {
        public_certificate(folder.path(), name, 9).await?;
    }
    let node = Node::with_tls(folder).await?;
    let refused = "the changed certificate of the public port cannot be used";
    // The certificate without its key.
    std::fs::copy(node.path("renewed.pem"), node.path("tls.pem"))?;
    assert_eq!(node.says(refused).await?, 1);
    assert!(node.log()?.contains("public.tls_key is not the key of public.tls_cert"));
    assert_eq!(node.subject().await?, "tls");
    // Half of it, which is another mistake.
    let whole = std::fs::read(node.path("renewed.pem"))?;
    std::fs::write(node.path("tls.pem"), &whole[..whole.len() / 2])?;
    wait::until("the second refusal", WITHIN, || async {
        let count = node.log().map_err(|error| error.to_string())?.matches(refused).count();
        if count == 2 { Ok(()) } else { Err(format!("{count} refusals")) }
    })
    .await?;
    assert_eq!(node.subject().await?, "tls");
    // Both whole at last: whatever was refused stands in no one's way.
    std::fs::write(node.path("tls.pem"), &whole)?;
    std::fs::copy(node.path("renewed.key"), node.path("tls.key"))?;
    node.is_served("renewed").await?;
    let log = node.log()?;
    assert!(log.matches(refused).count() <= 3, "said more often than there were pairs: {log}");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_kubernetes_swaps_is_a_renewed_certificate() -> Result<()> {
    if !have_programs("a_secret_that_kubernetes_swaps_is_a_renewed_certificate") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    // As a secret is mounted: the files are links into `..data`, which is a link to the folder of a generation.
    for name in ["first", "second"] {
        public_certificate(folder.path(), name, 9).await?;
        let generation = folder.path().join(format!("..{name}"));
        std::fs::create_dir(&generation)?;
        for kind in ["pem", "key"] {
            let from = folder.path().join(format!("{name}.{kind}"));
            std::fs::rename(from, generation.join(format!("tls.{kind}")))?;
        }
    }
    let link = |to: &str, name: &str| {
        let new = folder.path().join("..data_tmp");
        std::os::unix::fs::symlink(to, &new)?;
        std::fs::rename(new, folder.path().join(name))
    };
    link("..first", "..data")?;
    link("..data/tls.pem", "tls.pem")?;
    link("..data/tls.key", "tls.key")?;
    let path = folder.path().to_owned();
    let node = Node::with_tls(folder).await?;
    assert_eq!(node.subject().await?, "first");
    let new = path.join("..data_tmp");
    std::os::unix::fs::symlink("..second", &new)?;
    std::fs::rename(new, path.join("..data"))?;
    node.is_served("second").await?;
    assert!(!node.log()?.contains("cannot be used"), "a swap at once was taken for a mistake");
    node.stop().await
}

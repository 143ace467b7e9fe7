//! A load balancer in front of a cluster: haproxy, which sends each request to another node, tells what became of it, and
//! tries nothing again that a node may have seen.

use crate::cluster::Node;
use crate::wait;
use serde::Deserialize;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};

/// The header of every answer, also of those that haproxy gives itself, with the [`Entry::id`] of its log line.
pub const REQUEST_HEADER: &str = "X-Balancer-Request";

/// How long haproxy may take to start, and to notice that a node is gone or back.
const SOON: Duration = Duration::from_secs(15);

/// haproxy's configuration but for its servers. Clients keep their connections to `clients`, which gives each request a
/// connection of its own to `requests`: to haproxy a request that is not the first of its connection and dies with its
/// server is the client's to repeat, and it closes the connection without an answer or a line in the log.
const CONFIG: &str = r#"global
    # One thread: lines are in the order in which requests ended.
    nbthread 1
    maxconn 256
    log stdout len 8192 format raw local0

defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    # Only what a node has refused to connect for goes to another one. A node may have seen anything else.
    retries 3
    retry-on conn-failure
    option redispatch 1

frontend clients
    bind 127.0.0.1:@PORT@
    http-request set-header X-Balancer-Connection %[src_port]
    default_backend requests

backend requests
    option http-server-close
    server requests abns@portolan-balancer-@PORT@

frontend requests
    bind abns@portolan-balancer-@PORT@
    http-request set-var(txn.connection) req.hdr(X-Balancer-Connection)
    http-request del-header X-Balancer-Connection
    unique-id-format %[uuid()]
    http-after-response set-header @HEADER@ %[unique-id]
    log global
    log-format '{"id":"%ID","connection":"%[var(txn.connection)]","end_ms":%[date(0,ms)],"took_ms":%Ta,"server":"%s","termination":"%ts","status":%ST,"retries":"%rc","method":"%HM","target":"%HPO%HQ"}'
    default_backend nodes

backend nodes
    log global
    balance roundrobin
    http-reuse always
    # Whoever takes pushes must be able to reach the leader; the public port alone would not tell.
    option httpchk GET /readyz/write
    # One check that is late says that the machine is busy; whoever is gone misses the next one, too.
    default-server check inter 250ms fall 2 rise 1
"#;

/// What became of one request.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Its own id, in [`REQUEST_HEADER`] of the answer.
    pub id: String,
    /// The port of the client's connection.
    pub connection: String,
    /// When it ended, in milliseconds since 1970.
    pub end_ms: i64,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// The name of the node that it went to last.
    pub server: String,
    /// haproxy's two letters for how it ended: `--` is well, `S` first is a server that broke off.
    pub termination: String,
    /// The status of the answer; -1 when there was none.
    pub status: i32,
    /// How many connections were refused before; a `+` first when it went to another node for that.
    pub retries: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
}

impl Entry {
    /// When it began.
    #[must_use]
    pub fn start_ms(&self) -> i64 {
        self.end_ms - self.took_ms.max(0)
    }

    /// Whether it ended as requests do: with an answer of its node, whatever that says.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.termination == "--" && self.status >= 100
    }

    /// Whether its node broke off in the midst of it.
    #[must_use]
    pub fn broke_off(&self) -> bool {
        self.termination.starts_with('S')
    }
}

/// What was read of haproxy's log so far.
#[derive(Default)]
struct Log {
    read: u64,
    partial: String,
    entries: Vec<Entry>,
    /// The nodes that haproxy has found gone and not yet back.
    down: Vec<String>,
}

/// A running haproxy. Dropping it kills it.
pub struct Balancer {
    _process: Child,
    address: String,
    path: PathBuf,
    log: Mutex<Log>,
}

impl Balancer {
    /// Starts one in front of these nodes, with its configuration and its log in a folder, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(nodes: &[Node], folder: &Path) -> crate::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        std::fs::create_dir_all(folder)?;
        let (config, path) = (folder.join("haproxy.cfg"), folder.join("haproxy.log"));
        std::fs::write(&config, configuration(nodes, port)?)?;
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(File::create(&path)?)
            .stderr(File::create(folder.join("haproxy.err"))?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("haproxy: {error}"))?;
        let address = format!("127.0.0.1:{port}");
        let balancer = Self { _process: process, address, path, log: Mutex::default() };
        wait::until("haproxy to answer", SOON, || balancer.answers()).await?;
        Ok(balancer)
    }

    /// Where clients reach it, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    async fn answers(&self) -> Result<(), String> {
        let url = format!("http://{}/v2/", self.address);
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    }

    /// Everything that ended so far, in order. A request that was answered before this call is among it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn entries(&self) -> crate::Result<Vec<Entry>> {
        let marker = format!("/v2/?marker={}", rand::random::<u64>());
        // Whatever status it gets: lines come in order, so that what ended before it is in the log once it is.
        reqwest::get(format!("http://{}{marker}", self.address)).await?;
        wait::until("haproxy's log", SOON, || async {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.follow(&self.path).map_err(|error| error.to_string())?;
            match log.entries.iter().position(|entry| entry.target == marker) {
                Some(end) => Ok(log.entries[..end].to_vec()),
                None => Err("the last request is not in it".to_owned()),
            }
        })
        .await
    }

    /// Waits until haproxy has found a node gone.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_down(&self, node: &str) -> crate::Result<()> {
        self.wait_state(node, true).await
    }

    /// Waits until haproxy sends requests to a node.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_up(&self, node: &str) -> crate::Result<()> {
        self.wait_state(node, false).await
    }

    async fn wait_state(&self, node: &str, down: bool) -> crate::Result<()> {
        let what = format!("haproxy to find {node} {}", if down { "gone" } else { "back" });
        wait::until(&what, SOON, || async {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.follow(&self.path).map_err(|error| error.to_string())?;
            if log.down.iter().any(|found| found == node) == down { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await
    }
}

fn configuration(nodes: &[Node], port: u16) -> crate::Result<String> {
    let mut config = CONFIG.replace("@PORT@", &port.to_string()).replace("@HEADER@", REQUEST_HEADER);
    for node in nodes {
        let (_, ops) = node.ops.rsplit_once(':').ok_or("an ops address without a port")?;
        config += &format!("    server {} {} port {ops}\n", node.name, node.registry);
    }
    Ok(config)
}

impl Log {
    /// Reads what was added.
    fn follow(&mut self, path: &Path) -> crate::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut added = String::new();
        self.read += file.read_to_string(&mut added)? as u64;
        self.partial += &added;
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            self.note(line.trim_end())?;
        }
        Ok(())
    }

    fn note(&mut self, line: &str) -> crate::Result<()> {
        if line.starts_with('{') {
            self.entries.push(serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?);
            return Ok(());
        }
        let news = line.strip_prefix("Server nodes/").and_then(|line| line.split_once(" is "));
        if let Some((node, state)) = news {
            self.down.retain(|found| found != node);
            if state.starts_with("DOWN") {
                self.down.push(node.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Log};

    const LINE: &str = r#"{"id":"6ba7b810-9dad","connection":"40112","end_ms":1795271071350,"took_ms":6,"server":"us-east-1","termination":"SH","status":502,"retries":"0","method":"PUT","target":"/v2/a/blobs/uploads/1.01M7?digest=sha256%3Ab7"}"#;

    #[test]
    fn a_line_tells_when_a_request_began_and_how_it_ended() -> crate::Result<()> {
        let mut log = Log::default();
        log.note(LINE)?;
        log.note(&LINE.replace("SH", "--").replace("502", "201"))?;
        let [cut, whole]: &[Entry; 2] = log.entries.as_slice().try_into()?;
        assert_eq!((cut.start_ms(), cut.is_whole(), cut.broke_off()), (1_795_271_071_344, false, true));
        assert_eq!((whole.status, whole.is_whole(), whole.broke_off()), (201, true, false));
        assert!(log.note("{\"id\":").is_err(), "a broken line is not passed over");
        Ok(())
    }

    #[test]
    fn a_node_is_gone_until_it_is_back() -> crate::Result<()> {
        let mut log = Log::default();
        for (line, gone) in [
            ("Server nodes/us-east-1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\"", true),
            ("Server nodes/us-east-1 is DOWN, reason: Layer4 timeout", true),
            ("Server nodes/us-east-1 is UP, reason: Layer7 check passed, code: 200", false),
        ] {
            log.note(line)?;
            assert_eq!(log.down.iter().any(|node| node == "us-east-1"), gone, "{line}");
        }
        Ok(())
    }
}

//! A cluster in this process with its HTTP ports on loopback, and a client that speaks the protocol.

use axum::Router;
use portolan_api::{OpsApi, PublicApi, ServeLimits, ops_router, public_router, serve, tcp_incoming};
use portolan_auth::Policy;
use portolan_oci::{Digest, ErrorBody};
use portolan_registry::testing::{Cluster, PATIENCE, Setup};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long requests in flight may take when their port closes.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a read waits for the leader's word where a test takes the leader away, in milliseconds. A read before that
/// outlasts a machine that stands still for a second, and the election that this may lead to.
pub(crate) const LEADERLESS_READ_MS: u64 = 3_000;

/// Looks until there is what a test waits for; what is in the way otherwise is told when patience ends.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(reason) => assert!(Instant::now() < deadline, "{reason}"),
        }
        sleep(POLL).await;
    }
}

/// Looks until a condition holds; `otherwise` says what it means that it does not.
pub(crate) async fn until_holds(otherwise: &str, condition: impl Fn() -> bool) {
    until(async || condition().then_some(()).ok_or_else(|| otherwise.to_owned())).await;
}

/// Asks again until the answer has a status.
pub(crate) async fn until_answered<F: Future<Output = Response>>(status: StatusCode, ask: impl Fn() -> F) -> Response {
    until(async || {
        let response = ask().await;
        if response.status() == status { Ok(response) } else { Err(format!("never {status}: {response:?}")) }
    })
    .await
}

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A cluster whose nodes serve HTTP.
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    ports: Vec<Ports>,
}

pub(crate) struct Ports {
    pub(crate) public: SocketAddr,
    pub(crate) ops: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<usize>>,
}

fn recorder() -> metrics_exporter_prometheus::PrometheusHandle {
    static HANDLE: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().expect("installed once")
        })
        .clone()
}

fn public(cluster: &Cluster, node: u64) -> Router {
    let policy = Arc::new(Policy::new(&portolan_auth::Config::default(), portolan_auth::AdminToken::new("s3cret")));
    public_router(PublicApi { registry: cluster.registry(node), policy })
}

fn ops(cluster: &Cluster, node: u64) -> Router {
    let known = OnceLock::new();
    let _ = known.set(cluster.registry(node));
    ops_router(OpsApi { registry: Arc::new(known), metrics: Arc::new(|| recorder().render()) })
}

fn serve_limits(cluster: &Cluster, node: u64) -> ServeLimits {
    let config = cluster.registry(node).config().limits.clone();
    ServeLimits {
        connections: 64,
        header_timeout: Duration::from_millis(config.header_timeout_ms),
        stall_timeout: Duration::from_millis(config.stall_timeout_ms),
        drain: DRAIN,
    }
}

/// Serves a router at a port of its own.
async fn listen(router: Router, limits: ServeLimits, stop: &CancellationToken) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let stopped = stop.clone().cancelled_owned();
    (address, tokio::spawn(serve(tcp_incoming(listener), router, limits, stopped)))
}

async fn ports(cluster: &Cluster, node: u64) -> Ports {
    let (limits, stop) = (serve_limits(cluster, node), CancellationToken::new());
    let (public, serving_public) = listen(public(cluster, node), limits, &stop).await;
    let (ops, serving_ops) = listen(ops(cluster, node), limits, &stop).await;
    Ports { public, ops, stop, tasks: vec![serving_public, serving_ops] }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        recorder();
        let nodes = setup.nodes;
        let cluster = Cluster::start(setup).await;
        let mut all = Vec::new();
        for node in 1..=nodes {
            all.push(ports(&cluster, node).await);
        }
        Self { cluster, ports: all }
    }

    pub(crate) fn ports(&self, node: usize) -> &Ports {
        &self.ports[node - 1]
    }

    /// A client of a node.
    pub(crate) fn client(&self, node: usize) -> Client {
        Client { base: format!("http://{}", self.ports(node).public), http: reqwest::Client::new() }
    }

    /// Opens another public port of a node, which closes a connection that brings no request for that long. The node's
    /// other ports go on as they are.
    pub(crate) async fn hasty_port(&mut self, node: usize, header_timeout: Duration) -> SocketAddr {
        let id = node as u64;
        let limits = ServeLimits { header_timeout, ..serve_limits(&self.cluster, id) };
        let ports = &mut self.ports[node - 1];
        let (address, serving) = listen(public(&self.cluster, id), limits, &ports.stop).await;
        ports.tasks.push(serving);
        address
    }

    pub(crate) async fn ops(&self, node: usize, path: &str) -> (StatusCode, String) {
        let response = reqwest::get(format!("http://{}{path}", self.ports(node).ops)).await.expect("the port answers");
        (response.status(), response.text().await.expect("a text"))
    }

    /// Stops a node's ports and the node, and starts both again on the same folder.
    pub(crate) async fn restart(&mut self, node: usize) {
        self.close(node).await;
        let id = node as u64;
        self.cluster.restart(id).await;
        self.ports[node - 1] = ports(&self.cluster, id).await;
    }

    /// Stops a node's ports, and tells how many connections had to be cut.
    pub(crate) async fn close(&mut self, node: usize) -> usize {
        let ports = &mut self.ports[node - 1];
        ports.stop.cancel();
        let mut cut = 0;
        for task in ports.tasks.drain(..) {
            cut += task.await.expect("serving does not panic");
        }
        cut
    }

    pub(crate) async fn stop(mut self) {
        for node in 1..=self.ports.len() {
            self.close(node).await;
        }
        self.cluster.stop().await;
    }
}

/// A client that speaks the protocol.
#[derive(Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn ask(&self, method: &str, target: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("{}{target}", self.base)).timeout(Duration::from_secs(60))
    }

    pub(crate) async fn send(&self, method: &str, target: &str) -> Response {
        self.ask(method, target).send().await.expect("the node answers")
    }

    pub(crate) async fn get(&self, target: &str) -> Response {
        self.send("GET", target).await
    }

    /// Asks until the answer has a status.
    pub(crate) async fn until_status(&self, target: &str, status: StatusCode) -> Response {
        until_answered(status, || self.get(target)).await
    }

    /// What the admin API tells, once it is as the test wants it.
    pub(crate) async fn report_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(async || {
            let report: Value = self.get(&format!("/api/v1/{what}")).await.json().await.expect("a report");
            if wanted(&report) { Ok(report) } else { Err(report.to_string()) }
        })
        .await
    }

    /// Begins a session; returns its location.
    pub(crate) async fn begin(&self, repo: &str) -> String {
        let response = self.send("POST", &format!("/v2/{repo}/blobs/uploads/")).await;
        assert_eq!(response.status(), 202);
        location(&response)
    }

    pub(crate) async fn patch(&self, location: &str, range: Option<&str>, bytes: Vec<u8>) -> Response {
        let mut request = self.ask("PATCH", location).body(bytes);
        if let Some(range) = range {
            request = request.header("Content-Range", range);
        }
        request.send().await.expect("the node answers")
    }

    pub(crate) async fn finish(&self, location: &str, digest: &str) -> Response {
        self.send("PUT", &format!("{location}?digest={digest}")).await
    }

    /// Pushes a blob at once.
    pub(crate) async fn push_blob(&self, repo: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256_of(bytes);
        let target = format!("/v2/{repo}/blobs/uploads/?digest={digest}");
        let response = self.ask("POST", &target).body(bytes.to_vec()).send().await.expect("the node answers");
        assert_eq!(response.status(), 201);
        digest
    }

    pub(crate) async fn put_manifest(&self, repo: &str, reference: &str, kind: &str, bytes: Vec<u8>) -> Response {
        let request = self.ask("PUT", &format!("/v2/{repo}/manifests/{reference}"));
        request.header("Content-Type", kind).body(bytes).send().await.expect("the node answers")
    }

    /// Pushes an image of one layer under a tag; returns its digest and bytes.
    pub(crate) async fn push_image(&self, repo: &str, tag: &str, seed: u64) -> (Digest, Vec<u8>) {
        let (config, layer) = (format!("{{\"seed\":{seed}}}").into_bytes(), random(seed, 3000));
        self.push_blob(repo, &config).await;
        self.push_blob(repo, &layer).await;
        let bytes = manifest(&config, &[&layer]).to_string().into_bytes();
        let response = self.put_manifest(repo, tag, IMAGE, bytes.clone()).await;
        assert_eq!(response.status(), 201);
        (Digest::sha256_of(&bytes), bytes)
    }
}

/// Seeded bytes that no compression shrinks.
pub(crate) fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// A descriptor of some bytes.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256_of(bytes), "size": bytes.len()})
}

/// An image manifest.
pub(crate) fn manifest(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<Value> =
        layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    })
}

pub(crate) fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name} in {:?}", response.headers()));
    value.to_str().expect("a text").to_owned()
}

/// A session's location, which is always relative.
pub(crate) fn location(response: &Response) -> String {
    let location = header(response, "Location");
    assert!(location.starts_with("/v2/"), "{location}");
    location
}

/// Checks a refusal: status and OCI code.
pub(crate) async fn refused(response: Response, status: u16, code: &str) -> ErrorBody {
    let (got, url) = (response.status(), response.url().clone());
    let text = response.text().await.expect("a text");
    let body: ErrorBody = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {got} {error}: {text}"));
    assert_eq!((got.as_u16(), body.errors[0].code.as_str()), (status, code), "{url}: {text}");
    assert!(!body.errors[0].message.is_empty(), "{url}: {text}");
    body
}

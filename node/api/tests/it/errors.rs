//! Every OCI error code that this registry has: which requests get it, with which status, and with which headers.

use crate::raw::{Answer, exchange, request};
use crate::support::{IMAGE, INDEX, Server, descriptor, manifest, random};
use portolan_oci::{Digest, ErrorCode};
use portolan_registry::Config;
use portolan_registry::config::{Limits, Reads, Uploads};
use portolan_registry::testing::{self, Setup};
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a node must be like for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// One node that has all it needs.
    Well,
    /// Two nodes that do not reach each other.
    NoQuorum,
    /// Two nodes of one region, of which the other one fetches nothing.
    OneCopy,
    /// One node without room on its disk.
    FullDisk,
    /// One node of which everything that is counted is taken.
    Crowded,
}

/// One request and what it gets. `{NAME}` in the target, the headers and the body stands for what the stage has made.
struct Case {
    stage: Stage,
    code: ErrorCode,
    status: u16,
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    says: Vec<(&'static str, &'static str)>,
}

fn case(code: ErrorCode, status: u16, method: &'static str, target: impl Into<String>) -> Case {
    let (headers, body, says) = (Vec::new(), Vec::new(), Vec::new());
    Case { stage: Stage::Well, code, status, method, target: target.into(), headers, body, says }
}

impl Case {
    fn on(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// A header that the answer must have.
    fn says(mut self, name: &'static str, value: &'static str) -> Self {
        self.says.push((name, value));
        self
    }
}

/// The codes that no request gets, and why.
const UNREACHED: [(ErrorCode, &str); 3] = [
    (
        ErrorCode::Denied,
        "there is no access control yet: who needs credentials is told UNAUTHORIZED, all else is allowed",
    ),
    (ErrorCode::RegionUnwanted, "it takes a second region, where policy wants nothing: `images` asks for it there"),
    (ErrorCode::Unknown, "a fault of the registry itself, which no request may cause"),
];

const NOT_FOUND: &str = "/v2/{repo}/blobs/{nowhere}";

fn cases() -> Vec<Case> {
    [names(), blobs(), uploads(), manifests(), lists(), methods(), admin(), bad_days()].into_iter().flatten().collect()
}

fn names() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case(E::NameInvalid, 400, "GET", "/v2/UPPER/tags/list"),
        case(E::NameInvalid, 400, "PUT", "/v2/a//b/manifests/t"),
        case(E::NameInvalid, 400, "POST", "/v2/{repo}/blobs/uploads/?mount={blob}&from=-"),
        case(E::NameInvalid, 400, "GET", "/v2/_catalog?last=UPPER"),
        case(E::NameUnknown, 404, "GET", "/v2/none/tags/list"),
        case(E::NameUnknown, 404, "DELETE", "/v2/none/manifests/t"),
        case(E::NameUnknown, 404, "DELETE", "/v2/none/manifests/{image}"),
        case(E::TagInvalid, 400, "PUT", "/v2/{repo}/manifests/-t"),
        case(E::TagInvalid, 400, "DELETE", format!("/v2/{{repo}}/manifests/{}", "t".repeat(129))),
        case(E::TagInvalid, 400, "PUT", "/v2/{repo}/manifests/{image}?tag=ok&tag=.no"),
        case(E::TagInvalid, 400, "GET", "/v2/{repo}/tags/list?last=a%20b"),
        case(E::TagInvalid, 414, "PUT", format!("/v2/{{repo}}/manifests/{{image}}?{}", "tag=t&".repeat(17))),
        case(E::TagInvalid, 414, "PUT", format!("/v2/{{repo}}/manifests/t?{}", "tag=t&".repeat(16))),
        case(E::DigestInvalid, 400, "GET", "/v2/{repo}/blobs/sha256:12"),
        case(E::DigestInvalid, 400, "DELETE", "/v2/{repo}/blobs/latest"),
        case(E::DigestInvalid, 400, "GET", "/v2/{repo}/manifests/md5:d41d8cd98f00b204e9800998ecf8427e"),
        case(E::DigestInvalid, 400, "GET", "/v2/{repo}/referrers/t"),
        case(E::DigestInvalid, 400, "GET", "/v2/{repo}/referrers/{image}?last=t"),
    ]
}

fn blobs() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case(E::BlobUnknown, 404, "GET", NOT_FOUND),
        case(E::BlobUnknown, 404, "HEAD", NOT_FOUND),
        case(E::BlobUnknown, 404, "DELETE", NOT_FOUND),
        case(E::BlobUnknown, 404, "GET", "/v2/none/blobs/{blob}"),
        case(E::BlobUnknown, 404, "GET", NOT_FOUND).with("Range", "bytes=0-0"),
        case(E::BlobUnknown, 404, "GET", NOT_FOUND).with("If-None-Match", "*"),
        case(E::RangeInvalid, 416, "GET", "/v2/{repo}/blobs/{blob}")
            .with("Range", "bytes=9-")
            .says("Content-Range", "bytes */3"),
        case(E::RangeInvalid, 416, "GET", "/v2/{repo}/blobs/{blob}")
            .with("Range", "bytes=-0")
            .says("Content-Range", "bytes */3"),
        case(E::RangeInvalid, 416, "GET", "/v2/{repo}/blobs/{blob}").with("Range", "bytes=2-1"),
        case(E::RangeInvalid, 416, "GET", "/v2/{repo}/blobs/{blob}").with("Range", "nonsense"),
        // It hangs below a manifest.
        case(E::Unsupported, 405, "DELETE", "/v2/{repo}/blobs/{layer}").says("Allow", "GET, HEAD"),
    ]
}

fn uploads() -> Vec<Case> {
    use ErrorCode as E;
    let session = |method, query: &str| (method, format!("{{session}}{query}"));
    let of = |code, status, (method, target): (&'static str, String)| case(code, status, method, target);
    let unknown = "/v2/{repo}/blobs/uploads/1.01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let five = |case: Case| case.with("Content-Length", "5").body("12345");
    vec![
        case(E::BlobUploadUnknown, 404, "GET", unknown),
        five(case(E::BlobUploadUnknown, 404, "PATCH", unknown)),
        case(E::BlobUploadUnknown, 404, "DELETE", unknown),
        case(E::BlobUploadUnknown, 404, "PUT", format!("{unknown}?digest={{nowhere}}")),
        case(E::BlobUploadUnknown, 404, "GET", "/v2/{repo}/blobs/uploads/nonsense"),
        case(E::BlobUploadUnknown, 404, "GET", "{session}x"),
        five(of(E::BlobUploadInvalid, 400, session("PATCH", ""))).with("Content-Range", "nonsense"),
        of(E::BlobUploadInvalid, 408, session("PATCH", "")).with("Content-Length", "5").body("12"),
        // Two bytes have come by the request before.
        five(of(E::RangeInvalid, 416, session("PATCH", ""))).with("Content-Range", "9-13").says("Range", "0-1"),
        five(of(E::SizeInvalid, 400, session("PATCH", ""))).with("Content-Range", "2-9"),
        five(of(E::SizeInvalid, 413, session("PATCH", ""))).with("Content-Range", "2-2000000"),
        of(E::SizeInvalid, 413, session("PATCH", "")).with("Content-Length", "1000001"),
        case(E::SizeInvalid, 413, "POST", "/v2/{repo}/blobs/uploads/?digest={nowhere}")
            .with("Content-Length", "99999999999"),
        of(E::DigestInvalid, 400, session("PUT", "")),
        of(E::DigestInvalid, 400, session("PUT", "?digest=sha256:12")),
        of(E::DigestInvalid, 400, session("PUT", "?digest={nowhere}")),
        five(case(E::DigestInvalid, 400, "POST", "/v2/{repo}/blobs/uploads/?digest={nowhere}")),
        case(E::DigestInvalid, 400, "POST", "/v2/{repo}/blobs/uploads/?mount=nonsense&from=b"),
    ]
}

/// A push of a manifest.
fn put(code: ErrorCode, status: u16, reference: &str, kind: &'static str, body: impl Into<Vec<u8>>) -> Case {
    let body = body.into();
    let target = format!("/v2/{{repo}}/manifests/{reference}");
    case(code, status, "PUT", target)
        .with("Content-Type", kind)
        .with("Content-Length", body.len().to_string())
        .body(body)
}

fn manifests() -> Vec<Case> {
    use ErrorCode as E;
    let image = |config: &[u8], layers: &[&[u8]]| manifest(config, layers).to_string();
    let schema1 = json!({"schemaVersion": 1, "name": "a", "tag": "t", "fsLayers": []}).to_string();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, b"nowhere")]});
    let many: Vec<Vec<u8>> = (0..1025_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    vec![
        case(E::ManifestUnknown, 404, "GET", "/v2/{repo}/manifests/none"),
        case(E::ManifestUnknown, 404, "HEAD", "/v2/{repo}/manifests/none"),
        case(E::ManifestUnknown, 404, "GET", "/v2/{repo}/manifests/{nowhere}"),
        case(E::ManifestUnknown, 404, "GET", "/v2/none/manifests/t"),
        case(E::ManifestUnknown, 404, "DELETE", "/v2/{repo}/manifests/none"),
        case(E::ManifestUnknown, 404, "DELETE", "/v2/{repo}/manifests/{nowhere}"),
        // What cannot be a tag's name is no tag of any image.
        case(E::ManifestUnknown, 404, "GET", "/v2/{repo}/manifests/.t"),
        put(E::ManifestInvalid, 400, "x", IMAGE, "nonsense"),
        put(E::ManifestInvalid, 400, "x", IMAGE, ""),
        put(E::ManifestInvalid, 400, "x", INDEX, image(b"abc", &[])),
        put(E::ManifestInvalid, 400, "x", IMAGE, image(b"abc", &many)),
        put(E::Unsupported, 400, "x", "application/vnd.docker.distribution.manifest.v1+prettyjws", schema1),
        put(E::ManifestBlobUnknown, 404, "x", IMAGE, image(b"abc", &[b"nowhere"])),
        put(E::ManifestBlobUnknown, 404, "x", INDEX, index.to_string()),
        put(E::DigestInvalid, 400, "{nowhere}", IMAGE, image(b"abc", &[])),
        case(E::SizeInvalid, 413, "PUT", "/v2/{repo}/manifests/x").with("Content-Length", "4194305"),
        put(E::SizeInvalid, 413, "x", IMAGE, vec![b' '; (4 << 20) + 1]),
        // An index lists it.
        case(E::Unsupported, 405, "DELETE", "/v2/{repo}/manifests/{image}").says("Allow", "GET, HEAD"),
    ]
}

fn lists() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case(E::PaginationNumberInvalid, 400, "GET", "/v2/{repo}/tags/list?n=-1"),
        case(E::PaginationNumberInvalid, 400, "GET", "/v2/{repo}/tags/list?n=ten"),
        case(E::PaginationNumberInvalid, 400, "GET", "/v2/_catalog?n="),
        case(E::PaginationNumberInvalid, 400, "GET", "/v2/{repo}/referrers/{image}?n=1.5"),
    ]
}

fn methods() -> Vec<Case> {
    use ErrorCode as E;
    let no = |method, target: &str, allow| case(E::Unsupported, 405, method, target).says("Allow", allow);
    vec![
        case(E::Unsupported, 404, "GET", "/nowhere"),
        case(E::Unsupported, 404, "GET", "/v2/{repo}"),
        case(E::Unsupported, 404, "GET", "/api/v1/nowhere"),
        no("DELETE", "/v2/", "GET, HEAD"),
        no("POST", "/v2/_catalog", "GET, HEAD"),
        no("PUT", "/v2/{repo}/tags/list", "GET, HEAD"),
        no("POST", "/v2/{repo}/referrers/{image}", "GET, HEAD"),
        no("PATCH", "/v2/{repo}/manifests/t", "GET, HEAD, PUT, DELETE"),
        no("PUT", "/v2/{repo}/blobs/{blob}", "GET, HEAD, DELETE"),
        no("GET", "/v2/{repo}/blobs/uploads/", "POST"),
        no("POST", "{session}", "GET, HEAD, PATCH, PUT, DELETE"),
        no("POST", "/api/v1/cluster", "GET, HEAD").with("Authorization", "Bearer s3cret"),
        case(E::Unauthorized, 401, "POST", "/api/v1/cluster")
            .says("WWW-Authenticate", "Bearer realm=\"portolan admin\""),
        case(E::Unauthorized, 401, "DELETE", "/api/v1/cluster")
            .with("Authorization", "Bearer wrong")
            .says("WWW-Authenticate", "Bearer realm=\"portolan admin\""),
    ]
}

fn admin() -> Vec<Case> {
    use ErrorCode as E;
    let put = |code, status, target: &str, body: &str| {
        let case = case(code, status, "PUT", target).with("Authorization", "Bearer s3cret");
        case.with("Content-Length", body.len().to_string()).body(body)
    };
    vec![
        case(E::RequestInvalid, 400, "GET", "/api/v1/wait"),
        case(E::RequestInvalid, 400, "GET", "/api/v1/wait?image={repo}:t&timeout=soon"),
        case(E::RequestInvalid, 400, "GET", "/api/v1/wait?image={repo}:t&regions=mars"),
        put(E::RequestInvalid, 400, "/api/v1/repos?prefix=b", "{"),
        put(E::RequestInvalid, 400, "/api/v1/repos", "{}"),
        put(E::RequestInvalid, 400, "/api/v1/bandwidth", "{\"limits\": 1}"),
        put(E::NodeUnfit, 404, "/api/v1/cluster/leader", "{\"node\": \"mars\"}"),
        put(E::RequestInvalid, 400, "/api/v1/cluster/leader", "{\"nodes\": [\"n1\"]}"),
        put(E::PolicyInvalid, 409, "/api/v1/repos?prefix=b", "{\"regions\": {\"only\": [\"mars\"]}}"),
        put(E::PolicyInvalid, 400, "/api/v1/repos?prefix=b", "{\"tag_reads\": {\"bounded_ms\": 0}}"),
        put(E::PolicyInvalid, 400, "/api/v1/bandwidth", "{\"limits\": [{\"bytes_per_second\": 0}]}"),
        put(E::NameInvalid, 400, "/api/v1/repos?prefix=B", "{}"),
        case(E::NameUnknown, 404, "DELETE", "/api/v1/repos?prefix=b").with("Authorization", "Bearer s3cret"),
        case(E::ManifestUnknown, 404, "GET", "/api/v1/replication?image={repo}:none"),
        case(E::ManifestUnknown, 404, "GET", "/api/v1/history?image={repo}:none"),
    ]
}

fn bad_days() -> Vec<Case> {
    use ErrorCode as E;
    let lost =
        |method, target: &str| case(E::Unavailable, 503, method, target).on(Stage::NoQuorum).says("Retry-After", "2");
    let full = |target: &str| case(E::StorageFull, 507, "POST", target).on(Stage::FullDisk);
    let busy = |method, target: &str| {
        case(E::TooManyRequests, 429, method, target).on(Stage::Crowded).says("Retry-After", "1")
    };
    let push = "/v2/{repo}/blobs/uploads/?digest={nowhere}";
    vec![
        lost("GET", "/v2/{repo}/manifests/none"),
        lost("GET", "/v2/{repo}/manifests/{nowhere}"),
        lost("GET", NOT_FOUND),
        lost("DELETE", "/v2/{repo}/manifests/t"),
        lost("DELETE", "/v2/{repo}/blobs/{blob}"),
        lost("POST", "/v2/b/blobs/uploads/?mount={blob}&from={repo}"),
        put(E::Unavailable, 503, "x", IMAGE, manifest(b"abc", &[]).to_string())
            .on(Stage::NoQuorum)
            .says("Retry-After", "2"),
        put(E::AckPending, 503, "x", IMAGE, manifest(b"alone", &[]).to_string())
            .on(Stage::OneCopy)
            .says("Retry-After", "5"),
        full("/v2/{repo}/blobs/uploads/"),
        full(push).with("Content-Length", "5").body("12345"),
        busy("POST", "/v2/{repo}/blobs/uploads/"),
        busy("PATCH", "{session}").with("Content-Length", "5").body("12345"),
        busy("GET", "/v2/{repo}/blobs/{large}"),
    ]
}

#[test]
fn every_code_has_a_request_that_gets_it_or_a_reason_why_none_does() {
    let reached: HashSet<ErrorCode> = cases().iter().map(|case| case.code).collect();
    let excused: HashSet<ErrorCode> = UNREACHED.iter().map(|(code, _)| *code).collect();
    for code in ErrorCode::ALL {
        assert!(reached.contains(code) != excused.contains(code), "{code}: in the table, or excused, and not both");
    }
}

/// A server as a case wants it, with what its placeholders stand for.
struct World {
    server: Server,
    made: Vec<(&'static str, String)>,
    /// Those who take up all the room of [`Stage::Crowded`].
    crowd: Vec<TcpStream>,
}

impl World {
    async fn new(stage: Stage) -> Self {
        let mut setup = Setup::default();
        match stage {
            Stage::Well => setup.registry = strict(),
            Stage::NoQuorum => (setup.nodes, setup.registry) = (2, leaderless()),
            Stage::OneCopy => (setup.nodes, setup.one_region, setup.registry) = (2, true, impatient()),
            Stage::FullDisk => setup.store.reserve_bytes = u64::MAX,
            Stage::Crowded => setup.registry = cramped(),
        }
        let server = Server::with(setup).await;
        let made = vec![("repo", "a".to_owned()), ("nowhere", Digest::sha256_of(b"nowhere").to_string())];
        let mut world = Self { server, made, crowd: Vec::new() };
        if stage != Stage::FullDisk {
            world.furnish().await;
        }
        match stage {
            Stage::NoQuorum => world.server.cluster.cut(1),
            Stage::OneCopy => {
                // The second node fetches nothing any more.
                world.server.cluster.floors(2).replication.shutdown().await;
                world.server.client(1).push_blob("a", b"alone").await;
            }
            Stage::Crowded => world.crowd().await,
            Stage::Well | Stage::FullDisk => {}
        }
        world
    }

    /// Makes what the targets name.
    async fn furnish(&mut self) {
        let client = self.server.client(1);
        let (image, bytes) = client.push_image("a", "t", 1).await;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, &bytes)]});
        assert_eq!(client.put_manifest("a", "index", INDEX, index.to_string().into_bytes()).await.status(), 201);
        let blob = client.push_blob("a", b"abc").await;
        self.made.extend([
            ("image", image.to_string()),
            ("layer", Digest::sha256_of(&random(1, 3000)).to_string()),
            ("blob", blob.to_string()),
        ]);
        let session = client.begin("a").await;
        self.made.push(("session", session));
    }

    /// Takes every place: of sessions, of bodies of uploads, of downloads.
    async fn crowd(&mut self) {
        let client = self.server.client(1);
        // More than all buffers between the two take.
        let large = client.push_blob("a", &random(2, 48 << 20)).await.to_string();
        let session = client.begin("a").await;
        let port = self.server.ports(1).public;
        for request in [
            format!("GET /v2/a/blobs/{large} HTTP/1.1\r\nHost: x\r\n\r\n"),
            format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"),
        ] {
            let mut stream = TcpStream::connect(port).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            self.crowd.push(stream);
        }
        self.made.push(("large", large));
    }

    fn fill(&self, text: &str) -> String {
        self.made.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    async fn ask(&self, case: &Case) -> Answer {
        let headers: Vec<(&str, String)> = case.headers.iter().map(|(name, value)| (*name, self.fill(value))).collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let bytes = request(case.method, &self.fill(&case.target), &headers, &case.body);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = exchange(self.server.ports(1).public, &bytes).await;
            let answer = answer.unwrap_or_else(|| panic!("{} {}: no answer", case.method, case.target));
            // The crowd comes in its own time.
            if case.stage != Stage::Crowded || answer.status == case.status || Instant::now() > deadline {
                return answer;
            }
        }
    }
}

/// A body that is too long or does not come is refused soon.
fn strict() -> Config {
    Config {
        uploads: Uploads { idle_timeout_ms: 300, ..Uploads::default() },
        limits: Limits { blob_bytes: 1_000_000, ..Limits::default() },
        ..testing::config()
    }
}

/// A push in vain is given up soon, and not so soon that those before it need a machine that never stands still.
fn impatient() -> Config {
    let uploads = Uploads { commit_timeout_ms: 5_000, ack_timeout_ms: 5_000, ..Uploads::default() };
    Config { uploads, ..testing::config() }
}

/// A read in vain as well: nothing reads while there is a leader.
fn leaderless() -> Config {
    Config { reads: Reads { linearizable_timeout_ms: 300, ..Reads::default() }, ..impatient() }
}

/// Room for one of each, and for the two sessions of the test.
fn cramped() -> Config {
    Config {
        uploads: Uploads { sessions: 2, ..Uploads::default() },
        limits: Limits { uploads: 1, downloads: 1, ..Limits::default() },
        ..testing::config()
    }
}

async fn check(stage: Stage) {
    let world = World::new(stage).await;
    for case in cases().iter().filter(|case| case.stage == stage) {
        let name = format!("{} {} {:?}", case.method, case.target, case.headers);
        let answer = world.ask(case).await;
        let code = if case.method == "HEAD" { String::new() } else { case.code.to_string() };
        assert_eq!((answer.status, answer.code()), (case.status, code), "{name}: {answer:?}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{name}");
        assert!(answer.header("X-Request-Id").is_some(), "{name}");
        for (header, value) in &case.says {
            assert_eq!(answer.header(header), Some(*value), "{name}: {answer:?}");
        }
        // No header of this kind comes where the table does not have it.
        for header in ["Allow", "Content-Range", "Retry-After", "WWW-Authenticate"] {
            let expected = case.says.iter().any(|(said, _)| *said == header);
            assert_eq!(answer.header(header).is_some(), expected, "{name}: {header} in {answer:?}");
        }
    }
    drop(world.crowd);
    world.server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_gets_its_code_status_and_headers() {
    check(Stage::Well).await;
}

#[tokio::test]
async fn without_a_quorum_what_is_not_known_is_unavailable() {
    check(Stage::NoQuorum).await;
}

#[tokio::test]
async fn a_push_with_too_few_copies_is_pending() {
    check(Stage::OneCopy).await;
}

#[tokio::test]
async fn a_full_disk_takes_no_upload() {
    check(Stage::FullDisk).await;
}

#[tokio::test]
async fn whoever_finds_no_place_is_told_when_to_come_again() {
    check(Stage::Crowded).await;
}

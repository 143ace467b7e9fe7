//! One trace tells of a request across processes: what happened where, and on whose behalf.

use portolan_chaos_tests::big::Big;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::cluster::{Cluster, Options, PATIENT};
use portolan_chaos_tests::image::{Image, MANIFEST};
use portolan_chaos_tests::otlp::{Collector, Span};
use portolan_chaos_tests::{Result, wait};
use portolan_oci::Digest;
use reqwest::header::CONTENT_TYPE;
use std::collections::BTreeSet;
use std::time::Duration;

const REPO: &str = "traces/app";
const WITHIN: Duration = Duration::from_secs(30);

/// `span@node < parent@node`; the first span of a trace, or one whose parent is not ours, has none.
type Shape = BTreeSet<String>;

/// The shape of the trace that a span belongs to.
fn shape_of(spans: &[Span], trace: &str) -> Shape {
    let spans: Vec<&Span> = spans.iter().filter(|span| span.trace == trace).collect();
    let place = |span: &Span| format!("{}@{}", span.name, span.node);
    let line = |span: &&Span| match spans.iter().find(|parent| parent.id == span.parent) {
        Some(parent) => format!("{} < {}", place(span), place(parent)),
        None => place(span),
    };
    spans.iter().map(line).collect()
}

/// The span of the request for a path.
fn request<'a>(spans: &'a [Span], method: &str, path: &str) -> Option<&'a Span> {
    let is = |span: &Span, key: &str, value: &str| span.attributes.get(key).is_some_and(|found| found == value);
    let asked = |span: &&Span| is(span, "http.request.method", method) && is(span, "url.path", path);
    spans.iter().filter(|span| span.name == "request").find(asked)
}

/// Waits until the trace of a request has the shape, and gives its spans.
async fn wait_for_shape(collector: &Collector, method: &str, path: &str, want: &[String]) -> Result<Vec<Span>> {
    let want: Shape = want.iter().cloned().collect();
    wait::until(&format!("the trace of {method} {path}"), WITHIN, async || {
        let spans = collector.spans();
        let Some(request) = request(&spans, method, path) else { return Err("it has not come".to_owned()) };
        let shape = shape_of(&spans, &request.trace);
        if shape != want {
            let missing: Vec<_> = want.difference(&shape).collect();
            let more: Vec<_> = shape.difference(&want).collect();
            return Err(format!("missing {missing:#?}, not wanted {more:#?}"));
        }
        let trace = request.trace.clone();
        Ok(spans.into_iter().filter(|span| span.trace == trace).collect())
    })
    .await
}

fn one<'a>(spans: &'a [Span], name: &str, node: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name && span.node == node).expect("it is part of the shape")
}

async fn push_blobs(registry: &Registry, image: &Image) -> Result<()> {
    for blob in image.blobs() {
        registry.push_blob(REPO, blob).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_at_a_follower_is_one_trace_over_every_voter() -> Result<()> {
    let collector = Collector::start().await?;
    let mut environment = collector.environment("grpc");
    environment.push((PATIENT.0, PATIENT.1.to_owned()));
    let mut cluster = Cluster::start(Options { environment, ..Options::default() }).await?;
    let image = Image::seeded(1, &[10_000]);
    let leader = cluster.leader().await?;
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let registry = cluster.registry(follower);
    push_blobs(&registry, &image).await?;
    registry.push_manifest(REPO, "v1", MANIFEST, &image.manifest).await?;
    let name = |node: usize| cluster.nodes()[node].name.clone();
    let (f, l, o) = (name(follower), name(leader), name(other));
    let want = [
        format!("request@{f}"),
        format!("propose@{f} < request@{f}"),
        format!("forward@{f} < propose@{f}"),
        format!("call@{f} < forward@{f}"),
        format!("answer@{l} < call@{f}"),
        format!("append@{l} < answer@{l}"),
        format!("append@{f} < answer@{l}"),
        format!("append@{o} < answer@{l}"),
        format!("apply@{l} < answer@{l}"),
        format!("apply@{f} < answer@{l}"),
        format!("apply@{o} < answer@{l}"),
        format!("wait_applied@{f} < propose@{f}"),
    ];
    let path = format!("/v2/{REPO}/manifests/v1");
    let spans = wait_for_shape(&collector, "PUT", &path, &want).await?;
    // What the answer promises happened before it was given.
    let answered = one(&spans, "request", &f).time.1;
    assert!(one(&spans, "apply", &f).time.1 <= answered, "the answer came before its apply: {spans:#?}");
    let appended = [&f, &l, &o].into_iter().filter(|node| one(&spans, "append", node).time.1 <= answered);
    assert!(appended.count() >= 2, "the answer came before a majority had it: {spans:#?}");
    let indices: BTreeSet<_> = spans.iter().filter_map(|span| span.attributes.get("index")).collect();
    assert_eq!(indices.len(), 1, "one entry of the log: {spans:#?}");
    assert_eq!(one(&spans, "request", &f).attributes["http.response.status_code"], "201");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_streams_through_is_one_trace_over_the_holder() -> Result<()> {
    let collector = Collector::start().await?;
    let mut environment = collector.environment("http/protobuf");
    environment.push((PATIENT.0, PATIENT.1.to_owned()));
    // One blob is replicated at a time.
    environment.push(("PORTOLAN_REPLICATION_LARGE_BYTES", "1".to_owned()));
    environment.push(("PORTOLAN_REPLICATION_LARGE_FETCHES", "1".to_owned()));
    // What is traced does not depend on what is logged.
    environment.push(("RUST_LOG", "error".to_owned()));
    let mut cluster = Cluster::start(Options { environment, ..Options::default() }).await?;
    let (holder, reader) = (cluster.nodes()[0].clone(), cluster.nodes()[2].clone());
    // While this one is on its way, others are fetched by whoever pulls them.
    Big::new(0, 512).push(&holder, REPO).await?;
    let pull = async |seed| -> Result<Option<String>> {
        let blob = Big::new(seed, 3);
        blob.push(&holder, REPO).await?;
        let path = format!("/v2/{REPO}/blobs/{}", blob.digest);
        let (http, url) = (reqwest::Client::new(), format!("http://{}{path}", reader.registry));
        // The reader knows of it from here on: that it would have to ask the leader is another story.
        http.head(&url).send().await?.error_for_status()?;
        let answer = http.get(&url).send().await?.error_for_status()?;
        let streamed = answer.headers()["portolan-source"].to_str()?.starts_with("peer");
        assert_eq!(Digest::sha256_of(&answer.bytes().await?), blob.digest);
        Ok(streamed.then_some(path))
    };
    let mut path = None;
    for seed in 1..20 {
        path = pull(seed).await?;
        if path.is_some() {
            break;
        }
    }
    let path = path.ok_or("every blob was replicated before it could be pulled")?;
    let (h, r) = (&holder.name, &reader.name);
    let want = [
        format!("request@{r}"),
        format!("open@{r} < request@{r}"),
        format!("fetch@{r} < open@{r}"),
        format!("call@{r} < fetch@{r}"),
        format!("answer@{h} < call@{r}"),
        format!("open@{h} < answer@{h}"),
        format!("store@{r} < fetch@{r}"),
    ];
    let spans = wait_for_shape(&collector, "GET", &path, &want).await?;
    // Until the last byte was sent; and that is held back until the blob is stored.
    let (request, store) = (one(&spans, "request", r), one(&spans, "store", r));
    assert!(store.time.1 <= request.time.1, "{spans:#?}");
    assert_eq!(one(&spans, "open", r).attributes["source"], "peer");
    assert_eq!(one(&spans, "open", h).attributes["source"], "local");
    // The table of its chunk sums is asked for beside the bytes: the call that the holder opened the blob for is the read.
    let parent = |span: &Span| spans.iter().find(|parent| parent.id == span.parent).expect("it is part of the shape");
    assert_eq!(parent(parent(one(&spans, "open", h))).attributes["call"], "Blobs/Read");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_s_trace_goes_on_and_one_that_is_not_sampled_is_not_exported() -> Result<()> {
    const SAMPLED: &str = "0af7651916cd43dd8448eb211c80319c";
    const UNSAMPLED: &str = "1bf7651916cd43dd8448eb211c80319c";
    const CALLER: &str = "b7ad6b7169203331";
    let collector = Collector::start().await?;
    let environment = collector.environment("http/protobuf");
    let mut cluster = Cluster::start(Options { environment, ..Options::default() }).await?;
    let image = Image::seeded(2, &[10_000]);
    let follower = (cluster.leader().await? + 1) % 3;
    push_blobs(&cluster.registry(follower), &image).await?;
    let (node, http) = (&cluster.nodes()[follower], reqwest::Client::new());
    for (trace, flags) in [(UNSAMPLED, "00"), (SAMPLED, "01")] {
        let url = format!("http://{}/v2/{REPO}/manifests/{trace}", node.registry);
        let put =
            http.put(url).header(CONTENT_TYPE, MANIFEST).header("traceparent", format!("00-{trace}-{CALLER}-{flags}"));
        assert_eq!(put.body(image.manifest.bytes.clone()).send().await?.status(), 201);
    }
    let applied = [0, 1, 2].map(|node| &cluster.nodes()[node].name);
    let spans = wait::until("the client's trace on every node", WITHIN, async || {
        let spans = collector.spans();
        let everywhere = applied
            .iter()
            .all(|node| spans.iter().any(|span| span.trace == SAMPLED && span.name == "apply" && span.node == **node));
        let answered = spans.iter().any(|span| span.trace == SAMPLED && span.name == "request");
        if everywhere && answered { Ok(spans) } else { Err(format!("{:#?}", shape_of(&spans, SAMPLED))) }
    })
    .await?;
    let request = spans.iter().find(|span| span.trace == SAMPLED && span.name == "request");
    assert_eq!(request.map(|span| span.parent.as_str()), Some(CALLER), "the client's span is its parent");
    // It came first, so that its spans would be here too.
    assert_eq!(shape_of(&spans, UNSAMPLED), Shape::new());
    cluster.stop().await?;
    Ok(())
}

//! A small collector of traces: takes OTLP over gRPC and over HTTP, and tells what came.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use prost::Message;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A span as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace it belongs to, as hexadecimal digits.
    pub trace: String,
    /// Its id, as hexadecimal digits.
    pub id: String,
    /// Its parent's id; empty when it is the first of its trace.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `service.instance.id` of the process it comes from.
    pub node: String,
    /// When it began and ended, in nanoseconds since the Unix epoch.
    pub time: (u64, u64),
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// A running collector. Dropping it ends it.
pub struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Span>>>,
    serving: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a free port of the loopback device.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> crate::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&spans)));
        Ok(Self { address, spans, serving })
    }

    /// What a node is told in its environment, so that its spans come here soon. `protocol` is `grpc` or
    /// `http/protobuf`.
    #[must_use]
    pub fn environment(&self, protocol: &str) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address)),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        ]
    }

    /// What came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, spans: Arc<Mutex<Vec<Span>>>) {
    // Connections end with the set, and the set with the collector.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let spans = Arc::clone(&spans);
        connections.spawn(async move {
            let service = service_fn(move |request| take(request, Arc::clone(&spans)));
            // A node that is killed breaks its connection, which is its own business.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn take(request: Request<Incoming>, spans: Arc<Mutex<Vec<Span>>>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    // A unary gRPC message is a flag, its length in four bytes, and the message.
    let (message, answer) = match path.as_str() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => (body.get(5..), over_grpc()),
        "/v1/traces" => (body.get(..), over_http(StatusCode::OK)),
        _ => (None, over_http(StatusCode::NOT_FOUND)),
    };
    let Some(export) = message.and_then(|message| ExportTraceServiceRequest::decode(message).ok()) else {
        return Ok(over_http(StatusCode::BAD_REQUEST));
    };
    spans.lock().unwrap_or_else(PoisonError::into_inner).extend(export.spans());
    Ok(answer)
}

/// An empty answer.
fn over_http(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/x-protobuf"));
    response
}

/// An empty message, and a status of 0 in the trailers.
fn over_grpc() -> Response<Answer> {
    let mut message = BytesMut::new();
    message.put_bytes(0, 5);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(message.freeze())), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync());
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/grpc"));
    response
}

// What we look at of opentelemetry-proto's messages; decoding skips the rest.

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Truth(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
}

impl ExportTraceServiceRequest {
    fn spans(self) -> impl Iterator<Item = Span> {
        self.resource_spans.into_iter().flat_map(|resource| {
            let mut about = texts(resource.resource.unwrap_or_default().attributes);
            let node = about.remove("service.instance.id").unwrap_or_default();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                node: node.clone(),
                time: (span.start_time_unix_nano, span.end_time_unix_nano),
                attributes: texts(span.attributes),
            })
        })
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::Text(text)) => text,
        Some(Value::Truth(truth)) => truth.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        None => String::new(),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

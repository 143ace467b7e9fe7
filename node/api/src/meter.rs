//! Measures a request from its head to the last byte of its response, under the names that existing dashboards know.

use crate::places::Place;
use crate::route::{handler_label, reference};
use bytes::{Buf, Bytes};
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use portolan_auth::Action;
use portolan_oci::RepoName;
use portolan_registry::Traffic;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

/// The status in metrics of a request whose client went away before it was answered; the number that proxies use.
const CLIENT_GONE: u16 = 499;

/// The values of the `handler` label of requests that were routed.
const HANDLERS: [&str; 9] =
    ["admin", "base", "blob", "blob_upload", "blob_upload_chunk", "catalog", "manifest", "referrers", "tags"];

/// Says what each metric means, and begins those whose labels are known. Repeating it is harmless.
pub(crate) fn describe() {
    describe_gauge!("registry_http_in_flight_requests", "Requests that were routed and whose response has not ended.");
    describe_counter!("registry_http_requests_total", "Requests that ended; code 499: the client went away first.");
    describe_histogram!(
        "registry_http_request_duration_seconds",
        Unit::Seconds,
        "From a request's head to the last byte of its response."
    );
    describe_histogram!("registry_http_request_size_bytes", Unit::Bytes, "Bodies of requests.");
    describe_histogram!(
        "registry_http_response_size_bytes",
        Unit::Bytes,
        "Bodies of responses, as far as they were sent."
    );
    for handler in HANDLERS {
        in_flight(handler).increment(0.0);
    }
}

fn in_flight(handler: &'static str) -> Gauge {
    gauge!("registry_http_in_flight_requests", "handler" => handler)
}

/// A request from its head to its end. It is accounted for when this is dropped.
pub(crate) struct Meter {
    id: Arc<str>,
    method: String,
    path: String,
    announced: Option<u64>,
    received: Received,
    begun: Instant,
    label: Label,
    status: Option<StatusCode>,
    sent: u64,
    whole: bool,
    traffic: Arc<Traffic>,
}

/// What a request is about: known once it is routed, and from then on it counts as in flight.
#[derive(Clone, Default)]
pub(crate) struct Label(Arc<OnceLock<About>>);

/// A routed request.
struct About {
    /// The `handler` label of the metrics.
    handler: &'static str,
    repo: Option<RepoName>,
    /// The tag, digest or upload session.
    reference: Option<String>,
}

impl Label {
    pub(crate) fn set(&self, action: &Action) {
        let (handler, repo, reference) = (handler_label(action), action.repo().cloned(), reference(action));
        let span = tracing::Span::current();
        if let Some(repo) = &repo {
            span.record("repo", tracing::field::display(repo));
        }
        if let Some(reference) = &reference {
            span.record("reference", reference.as_str());
        }
        if self.0.set(About { handler, repo, reference }).is_ok() {
            in_flight(handler).increment(1.0);
        }
    }
}

/// Counts the bytes of a request's body, and knows whether its end was seen.
#[derive(Clone)]
pub(crate) struct Received {
    bytes: Arc<AtomicU64>,
    whole: Arc<AtomicBool>,
    traffic: Arc<Traffic>,
}

impl Received {
    pub(crate) fn count<B: Body<Data = Bytes> + Unpin>(self, body: B) -> Counted<B> {
        self.whole.store(body.is_end_stream(), Ordering::Relaxed);
        Counted { body, received: self }
    }

    /// Whether no byte of the body is still to come.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }
}

/// A body whose bytes are counted as they pass.
pub(crate) struct Counted<B> {
    body: B,
    received: Received,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let bytes = data.remaining() as u64;
            self.received.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.received.traffic.received(bytes);
        }
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.received.whole.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Meter {
    pub(crate) fn begin(id: Arc<str>, method: &str, path: &str, announced: Option<u64>, traffic: Arc<Traffic>) -> Self {
        Self {
            id,
            method: method.to_owned(),
            path: path.to_owned(),
            announced,
            received: Received { bytes: Arc::default(), whole: Arc::default(), traffic: Arc::clone(&traffic) },
            begun: Instant::now(),
            label: Label::default(),
            status: None,
            sent: 0,
            whole: false,
            traffic,
        }
    }

    pub(crate) fn received(&self) -> Received {
        self.received.clone()
    }

    pub(crate) fn label(&self) -> Label {
        self.label.clone()
    }

    /// The head of the response is known; its body is still to be sent.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

/// The method as dashboards spell it; what is no method of the protocol is one of a kind, so that clients cannot make
/// up labels.
fn method_label(method: &str) -> &'static str {
    match method {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// Sizes go into histograms as floats; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a histogram needs no more than 53 bits")]
fn size(bytes: u64) -> f64 {
    bytes as f64
}

impl Drop for Meter {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        let method = method_label(&self.method);
        let received = self.received.bytes.load(Ordering::Relaxed);
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        let about = self.label.0.get();
        let handler = about.map_or("unknown", |about| about.handler);
        if about.is_some() {
            in_flight(handler).decrement(1.0);
        }
        self.traffic.ended(status >= 500);
        counter!("registry_http_requests_total",
            "handler" => handler, "method" => method, "code" => status.to_string())
        .increment(1);
        histogram!("registry_http_request_duration_seconds", "handler" => handler, "method" => method)
            .record(duration.as_secs_f64());
        let request_size = self.announced.unwrap_or(received);
        histogram!("registry_http_request_size_bytes", "handler" => handler).record(size(request_size));
        histogram!("registry_http_response_size_bytes", "handler" => handler).record(size(self.sent));
        tracing::info!(
            request_id = %self.id,
            method = %self.method,
            path = %self.path,
            repo = about.and_then(|about| about.repo.as_ref()).map(tracing::field::display),
            reference = about.and_then(|about| about.reference.as_deref()),
            status,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            received_bytes = received,
            sent_bytes = self.sent,
            cut_short = !self.whole,
            "request"
        );
    }
}

/// A response's body whose bytes are counted, and with whose end the request ends.
pub(crate) struct Measured<B> {
    body: B,
    meter: Meter,
    _place: Option<Place>,
}

impl<B: Body<Data = Bytes>> Measured<B> {
    pub(crate) fn new(body: B, mut meter: Meter, place: Option<Place>) -> Self {
        // Nobody asks for the body of an answer to HEAD.
        meter.whole = body.is_end_stream() || meter.method == "HEAD";
        Self { body, meter, _place: place }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Measured<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining) as u64;
                self.meter.sent += bytes;
                self.meter.traffic.sent(bytes);
                self.meter.whole = self.body.is_end_stream();
            }
            Poll::Ready(None) => self.meter.whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

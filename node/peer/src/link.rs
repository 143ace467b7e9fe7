//! Connections to one peer: one per lane, several for bulk data; made when first used, made again when they break.

use crate::config::Config;
use crate::io::{Connector, PeerIo};
use crate::message::Lane;
use crate::refusals::Throttle;
use crate::stub::{Shared, Stub, Target};
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// The largest window that HTTP/2 has.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// One peer's connections.
pub(crate) struct Link {
    pub(crate) target: Arc<Target>,
    connector: Arc<dyn Connector>,
    shared: Arc<Shared>,
    raft: OnceLock<Channel>,
    heartbeat: OnceLock<Channel>,
    control: OnceLock<Channel>,
    bulk: Vec<Bulk>,
    next_bulk: AtomicUsize,
    paced: Vec<OnceLock<Channel>>,
    next_paced: AtomicUsize,
}

/// One of the connections for bulk data.
#[derive(Default)]
struct Bulk {
    channel: OnceLock<Channel>,
    /// Whether the connection stands.
    stands: Arc<AtomicBool>,
    /// The call that makes it.
    warming: Mutex<Option<BoxFuture<'static, ()>>>,
}

/// Says that a connection stands, until it is dropped.
struct Stands(Arc<AtomicBool>);

impl Stands {
    fn new(stands: &Arc<AtomicBool>) -> Self {
        stands.store(true, Ordering::Release);
        Self(Arc::clone(stands))
    }
}

impl Drop for Stands {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Link {
    pub(crate) fn new(target: Arc<Target>, connector: Arc<dyn Connector>, shared: Arc<Shared>) -> Self {
        let count = shared.config.bulk_connections.max(1);
        let bulk = (0..count).map(|_| Bulk::default()).collect();
        let paced = (0..count).map(|_| OnceLock::new()).collect();
        Self {
            target,
            connector,
            shared,
            raft: OnceLock::new(),
            heartbeat: OnceLock::new(),
            control: OnceLock::new(),
            bulk,
            next_bulk: AtomicUsize::new(0),
            paced,
            next_paced: AtomicUsize::new(0),
        }
    }

    pub(crate) fn stub(&self, lane: Lane) -> Stub {
        let (slot, stands) = match lane {
            Lane::Raft => (&self.raft, None),
            Lane::Heartbeat => (&self.heartbeat, None),
            Lane::Control => (&self.control, None),
            Lane::Bulk => self.bulk(self.next_bulk.fetch_add(1, Ordering::Relaxed)),
            Lane::Pinned(number) => self.bulk(number),
            Lane::Paced => (&self.paced[self.next_paced.fetch_add(1, Ordering::Relaxed) % self.paced.len()], None),
        };
        let make = || {
            let dialer = Dialer::new(&self.shared.config, lane, &self.target.address, &self.connector);
            channel(&self.shared.config, lane, Dialer { stands: stands.map(Arc::clone), ..dialer })
        };
        let channel = slot.get_or_init(make).clone();
        Stub { channel, target: Some(Arc::clone(&self.target)), shared: Arc::clone(&self.shared) }
    }

    fn bulk(&self, number: usize) -> (&OnceLock<Channel>, Option<&Arc<AtomicBool>>) {
        let bulk = &self.bulk[number % self.bulk.len()];
        (&bulk.channel, Some(&bulk.stands))
    }

    /// Has those connections for bulk data made that do not stand, each by a `call`, so that no transfer begins with the
    /// round trips that making them takes. Waits for nothing: while a call is kept, its connection is being made; how it
    /// went is looked at the next time.
    pub(crate) fn warm(&self, call: impl Fn(Stub) -> BoxFuture<'static, ()>) {
        for (number, bulk) in self.bulk.iter().enumerate() {
            let mut warming = bulk.warming.lock().unwrap_or_else(PoisonError::into_inner);
            if warming.is_none() && !bulk.stands.load(Ordering::Acquire) {
                *warming = Some(call(self.stub(Lane::Pinned(number))));
            }
            if let Some(call) = warming.as_mut()
                && call.now_or_never().is_some()
            {
                *warming = None;
            }
        }
    }
}

/// A channel that connects when first used.
pub(crate) fn lazy_channel(config: &Config, lane: Lane, address: &str, connector: &Arc<dyn Connector>) -> Channel {
    channel(config, lane, Dialer::new(config, lane, address, connector))
}

fn channel(config: &Config, lane: Lane, dialer: Dialer) -> Channel {
    let keepalive = match lane {
        Lane::Bulk | Lane::Pinned(_) | Lane::Paced => config.bulk_keepalive_timeout_ms,
        Lane::Raft | Lane::Heartbeat | Lane::Control => config.keepalive_timeout_ms,
    };
    // What waits for slow readers is bounded by how many of them the floor above lets in, each with its stream's window:
    // no number of them may take the window of the others.
    let window = if lane == Lane::Paced { LARGEST_WINDOW } else { config.connection_window_bytes };
    let endpoint = Endpoint::from_static("http://peer")
        .initial_stream_window_size(config.stream_window_bytes)
        .initial_connection_window_size(window)
        .max_frame_size(frame_bytes(config))
        .http2_keep_alive_interval(config.keepalive_interval())
        .keep_alive_timeout(Duration::from_millis(keepalive))
        .keep_alive_while_idle(true);
    let dialer = Arc::new(dialer);
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let dialer = Arc::clone(&dialer);
        dialer.dial()
    }))
}

/// A frame that holds a whole chunk, within what HTTP/2 allows.
pub(crate) fn frame_bytes(config: &Config) -> u32 {
    let wanted = u32::try_from(config.chunk_bytes.saturating_add(1_024)).unwrap_or(u32::MAX);
    wanted.clamp(16_384, (1 << 24) - 1)
}

struct Dialer {
    address: String,
    connector: Arc<dyn Connector>,
    timeout: Duration,
    pace: Mutex<Pace>,
    /// Told whether the connection stands.
    stands: Option<Arc<AtomicBool>>,
    /// One lane speaks for all in the log: the one that pings.
    log: Option<Throttle<()>>,
}

impl Dialer {
    fn new(config: &Config, lane: Lane, address: &str, connector: &Arc<dyn Connector>) -> Self {
        Self {
            address: address.to_owned(),
            connector: Arc::clone(connector),
            timeout: config.connect_timeout(),
            pace: Mutex::new(Pace::new(config)),
            stands: None,
            log: (lane == Lane::Control).then(|| Throttle::new(Duration::from_millis(config.refusal_log_interval_ms))),
        }
    }

    fn dial(self: Arc<Self>) -> BoxFuture<'static, io::Result<TokioIo<Box<dyn crate::io::Io>>>> {
        Box::pin(async move {
            self.pace().begin(Instant::now()).map_err(|last| io::Error::new(io::ErrorKind::NotConnected, last))?;
            let result = match timeout(self.timeout, self.connector.connect(self.address.clone())).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
            };
            let result = result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.address)));
            self.pace().end(Instant::now(), result.as_ref().err());
            if let Err(error) = &result {
                self.note(error);
            }
            let stands = self.stands.as_ref();
            Ok(TokioIo::new(match (result?, stands) {
                (io, Some(stands)) => Box::new(PeerIo::new(io, self.address.as_str()).kept(Stands::new(stands))),
                (io, None) => io,
            }))
        })
    }

    /// A peer that is away is no news here, one whose certificate is not the cluster's is.
    fn note(&self, error: &io::Error) {
        let is_tls = error.kind() == io::ErrorKind::InvalidData;
        if is_tls && self.log.as_ref().is_some_and(|log| log.allow(())) {
            tracing::error!(%error, "a TLS handshake with a peer failed: is peer.ca the same everywhere?");
        }
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spaces attempts to connect. The first after a quiet time starts at once, so that a restarted peer is back
/// immediately; attempts that follow one another closely are spaced by a pause that doubles, whether they failed or
/// the connection broke soon after (as with a certificate that the other side does not accept).
#[derive(Debug)]
struct Pace {
    min: Duration,
    max: Duration,
    streak: u32,
    last: Option<(Instant, String)>,
}

impl Pace {
    fn new(config: &Config) -> Self {
        let min = Duration::from_millis(config.reconnect_min_ms);
        Self { min, max: Duration::from_millis(config.reconnect_max_ms).max(min), streak: 0, last: None }
    }

    fn pause(&self) -> Duration {
        self.min.saturating_mul(1 << self.streak.min(16)).min(self.max)
    }

    /// Whether an attempt may start now; if not, what came of the last one.
    fn begin(&mut self, now: Instant) -> Result<(), String> {
        let Some((ended, outcome)) = &self.last else { return Ok(()) };
        let since = now.duration_since(*ended);
        if since < self.pause() {
            return Err(outcome.clone());
        }
        self.streak = if since > self.max * 2 { 0 } else { self.streak.saturating_add(1) };
        Ok(())
    }

    fn end(&mut self, now: Instant, error: Option<&io::Error>) {
        let outcome = error.map_or_else(|| "the last connection broke at once".to_owned(), ToString::to_string);
        self.last = Some((now, outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::config::Config;
    use std::io;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn attempts_in_a_row_are_spaced_and_the_first_after_a_quiet_time_is_not() {
        let mut pace = Pace::new(&Config::default());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let down = io::Error::other("down");
        // (when, whether an attempt may start); each that may fails at once.
        let cases = [(0, true), (10, false), (50, true), (100, false), (150, true), (300, false), (350, true)];
        for (ms, want) in cases {
            assert_eq!(pace.begin(at(ms)).is_ok(), want, "at {ms} ms");
            if want {
                pace.end(at(ms), Some(&down));
            }
        }
        // The pause is capped, whatever the streak.
        let mut now = 350;
        for _ in 0..20 {
            now += 500;
            assert_eq!(pace.begin(at(now)), Ok(()));
            pace.end(at(now), Some(&down));
        }
        assert_eq!(pace.begin(at(now + 1)), Err("down".to_owned()));
        // A connection that lived, then broke: at once.
        now += 2_000;
        assert_eq!(pace.begin(at(now)), Ok(()));
        pace.end(at(now), None);
        assert_eq!(pace.begin(at(now + 60)), Ok(()));
    }
}

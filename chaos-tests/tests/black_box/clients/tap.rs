//! A proxy in front of one node that notes what is asked of it, and can stop at a request or within its answer, so that
//! a test breaks something at exactly that moment.

use portolan_chaos_tests::Result;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long a request that a test waits for may take to come.
const SOON: Duration = Duration::from_secs(60);

/// Where a tap stops, once.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    /// Part of the request's head.
    pub(super) request: String,
    /// Bytes of the answer that still pass; 0 stops before the request reaches the node.
    pub(super) answer: usize,
}

/// A running tap. It is for requests without a body, one after the other on each connection.
pub(super) struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: String,
    stop: Option<Stop>,
    heads: Mutex<Vec<String>>,
    stopped: watch::Sender<bool>,
}

impl Tap {
    /// Listens on a free port in front of the node at `target`.
    pub(super) async fn start(target: &str, stop: Option<Stop>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            stop,
            heads: Mutex::default(),
            stopped: watch::Sender::new(false),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens, `host:port`.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The heads of the requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has stopped.
    pub(super) async fn stopped(&self) -> Result<()> {
        let mut stopped = self.shared.stopped.subscribe();
        tokio::time::timeout(SOON, stopped.wait_for(|stopped| *stopped))
            .await
            .map_err(|_| "the tap never stopped")??;
        Ok(())
    }

    /// Breaks its connections off and listens no more, as a machine whose process is gone.
    pub(super) async fn close(&mut self) {
        self.accepting.abort();
        // Ended by the abort: what it owned is closed.
        let _aborted = (&mut self.accepting).await;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_ended) = connections.join_next() => {}
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connection(client, Arc::clone(&shared)));
            }
        }
    }
}

/// Passes requests and answers on until one side closes or the tap stops; then holds both sides open.
async fn connection(mut client: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut node = TcpStream::connect(&shared.target).await?;
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut passes: Option<usize> = None;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let head = &request[..read?];
                if head.is_empty() {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(head).into_owned();
                let stop = shared.stop.as_ref().filter(|stop| text.contains(&stop.request));
                shared.heads.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                passes = stop.map(|stop| stop.answer);
                if passes == Some(0) {
                    break;
                }
                node.write_all(head).await?;
            }
            read = node.read(&mut answer) => {
                let bytes = &answer[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let passing = passes.map_or(bytes.len(), |left| left.min(bytes.len()));
                client.write_all(&bytes[..passing]).await?;
                passes = passes.map(|left| left - passing);
                if passes == Some(0) {
                    break;
                }
            }
        }
    }
    shared.stopped.send_replace(true);
    std::future::pending().await
}

//! Faults at stream level, for machines without root: a proxy in front of one TCP address, one for each link.
//!
//! A stream cannot lose or reorder packets; what is left are delay, rate, stalls (bytes are taken and wait), and cuts
//! (connections break, new ones are closed at once). Changes hold from the next block on.

use super::link::Link;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Bytes that are read at once: small enough that a rate of 10 Mbit/s is smooth, large enough for a gigabit.
const BLOCK: usize = 64 * 1024;

/// Bytes under way in one direction of one connection at most: a gigabit for half a second.
const UNDER_WAY: usize = 64 << 20;

/// How far a rate may lag behind and catch up: timers have milliseconds, and wake up late on a busy machine.
const CATCH_UP: Duration = Duration::from_millis(50);

/// Connections of one proxy at most; others wait in the listener's queue.
const MOST_CONNECTIONS: usize = 256;

/// What a proxy does to its connections, the same in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// How long bytes travel, one way. A connection takes a round trip longer to open.
    pub delay: Duration,
    /// Bits per second for each connection and direction; 0 is without a limit.
    pub rate: u64,
    /// Connections break and new ones are closed.
    pub cut: bool,
    /// Bytes are taken but not handed on, until the stall ends.
    pub stall: bool,
}

impl From<Link> for Faults {
    /// What a stream can show of a link; loss of everything is a stall.
    fn from(link: Link) -> Self {
        Self { delay: link.delay, rate: link.rate, cut: link.cut, stall: link.loss >= 1.0 }
    }
}

/// A running proxy. Dropping it breaks its connections.
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of this host's loopback and passes connections on to `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr, faults: Faults) -> io::Result<Self> {
        Self::bind(SocketAddr::from(([127, 0, 0, 1], 0)), target, faults).await
    }

    /// Listens on a given address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(listen: SocketAddr, target: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (faults, changes) = watch::channel(faults);
        let accepting = tokio::spawn(accept(listener, target, changes));
        Ok(Self { address, faults, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, from the next block on.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// What it does.
    #[must_use]
    pub fn faults(&self) -> Faults {
        *self.faults.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks belong to the accepting one and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, faults: watch::Receiver<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => {
                let Ok((client, _)) = accepted else { continue };
                if !faults.borrow().cut {
                    connections.spawn(connection(client, target, faults.clone()));
                }
            }
        }
    }
}

/// One connection until both directions have ended, one has failed, or the link is cut.
async fn connection(client: TcpStream, target: SocketAddr, mut faults: watch::Receiver<Faults>) {
    let opening = faults.borrow().delay * 2;
    tokio::time::sleep(opening).await;
    let Ok(server) = TcpStream::connect(target).await else { return };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let (there, back) = (faults.clone(), faults.clone());
    tokio::select! {
        _ended = async { tokio::try_join!(pass(client_read, server_write, there), pass(server_read, client_write, back)) } => {}
        _cut = faults.wait_for(|faults| faults.cut) => {}
    }
}

struct Block {
    due: Instant,
    bytes: Vec<u8>,
    _room: tokio::sync::OwnedSemaphorePermit,
}

/// One direction: a reader that stamps blocks with their time of arrival, and a writer that waits for it.
async fn pass(read: OwnedReadHalf, write: OwnedWriteHalf, faults: watch::Receiver<Faults>) -> io::Result<()> {
    // The semaphore bounds the bytes; the channel's own bound is what that many one-byte blocks may be.
    let (sender, receiver) = mpsc::channel(64 * 1024);
    tokio::try_join!(take(read, sender, faults.clone()), hand_on(write, receiver, faults)).map(|_| ())
}

async fn take(mut read: OwnedReadHalf, sender: mpsc::Sender<Block>, faults: watch::Receiver<Faults>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut buffer = vec![0; BLOCK];
    let mut free_at = Instant::now();
    loop {
        let length = read.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let permit = Arc::clone(&room).acquire_many_owned(length as u32).await.map_err(io::Error::other)?;
        let Faults { delay, rate, .. } = *faults.borrow();
        free_at = free_at.max(Instant::now() - CATCH_UP);
        if rate > 0 {
            free_at += Duration::from_secs_f64(length as f64 * 8.0 / rate as f64);
        }
        let block = Block { due: free_at.max(Instant::now()) + delay, bytes: buffer[..length].to_vec(), _room: permit };
        if sender.send(block).await.is_err() {
            return Ok(());
        }
        // The rate holds back the sender too: a queue on a real link would fill and slow it down.
        tokio::time::sleep_until(free_at).await;
    }
}

async fn hand_on(
    mut write: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<Block>,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    while let Some(block) = receiver.recv().await {
        tokio::time::sleep_until(block.due).await;
        if faults.wait_for(|faults| !faults.stall).await.is_err() {
            return Ok(());
        }
        write.write_all(&block.bytes).await?;
    }
    write.shutdown().await
}

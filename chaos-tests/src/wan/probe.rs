//! Measures links from outside the router: with sockets in the regions' namespaces, as any program would.

use super::namespace::{NamespaceError, within};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for a packet or a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// A measurement that failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A region's namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A socket.
    #[error("probe: {0}")]
    Io(#[from] io::Error),
    /// Nothing came back.
    #[error("probe: nothing came back")]
    Silence,
}

/// A region's name and one of its addresses.
#[derive(Clone, Debug)]
pub struct Place {
    /// The region.
    pub region: String,
    /// A node's address there.
    pub address: Ipv4Addr,
}

/// A flow that was sent from one place to another.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Packets sent; 0 for TCP.
    pub sent: u64,
    /// Packets received; 0 for TCP.
    pub received: u64,
    /// Packets that came after a later one.
    pub overtaken: u64,
    /// Bits per second at the receiver: of IP packets for UDP, of the stream for TCP.
    pub rate: f64,
}

impl Flow {
    /// The share of packets that did not come.
    #[must_use]
    pub fn loss(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }
}

/// Round trips of `count` UDP packets, one every `gap`, sorted.
///
/// # Errors
/// When sockets fail or nothing comes back.
pub fn round_trips(from: &Place, to: &Place, count: u32, gap: Duration) -> Result<Vec<Duration>, ProbeError> {
    let mirror = bind_udp(to)?;
    let target = mirror.local_addr()?;
    let done = Arc::new(AtomicBool::new(false));
    let mirroring = std::thread::spawn({
        let done = Arc::clone(&done);
        move || reflect(&mirror, &done)
    });
    let sender = bind_udp(from)?;
    let listener = sender.try_clone()?;
    let started = Instant::now();
    let sending = std::thread::spawn(move || -> io::Result<()> {
        for number in 0..count {
            std::thread::sleep((gap * number).saturating_sub(started.elapsed()));
            sender.send_to(&(started.elapsed().as_nanos() as u64).to_be_bytes(), target)?;
        }
        Ok(())
    });
    let mut trips = Vec::new();
    let mut stamp = [0; 8];
    listener.set_read_timeout(Some(PATIENCE))?;
    while trips.len() < count as usize && listener.recv(&mut stamp).is_ok() {
        trips.push(started.elapsed().saturating_sub(Duration::from_nanos(u64::from_be_bytes(stamp))));
    }
    done.store(true, Ordering::Release);
    join(sending)??;
    join(mirroring)?;
    trips.sort_unstable();
    if trips.is_empty() { Err(ProbeError::Silence) } else { Ok(trips) }
}

/// Sends UDP packets of `bytes` (as IP packets) at `rate` bits per second for a while.
///
/// # Errors
/// When sockets fail or nothing arrives.
pub fn udp(from: &Place, to: &Place, rate: u64, bytes: usize, during: Duration) -> Result<Flow, ProbeError> {
    let (sender, receiver) = (bind_udp(from)?, bind_udp(to)?);
    rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4 << 20).map_err(io::Error::from)?;
    sender.connect(receiver.local_addr()?)?;
    let receiving = std::thread::spawn(move || count_packets(&receiver, bytes));
    let gap = Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
    let mut packet = vec![0; bytes - 28];
    let started = Instant::now();
    let mut sent = 0_u64;
    while started.elapsed() < during {
        let due = (started.elapsed().as_secs_f64() / gap.as_secs_f64()) as u64;
        while sent <= due {
            packet[..8].copy_from_slice(&sent.to_be_bytes());
            sender.send(&packet)?;
            sent += 1;
        }
        std::thread::sleep(gap.max(Duration::from_micros(200)));
    }
    let (received, overtaken, rate) = join(receiving)??;
    if received == 0 { Err(ProbeError::Silence) } else { Ok(Flow { sent, received, overtaken, rate }) }
}

/// Sends one TCP stream for a while; the rate is taken after `warm_up`, at the receiver.
///
/// # Errors
/// When sockets fail.
pub fn tcp(from: &Place, to: &Place, warm_up: Duration, during: Duration) -> Result<Flow, ProbeError> {
    let address = SocketAddr::from((to.address, 0));
    let listener = within(&to.region, move || TcpListener::bind(address))??;
    let target = listener.local_addr()?;
    let receiving = std::thread::spawn(move || receive_stream(&listener, warm_up, during));
    let mut stream = within(&from.region, move || TcpStream::connect_timeout(&target, PATIENCE))??;
    stream.set_write_timeout(Some(PATIENCE))?;
    let block = vec![0x5a; 256 * 1024];
    // The receiver ends the stream when it has measured for long enough.
    while stream.write_all(&block).is_ok() {}
    drop(stream);
    let rate = join(receiving)??;
    Ok(Flow { sent: 0, received: 0, overtaken: 0, rate })
}

fn bind_udp(place: &Place) -> Result<UdpSocket, ProbeError> {
    let address = SocketAddr::from((place.address, 0));
    Ok(within(&place.region, move || UdpSocket::bind(address))??)
}

fn reflect(socket: &UdpSocket, done: &AtomicBool) {
    let mut packet = [0; 2048];
    if socket.set_read_timeout(Some(Duration::from_millis(100))).is_err() {
        return;
    }
    while !done.load(Ordering::Acquire) {
        if let Ok((length, sender)) = socket.recv_from(&mut packet) {
            // A lost answer is one that the measurement counts.
            let _lost = socket.send_to(&packet[..length], sender);
        }
    }
}

fn count_packets(socket: &UdpSocket, bytes: usize) -> io::Result<(u64, u64, f64)> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut packet = vec![0; bytes];
    let (mut received, mut overtaken, mut highest) = (0_u64, 0_u64, None);
    let mut span: Option<(Instant, Instant)> = None;
    while let Ok(length) = socket.recv(&mut packet) {
        let Some(Ok(number)) = packet[..length].get(..8).map(<[u8; 8]>::try_from) else { continue };
        let number = u64::from_be_bytes(number);
        received += 1;
        overtaken += u64::from(highest.is_some_and(|highest| number < highest));
        highest = highest.max(Some(number));
        let now = Instant::now();
        span = Some((span.map_or(now, |(first, _)| first), now));
    }
    let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    // Between the first and the last arrival lie all packets but one.
    let bits = (received.saturating_sub(1) * bytes as u64 * 8) as f64;
    Ok((received, overtaken, if seconds > 0.0 { bits / seconds } else { 0.0 }))
}

fn receive_stream(listener: &TcpListener, warm_up: Duration, during: Duration) -> io::Result<f64> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut block = vec![0; 1 << 20];
    let started = Instant::now();
    while started.elapsed() < warm_up && stream.read(&mut block)? > 0 {}
    let (warm, mut bytes) = (Instant::now(), 0_u64);
    while warm.elapsed() < during {
        match stream.read(&mut block)? {
            0 => break,
            length => bytes += length as u64,
        }
    }
    Ok(bytes as f64 * 8.0 / warm.elapsed().as_secs_f64())
}

fn join<T>(thread: std::thread::JoinHandle<T>) -> io::Result<T> {
    thread.join().map_err(|_| io::Error::other("a probe's thread panicked"))
}

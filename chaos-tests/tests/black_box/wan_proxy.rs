//! The faults at stream level, for machines without root.

use portolan_chaos_tests::wan::proxy::{Faults, Proxy};
use portolan_chaos_tests::{Result, wait};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(5);

/// How long a machine may be too busy for a measurement.
const MEASURED_WITHIN: Duration = Duration::from_secs(60);

/// Sends back what it gets, until its tasks are dropped.
async fn echo() -> Result<(SocketAddr, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut read, mut write) = stream.into_split();
                let _broken = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    Ok((address, tasks))
}

async fn ping(stream: &mut TcpStream) -> Result<Duration> {
    let started = Instant::now();
    stream.write_all(b"x").await?;
    stream.read_exact(&mut [0]).await?;
    Ok(started.elapsed())
}

/// Waits until round trips take as many milliseconds as they should: never less, and no more but for a busy machine.
async fn wait_trip(stream: &mut TcpStream, ms: Range<u128>) -> Result<()> {
    let until = Instant::now() + MEASURED_WITHIN;
    loop {
        let trip = ping(stream).await?.as_millis();
        assert!(trip >= ms.start, "a round trip of {trip} ms, wanted {ms:?}");
        if ms.contains(&trip) {
            return Ok(());
        }
        assert!(Instant::now() < until, "a round trip of {trip} ms, wanted {ms:?}");
    }
}

#[tokio::test]
async fn a_link_delays_stalls_and_is_cut() -> Result<()> {
    let (target, _echo) = echo().await?;
    let proxy = Proxy::start(target, Faults::default()).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    wait_trip(&mut stream, 0..30).await?;
    proxy.set(Faults { delay: Duration::from_millis(60), ..Faults::default() });
    wait_trip(&mut stream, 120..131).await?;

    proxy.set(Faults { stall: true, ..Faults::default() });
    stream.write_all(b"y").await?;
    assert!(timeout(Duration::from_millis(200), stream.read_u8()).await.is_err(), "a stalled link hands nothing on");
    proxy.set(Faults::default());
    assert_eq!(timeout(WITHIN, stream.read_u8()).await??, b'y', "and loses nothing");

    proxy.set(Faults { cut: true, ..Faults::default() });
    assert!(!matches!(timeout(WITHIN, stream.read(&mut [0])).await?, Ok(1..)), "a cut breaks connections");
    let mut refused = TcpStream::connect(proxy.address()).await?;
    assert!(!matches!(timeout(WITHIN, refused.read(&mut [0])).await?, Ok(1..)), "and new ones");
    proxy.set(Faults::default());
    ping(&mut TcpStream::connect(proxy.address()).await?).await?;
    Ok(())
}

#[tokio::test]
async fn a_link_has_a_rate_and_keeps_every_byte() -> Result<()> {
    wait::until("a rate", MEASURED_WITHIN, async || {
        let rate = echoed_rate().await.map_err(|error| error.to_string())?;
        assert!(rate < 1.05 * 80e6, "{rate} bit/s");
        if rate > 0.95 * 80e6 { Ok(()) } else { Err(format!("{rate} bit/s")) }
    })
    .await
}

/// What comes back of 10 MB over a link of 80 Mbit/s, in bits per second.
async fn echoed_rate() -> Result<f64> {
    let (target, _echo) = echo().await?;
    let proxy = Proxy::start(target, Faults { rate: 80_000_000, ..Faults::default() }).await?;
    let (mut read, mut write) = TcpStream::connect(proxy.address()).await?.into_split();
    let sent: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let started = Instant::now();
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        write.write_all(&sent).await?;
        write.shutdown().await
    });
    let mut received = Vec::new();
    timeout(WITHIN, read.read_to_end(&mut received)).await??;
    let rate = expected.len() as f64 * 8.0 / started.elapsed().as_secs_f64();
    assert!(received == expected, "every byte, in order");
    Ok(rate)
}

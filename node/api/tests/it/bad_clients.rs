//! Clients that say nothing, or take nothing of what they asked for: none of them keeps its place.

use crate::support::{Client, Server, random};
use portolan_registry::Config;
use portolan_registry::config::{Limits, Uploads};
use portolan_registry::testing::{self, Setup};
use reqwest::StatusCode;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn with_limits(limits: Limits) -> Server {
    let registry = Config { limits, ..testing::config() };
    Server::with(Setup { registry, ..Setup::default() }).await
}

/// Sends some bytes, then nothing more, and waits until the other side has closed the connection.
async fn closed_after(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // It may end with a reset as well.
    let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "still open after {:?}", String::from_utf8_lossy(bytes));
}

#[tokio::test]
async fn a_connection_that_brings_no_request_is_closed() {
    let server = with_limits(Limits { header_timeout_ms: 200, ..Limits::default() }).await;
    // An HTTP/2 client that has said hello, with its empty settings.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let beginnings: [&[u8]; 6] = [b"", b"P", b"PRI * HTTP/2.0\r\n", b"GET /v2/ HTTP/1.1\r\nHost", hello, whole];
    for address in [server.ports(1).public, server.ports(1).ops] {
        for bytes in beginnings {
            closed_after(address, bytes).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn silent_connections_do_not_keep_a_port_from_answering() {
    let server = with_limits(Limits { header_timeout_ms: 500, ..Limits::default() }).await;
    // As many as the ports of this test take.
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(server.ports(1).ops).await.unwrap());
    }
    let (status, _) = timeout(PATIENCE, server.ops(1, "/healthz")).await.unwrap();
    assert_eq!(status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_falls_silent_in_a_manifest_gets_408() {
    let uploads = Uploads { idle_timeout_ms: 200, ..Uploads::default() };
    let registry = Config { uploads, ..testing::config() };
    let server = Server::with(Setup { registry, ..Setup::default() }).await;
    let mut hanging = TcpStream::connect(server.ports(1).public).await.unwrap();
    hanging.write_all(b"PUT /v2/a/manifests/t HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    let mut answer = vec![0; 12];
    timeout(PATIENCE, hanging.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    server.stop().await;
}

/// Asks until the node answers with a status.
async fn answers(client: &Client, status: StatusCode) {
    client.until_status("/v2/", status).await;
}

#[tokio::test]
async fn a_client_that_stops_reading_loses_its_place() {
    let server = with_limits(Limits { requests: 1, stall_timeout_ms: 1000, ..Limits::default() }).await;
    let client = server.client(1);
    // More than all buffers between the two take.
    let layer = random(1, 48 << 20);
    let digest = client.push_blob("a", &layer).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for http in [reqwest::Client::new(), http2] {
        answers(&client, StatusCode::OK).await;
        let target = format!("http://{}/v2/a/blobs/{digest}", server.ports(1).public);
        let hanging = http.get(target).send().await.unwrap();
        assert_eq!(hanging.status(), 200);
        // It holds the only place, until it has taken nothing for too long.
        answers(&client, StatusCode::TOO_MANY_REQUESTS).await;
        answers(&client, StatusCode::OK).await;
        assert!(hanging.bytes().await.is_err(), "a response that was cut looked whole");
    }
    server.stop().await;
}

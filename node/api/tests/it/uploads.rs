//! Upload sessions: chunks, streams, cut connections, restarts.

use crate::support::{Server, header, random, refused, until_holds};
use futures::FutureExt;
use portolan_oci::Digest;
use portolan_registry::Config;
use portolan_registry::config::Uploads;
use portolan_registry::testing::{self, Setup};
use std::fs::{File, read_dir};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn chunks_in_order_make_a_blob_and_others_get_416_with_the_range() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(1, 3000);
    let session = client.begin("a").await;
    let status = client.get(&session).await;
    assert_eq!((status.status().as_u16(), header(&status, "Range")), (204, "0-0".to_owned()));
    let first = client.patch(&session, Some("0-999"), bytes[..1000].to_vec()).await;
    assert_eq!((first.status().as_u16(), header(&first, "Range")), (202, "0-999".to_owned()));
    for wrong in ["0-999", "999-1998", "1001-2000", "2000-2999"] {
        let response = client.patch(&session, Some(wrong), vec![0; 1000]).await;
        assert_eq!(header(&response, "Range"), "0-999", "{wrong}");
        refused(response, 416, "RANGE_INVALID").await;
    }
    refused(client.patch(&session, Some("1000-1999"), vec![0; 10]).await, 400, "SIZE_INVALID").await;
    refused(client.patch(&session, Some("here"), vec![0; 10]).await, 400, "BLOB_UPLOAD_INVALID").await;
    assert_eq!(header(&client.get(&session).await, "Range"), "0-999");
    assert_eq!(client.patch(&session, Some("1000-1999"), bytes[1000..2000].to_vec()).await.status(), 202);
    // The last chunk may come with the closing PUT.
    let digest = Digest::sha256_of(&bytes);
    let put = client.ask("PUT", &format!("{session}?digest={digest}")).header("Content-Range", "2000-2999");
    assert_eq!(put.body(bytes[2000..].to_vec()).send().await.unwrap().status(), 201);
    assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
    // The first answer may have been lost: the same PUT again is no error, any other use of the session is.
    assert_eq!(client.finish(&session, &digest.to_string()).await.status(), 201);
    refused(client.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_digest_leaves_the_session_usable() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(2, 5000);
    let session = client.begin("a").await;
    assert_eq!(client.patch(&session, None, bytes[..4000].to_vec()).await.status(), 202);
    let right = Digest::sha256_of(&bytes).to_string();
    refused(client.finish(&session, &right).await, 400, "DIGEST_INVALID").await;
    refused(client.finish(&session, "sha256:1234").await, 400, "DIGEST_INVALID").await;
    refused(client.send("PUT", &session).await, 400, "DIGEST_INVALID").await;
    assert_eq!(client.patch(&session, None, bytes[4000..].to_vec()).await.status(), 202);
    assert_eq!(client.finish(&session, &right).await.status(), 201);
    server.stop().await;
}

#[tokio::test]
async fn a_whole_blob_in_one_request_is_checked_and_leaves_nothing_behind_when_wrong() {
    let server = Server::start().await;
    let client = server.client(1);
    let digest = Digest::sha256_of(b"right");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    refused(client.ask("POST", &target).body("wrong").send().await.unwrap(), 400, "DIGEST_INVALID").await;
    refused(client.send("POST", "/v2/a/blobs/uploads/?digest=x").await, 400, "DIGEST_INVALID").await;
    let left = std::fs::read_dir(server.cluster.folder(1).join("uploads")).unwrap().count();
    assert_eq!(left, 0);
    assert_eq!(client.ask("POST", &target).body("right").send().await.unwrap().status(), 201);
    // Nothing at all is a blob too.
    client.push_blob("a", b"").await;
    let empty = client.get(&format!("/v2/a/blobs/{}", Digest::sha256_of(b""))).await;
    assert_eq!((empty.status().as_u16(), empty.bytes().await.unwrap().len()), (200, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_cancelled_session_is_gone_with_its_bytes() {
    let server = Server::start().await;
    let client = server.client(1);
    let session = client.begin("a").await;
    assert_eq!(client.patch(&session, None, random(3, 1000)).await.status(), 202);
    assert_eq!(client.send("DELETE", &session).await.status(), 204);
    for method in ["GET", "PATCH", "DELETE"] {
        refused(client.send(method, &session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    }
    assert_eq!(std::fs::read_dir(server.cluster.folder(1).join("uploads")).unwrap().count(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_session_belongs_to_its_repository() {
    let server = Server::start().await;
    let client = server.client(1);
    let session = client.begin("a").await;
    let elsewhere = session.replace("/v2/a/", "/v2/b/");
    refused(client.get(&elsewhere).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    for (unknown, code) in [
        ("x", "BLOB_UPLOAD_UNKNOWN"),
        ("1.x", "BLOB_UPLOAD_UNKNOWN"),
        ("1.01ARZ3NDEKTSV4RRFFQ69G5FAV", "BLOB_UPLOAD_UNKNOWN"),
        ("99.01ARZ3NDEKTSV4RRFFQ69G5FAV", "BLOB_UPLOAD_UNKNOWN"),
        ("..%2f..%2fx", "BLOB_UPLOAD_UNKNOWN"),
    ] {
        refused(client.get(&format!("/v2/a/blobs/uploads/{unknown}")).await, 404, code).await;
    }
    server.stop().await;
}

/// Sends the head of a chunked PATCH and some of its body, as docker does.
async fn stream_part(server: &Server, session: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.ports(1).public).await.unwrap();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.write_all(b"\r\n").await.unwrap();
    stream
}

/// The folder of a session, at its owner.
fn folder(server: &Server, session: &str) -> PathBuf {
    server.cluster.folder(1).join("uploads").join(session.rsplit('.').next().unwrap())
}

/// Waits until so many bytes of a session are in its file.
async fn wait_for_bytes(server: &Server, session: &str, length: u64) {
    let data = folder(server, session).join("data");
    until_holds("the bytes never arrived", || std::fs::metadata(&data).unwrap().len() >= length).await;
}

#[tokio::test]
async fn a_client_cut_in_the_middle_goes_on_where_its_bytes_end() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(4, 400_000);
    let session = client.begin("a").await;
    drop(stream_part(&server, &session, &bytes[..250_000]).await);
    // From here on no answer may say less, however long the disk takes to make them durable.
    wait_for_bytes(&server, &session, 250_000).await;
    let status = client.get(&session).await;
    assert_eq!(header(&status, "Range"), "0-249999");
    assert_eq!(client.patch(&session, Some("250000-399999"), bytes[250_000..].to_vec()).await.status(), 202);
    assert_eq!(client.finish(&session, &Digest::sha256_of(&bytes).to_string()).await.status(), 201);
    server.stop().await;
}

#[tokio::test]
async fn a_new_writer_ends_the_old_one_and_keeps_its_bytes() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(5, 2000);
    let session = client.begin("a").await;
    // The old writer hangs in the middle of its body; nobody closes its connection.
    let mut hanging = stream_part(&server, &session, &bytes[..1000]).await;
    wait_for_bytes(&server, &session, 1000).await;
    assert_eq!(client.patch(&session, Some("1000-1999"), bytes[1000..].to_vec()).await.status(), 202);
    let mut answer = vec![0; 12];
    hanging.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 409");
    assert_eq!(client.finish(&session, &Digest::sha256_of(&bytes).to_string()).await.status(), 201);
    server.stop().await;
}

#[tokio::test]
async fn a_question_for_the_length_ends_a_writer_that_hangs() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(8, 2000);
    let session = client.begin("a").await;
    let mut hanging = stream_part(&server, &session, &bytes[..1000]).await;
    wait_for_bytes(&server, &session, 1000).await;
    assert_eq!(header(&client.get(&session).await, "Range"), "0-999");
    let mut answer = vec![0; 12];
    hanging.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 409");
    assert_eq!(client.patch(&session, Some("1000-1999"), bytes[1000..].to_vec()).await.status(), 202);
    assert_eq!(client.finish(&session, &Digest::sha256_of(&bytes).to_string()).await.status(), 201);
    server.stop().await;
}

fn with_uploads(uploads: Uploads) -> Setup {
    Setup { registry: Config { uploads, ..testing::config() }, ..Setup::default() }
}

#[tokio::test]
async fn clients_that_go_away_while_a_session_begins_leave_no_more_than_the_bound() {
    let server = Server::with(with_uploads(Uploads { sessions: 4, ..Uploads::default() })).await;
    let (registry, repo) = (server.cluster.registry(1), "a".parse().unwrap());
    for _ in 0..50 {
        // Begun, and dropped as a request is whose client is gone.
        assert!(registry.upload_start(&repo).now_or_never().is_none_or(|refused| refused.is_err()));
    }
    let uploads = server.cluster.folder(1).join("uploads");
    drop(registry);
    until_holds("the sessions that were begun never came", || read_dir(&uploads).unwrap().count() >= 4).await;
    refused(server.client(1).send("POST", "/v2/a/blobs/uploads/").await, 429, "TOOMANYREQUESTS").await;
    assert_eq!(read_dir(&uploads).unwrap().count(), 4);
    server.stop().await;
}

/// Whether this process, and with it the node, has a file of a folder open.
fn is_open(folder: &Path) -> bool {
    let open = read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    open.into_iter().any(|path| path.starts_with(folder))
}

#[tokio::test]
async fn an_idle_session_holds_no_open_file() {
    let server = Server::with(with_uploads(Uploads { sweep_interval_ms: 50, ..Uploads::default() })).await;
    let client = server.client(1);
    let bytes = random(9, 700_000);
    let session = client.begin("a").await;
    let here = folder(&server, &session).canonicalize().unwrap();
    until_holds("a session without bytes is never closed", || !is_open(&here)).await;
    assert_eq!(client.patch(&session, None, bytes[..300_000].to_vec()).await.status(), 202);
    assert!(!is_open(&here), "a chunk left the file open");
    refused(client.patch(&session, Some("1-2"), vec![0; 2]).await, 416, "RANGE_INVALID").await;
    assert!(!is_open(&here), "a refused chunk left the file open");
    assert_eq!(client.patch(&session, None, bytes[300_000..].to_vec()).await.status(), 202);
    assert_eq!(client.finish(&session, &Digest::sha256_of(&bytes).to_string()).await.status(), 201);
    server.stop().await;
}

#[tokio::test]
async fn a_start_takes_up_the_youngest_sessions_and_removes_the_rest() {
    let uploads = Uploads { sessions: 1, session_ttl_ms: 3_600_000, ..Uploads::default() };
    let mut server = Server::with(with_uploads(uploads)).await;
    let session = server.client(1).begin("a").await;
    assert_eq!(server.client(1).patch(&session, None, random(10, 1000)).await.status(), 202);
    let real = folder(&server, &session);
    for (name, age_s) in [
        ("is-no-session", 0),
        // Expired, and beyond the bound.
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", 7200),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAW", 600),
    ] {
        let copy = real.with_file_name(name);
        std::fs::create_dir(&copy).unwrap();
        for file in ["data", "note", "state"] {
            std::fs::copy(real.join(file), copy.join(file)).unwrap();
        }
        let state = File::options().write(true).open(copy.join("state")).unwrap();
        state.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
    }
    server.restart(1).await;
    let left: Vec<PathBuf> = read_dir(real.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [real]);
    assert_eq!(header(&server.client(1).get(&session).await, "Range"), "0-999");
    server.stop().await;
}

#[tokio::test]
async fn a_session_outlives_a_restart_of_its_node() {
    let mut server = Server::start().await;
    let bytes = random(6, 300_000);
    let session = server.client(1).begin("a/b").await;
    let patched = server.client(1).patch(&session, None, bytes[..200_000].to_vec()).await;
    assert_eq!(patched.status(), 202);
    server.restart(1).await;
    let client = server.client(1);
    assert_eq!(header(&client.get(&session).await, "Range"), "0-199999");
    assert_eq!(client.patch(&session, Some("200000-299999"), bytes[200_000..].to_vec()).await.status(), 202);
    let digest = Digest::sha256_of(&bytes);
    assert_eq!(client.finish(&session, &digest.to_string()).await.status(), 201);
    assert_eq!(client.get(&format!("/v2/a/b/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
    server.stop().await;
}

#[tokio::test]
async fn the_same_blob_twice_is_one_file() {
    let server = Server::start().await;
    let client = server.client(1);
    let bytes = random(7, 1000);
    let digest = client.push_blob("a", &bytes).await;
    assert_eq!(client.push_blob("a", &bytes).await, digest);
    assert_eq!(client.push_blob("b", &bytes).await, digest);
    let hex = digest.hex();
    let folder = server.cluster.folder(1).join("blobs/sha256").join(&hex[..2]);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|name| name.starts_with(&hex) && !name.ends_with(".sum")).count(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_before_the_end_of_the_body_says_whether_the_connection_ends() {
    let server = Server::start().await;
    let target = "/v2/a/blobs/uploads/1.01ARZ3NDEKTSV4RRFFQ69G5FAV";
    // What is in the body must never be taken for a request, whether the client goes on sending it or not.
    let smuggled = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    for (head, body) in [
        (format!("PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", smuggled.len()), &smuggled[..]),
        (format!("PATCH {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"), ""),
    ] {
        let mut stream = TcpStream::connect(server.ports(1).public).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // The answer may come, and the connection end, before all of it is written.
        let _ = stream.write_all(body.as_bytes()).await;
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..read]);
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 404") && answer.contains("connection: close"), "{answer}");
        assert_eq!(answer.matches("http/1.1").count(), 1, "{answer}");
    }
    server.stop().await;
}

//! What is made of answers, given by a server that says whatever it is told.

use super::{Answer, Ask, Clock, Door, Load, Nodes};
use crate::truth::Blob;
use reqwest::Method;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Asks a server that reads one request and says `reply`, then closes the connection, or keeps it without a word.
async fn ask(reply: Vec<u8>, close: bool, make: impl FnOnce(Ask) -> Ask) -> (Answer, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
        // A body that is cut ends the connection from the other side.
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            request.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if read == 0 || (text.starts_with("GET") && text.contains("\r\n\r\n")) {
                break;
            }
        }
        let _ = stream.write_all(&reply).await;
        if !close {
            let _ = stream.read(&mut buffer).await;
        }
        String::from_utf8_lossy(&request).into_owned()
    });
    // Only of a server that keeps silent is the deadline waited for.
    let within = Duration::from_millis(if close { 20_000 } else { 300 });
    let nodes = Nodes::new(vec![address], Clock::default(), within).unwrap();
    let answer = nodes.ask(make(Ask::new(0, Method::GET, "/v2/".to_owned()))).await;
    drop(nodes);
    (answer, server.await.unwrap())
}

fn reply(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

fn bytes(blob: Blob) -> Vec<u8> {
    blob.pieces(0..blob.size).flatten().collect()
}

#[tokio::test]
async fn a_blob_is_right_when_every_byte_is_and_all_came_that_should() {
    let blob = Blob::new(5, 1000);
    let good = bytes(blob);
    let mut bad = good.clone();
    bad[999] ^= 1;
    let full = "200 OK\r\nContent-Length: 1000";
    for (reply, whole, right, bytes) in [
        (reply(full, &good), true, Some(true), 1000),
        (reply(full, &bad), true, Some(false), 1000),
        // Cut off: what came is right, but not whole.
        (reply(full, &good[..400]), false, Some(true), 400),
        // Complete, and too short: the worst of all.
        (reply("200 OK\r\nContent-Length: 400", &good[..400]), true, Some(false), 400),
        (reply("200 OK\r\nContent-Length: 0", b""), true, Some(false), 0),
        (reply("200 OK\r\nContent-Length: 1001", &[&good[..], b"x"].concat()), true, Some(false), 1001),
        (reply("404 Not Found\r\nContent-Length: 2", b"{}"), true, None, 2),
    ] {
        let (answer, _) = ask(reply, true, |ask| ask.against(blob, None)).await;
        let seen = answer.seen;
        assert_eq!((seen.whole, seen.right, seen.bytes), (whole, right, bytes), "{seen:?}");
        assert_eq!(seen.first_byte.is_some(), bytes > 0);
    }
}

#[tokio::test]
async fn a_range_is_right_when_it_is_the_one_that_was_asked_for() {
    let blob = Blob::new(6, 1000);
    let good = bytes(blob);
    let head = |range: &str| format!("206 Partial Content\r\nContent-Length: 100\r\nContent-Range: bytes {range}");
    for (reply, right) in [
        (reply(&head("100-199/1000"), &good[100..200]), true),
        (reply(&head("100-199/1000"), &good[101..201]), false),
        (reply(&head("101-200/1000"), &good[100..200]), false),
        (reply("206 Partial Content\r\nContent-Length: 99", &good[100..199]), false),
        // Everything instead of a part is an answer, too.
        (reply("200 OK\r\nContent-Length: 1000", &good), true),
    ] {
        let (answer, _) = ask(reply, true, |ask| ask.against(blob, Some(100..200))).await;
        assert_eq!((answer.seen.whole, answer.seen.right), (true, Some(right)), "{:?}", answer.seen);
    }
}

#[tokio::test]
async fn headers_that_matter_are_kept_and_errors_are_known_by_their_code() {
    let head = "200 OK\r\nWarning: 299 - \"stale\"\r\nAge: 7\r\nDocker-Content-Digest: sha256:1\r\nContent-Length: 2";
    let (answer, _) = ask(reply(head, b"hi"), true, |ask| ask).await;
    assert_eq!((answer.seen.age, answer.seen.digest.as_deref()), (Some(7), Some("sha256:1")));
    assert_eq!((answer.seen.warning.as_deref(), answer.body.as_slice()), (Some("299 - \"stale\""), &b"hi"[..]));
    let body = br#"{"errors":[{"code":"UNAVAILABLE","message":"no leader"}]}"#;
    let head = format!("503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: {}", body.len());
    let (answer, _) = ask(reply(&head, body), true, |ask| ask).await;
    assert_eq!((answer.seen.error.as_deref(), answer.seen.retry_after), (Some("UNAVAILABLE"), true));
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_does_not_end_in_time_is_none_or_not_whole() {
    let (none, _) = ask(Vec::new(), true, |ask| ask).await;
    assert!(none.seen.status.is_none() && none.seen.error.is_some() && !none.seen.whole);
    let (silent, _) = ask(Vec::new(), false, |ask| ask).await;
    assert_eq!(silent.seen.error.as_deref(), Some("not within 300ms"));
    let (open, _) = ask(reply("200 OK\r\nContent-Length: 10", b"12345"), false, |ask| ask).await;
    assert_eq!((open.seen.status, open.seen.whole, open.seen.bytes), (Some(200), false, 5));
    assert_eq!(open.seen.error.as_deref(), Some("not within 300ms"));
}

#[tokio::test]
async fn a_cut_body_announces_all_of_it_and_breaks_off() {
    let blob = Blob::new(7, 1000);
    let load = Load::Part { blob, range: 0..1000, cut: Some(300) };
    let make = |ask: Ask| {
        let ask = Ask { method: Method::PATCH, ..ask };
        ask.header(reqwest::header::CONTENT_LENGTH, "1000").load(load)
    };
    let (answer, request) = ask(Vec::new(), true, make).await;
    assert!(answer.seen.status.is_none(), "{:?}", answer.seen);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    // The bytes are no text, of which each became one or three.
    assert!((300..900).contains(&body.len()), "{} bytes", body.len());
    assert!(head.to_lowercase().contains("content-length: 1000"), "{head}");
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
}

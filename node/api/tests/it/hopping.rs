//! Upload sessions whose requests land at other nodes than the one that owns them.

use crate::support::{Client, Server, header, random, refused, until_holds};
use futures::SinkExt;
use portolan_oci::Digest;
use portolan_registry::Config;
use portolan_registry::config::Uploads;
use portolan_registry::testing::{self, Setup};
use std::time::{Duration, Instant};

async fn three(uploads: Uploads) -> Server {
    Server::with(Setup { nodes: 3, registry: Config { uploads, ..testing::config() }, ..Setup::default() }).await
}

fn clients(server: &Server) -> [Client; 3] {
    [server.client(1), server.client(2), server.client(3)]
}

#[tokio::test]
async fn each_request_of_an_upload_may_land_at_another_node() {
    let server = three(Uploads::default()).await;
    let at = clients(&server);
    for (seed, owner) in [(1, 0), (2, 1), (3, 2)] {
        let bytes = random(seed, 300_000);
        let session = at[owner].begin("a").await;
        let (next, last) = ((owner + 1) % 3, (owner + 2) % 3);
        assert_eq!(at[next].patch(&session, Some("0-99999"), bytes[..100_000].to_vec()).await.status(), 202);
        let second = at[last].patch(&session, None, bytes[100_000..200_000].to_vec()).await;
        assert_eq!((second.status().as_u16(), header(&second, "Range")), (202, "0-199999".to_owned()));
        assert_eq!(header(&second, "Location"), session);
        let status = at[next].get(&session).await;
        assert_eq!((status.status().as_u16(), header(&status, "Range")), (204, "0-199999".to_owned()));
        let digest = Digest::sha256_of(&bytes);
        let put = at[last].ask("PUT", &format!("{session}?digest={digest}")).body(bytes[200_000..].to_vec());
        assert_eq!(put.send().await.unwrap().status(), 201);
        for client in &at {
            assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
            // The first answer may have been lost: the same PUT again is no error, any other use of the session is.
            assert_eq!(client.finish(&session, &digest.to_string()).await.status(), 201);
            refused(client.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_is_the_same_at_every_node() {
    let server = three(Uploads::default()).await;
    let owner = server.client(1);
    let bytes = random(4, 5_000);
    let digest = Digest::sha256_of(&bytes).to_string();
    let session = owner.begin("a").await;
    assert_eq!(owner.patch(&session, None, bytes[..1_000].to_vec()).await.status(), 202);
    for client in clients(&server) {
        for wrong in ["0-999", "999-1998", "1001-2000"] {
            let response = client.patch(&session, Some(wrong), vec![0; 1_000]).await;
            assert_eq!(header(&response, "Range"), "0-999", "{wrong}");
            refused(response, 416, "RANGE_INVALID").await;
        }
        refused(client.patch(&session, Some("1000-1999"), vec![0; 10]).await, 400, "SIZE_INVALID").await;
        let mismatch = refused(client.finish(&session, &digest).await, 400, "DIGEST_INVALID").await;
        assert!(mismatch.errors[0].message.contains(&digest), "{mismatch:?}");
        let elsewhere = session.replace("/a/", "/b/");
        for session in [elsewhere, "/v2/a/blobs/uploads/9.01M7YZF7EG0ZPGSEQ634EJXX74".to_owned()] {
            refused(client.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
            refused(client.patch(&session, None, vec![1]).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
            refused(client.finish(&session, &digest).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
            refused(client.send("DELETE", &session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
        }
        assert_eq!(header(&client.get(&session).await, "Range"), "0-999", "the session stays as it was");
    }
    assert_eq!(server.client(3).send("DELETE", &session).await.status(), 204);
    for client in clients(&server) {
        refused(client.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_newer_writer_takes_the_session_over_wherever_it_comes() {
    let server = three(Uploads::default()).await;
    let at = clients(&server);
    let session = at[0].begin("a").await;
    let (mut pieces, body) = futures::channel::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(body);
    let first = tokio::spawn(at[1].ask("PATCH", &session).body(body).send());
    pieces.send(Ok(vec![1; 50_000])).await.unwrap();
    // The second node's writer is at work once its first bytes have landed.
    let deadline = Instant::now() + Duration::from_secs(20);
    while header(&at[2].get(&session).await, "Range") == "0-0" {
        assert!(Instant::now() < deadline, "the first writer's bytes did not land");
    }
    let second = at[2].patch(&session, None, vec![2; 10]).await;
    assert_eq!((second.status().as_u16(), header(&second, "Range")), (202, "0-50009".to_owned()));
    // The first is told, unless its connection is cut before it hears of it.
    if let Ok(response) = first.await.unwrap() {
        refused(response, 409, "BLOB_UPLOAD_INVALID").await;
    }
    assert_eq!(header(&at[1].get(&session).await, "Range"), "0-50009");
    server.stop().await;
}

#[tokio::test]
async fn a_session_whose_owner_is_away_is_waited_for_and_then_refused_with_its_bytes_kept() {
    let mut server = three(Uploads { owner_wait_ms: 2_000, ..Uploads::default() }).await;
    let at = clients(&server);
    let bytes = random(5, 2_000);
    let digest = Digest::sha256_of(&bytes).to_string();
    let session = at[0].begin("a").await;
    assert_eq!(at[1].patch(&session, None, bytes[..1_000].to_vec()).await.status(), 202);
    server.cluster.cut(1);
    for response in [
        at[1].get(&session).await,
        at[2].patch(&session, Some("1000-1999"), bytes[1_000..].to_vec()).await,
        at[1].finish(&session, &digest).await,
        at[2].send("DELETE", &session).await,
    ] {
        assert!(header(&response, "Retry-After").parse::<u64>().unwrap() > 0);
        refused(response, 503, "UNAVAILABLE").await;
    }
    // It comes back while a request waits for it.
    let waiting = tokio::spawn({
        let (client, session, rest) = (at[2].clone(), session.clone(), bytes[1_000..].to_vec());
        async move { client.patch(&session, Some("1000-1999"), rest).await }
    });
    server.cluster.heal(1);
    let mut appended = waiting.await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while appended.status() == 503 {
        assert!(Instant::now() < deadline, "the owner stays away");
        appended = at[2].patch(&session, Some("1000-1999"), bytes[1_000..].to_vec()).await;
    }
    assert_eq!((appended.status().as_u16(), header(&appended, "Range")), (202, "0-1999".to_owned()));

    // Its folder outlives a restart, and so does the session.
    server.restart(1).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut finished = at[1].finish(&session, &digest).await;
    while finished.status() == 503 {
        assert!(Instant::now() < deadline, "the owner is not back");
        finished = at[1].finish(&session, &digest).await;
    }
    assert_eq!(finished.status(), 201);
    for client in [&at[1], &at[2], &server.client(1)] {
        assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_finish_whose_owner_is_away_succeeds_when_the_repository_shows_the_blob() {
    let server = three(Uploads { owner_wait_ms: 200, ..Uploads::default() }).await;
    let at = clients(&server);
    let session = at[0].begin("a").await;
    let digest = at[1].push_blob("a", b"there already").await;
    server.cluster.cut(1);
    assert_eq!(at[1].finish(&session, &digest.to_string()).await.status(), 201);
    server.stop().await;
}

#[tokio::test]
async fn an_owner_that_restarts_while_a_body_is_on_its_way_gets_what_it_lacks() {
    let mut server = three(Uploads::default()).await;
    let at = clients(&server);
    let bytes = random(6, 300_000);
    let digest = Digest::sha256_of(&bytes).to_string();
    let session = at[0].begin("a").await;
    assert_eq!(at[1].patch(&session, None, bytes[..100_000].to_vec()).await.status(), 202);
    let (mut pieces, body) = futures::channel::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(body);
    let rest = bytes[100_000..].to_vec();
    let put = at[1].ask("PUT", &format!("{session}?digest={digest}")).header("Content-Range", "100000-299999");
    let finishing = tokio::spawn(put.header("Content-Length", "200000").body(body).send());
    pieces.send(Ok(rest[..50_000].to_vec())).await.unwrap();
    // Asking for the session's length would end a writer that stands still; the file does not mind.
    let part = server.cluster.folder(1).join("uploads").join(session.rsplit('.').next().unwrap()).join("data");
    until_holds("the body's beginning did not land", || std::fs::metadata(&part).unwrap().len() >= 150_000).await;
    server.restart(1).await;
    // Should the request be over already, its answer says why.
    let _ = pieces.send(Ok(rest[50_000..].to_vec())).await;
    drop(pieces);
    let finished = finishing.await.unwrap().unwrap();
    assert_eq!(finished.status(), 201, "{}", finished.text().await.unwrap());
    for client in clients(&server) {
        assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap(), bytes);
    }
    server.stop().await;
}

//! Snapshots on the wire: the order of frames, and deadlines on progress at both ends.

use crate::convert::{frame_from_wire, frame_to_wire};
use crate::error::PeerError;
use crate::message::SnapshotFrame;
use crate::status::from_status;
use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt};
use portolan_proto::v1;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

/// Where a snapshot stream stands.
#[derive(Debug, Default)]
struct Order {
    sizes: Option<Vec<u64>>,
    file: usize,
    offset: u64,
}

impl Order {
    /// Whether the frame may come here.
    fn accept(&mut self, frame: &SnapshotFrame) -> Result<(), PeerError> {
        match (frame, &self.sizes) {
            (SnapshotFrame::Header(header), None) => {
                self.sizes = Some(header.files.iter().map(|file| file.size).collect());
            }
            (SnapshotFrame::Data(data), Some(sizes)) => {
                let here = data.file as usize == self.file && data.offset == self.offset;
                let size = sizes.get(self.file).copied().unwrap_or(0);
                let after = self.offset.saturating_add(data.bytes.len() as u64);
                if !here || after > size {
                    let reason = format!("snapshot data of file {} at {}", data.file, data.offset);
                    return Err(PeerError::Malformed(reason));
                }
                self.offset = after;
            }
            (SnapshotFrame::Header(_), Some(_)) => {
                return Err(PeerError::Malformed("a second snapshot header".to_owned()));
            }
            (SnapshotFrame::Data(_), None) => {
                return Err(PeerError::Malformed("snapshot data before the header".to_owned()));
            }
        }
        self.pass_complete();
        Ok(())
    }

    /// Goes on to the next file that still lacks bytes, past empty ones.
    fn pass_complete(&mut self) {
        let Some(sizes) = &self.sizes else { return };
        while sizes.get(self.file).is_some_and(|size| self.offset == *size) {
            self.file += 1;
            self.offset = 0;
        }
    }

    fn complete(&self) -> bool {
        self.sizes.as_ref().is_some_and(|sizes| self.file == sizes.len())
    }
}

/// The receiver's frames: checked for order and completeness, with a deadline between any two.
pub(crate) fn receive<S>(frames: S, progress: Duration) -> BoxStream<'static, Result<SnapshotFrame, PeerError>>
where
    S: Stream<Item = Result<v1::SnapshotFrame, Status>> + Send + Unpin + 'static,
{
    unfold(Some((frames, Order::default())), move |state| async move {
        let (mut frames, mut order) = state?;
        let item = match timeout(progress, frames.next()).await {
            Err(_) => Err(PeerError::Deadline),
            Ok(None) if order.complete() => return None,
            Ok(None) => Err(PeerError::Unreachable("the snapshot ended early".to_owned())),
            Ok(Some(Err(status))) => Err(from_status(&status)),
            Ok(Some(Ok(frame))) => frame_from_wire(frame).and_then(|frame| order.accept(&frame).map(|()| frame)),
        };
        let state = item.is_ok().then_some((frames, order));
        Some((item, state))
    })
    .boxed()
}

/// How far the sender is.
#[derive(Debug)]
struct Sent {
    /// When the transport last took a frame.
    at: Instant,
    /// Whether the source is being waited for, which is no fault of the receiver.
    waiting: bool,
    ended: bool,
}

/// The sender's frames, noting how fast the receiver takes them.
pub(crate) struct Sending(Arc<Mutex<Sent>>);

impl Sending {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Sent { at: Instant::now(), waiting: false, ended: false })))
    }

    /// The frames as they go out.
    pub(crate) fn frames(
        &self,
        frames: impl Stream<Item = SnapshotFrame> + Send + 'static,
    ) -> impl Stream<Item = v1::SnapshotFrame> + Send + 'static {
        let sent = Arc::clone(&self.0);
        unfold((Box::pin(frames), sent), |(mut frames, sent)| async move {
            note(&sent, true, false);
            let frame = frames.next().await;
            note(&sent, false, frame.is_none());
            frame.map(|frame| (frame_to_wire(frame), (frames, sent)))
        })
    }

    /// Awaits the answer, as long as the receiver keeps taking frames, and for `install` after the last one.
    pub(crate) async fn watch<T>(
        &self,
        answer: impl Future<Output = T>,
        progress: Duration,
        install: Duration,
    ) -> Result<T, PeerError> {
        tokio::pin!(answer);
        loop {
            let until = {
                let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let since = if sent.waiting { Instant::now() } else { sent.at };
                since + if sent.ended { install } else { progress }
            };
            if until <= Instant::now() {
                return Err(PeerError::Deadline);
            }
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = sleep_until(until) => {}
            }
        }
    }
}

fn note(sent: &Mutex<Sent>, waiting: bool, ended: bool) {
    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    *sent = Sent { at: Instant::now(), waiting, ended };
}

#[cfg(test)]
mod tests {
    use super::{Sending, receive};
    use crate::convert::frame_to_wire;
    use crate::error::PeerError;
    use crate::message::{SnapshotData, SnapshotFile, SnapshotFrame, SnapshotHeader};
    use bytes::Bytes;
    use futures::stream::{iter, pending};
    use futures::{FutureExt, StreamExt};
    use std::future;
    use std::time::Duration;
    use tokio::time::Instant;

    const SECOND: Duration = Duration::from_secs(1);
    const SHORT: Duration = Duration::from_millis(30);

    fn header(sizes: &[u64]) -> SnapshotFrame {
        let file = |size: &u64| SnapshotFile { name: "f".to_owned(), size: *size, sha256: [0; 32] };
        SnapshotFrame::Header(SnapshotHeader { meta: Bytes::new(), files: sizes.iter().map(file).collect() })
    }

    fn data(file: u32, offset: u64, bytes: &'static [u8]) -> SnapshotFrame {
        SnapshotFrame::Data(SnapshotData { file, offset, bytes: Bytes::from_static(bytes) })
    }

    #[tokio::test]
    async fn frames_are_accepted_in_order_and_whole_only() {
        let cases = [
            (vec![header(&[])], "ok"),
            (vec![header(&[0, 0])], "ok"),
            (vec![header(&[3, 0, 2]), data(0, 0, b"ab"), data(0, 2, b"c"), data(2, 0, b"de")], "ok"),
            (vec![], "unreachable"),
            (vec![header(&[3]), data(0, 0, b"ab")], "unreachable"),
            (vec![header(&[3, 1]), data(0, 0, b"abc")], "unreachable"),
            (vec![data(0, 0, b"ab")], "malformed"),
            (vec![header(&[]), header(&[])], "malformed"),
            (vec![header(&[3]), data(0, 0, b"abcd")], "malformed"),
            (vec![header(&[3]), data(0, 1, b"bc")], "malformed"),
            (vec![header(&[1, 1]), data(1, 0, b"b")], "malformed"),
            (vec![header(&[1]), data(0, 0, b"a"), data(1, 0, b"b")], "malformed"),
        ];
        for (index, (frames, want)) in cases.into_iter().enumerate() {
            let sent = iter(frames.clone()).map(|frame| Ok(frame_to_wire(frame)));
            let got: Vec<_> = receive(Box::pin(sent), SECOND).collect().await;
            let end = match got.last() {
                Some(Err(PeerError::Malformed(_))) => "malformed",
                Some(Err(PeerError::Unreachable(_))) => "unreachable",
                Some(Err(_)) => "other",
                Some(Ok(_)) | None => "ok",
            };
            assert_eq!(end, want, "case {index}");
            let passed: Vec<_> = got.into_iter().filter_map(Result::ok).collect();
            assert!(frames.starts_with(&passed), "case {index}");
        }
    }

    #[tokio::test]
    async fn a_sender_that_stands_still_is_given_up() {
        let stuck = iter([Ok(frame_to_wire(header(&[3])))]).chain(pending());
        let got: Vec<_> = receive(Box::pin(stuck), SHORT).collect().await;
        assert_eq!(got, vec![Ok(header(&[3])), Err(PeerError::Deadline)]);
    }

    #[tokio::test]
    async fn a_receiver_that_takes_nothing_is_given_up_but_may_install_for_long() {
        let start = Instant::now();
        let sending = Sending::new();
        let mut frames = Box::pin(sending.frames(iter([header(&[])])));
        // So long that a watch which grants it here is told from a machine that stands still.
        let install = SHORT * 100;
        assert_eq!(sending.watch(future::pending::<()>(), SHORT, install).await, Err(PeerError::Deadline));
        assert!(start.elapsed() >= SHORT && start.elapsed() < install);
        assert!(frames.next().await.is_some());
        let start = Instant::now();
        assert!(frames.next().await.is_none());
        assert_eq!(sending.watch(future::pending::<()>(), SHORT, SHORT * 9).await, Err(PeerError::Deadline));
        assert!(start.elapsed() >= SHORT * 9);
    }

    #[tokio::test]
    async fn a_slow_source_is_not_the_receivers_fault() {
        let sending = Sending::new();
        let slow = iter([header(&[])]).then(|frame| async move {
            tokio::time::sleep(SHORT * 5).await;
            frame
        });
        let mut frames = Box::pin(sending.frames(slow));
        let mut next = frames.next();
        // From now on it is the source that is waited for, however late the watch begins.
        assert!((&mut next).now_or_never().is_none());
        let answer = async { next.await.is_some() };
        assert_eq!(sending.watch(answer, SHORT, SHORT).await, Ok(true));
    }
}

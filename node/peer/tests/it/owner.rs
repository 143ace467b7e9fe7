//! An owner of upload sessions.

use futures::StreamExt;
use portolan_oci::Digest;
use portolan_peer::{
    Answer, BrokenOff, Chunk, PeerError, PeerIdentity, UploadAction, UploadCall, UploadFault, UploadHandler,
    UploadReply, WaitingBody,
};

/// How many bytes each session has.
pub(crate) const BEGUN: u64 = 5;

/// An owner whose sessions are called by what it does with their bodies.
pub(crate) struct Owner;

impl UploadHandler for Owner {
    fn forwarded(&self, _: PeerIdentity, call: UploadCall, body: WaitingBody) -> Answer<'_, UploadReply> {
        Box::pin(async move {
            Ok(match (call.session.as_str(), call.action) {
                ("count", _) => {
                    let (mut body, mut length) = (body.accept(BEGUN), 0);
                    loop {
                        match body.next().await {
                            Some(Ok(bytes)) => length += bytes.len() as u64,
                            Some(Err(BrokenOff)) => break UploadReply::Fault(UploadFault::BrokenOff),
                            None => break UploadReply::Progress(length),
                        }
                    }
                }
                ("first piece", _) => {
                    let first = body.accept(BEGUN).next().await;
                    UploadReply::Progress(first.and_then(Result::ok).map_or(0, |bytes| bytes.len() as u64))
                }
                ("stuck", _) => {
                    let mut body = body.accept(BEGUN);
                    body.next().await;
                    std::future::pending().await
                }
                ("refuse", UploadAction::Append(Chunk { range: Some(range), .. })) => {
                    UploadReply::Fault(UploadFault::OutOfOrder { start: range.first(), length: 7 })
                }
                ("finish", UploadAction::Finish { digest, .. }) if digest == Digest::sha256_of(b"x") => {
                    UploadReply::Done
                }
                ("fail", _) => return Err(PeerError::Remote("disk".to_owned())),
                _ => UploadReply::Fault(UploadFault::Unknown),
            })
        })
    }
}

//! How the program steers the WAN that it left in the background: JSON lines over a unix socket.

use super::emulator::{Wan, WanError, folder};
use super::link::{ChangeError, LinkChange};
use super::status::Status;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// How long either side waits for the other.
const WITHIN: Duration = Duration::from_secs(5);

/// The longest line: a status of all pairs of the largest topology is shorter.
const LONGEST_LINE: u64 = 1 << 20;

/// What can be asked of a WAN.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Change the link from one region to another.
    Set {
        /// Where the link begins.
        from: String,
        /// Where it ends.
        to: String,
        /// Words for [`LinkChange::parse`].
        change: Vec<String>,
    },
    /// Cut a region off.
    Cut {
        /// The region.
        region: String,
    },
    /// Make every link what the topology says.
    Heal,
    /// Say what was asked and what is measured.
    Status,
    /// End.
    Down,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done,
    Status(Box<Status>),
    Refused(String),
}

/// A request that was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no WAN is up (portolan-wan up TOPOLOGY)")]
    NotUp,
    /// The connection failed.
    #[error("the WAN's socket: {0}")]
    Io(#[from] io::Error),
    /// An answer of another form.
    #[error("the WAN's answer: {0}")]
    Form(#[from] serde_json::Error),
    /// The WAN says no.
    #[error("{0}")]
    Refused(String),
}

#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Wan(#[from] WanError),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

fn socket() -> PathBuf {
    folder().join("control.sock")
}

/// Asks the WAN of this machine, whichever process has it.
///
/// # Errors
/// When there is none, or it refuses.
pub fn ask(request: &Request) -> Result<Option<Status>, ControlError> {
    let mut stream = UnixStream::connect(socket()).map_err(|_| ControlError::NotUp)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_line(&mut answer)?;
    match serde_json::from_str(&answer)? {
        Answer::Done => Ok(None),
        Answer::Status(status) => Ok(Some(*status)),
        Answer::Refused(why) => Err(ControlError::Refused(why)),
    }
}

/// Serves requests until one of them is [`Request::Down`]. They are answered one after the other: each takes
/// microseconds, and a client that says nothing is left after five seconds.
///
/// # Errors
/// When the socket cannot be bound.
pub async fn serve(wan: &Wan) -> io::Result<()> {
    // Whoever has the WAN's lock may take a dead one's socket.
    let _absent = std::fs::remove_file(socket());
    let listener = UnixListener::bind(socket())?;
    loop {
        let (stream, _) = listener.accept().await?;
        match tokio::time::timeout(WITHIN, converse(wan, stream)).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => eprintln!("a client went away: {error}"),
            Err(_) => eprintln!("a client said nothing for {WITHIN:?}"),
        }
    }
}

/// Answers one request; says whether it was the last.
async fn converse(wan: &Wan, stream: tokio::net::UnixStream) -> io::Result<bool> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(LONGEST_LINE)).read_line(&mut line).await?;
    let (answer, last) = match serde_json::from_str(&line) {
        Ok(request) => (fulfil(wan, &request), matches!(request, Request::Down)),
        Err(error) => (Answer::Refused(format!("a request of another form: {error}")), false),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    Ok(last)
}

fn fulfil(wan: &Wan, request: &Request) -> Answer {
    let done = match request {
        Request::Set { from, to, change } => LinkChange::parse(change.iter().map(String::as_str))
            .map_err(RequestError::from)
            .and_then(|change| Ok(wan.set(from, to, change)?)),
        Request::Cut { region } => wan.cut(region).map_err(RequestError::from),
        Request::Heal => {
            wan.heal();
            Ok(())
        }
        Request::Status => return Answer::Status(Box::new(wan.status())),
        Request::Down => Ok(()),
    };
    match done {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

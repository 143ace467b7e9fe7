//! `portolan image`: where an image is, and waiting until it is where it is needed.

mod render;
mod watch;

use super::terminal::say;
use crate::ask::{Answered, Ask, TIMEOUT, encode};
use crate::cli::{ImageArgs, ImageStatusArgs, ImageWaitArgs};
use crate::client::{Client, ClientError};
use crate::error::{Failure, UsageError};
use portolan_registry::{ImageRef, ImageReport};
use render::{called, table_of};
use std::time::{Duration, Instant};
use watch::Picture;

/// Who is asked when nobody says whom.
const SERVER: &str = "127.0.0.1:5000";
/// How long one question waits at most: what lies between may cut connections that are silent for longer.
const ONE_WAIT: Duration = Duration::from_secs(25);
/// Between two questions to a node that cannot answer now.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two pictures of `--watch`.
const PICTURES: Duration = Duration::from_secs(1);

/// An image, and whom to ask about it.
struct Asked {
    client: Client,
    image: ImageRef,
}

impl Asked {
    fn new(args: &ImageArgs) -> Result<Self, Failure> {
        let (host, rest) = ImageRef::split_host(&args.image);
        let image = rest.parse::<ImageRef>().map_err(|wrong| {
            Failure::Usage(UsageError::ImageRef { reference: args.image.clone(), reason: wrong.to_string() })
        })?;
        let server = args.server.clone().or_else(|| host.map(server_of)).unwrap_or_else(|| SERVER.to_owned());
        Ok(Self { client: Client::new_trusting(&server, args.ca.as_deref())?, image })
    }

    async fn status(&self) -> Result<(ImageReport, String), ClientError> {
        self.client.read(&format!("/api/v1/replication?image={}", encode(&self.image.to_string()))).await
    }
}

/// Where a registry's host in a reference answers, as clients have it: plain HTTP on this machine, TLS elsewhere.
fn server_of(host: &str) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let is_here = name == "localhost" || name == "::1" || name.starts_with("127.");
    format!("{}://{host}", if is_here { "http" } else { "https" })
}

/// Prints where an image is, once or until it is everywhere where it shall be.
///
/// # Errors
/// When it is not known, or the node does not answer.
pub(crate) async fn status(args: &ImageStatusArgs) -> Result<(), Failure> {
    let mut asked = Asked::new(&args.image)?;
    let (mut report, mut json) = asked.status().await?;
    if !args.watch {
        say(&if args.image.json { json.trim_end().to_owned() } else { table_of(&report) })?;
        return Ok(());
    }
    // What the tag means from now on is another image's affair.
    let tag = std::mem::replace(&mut asked.image.reference, report.digest.into());
    let mut picture = Picture::new(args.image.json, format!("{}:{tag}", asked.image.repo));
    loop {
        picture.show(&report, &json)?;
        if report.done {
            return Ok(picture.finish(&report)?);
        }
        tokio::time::sleep(PICTURES).await;
        (report, json) = match asked.status().await {
            Ok(next) => next,
            Err(error) if passes(&error) => {
                picture.trouble(&error.to_string())?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
    }
}

/// Waits until an image is durable in regions.
///
/// # Errors
/// When it is not in time, cannot be, or is not known.
pub(crate) async fn wait(args: &ImageWaitArgs) -> Result<(), Failure> {
    let mut asked = Asked::new(&args.image)?;
    let (began, shown) = (Instant::now(), asked.image.to_string());
    loop {
        let left = args.timeout.saturating_sub(began.elapsed());
        let over = left.is_zero();
        let (report, json) = match asked.wait(&args.regions, left.min(ONE_WAIT)).await {
            Ok(answer) => answer,
            Err(error) if passes(&error) && !over => {
                tokio::time::sleep(AGAIN.min(left)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // The tag meant this at the beginning; where it moves meanwhile is not asked about.
        asked.image.reference = report.digest.into();
        if report.done || began.elapsed() >= args.timeout {
            return ended(args, &shown, &report, &json, began.elapsed());
        }
    }
}

impl Asked {
    /// One question that waits for so long.
    async fn wait(&self, regions: &[String], timeout: Duration) -> Result<(ImageReport, String), ClientError> {
        let regions = match regions {
            [] => String::new(),
            regions => format!("&regions={}", encode(&regions.join(","))),
        };
        let image = encode(&self.image.to_string());
        let target = format!("/api/v1/wait?image={image}{regions}&timeout={}ms", timeout.as_millis());
        let answered: Answered = self.client.ask(Ask { within: timeout + TIMEOUT, ..Ask::get(&target) }).await?;
        match answered.status {
            // 408 is an answer like the other: what is where at the end of that time.
            200 | 408 => Ok((self.client.parse(&answered.body)?, answered.body)),
            _ => Err(self.client.refused(&answered)),
        }
    }
}

/// Whether it may be otherwise in a moment: a node that restarts, an election.
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Tls { .. } => true,
        ClientError::Refused { status, .. } | ClientError::Status { status, .. } => {
            matches!(status, 429 | 502 | 503 | 504)
        }
        ClientError::Unreadable { .. } | ClientError::Address { .. } | ClientError::Authorities { .. } => false,
    }
}

/// What a wait has come to.
fn ended(args: &ImageWaitArgs, shown: &str, report: &ImageReport, json: &str, after: Duration) -> Result<(), Failure> {
    if args.image.json {
        say(json.trim_end())?;
    } else if !report.done {
        say(&table_of(report))?;
    }
    if report.done {
        if !args.image.json {
            let counts = |region: &&portolan_registry::ImageRegion| match args.regions.as_slice() {
                [] => region.copies > 0,
                asked => asked.contains(&region.region),
            };
            let regions: Vec<&str> =
                report.regions.iter().filter(counts).map(|region| region.region.as_str()).collect();
            say(&format!(
                "{} is durable in {} after {:.1} s",
                called(shown, report),
                regions.join(", "),
                after.as_secs_f32()
            ))?;
        }
        return Ok(());
    }
    let lacking = report.regions.iter().filter(|region| !region.done).map(|region| region.region.clone());
    Err(Failure::NotDurable { image: shown.to_owned(), regions: lacking.collect(), after })
}

#[cfg(test)]
mod tests {
    use super::{passes, server_of};
    use crate::client::ClientError;

    #[test]
    fn a_host_in_a_reference_is_asked_as_clients_ask_it() {
        for (host, want) in [
            ("localhost:5001", "http://localhost:5001"),
            ("localhost", "http://localhost"),
            ("127.0.0.1:5001", "http://127.0.0.1:5001"),
            ("[::1]:5001", "http://[::1]:5001"),
            ("registry.example.com", "https://registry.example.com"),
            ("registry.example.com:5000", "https://registry.example.com:5000"),
        ] {
            assert_eq!(server_of(host), want);
        }
    }

    #[test]
    fn a_wait_outlives_an_election_and_not_a_refusal() {
        let status = |status| ClientError::Status { server: String::new(), status, body: String::new() };
        for (code, again) in [(503, true), (429, true), (400, false), (404, false), (409, false), (500, false)] {
            assert_eq!(passes(&status(code)), again, "{code}");
        }
    }
}

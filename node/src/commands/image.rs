//! `portolan image`: where an image is, and waiting until it is where it is needed.

mod render;
mod watch;

use super::terminal::{say, tell};
use crate::ask::{Ask, TIMEOUT, encode};
use crate::cli::{ImageArgs, ImageStatusArgs, ImageWaitArgs};
use crate::client::{Client, ClientError, Report};
use crate::error::{Failure, UsageError};
use portolan_oci::{ErrorCode, Invalid};
use portolan_registry::{ImageRef, ImageRegion, ImageReport};
use render::{called, table_of};
use std::time::{Duration, Instant};
use watch::{Course, Outlook, Picture};

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
    /// What it means if the node knows no such image.
    otherwise: Option<ImageRef>,
}

impl Asked {
    fn new(args: &ImageArgs) -> Result<Self, Failure> {
        let (host, _) = ImageRef::split_host(&args.image);
        let server = args.server.clone().or_else(|| host.map(server_of)).unwrap_or_else(|| SERVER.to_owned());
        let client = Client::new_trusting(&server, args.ca.as_deref())?;
        let (asked, _) = client.host();
        let (image, otherwise) =
            meanings(&args.image, args.server.as_ref().map(|_| asked.as_str())).map_err(|wrong| {
                Failure::Usage(UsageError::ImageRef { reference: args.image.clone(), reason: wrong.to_string() })
            })?;
        Ok(Self { client, image, otherwise })
    }

    async fn status(&mut self) -> Result<Report<ImageReport>, ClientError> {
        self.ask(async |client: &Client, image: &ImageRef| {
            client.report(&format!("/api/v1/replication?image={}", encode(&image.to_string()))).await
        })
        .await
    }

    /// Asks about what the reference means, and where that is not known, about what else it may mean.
    async fn ask(
        &mut self,
        ask: impl AsyncFn(&Client, &ImageRef) -> Result<Report<ImageReport>, ClientError>,
    ) -> Result<Report<ImageReport>, ClientError> {
        let unknown = match ask(&self.client, &self.image).await {
            Err(error) if error.is_unknown() => error,
            answer => return answer,
        };
        let Some(otherwise) = self.otherwise.take() else { return Err(unknown) };
        match ask(&self.client, &otherwise).await {
            // The words are those for what was typed, unless there is such a repository.
            Err(error) if error.is_unknown() => {
                Err(if error.has_code(ErrorCode::ManifestUnknown) { error } else { unknown })
            }
            answer => {
                self.image = otherwise;
                answer
            }
        }
    }

    /// From now on this very manifest is meant, wherever its tag moves.
    fn hold(&mut self, report: &ImageReport) {
        self.image.reference = report.digest.into();
        self.otherwise = None;
    }
}

/// What a reference means, and what else it may mean. Where no server is named, the host in front of it is asked. Where
/// one is, that may be how clients reach it, or the beginning of a repository's name, which may have dots: a port stands
/// in no name, and the server's own name is taken for that; else the name as it stands is tried first.
fn meanings(text: &str, server: Option<&str>) -> Result<(ImageRef, Option<ImageRef>), Invalid> {
    let (Some(host), rest) = ImageRef::split_host(text) else { return Ok((text.parse()?, None)) };
    if server.is_none_or(|server| server == host) || host.contains(':') {
        return Ok((rest.parse()?, None));
    }
    match (text.parse(), rest.parse()) {
        (Ok(whole), rest) => Ok((whole, rest.ok())),
        (Err(_), Ok(rest)) => Ok((rest, None)),
        (Err(wrong), Err(_)) => Err(wrong),
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
    let report = asked.status().await?;
    if !args.watch {
        return Ok(tell(&report, args.image.json, table_of)?);
    }
    watch(asked, report, args.image.json).await
}

/// Shows an image until it is everywhere where it shall be, or will never be.
async fn watch(mut asked: Asked, mut report: Report<ImageReport>, json: bool) -> Result<(), Failure> {
    let shown = asked.image.to_string();
    let mut picture = Picture::new(json, shown.clone());
    let mut course = Course::default();
    loop {
        picture.show(&report)?;
        if report.is_confirmed() {
            // What the tag means from now on is another image's affair.
            asked.hold(&report.told);
        }
        match course.after(&report.told, report.is_confirmed()) {
            Outlook::Coming => {}
            Outlook::Done => return Ok(picture.finish(&report.told)?),
            Outlook::Damaged => {
                picture.give_up();
                return Err(Failure::Damaged { image: shown, lost: report.told.lost_blobs });
            }
        }
        tokio::time::sleep(PICTURES).await;
        report = loop {
            match asked.status().await {
                Ok(next) => break next,
                Err(error) if passes(&error) => picture.trouble(&error.to_string())?,
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(PICTURES).await;
        };
    }
}

/// Waits until an image is durable in regions.
///
/// # Errors
/// When it is not in time, cannot be, or is not known.
pub(crate) async fn wait(args: &ImageWaitArgs) -> Result<(), Failure> {
    let mut asked = Asked::new(&args.image)?;
    let began = Instant::now();
    let mut shown = None;
    loop {
        let left = args.timeout.saturating_sub(began.elapsed());
        let over = left.is_zero();
        let report = match asked.wait(&args.regions, left.min(ONE_WAIT)).await {
            Ok(report) => report,
            Err(error) if passes(&error) && !over => {
                tokio::time::sleep(AGAIN.min(left)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let image: &String = shown.get_or_insert_with(|| asked.image.to_string());
        // The tag meant this at the beginning; where it moves meanwhile is not asked about.
        asked.hold(&report.told);
        let is_done = report.told.done && report.is_confirmed();
        if is_done || began.elapsed() >= args.timeout {
            return ended(args, image, &report, began.elapsed());
        }
        if !report.is_confirmed() {
            // It may have answered at once.
            tokio::time::sleep(AGAIN.min(left)).await;
        }
    }
}

impl Asked {
    /// One question that waits for so long.
    async fn wait(&mut self, regions: &[String], timeout: Duration) -> Result<Report<ImageReport>, ClientError> {
        let regions = match regions {
            [] => String::new(),
            regions => format!("&regions={}", encode(&regions.join(","))),
        };
        self.ask(async |client: &Client, image: &ImageRef| {
            let image = encode(&image.to_string());
            let target = format!("/api/v1/wait?image={image}{regions}&timeout={}ms", timeout.as_millis());
            let answered = client.ask(Ask { within: timeout + TIMEOUT, ..Ask::get(&target) }).await?;
            match answered.status {
                // 408 is an answer like the other: what is where at the end of that time.
                200 | 408 => client.report_in(answered),
                _ => Err(client.refused(&answered)),
            }
        })
        .await
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
fn ended(args: &ImageWaitArgs, shown: &str, report: &Report<ImageReport>, after: Duration) -> Result<(), Failure> {
    let (told, image) = (&report.told, shown.to_owned());
    if args.image.json || !told.done || !report.is_confirmed() {
        tell(report, args.image.json, table_of)?;
    }
    if !told.done {
        let lacking = told.regions.iter().filter(|region| !region.done).map(|region| region.region.clone());
        return Err(Failure::NotDurable { image, regions: lacking.collect(), after });
    }
    if !report.is_confirmed() {
        return Err(Failure::NotConfirmed { image, after });
    }
    if !args.image.json {
        let counts = |region: &&ImageRegion| match args.regions.as_slice() {
            [] => region.copies > 0,
            asked => asked.contains(&region.region),
        };
        let regions: Vec<&str> = told.regions.iter().filter(counts).map(|region| region.region.as_str()).collect();
        let (image, regions) = (called(shown, told), regions.join(", "));
        say(&format!("{image} is durable in {regions} after {:.1} s", after.as_secs_f32()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{meanings, passes, server_of};
    use crate::client::ClientError;

    #[test]
    fn a_name_with_a_dot_is_a_repository_before_it_is_a_registry() {
        for (text, server, want, otherwise) in [
            ("team/app:v1", Some("node"), "team/app:v1", None),
            ("ghcr.io/org/app:v1", Some("node"), "ghcr.io/org/app:v1", Some("org/app:v1")),
            ("ghcr.io/org/app:v1", Some("ghcr.io"), "org/app:v1", None),
            ("ghcr.io/org/app:v1", None, "org/app:v1", None),
            ("node:5000/org/app:v1", Some("10.0.0.1"), "org/app:v1", None),
            ("localhost:5000/ghcr.io/org/app:v1", Some("node"), "ghcr.io/org/app:v1", None),
            ("localhost:5000/ghcr.io/org/app:v1", None, "ghcr.io/org/app:v1", None),
            ("localhost/app", Some("node"), "localhost/app:latest", Some("app:latest")),
            ("Registry.Example/app", Some("node"), "app:latest", None),
        ] {
            let got = meanings(text, server).map(|(image, other)| (image.to_string(), other.map(|it| it.to_string())));
            let want = (want.to_owned(), otherwise.map(str::to_owned));
            assert_eq!(got.ok(), Some(want), "{text} {server:?}");
        }
        for text in ["ghcr.io/ORG/app", "Team/app", "node:5000/App"] {
            assert!(meanings(text, Some("node")).is_err(), "{text}");
        }
    }

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

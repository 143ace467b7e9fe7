//! `portolan image`: where an image is, and waiting until it is where it is needed.

mod render;
mod watch;

use super::asked::Asked;
use super::terminal::{say, tell};
use crate::ask::{Ask, TIMEOUT, encode};
use crate::cli::{ImageStatusArgs, ImageWaitArgs};
use crate::client::{Client, ClientError, Report};
use crate::error::Failure;
use portolan_registry::{ImageRef, ImageRegion, ImageReport};
use render::{called, table_of};
use std::time::{Duration, Instant};
use watch::{Course, Outlook, Picture};

/// How long one question waits at most: what lies between may cut connections that are silent for longer.
const ONE_WAIT: Duration = Duration::from_secs(25);
/// Between two questions to a node that cannot answer now.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two pictures of `--watch`.
const PICTURES: Duration = Duration::from_secs(1);

impl Asked {
    async fn status(&mut self) -> Result<Report<ImageReport>, ClientError> {
        self.ask(async |client: &Client, image: &ImageRef| {
            client.report(&format!("/api/v1/replication?image={}", encode(&image.to_string()))).await
        })
        .await
    }
}

/// Prints where an image is, once or until it is everywhere where it shall be.
///
/// # Errors
/// When it is not known, or the node does not answer.
pub(crate) async fn status(args: &ImageStatusArgs) -> Result<(), Failure> {
    let mut asked = Asked::new(&args.image.image, &args.image.ask)?;
    let report = asked.status().await?;
    if !args.watch {
        return Ok(tell(&report, args.image.ask.json, table_of)?);
    }
    watch(asked, report, args.image.ask.json).await
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
            asked.hold(&report.told.digest);
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
    let mut asked = Asked::new(&args.image.image, &args.image.ask)?;
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
        asked.hold(&report.told.digest);
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
    if args.image.ask.json || !told.done || !report.is_confirmed() {
        tell(report, args.image.ask.json, table_of)?;
    }
    if !told.done {
        let lacking = told.regions.iter().filter(|region| !region.done).map(|region| region.region.clone());
        return Err(Failure::NotDurable { image, regions: lacking.collect(), after });
    }
    if !report.is_confirmed() {
        return Err(Failure::NotConfirmed { image, after });
    }
    if !args.image.ask.json {
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
    use super::passes;
    use crate::client::ClientError;

    #[test]
    fn a_wait_outlives_an_election_and_not_a_refusal() {
        let status = |status| ClientError::Status { server: String::new(), status, body: String::new() };
        for (code, again) in [(503, true), (429, true), (400, false), (404, false), (409, false), (500, false)] {
            assert_eq!(passes(&status(code)), again, "{code}");
        }
    }
}

//! `portolan bandwidth`: how fast bytes may move between regions.

use super::terminal::{drawn, table, tell, to_the_right};
use super::token::{self, Change};
use super::top::words;
use crate::cli::{AskArgs, BandwidthSetArgs, Rate};
use crate::client::Client;
use crate::error::Failure;
use portolan_meta::row::Traffic;
use portolan_registry::{Bandwidth, RateLimit};

const TARGET: &str = "/api/v1/bandwidth";

/// Prints the limits.
///
/// # Errors
/// When the node does not answer.
pub(crate) async fn ls(args: &AskArgs) -> Result<(), Failure> {
    Ok(tell(&Client::of(&args.server)?.report::<Bandwidth>(TARGET).await?, args.json, render)?)
}

/// Sets or lifts one limit, and leaves the others as they are.
///
/// # Errors
/// When it is refused, or the node does not answer.
pub(crate) async fn set(args: &BandwidthSetArgs) -> Result<(), Failure> {
    let client = Client::of(&args.change.ask.server)?;
    let (before, _) = client.read::<Bandwidth>(TARGET).await?;
    token::make(&client, Change::put(TARGET, &changed(before, args))?, &args.change, render).await
}

/// The limits after a command. What says more about whom it holds for is tried first.
fn changed(before: Bandwidth, args: &BandwidthSetArgs) -> Bandwidth {
    let same = |limit: &RateLimit| limit.from == args.from && limit.to == args.to && limit.class == args.class;
    let mut limits: Vec<RateLimit> = before.limits.into_iter().filter(|limit| !same(limit)).collect();
    if let Rate::Limited(bytes_per_second) = args.rate {
        let (from, to, class) = (args.from.clone(), args.to.clone(), args.class);
        limits.push(RateLimit { from, to, class, bytes_per_second });
    }
    let said = |limit: &RateLimit| {
        [limit.from.is_some(), limit.to.is_some(), limit.class.is_some()].into_iter().filter(|said| *said).count()
    };
    limits.sort_by_key(|limit| std::cmp::Reverse(said(limit)));
    Bandwidth { limits }
}

fn render(bandwidth: &Bandwidth) -> String {
    if bandwidth.limits.is_empty() {
        return "no limits: bytes move between regions as fast as the links allow".to_owned();
    }
    let mut rows = table(&["FROM", "TO", "CLASS", "LIMIT"]);
    for limit in &bandwidth.limits {
        rows.add_row([
            limit.from.clone().unwrap_or_else(|| "any".to_owned()),
            limit.to.clone().unwrap_or_else(|| "any".to_owned()),
            limit.class.map_or("each", class).to_owned(),
            format!("{}/s", words::bytes(limit.bytes_per_second as f64)),
        ]);
    }
    to_the_right(&mut rows, [3]);
    drawn(&rows)
}

const fn class(class: Traffic) -> &'static str {
    match class {
        Traffic::Pull => "pull",
        Traffic::Ack => "ack",
        Traffic::Repair => "repair",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{changed, render};
    use crate::cli::{BandwidthCommand, BandwidthSetArgs, Cli, Command};
    use clap::Parser;
    use portolan_registry::Bandwidth;
    use serde_json::json;

    fn args(words: &[&str]) -> BandwidthSetArgs {
        let words = ["portolan", "bandwidth", "set"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Bandwidth(BandwidthCommand::Set(args)) => args,
            other => panic!("not bandwidth set: {other:?}"),
        }
    }

    #[test]
    fn a_limit_replaces_its_own_and_the_closest_is_tried_first() {
        let mut limits = Bandwidth::default();
        for words in [
            &["50MB"][..],
            &["10MB", "--class", "repair"],
            &["20MB", "--from", "eu", "--to", "us", "--class", "repair"],
            &["15MB", "--class", "repair"],
        ] {
            limits = changed(limits, &args(words));
        }
        let limit = |from: Option<&str>, to: Option<&str>, class: Option<&str>, bytes: u64| json!({"from": from, "to": to, "class": class, "bytes_per_second": bytes});
        let want = [
            limit(Some("eu"), Some("us"), Some("repair"), 20_000_000),
            limit(None, None, Some("repair"), 15_000_000),
            limit(None, None, None, 50_000_000),
        ];
        assert_eq!(serde_json::to_value(&limits).unwrap(), json!({ "limits": want }));
        let text = render(&limits);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let shown = [" FROM  TO   CLASS     LIMIT", " eu    us   repair  20 MB/s"];
        assert_eq!(lines[..2], shown, "{text}");
        limits = changed(limits, &args(&["none", "--class", "repair"]));
        assert_eq!(limits.limits.len(), 2);
    }
}

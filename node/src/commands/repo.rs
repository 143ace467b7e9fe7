//! `portolan repo`: what is wanted for repositories.

mod settings;

use super::terminal::{Colour, drawn, paint, say, table, tell, to_the_right};
use super::token::{self, Change};
use crate::ask::encode;
use crate::cli::{AskArgs, RepoSetArgs, RepoShowArgs};
use crate::client::Client;
use crate::error::Failure;
use comfy_table::Table;
use portolan_registry::{Prefix, RepoSettings, ReposReport, SettingsChange};
use settings::{FIELDS, inherited, merged, said};

/// How many repositories are asked for at once.
const PAGE: usize = 1_000;

/// Prints all prefixes with settings, and all repositories with what holds for them.
///
/// # Errors
/// When the node does not answer.
pub(crate) async fn ls(args: &AskArgs) -> Result<(), Failure> {
    let client = Client::of(&args.server)?;
    let mut target = format!("/api/v1/repos?n={PAGE}");
    let mut all = client.report::<ReposReport>(&target).await?;
    while let Some(last) = all.told.next.take() {
        target = format!("/api/v1/repos?n={PAGE}&last={}", encode(&last));
        let page = client.report::<ReposReport>(&target).await?;
        all.told.repositories.extend(page.told.repositories);
        all.told.next = page.told.next;
        all.remarks = all.remarks.with(page.remarks);
    }
    let mut json = serde_json::to_value(&all.told).map_err(std::io::Error::other)?;
    // As old as the oldest of the pages.
    json["stale_ms"] = serde_json::json!(all.remarks.stale_ms());
    all.json = json.to_string();
    Ok(tell(&all, args.json, render_all)?)
}

/// Prints what holds for one repository.
///
/// # Errors
/// When the node does not answer.
pub(crate) async fn show(args: &RepoShowArgs) -> Result<(), Failure> {
    let target = format!("/api/v1/repos?name={}", encode(&args.name));
    let report = Client::of(&args.ask.server)?.report::<ReposReport>(&target).await?;
    Ok(tell(&report, args.ask.json, render_one)?)
}

/// Changes the named settings of a prefix: reads them, merges, and writes.
///
/// # Errors
/// When nothing is to be changed, it is refused, or the node does not answer.
pub(crate) async fn set(args: &RepoSetArgs) -> Result<(), Failure> {
    let ask = &args.change.ask;
    let client = Client::of(&ask.server)?;
    let target = format!("/api/v1/repos?prefix={}", encode(&args.prefix));
    let (report, _) = client.read::<ReposReport>(&target).await?;
    let before = report.prefixes.into_iter().next().map(|prefix| prefix.settings).unwrap_or_default();
    let after = merged(&before, args).map_err(Failure::Usage)?;
    let change = if after != RepoSettings::default() {
        Change::put(&target, &after)?
    } else if before != RepoSettings::default() {
        Change::delete(&target)
    } else {
        return Ok(say(&unchanged(&args.prefix, ask.json))?);
    };
    token::make(&client, change, &args.change, render_change).await
}

/// What is told when nothing is set at a prefix and nothing shall be, which no node is asked for.
fn unchanged(prefix: &str, json: bool) -> String {
    if !json {
        return format!("{}: nothing is set there", shown(prefix));
    }
    let nothing = RepoSettings::default();
    let prefix = prefix.trim_end_matches('/');
    serde_json::json!({ "prefix": prefix, "before": nothing, "settings": nothing, "warnings": [] }).to_string()
}

fn shown(prefix: &str) -> &str {
    if prefix.is_empty() { "(all)" } else { prefix }
}

/// Prefixes and repositories as two tables.
fn render_all(report: &ReposReport) -> String {
    let heads = ["REGIONS", "COPIES", "ACK", "TAG READS", "WITHOUT LEADER"];
    let mut text = String::new();
    if !report.prefixes.is_empty() {
        let mut rows = table(&["PREFIX", heads[0], heads[1], heads[2], heads[3], heads[4]]);
        for prefix in &report.prefixes {
            let cells = FIELDS.map(|field| said(&prefix.settings, field).unwrap_or_else(|| "-".to_owned()));
            rows.add_row(std::iter::once(shown(prefix.prefix.as_str()).to_owned()).chain(cells));
        }
        text.push_str(&framed(rows));
        text.push_str("\n\n");
    }
    if report.repositories.is_empty() {
        text.push_str("no repository holds anything yet");
        return text;
    }
    let mut rows = table(&["REPOSITORY", heads[0], heads[1], heads[2], heads[3], heads[4]]);
    for repo in &report.repositories {
        let cells = FIELDS.map(|field| said(&repo.settings, field).unwrap_or_else(|| inherited(field).to_owned()));
        rows.add_row(std::iter::once(repo.name.to_string()).chain(cells));
    }
    text.push_str(&framed(rows));
    text
}

/// A table of settings with its numbers to the right.
fn framed(mut rows: Table) -> String {
    to_the_right(&mut rows, [2]);
    drawn(&rows)
}

/// What holds for one repository, with where it comes from.
fn render_one(report: &ReposReport) -> String {
    let Some(repo) = report.repositories.first() else { return "nothing is known of it".to_owned() };
    let from = [&repo.from.regions, &repo.from.copies, &repo.from.ack, &repo.from.tag_reads, &repo.from.partition];
    let mut rows = table(&["SETTING", "VALUE", "FROM"]);
    for (field, from) in FIELDS.into_iter().zip(from) {
        rows.add_row([
            field.name().to_owned(),
            said(&repo.settings, field).unwrap_or_else(|| inherited(field).to_owned()),
            from.as_ref().map_or("default", |prefix: &Prefix| shown(prefix.as_str())).to_owned(),
        ]);
    }
    let unknown = if repo.known { "" } else { "  (nothing was pushed to it yet)" };
    format!("{}{unknown}\n\n{}", repo.name, drawn(&rows))
}

/// What changed, and what it means.
fn render_change(change: &SettingsChange) -> String {
    let mut text = paint(shown(change.prefix.as_str()), Colour::Strong);
    let of = |settings: &RepoSettings, field| said(settings, field).unwrap_or_else(|| "inherited".to_owned());
    let changed: Vec<_> = FIELDS
        .into_iter()
        .map(|field| (field, of(&change.before, field), of(&change.settings, field)))
        .filter(|(_, before, after)| before != after)
        .collect();
    for (field, before, after) in &changed {
        text.push_str(&format!("\n  {:<15} {before} -> {after}", field.name()));
    }
    if changed.is_empty() {
        text.push_str("\n  as it was before");
    }
    let moves = change.before.regions != change.settings.regions || change.before.copies != change.settings.copies;
    if moves {
        text.push_str(
            "\n\nCopies that are missing now are made in the background, and those that nothing wants any more go.",
        );
    }
    for warning in &change.warnings {
        text.push_str(&format!("\n{} {warning}", paint("warning:", Colour::Bad)));
    }
    text
}

#[cfg(test)]
mod tests;

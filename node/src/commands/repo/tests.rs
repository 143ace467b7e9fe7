#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::settings::merged;
use super::{render_all, render_change, render_one, unchanged};
use crate::cli::{Cli, Command, RepoCommand, RepoSetArgs};
use crate::error::UsageError;
use clap::Parser;
use portolan_registry::{RepoSettings, SettingsChange};
use serde_json::{Value, json};

fn args(words: &[&str]) -> RepoSetArgs {
    let words = ["portolan", "repo", "set", "team/prod"].iter().chain(words);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Repo(RepoCommand::Set(args)) => *args,
        other => panic!("not repo set: {other:?}"),
    }
}

fn settings(value: Value) -> RepoSettings {
    serde_json::from_value(value).unwrap()
}

/// Without the blanks that a table ends its lines with.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn only_what_is_named_changes() {
    let before = json!({"regions": "all", "copies": 2, "ack": {"regions": 2, "copies": 1}});
    for (words, want) in [
        (&["--copies", "1"][..], json!({"regions": "all", "copies": 1, "ack": {"regions": 2, "copies": 1}})),
        (
            &["--regions", "eu,us", "--inherit", "copies"],
            json!({"regions": {"only": ["eu", "us"]}, "ack": {"regions": 2, "copies": 1}}),
        ),
        (
            &["--never-outside", "eu", "--ack-regions", "1"],
            json!({"regions": {"never_outside": ["eu"]}, "copies": 2, "ack": {"regions": 1, "copies": 1}}),
        ),
        (
            &["--tag-reads", "bounded:2s", "--without-leader", "fail", "--inherit", "ack", "--inherit", "regions"],
            json!({"copies": 2, "tag_reads": {"bounded_ms": 2000}, "partition": "fail"}),
        ),
        (&["--inherit", "regions", "--inherit", "copies", "--inherit", "ack"], json!({})),
    ] {
        let got = merged(&settings(before.clone()), &args(words)).unwrap();
        assert_eq!(got, settings(want), "{words:?}");
    }
}

#[test]
fn a_command_that_says_nothing_or_contradicts_itself_is_refused() {
    let none = RepoSettings::default();
    for (words, want) in [
        (&[][..], UsageError::NothingToSet),
        (&["--copies", "1", "--inherit", "copies"], UsageError::SetAndInherited("copies")),
        (&["--ack-regions", "2"], UsageError::HalfAnAck),
        (&["--ack-copies", "2"], UsageError::HalfAnAck),
    ] {
        assert_eq!(merged(&none, &args(words)).unwrap_err(), want, "{words:?}");
    }
}

#[test]
fn nothing_to_remove_is_told_as_any_change_is() {
    assert_eq!(unchanged("", false), "(all): nothing is set there");
    let change: SettingsChange = serde_json::from_str(&unchanged("team/", true)).unwrap();
    assert_eq!(
        (change.prefix.as_str(), change.before, change.settings),
        ("team", RepoSettings::default(), RepoSettings::default())
    );
}

#[test]
fn prefixes_and_repositories_are_two_tables() {
    let report = serde_json::from_value(json!({
        "prefixes": [
            {"prefix": "", "settings": {"copies": 1}},
            {"prefix": "team/prod", "settings": {"regions": {"only": ["eu", "us"]}, "ack": {"regions": 2, "copies": 1}}},
        ],
        "repositories": [{
            "name": "team/prod/app", "known": true,
            "settings": {"regions": {"only": ["eu", "us"]}, "copies": 1, "ack": {"regions": 2, "copies": 1},
                "tag_reads": "linearizable", "partition": null},
            "from": {"regions": "team/prod", "copies": "", "ack": "team/prod", "tag_reads": null, "partition": null},
        }],
        "next": null,
    }))
    .unwrap();
    let want = " PREFIX     REGIONS  COPIES  ACK                       TAG READS  WITHOUT LEADER
 (all)      -             1  -                         -          -
 team/prod  eu,us         -  1 copy in 2 regions each  -          -

 REPOSITORY     REGIONS  COPIES  ACK                       TAG READS     WITHOUT LEADER
 team/prod/app  eu,us         1  1 copy in 2 regions each  linearizable  as the node has it";
    assert_eq!(trimmed(&render_all(&report)), want);
    let want = "\
team/prod/app

 SETTING         VALUE                     FROM
 regions         eu,us                     team/prod
 copies          1                         (all)
 ack             1 copy in 2 regions each  team/prod
 tag-reads       linearizable              default
 without-leader  as the node has it        default";
    assert_eq!(trimmed(&render_one(&report)), want);
}

#[test]
fn a_change_says_what_was_and_what_is() {
    let change = serde_json::from_value(json!({
        "prefix": "team",
        "before": {"regions": "all", "copies": 1},
        "settings": {"regions": {"never_outside": ["eu"]}, "copies": 1, "tag_reads": {"bounded_ms": 1500}},
        "warnings": ["fewer than 2 full nodes in eu"],
    }))
    .unwrap();
    let want = "\
team
  regions         all -> never outside eu
  tag-reads       inherited -> bounded:1500ms

Copies that are missing now are made in the background, and those that nothing wants any more go.
warning: fewer than 2 full nodes in eu";
    assert_eq!(render_change(&change), want);
}

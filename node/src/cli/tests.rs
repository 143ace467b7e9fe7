#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::{Cli, Command, DevArgs, ImageCommand, Rate, interval, rate, tag_reads};
use clap::{CommandFactory, Parser};
use portolan_registry::TagReads;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn dev(words: &[&str]) -> DevArgs {
    let words = ["portolan", "dev"].iter().chain(words);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Dev(args) => args,
        other => panic!("not dev: {other:?}"),
    }
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn dev_has_the_documented_defaults() {
    let args = dev(&[]);
    assert_eq!(args.regions, ["eu-west", "us-east", "ap-south"]);
    assert_eq!((args.nodes_per_region, args.base_port), (1, 5001));
    assert_eq!(args.address, "127.0.0.1");
    assert!(!args.json && !args.demo && !args.keep && args.launcher.is_none());
}

#[test]
fn dev_takes_a_list_of_regions() {
    assert_eq!(dev(&["--regions", "a,b"]).regions, ["a", "b"]);
}

#[test]
fn an_interval_has_a_unit_and_limits() {
    for (text, milliseconds) in [
        ("100ms", Some(100)),
        ("1s", Some(1_000)),
        ("60m", Some(3_600_000)),
        ("99ms", None),
        ("61m", None),
        ("1", None),
        ("s", None),
        ("1.5s", None),
        ("-1s", None),
        ("99999999999999999999s", None),
        ("", None),
    ] {
        assert_eq!(interval(text).ok(), milliseconds.map(Duration::from_millis), "{text:?}");
    }
}

#[test]
fn tag_reads_are_linearizable_or_bounded_by_a_time() {
    for (text, want) in [
        ("linearizable", Some(TagReads::Linearizable)),
        ("bounded:2s", Some(TagReads::BoundedMs(2_000))),
        ("bounded:250ms", Some(TagReads::BoundedMs(250))),
        ("bounded:1h", Some(TagReads::BoundedMs(3_600_000))),
        ("bounded", None),
        ("bounded:", None),
        ("bounded:2", None),
        ("stale", None),
        ("", None),
    ] {
        assert_eq!(tag_reads(text).ok(), want, "{text:?}");
    }
}

#[test]
fn a_rate_has_a_unit_or_is_none() {
    for (text, want) in [
        ("none", Some(Rate::Unlimited)),
        ("20MB", Some(Rate::Limited(20_000_000))),
        ("20MB/s", Some(Rate::Limited(20_000_000))),
        ("500kB", Some(Rate::Limited(500_000))),
        ("7B", Some(Rate::Limited(7))),
        ("20", None),
        ("MB", None),
        ("1.5MB", None),
        ("20mb", None),
        ("", None),
    ] {
        assert_eq!(rate(text).ok(), want, "{text:?}");
    }
}

#[test]
fn an_image_is_waited_for_in_a_list_of_regions() {
    let words = ["portolan", "image", "wait", "app:v1", "--regions", "eu,us", "--timeout", "2h"];
    let Command::Image(ImageCommand::Wait(args)) = Cli::try_parse_from(words).unwrap().command else {
        panic!("not image wait");
    };
    assert_eq!((args.regions.as_slice(), args.timeout), (&["eu", "us"].map(str::to_owned)[..], 2 * HOUR));
    assert_eq!((args.image.image.as_str(), args.image.ask.json), ("app:v1", false));
}

#[test]
fn wrong_usage_is_refused_with_exit_2() {
    for words in [
        &["portolan"][..],
        &["portolan", "serve"],
        &["portolan", "sreve", "--config", "x"],
        &["portolan", "dev", "--base-port", "70000"],
        &["portolan", "dev", "--nodes-per-region", "-1"],
        &["portolan", "dev", "--keep"],
        &["portolan", "cluster"],
        &["portolan", "cluster", "status", "--jsn"],
        &["portolan", "cluster", "transfer-leader", "a", "b"],
        &["portolan", "top", "--interval", "1"],
        &["portolan", "repo"],
        &["portolan", "repo", "set"],
        &["portolan", "repo", "set", "a", "--copies", "many"],
        &["portolan", "repo", "set", "a", "--regions", "eu", "--never-outside", "eu"],
        &["portolan", "repo", "set", "a", "--without-leader", "guess"],
        &["portolan", "repo", "set", "a", "--inherit", "everything"],
        &["portolan", "repo", "show"],
        &["portolan", "image", "status"],
        &["portolan", "image", "wait", "a", "--timeout", "60"],
        &["portolan", "image", "wait", "a", "--regions", ""],
        &["portolan", "image", "wait", "a", "--regions", "eu,,us"],
        &["portolan", "tag"],
        &["portolan", "tag", "history"],
        &["portolan", "repo", "set", "a", "--regions", ""],
        &["portolan", "repo", "set", "a", "--regions", "eu,"],
        &["portolan", "repo", "set", "a", "--never-outside", ""],
        &["portolan", "repo", "set", "/", "--copies", "1"],
        &["portolan", "repo", "set", "//", "--copies", "1"],
        &["portolan", "bandwidth", "set", "1MB", "--from", ""],
    ] {
        let error = Cli::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
}

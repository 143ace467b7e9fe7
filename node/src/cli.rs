//! The command line.

use clap::{Args, Parser, Subcommand};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// A geo-replicated container registry.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one node of a cluster
    Serve(ServeArgs),
    /// Run a whole cluster on this machine, one process per node
    Dev(DevArgs),
    /// Look at a cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Watch a cluster live: regions, nodes, lag, rates, leader, links
    Top(TopArgs),
}

/// Arguments of `portolan serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The node's configuration (TOML). Every key can also be given as PORTOLAN_TABLE_KEY
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Stop when standard input (a pipe) ends: children of `portolan dev` stop with it, however it ends
    #[arg(long, hide = true)]
    pub(crate) stop_on_stdin_eof: bool,
}

/// Arguments of `portolan dev`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DEV_HELP)]
pub(crate) struct DevArgs {
    /// The regions, the first one first
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', default_value = "eu-west,us-east,ap-south")]
    pub(crate) regions: Vec<String>,
    /// How many nodes each region gets
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) nodes_per_region: usize,
    /// Where the nodes keep their data. Started again on the same folder, the cluster is as it was
    #[arg(long, value_name = "DIR", default_value = "./portolan-dev")]
    pub(crate) data: PathBuf,
    /// The first node's registry port
    #[arg(long, value_name = "PORT", default_value_t = 5001)]
    pub(crate) base_port: u16,
    /// A command to start each node with, for example 'ip netns exec wan-{region}'. See below for the placeholders
    #[arg(long, value_name = "CMD")]
    pub(crate) launcher: Option<String>,
    /// The address that each node listens on, for example '10.77.{r}.{i}'
    #[arg(long, value_name = "TEMPLATE", default_value = "127.0.0.1")]
    pub(crate) address: String,
    /// Print one line of JSON when every node is ready (and the demo's timeline as another)
    #[arg(long)]
    pub(crate) json: bool,
    /// Push, pull, kill a region, push and pull again, and print what happened
    #[arg(long)]
    pub(crate) demo: bool,
    /// Leave the cluster running after the demo
    #[arg(long, requires = "demo")]
    pub(crate) keep: bool,
}

const DEV_HELP: &str = "\
Node i (from 0, by region, then by number in the region) has its registry on port BASE+i, its peer port on
BASE+2000+i, and health and metrics on BASE+4100+i.

Placeholders of --launcher and --address: {region} the region, {name} the node's name, {r} the region's number from 1,
{i} the node's number in its region from 1, {id} its number in the cluster from 1.

Each node's configuration is DIR/NAME/portolan.toml and its log DIR/NAME/node.log. A node that died is reported and
not restarted; `portolan serve --config DIR/NAME/portolan.toml` brings it back.";

/// Commands about a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the members, who leads, and how far behind each is
    Status(StatusArgs),
}

/// Arguments of `portolan cluster status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Print the API's JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `portolan top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// How often to ask: 500ms, 1s, 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Print one picture as text, once rates are known, and end; needs no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// Print one line of JSON per sample
    #[arg(long)]
    pub(crate) json: bool,
}

/// The shortest and the longest pause between two questions.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// A pause between two questions: a number with `ms`, `s` or `m`.
fn interval(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| "give a whole number with ms, s or m".to_owned())?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("give a whole number with ms, s or m".to_owned()),
    };
    let interval = Duration::from_millis(number.saturating_mul(unit_ms));
    if INTERVALS.contains(&interval) { Ok(interval) } else { Err("give 100ms to 60m".to_owned()) }
}

/// Where client commands find the cluster.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Any node's registry address: HOST:PORT, http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "ADDRESS", env = "PORTOLAN_SERVER", default_value = "127.0.0.1:5000")]
    pub(crate) server: String,
    /// Whom to trust at an https:// address (PEM); without it, whom this machine trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Cli, Command, DevArgs, interval};
    use clap::{CommandFactory, Parser};
    use std::time::Duration;

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
            &["portolan", "top", "--interval", "1"],
        ] {
            let error = Cli::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}

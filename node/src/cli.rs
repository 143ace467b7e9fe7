//! The command line.

use crate::sabotage::version;
use clap::{Args, Parser, Subcommand, ValueEnum};
use portolan_meta::policy::{PartitionContract, Regions};
use portolan_meta::row::Traffic;
use portolan_registry::TagReads;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// A geo-replicated container registry.
#[derive(Debug, Parser)]
#[command(name = "portolan", version = version(), propagate_version = true, disable_help_subcommand = true)]
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
    /// Look at a cluster, and have another node lead it
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Watch a cluster live: regions, nodes, lag, rates, leader, links
    Top(TopArgs),
    /// Say what is wanted for repositories: regions, copies, acks, how fresh tags are
    #[command(subcommand)]
    Repo(RepoCommand),
    /// See where an image is, and wait until it is where it is needed
    #[command(subcommand)]
    Image(ImageCommand),
    /// See where a tag pointed
    #[command(subcommand)]
    Tag(TagCommand),
    /// Show what would be lost with each region if it died now
    Rpo(AskArgs),
    /// Limit how fast bytes move between regions
    #[command(subcommand)]
    Bandwidth(BandwidthCommand),
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
    Status(AskArgs),
    /// Have another voter lead: before work on the leader's machine, or to have it near its writers
    TransferLeader(TransferLeaderArgs),
}

/// Arguments of `portolan cluster transfer-leader`.
#[derive(Debug, Args)]
#[command(after_help = TOKEN_HELP)]
pub(crate) struct TransferLeaderArgs {
    /// Who shall lead, by name or id; without it, the voter that is least behind
    #[arg(value_name = "NODE")]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
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

/// Commands about repositories.
#[derive(Debug, Subcommand)]
pub(crate) enum RepoCommand {
    /// List the prefixes that have settings, and the repositories with what holds for them
    Ls(AskArgs),
    /// Show what holds for a repository, and from which prefix each setting comes
    Show(RepoShowArgs),
    /// Change settings of a prefix; those that are not named stay as they are
    Set(Box<RepoSetArgs>),
}

/// Arguments of `portolan repo show`.
#[derive(Debug, Args)]
pub(crate) struct RepoShowArgs {
    /// The repository; it need not exist yet
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// Arguments of `portolan repo set`.
#[derive(Debug, Args)]
#[command(after_help = TOKEN_HELP)]
pub(crate) struct RepoSetArgs {
    /// The beginning of repository names, in whole components: team/prod holds for team/prod and team/prod/app. Give ""
    /// for all repositories
    #[arg(value_name = "PREFIX", value_parser = prefix)]
    pub(crate) prefix: String,
    /// Where copies lie: all, or a list. Elsewhere bytes are streamed, and kept for a while
    #[arg(long, value_name = "all|A,B", value_parser = regions, conflicts_with = "never_outside")]
    pub(crate) regions: Option<Regions>,
    /// Where copies lie, and nowhere else: elsewhere bytes are streamed and never stored
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = region)]
    pub(crate) never_outside: Vec<String>,
    /// How many copies each of these regions has
    #[arg(long, value_name = "N")]
    pub(crate) copies: Option<u32>,
    /// In how many regions a push must be durable before it is acknowledged
    #[arg(long, value_name = "N")]
    pub(crate) ack_regions: Option<u32>,
    /// On how many nodes in each of them
    #[arg(long, value_name = "N")]
    pub(crate) ack_copies: Option<u32>,
    /// How fresh tags and lists are: linearizable, or bounded:2s
    #[arg(long, value_name = "HOW", value_parser = tag_reads)]
    pub(crate) tag_reads: Option<TagReads>,
    /// What tags get while there is no leader: the last known answer, or an error
    #[arg(long, value_name = "serve-stale|fail", value_parser = partition)]
    pub(crate) without_leader: Option<PartitionContract>,
    /// Forget a setting of this prefix, so that it is inherited again
    #[arg(long, value_name = "SETTING", value_enum)]
    pub(crate) inherit: Vec<Setting>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

const TOKEN_HELP: &str = "\
Changes need the admin token of the node that is asked: admin.token in its data folder. On the node's own machine it is
found by itself: in the folder of PORTOLAN_NODE_DATA_DIR, of /etc/portolan/portolan.toml, in /var/lib/portolan, or in
./portolan-dev/NAME.";

/// A setting of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Setting {
    /// Where copies lie.
    Regions,
    /// How many.
    Copies,
    /// What a push waits for.
    Ack,
    /// How fresh tags are.
    TagReads,
    /// What they get without a leader.
    WithoutLeader,
}

/// Commands about images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Show where an image is, region by region, with its signatures and SBOMs
    Status(ImageStatusArgs),
    /// Wait until an image is durable in regions; exit 1 when it is not in time
    Wait(ImageWaitArgs),
}

/// Which image, and whom to ask about it.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// repository:tag or repository@sha256:DIGEST. A registry's host before it is asked, unless --server names another.
    /// A name that begins like a host is sure to be taken for a name behind a host with a port:
    /// localhost:5000/ghcr.io/org/app:v1
    #[arg(value_name = "REF")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) ask: RefAskArgs,
}

/// Whom to ask about what a reference names, and how to print what is answered.
#[derive(Debug, Args)]
pub(crate) struct RefAskArgs {
    /// Any node's registry address: HOST:PORT, http://HOST:PORT or https://HOST:PORT [default: the host of REF, else
    /// 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS", env = "PORTOLAN_SERVER")]
    pub(crate) server: Option<String>,
    /// Whom to trust at an https:// address (PEM); without it, whom this machine trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Print the API's JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `portolan image status`.
#[derive(Debug, Args)]
pub(crate) struct ImageStatusArgs {
    #[command(flatten)]
    pub(crate) image: ImageArgs,
    /// Show it again and again until every region that shall have it has it: bars on a terminal, else lines
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Arguments of `portolan image wait`.
#[derive(Debug, Args)]
pub(crate) struct ImageWaitArgs {
    #[command(flatten)]
    pub(crate) image: ImageArgs,
    /// Where it must be durable; without it, everywhere its repository wants it
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = region)]
    pub(crate) regions: Vec<String>,
    /// How long to wait: 500ms, 60s, 10m, 2h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Commands about tags.
#[derive(Debug, Subcommand)]
pub(crate) enum TagCommand {
    /// Show the moves of a tag, newest first, also of one that was removed
    History(TagHistoryArgs),
}

/// Arguments of `portolan tag history`.
#[derive(Debug, Args)]
pub(crate) struct TagHistoryArgs {
    /// repository:tag; without a tag it is latest. A registry's host before it is asked, unless --server names another
    #[arg(value_name = "REF")]
    pub(crate) tag: String,
    #[command(flatten)]
    pub(crate) ask: RefAskArgs,
}

/// Commands about the links between regions.
#[derive(Debug, Subcommand)]
pub(crate) enum BandwidthCommand {
    /// List the limits, in the order in which they are tried
    Ls(AskArgs),
    /// Set or lift one limit; it holds at once
    Set(BandwidthSetArgs),
}

/// Arguments of `portolan bandwidth set`.
#[derive(Debug, Args)]
pub(crate) struct BandwidthSetArgs {
    /// How many bytes per second, for all nodes of a receiving region together: 500kB, 20MB, 1GB; or none
    #[arg(value_name = "RATE", value_parser = rate)]
    pub(crate) rate: Rate,
    /// The region that sends; without it, any
    #[arg(long, value_name = "REGION", value_parser = region)]
    pub(crate) from: Option<String>,
    /// The region that receives; without it, any
    #[arg(long, value_name = "REGION", value_parser = region)]
    pub(crate) to: Option<String>,
    /// What the bytes are moved for: pulls, copies of new pushes, or other copies; without it, each with this limit
    #[arg(long, value_name = "pull|ack|repair", value_parser = class)]
    pub(crate) class: Option<Traffic>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// A region's name, which is judged by who knows the regions.
fn region(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("give the names of regions, with a comma between two".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Where copies lie, as it is written on the command line.
fn regions(text: &str) -> Result<Regions, String> {
    if text == "all" {
        Ok(Regions::All)
    } else {
        text.split(',').map(region).collect::<Result<_, _>>().map(Regions::Only)
    }
}

/// A prefix, which is judged by whom it is given to. All repositories are worth two signs on purpose.
fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.trim_matches('/').is_empty() {
        Ok(text.to_owned())
    } else {
        Err("it names nothing; for all repositories give \"\"".to_owned())
    }
}

/// How fast bytes may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// As fast as the link.
    Unlimited,
    /// So many bytes per second.
    Limited(u64),
}

fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || "give a whole number with B, kB, MB or GB, or none".to_owned();
    if text == "none" {
        return Ok(Rate::Unlimited);
    }
    let text = text.strip_suffix("/s").unwrap_or(text);
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match &text[digits..] {
        "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    Ok(Rate::Limited(number.saturating_mul(unit)))
}

fn class(text: &str) -> Result<Traffic, String> {
    match text {
        "pull" => Ok(Traffic::Pull),
        "ack" => Ok(Traffic::Ack),
        "repair" => Ok(Traffic::Repair),
        _ => Err("give pull, ack or repair".to_owned()),
    }
}

/// How fresh tags are, as it is written on the command line.
fn tag_reads(text: &str) -> Result<TagReads, String> {
    let wrong = || "give linearizable, or bounded: and a time, as bounded:2s".to_owned();
    match text.split_once(':') {
        None if text == "linearizable" => Ok(TagReads::Linearizable),
        Some(("bounded", bound)) => {
            let bound = duration(bound).map_err(|_| wrong())?;
            Ok(TagReads::BoundedMs(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX)))
        }
        _ => Err(wrong()),
    }
}

fn partition(text: &str) -> Result<PartitionContract, String> {
    match text {
        "serve-stale" => Ok(PartitionContract::ServeStale),
        "fail" => Ok(PartitionContract::Fail),
        _ => Err("give serve-stale or fail".to_owned()),
    }
}

/// A time: a whole number with `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    portolan_api::duration(text).ok_or_else(|| "give a whole number with ms, s, m or h".to_owned())
}

/// The shortest and the longest pause between two questions.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// A pause between two questions.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text).map_err(|_| "give a whole number with ms, s or m".to_owned())?;
    if INTERVALS.contains(&interval) { Ok(interval) } else { Err("give 100ms to 60m".to_owned()) }
}

/// Whom to ask, and how to print what is answered.
#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Print the API's JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whom to ask for a change, and by which right.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The admin token of the node that is asked; without it, the token is looked for on this machine
    #[arg(long, value_name = "FILE", env = "PORTOLAN_ADMIN_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
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
mod tests;

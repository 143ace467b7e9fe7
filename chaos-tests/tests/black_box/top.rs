//! `portolan top`: what it tells of a cluster that works, from any of its nodes, and what it says when it cannot.

use portolan_chaos_tests::cluster::{Cluster, Options, binary};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, tool, wait};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long one run of the program may take, and what must come of itself.
const WITHIN: Duration = Duration::from_secs(60);

async fn top(server: &str, more: &[&str]) -> Result<String> {
    let program = binary();
    let program = program.to_str().ok_or("a path that is not UTF-8")?;
    tool::run(WITHIN, program, &[&["top", "--server", server], more].concat()).await
}

/// Runs it with standard output in a pipe: the exit code and what it complained of.
async fn refused(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(binary());
    command.arg("top").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(WITHIN, command.output()).await??;
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Pushes images at the first node for as long as `watched` takes.
async fn during_pushes<T>(cluster: &Cluster, watched: impl Future<Output = Result<T>>) -> Result<T> {
    let (over, registry) = (AtomicBool::new(false), cluster.registry(0));
    let pushes = async {
        let mut seed = 0;
        while !over.load(Ordering::Relaxed) {
            seed += 1;
            registry.push("top/app", &format!("v{seed}"), &Image::seeded(seed, &[400_000, 20_000])).await?;
        }
        Ok::<_, portolan_chaos_tests::client::Failure>(())
    };
    let watching = async {
        let result = watched.await;
        over.store(true, Ordering::Relaxed);
        result
    };
    let (pushed, result) = tokio::join!(pushes, watching);
    pushed?;
    result
}

fn all_rates(sample: &Value) -> impl Iterator<Item = f64> {
    let nodes = sample["nodes"].as_array().into_iter().flatten();
    let rates = nodes.filter_map(|node| node["rates"].as_object());
    rates.flat_map(|rates| rates.values().filter_map(Value::as_f64))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_shows_what_every_other_does_during_a_push() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let (pushed, asked) = (&cluster.nodes()[0], &cluster.nodes()[2]);
    let watched = async {
        wait::until("the rates and the round trips", WITHIN, || async {
            let text = top(&asked.registry, &["--once", "--json"]).await.map_err(|error| error.to_string())?;
            assert_eq!(text.lines().count(), 1, "{text}");
            let sample: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let nodes = sample["nodes"].as_array().ok_or("no nodes")?;
            assert_eq!((nodes.len(), &sample["asked"]), (3, &Value::from(asked.id)), "{sample}");
            let of = |id: u64| nodes.iter().find(|node| node["id"] == id).map(|node| &node["rates"]);
            let rates = of(pushed.id).ok_or("no such node")?;
            let links = sample["links"].as_array().ok_or("no links")?;
            let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
            let complete = sample["leader"].is_u64()
                && positive(&rates["received_bytes_per_s"])
                && positive(&rates["requests_per_s"])
                && links.len() == 6
                && links.iter().all(|link| positive(&link["rtt_ms"]));
            if complete { Ok(()) } else { Err(sample.to_string()) }
        })
        .await?;
        wait::until("a picture with a leader", WITHIN, async || {
            let text = top(&asked.registry, &["--once"]).await.map_err(|error| error.to_string())?;
            if cluster.nodes().iter().any(|node| text.contains(&format!("leader ★ {}", node.name))) {
                Ok(text)
            } else {
                Err(text)
            }
        })
        .await
    };
    let text = during_pushes(&cluster, watched).await?;
    for node in cluster.nodes() {
        assert!(text.contains(&node.name), "{text}");
    }
    assert!(text.contains(&format!("asked {} at {}", asked.name, asked.registry)), "{text}");
    assert!(text.contains("ROUND TRIP") && text.contains("BEHIND") && !text.contains('\u{1b}'), "{text}");
    cluster.stop().await?;
    Ok(())
}

async fn next_line(lines: &mut Lines<BufReader<ChildStdout>>, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let found = async {
        loop {
            let line = lines.next_line().await?.ok_or("it ended")?;
            let sample: Value = serde_json::from_str(&line)?;
            assert!(all_rates(&sample).all(|rate| rate >= 0.0), "{sample}");
            if wanted(&sample) {
                return Ok(sample);
            }
        }
    };
    tokio::time::timeout(WITHIN, found).await.map_err(|_| "no such line")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_when_a_node_or_the_asked_one_is_gone_for_a_while() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let mut program = Command::new(binary())
        .args(["top", "--json", "--interval", "200ms", "--server", &cluster.nodes()[2].registry])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(program.stdout.take().ok_or("no standard output")?).lines();
    let rated = |node: usize| move |sample: &Value| sample["nodes"][node]["rates"].is_object();
    next_line(&mut lines, rated(0)).await?;
    next_line(&mut lines, rated(2)).await?;

    cluster.kill(0).await?;
    let silent = |sample: &Value| {
        let warned = sample["warnings"].as_array().into_iter().flatten();
        sample["nodes"][0]["load"].is_null() && warned.into_iter().any(|text| text.to_string().contains("eu-west-1"))
    };
    let sample = next_line(&mut lines, silent).await?;
    assert!(sample["nodes"][0]["rates"].is_null(), "{sample}");
    let to_it = |link: &&Value| link["from"] == 1 || link["to"] == 1;
    next_line(&mut lines, |sample| {
        sample["links"].as_array().into_iter().flatten().filter(to_it).all(|link| link["rtt_ms"].is_null())
    })
    .await?;
    cluster.restart(0)?;
    cluster.wait_ready(0).await?;
    next_line(&mut lines, rated(0)).await?;

    cluster.kill(2).await?;
    let unanswered = next_line(&mut lines, |sample| sample["error"].is_string()).await?;
    assert!(unanswered["error"].to_string().contains("does not answer"), "{unanswered}");
    cluster.restart(2)?;
    next_line(&mut lines, |sample| sample["nodes"].is_array()).await?;
    program.kill().await?;
    cluster.stop().await?;
    Ok(())
}

/// A terminal of its own in which `portolan top` has drawn its first picture of a cluster of one node.
struct Terminal {
    script: Child,
    screen: ChildStdout,
    /// What it has shown so far.
    seen: Vec<u8>,
    /// The program's process.
    pid: Pid,
}

impl Terminal {
    async fn with_top(cluster: &Cluster) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let note = folder.path().join("pid");
        let (program, server) = (binary(), &cluster.nodes()[0].registry);
        let (note_shown, program) = (note.display(), program.display());
        let shown = format!("stty rows 24 cols 80; echo $$ > {note_shown}; exec {program} top --server {server}");
        let mut script = Command::new("script")
            .args(["-qec", &shown, "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut screen = script.stdout.take().ok_or("no standard output")?;
        let drawn = async {
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains("solo-1") {
                if screen.read_buf(&mut seen).await? == 0 {
                    return Err(format!("it ended: {}", String::from_utf8_lossy(&seen)).into());
                }
            }
            Ok::<_, portolan_chaos_tests::Error>(seen)
        };
        let seen = tokio::time::timeout(WITHIN, drawn).await??;
        let pid = Pid::from_raw(std::fs::read_to_string(&note)?.trim().parse()?).ok_or("a pid of 0")?;
        Ok(Self { script, screen, seen, pid })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_given_back_as_it_was_when_the_program_is_terminated() -> Result<()> {
    if !tool::have("script", "a_terminal_is_given_back_as_it_was_when_the_program_is_terminated") {
        return Ok(());
    }
    let mut cluster =
        Cluster::start(Options { regions: vec!["solo"], nodes_per_region: 1, ..Options::default() }).await?;
    let Terminal { mut script, mut screen, mut seen, pid } = Terminal::with_top(&cluster).await?;
    kill_process(pid, Signal::TERM)?;
    tokio::time::timeout(WITHIN, screen.read_to_end(&mut seen)).await??;
    let ended = tokio::time::timeout(WITHIN, script.wait()).await??;
    assert!(ended.success(), "it ended with {ended}");
    let text = String::from_utf8_lossy(&seen);
    let (other, first) = ("\u{1b}[?1049h", "\u{1b}[?1049l");
    let at = text.find(other).ok_or_else(|| format!("no other screen in {text:?}"))?;
    let back = text.rfind(first).ok_or_else(|| format!("not given back: {text:?}"))?;
    assert!(at < back && text[at..back].contains("solo-1") && text[back..].contains("\u{1b}[?25h"), "{text:?}");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_ends_with_its_terminal() -> Result<()> {
    if !tool::have("script", "the_program_ends_with_its_terminal") {
        return Ok(());
    }
    let mut cluster =
        Cluster::start(Options { regions: vec!["solo"], nodes_per_region: 1, ..Options::default() }).await?;
    let mut terminal = Terminal::with_top(&cluster).await?;
    let pid = terminal.pid;
    terminal.script.kill().await?;
    wait::until("the program to end", Duration::from_secs(10), || async move {
        if test_kill_process(pid).is_err() { Ok(()) } else { Err(format!("process {pid:?} is there")) }
    })
    .await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_shown_is_refused_in_words() -> Result<()> {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let server = ["--server", nobody.as_str()];
    for mode in [&["--once"][..], &["--json"], &["--once", "--json"]] {
        let (code, said) = refused(&[&server[..], mode].concat()).await?;
        assert!(code == Some(1) && said.contains(&nobody) && said.contains("does not answer"), "{code:?} {said}");
    }
    for (wrong, hint) in [
        (&[][..], "--once"),
        (&["--once", "--interval", "7"], "ms, s or m"),
        (&["--once", "--server", "nowhere"], "HOST:PORT"),
    ] {
        let (code, said) = refused(wrong).await?;
        assert!(code == Some(2) && said.contains(hint), "{wrong:?}: {code:?} {said}");
    }
    Ok(())
}

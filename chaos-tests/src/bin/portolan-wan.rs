//! `portolan-wan`: an emulated WAN on this machine, for the tests, the demo and by hand. Wants root.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use clap::{Parser, Subcommand};
use portolan_chaos_tests::wan::control::{self, ControlError, Request};
use portolan_chaos_tests::wan::emulator::{self, Lock};
use portolan_chaos_tests::wan::probe::{self, Place};
use portolan_chaos_tests::wan::quantity::{show_duration, show_rate};
use portolan_chaos_tests::wan::{LinkChange, Topology, Wan, WanError, namespace};
use portolan_chaos_tests::{Error, Result};
use rustix::process::{Pid, Signal, kill_process, setsid};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long `up` and `down` may take.
const WITHIN: Duration = Duration::from_secs(15);

/// How often they look.
const POLL: Duration = Duration::from_millis(20);

#[derive(Parser)]
#[command(name = "portolan-wan", version, about = "An emulated WAN on this machine: regions are network namespaces")]
struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Bring a topology up and leave its router in the background
    Up { topology: PathBuf },
    /// Route in the foreground until a signal or `down`
    Run { topology: PathBuf },
    /// Change the link from one region to another, at once
    #[command(after_help = "Properties: delay=120ms rtt=240ms jitter=5ms loss=1% reorder=2% rate=100mbit|none \
        queue=4MB|auto cut=true|false")]
    Set {
        from: String,
        to: String,
        #[arg(required = true, value_name = "KEY=VALUE")]
        change: Vec<String>,
        /// The link back too
        #[arg(long)]
        both: bool,
    },
    /// Cut a region off from all others (this host still reaches it)
    Cut { region: String },
    /// Make every link what the topology says
    Heal,
    /// Show what was asked beside what is measured
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure a link with packets of its own: round trips, then one TCP stream
    Measure {
        from: String,
        to: String,
        /// How long the stream runs
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Take the WAN down, or sweep away what a crashed one has left
    Down,
}

fn main() -> ExitCode {
    match act(Arguments::parse().act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portolan-wan: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(act: Act) -> Result<()> {
    match act {
        Act::Up { topology } => up(&topology),
        Act::Run { topology } => run(&topology),
        Act::Set { from, to, change, both } => {
            // Read here as well, so that a misspelt key is refused without a WAN.
            LinkChange::parse(change.iter().map(String::as_str))?;
            control::ask(&Request::Set { from: from.clone(), to: to.clone(), change: change.clone() })?;
            if both {
                control::ask(&Request::Set { from: to, to: from, change })?;
            }
            Ok(())
        }
        Act::Cut { region } => Ok(control::ask(&Request::Cut { region }).map(drop)?),
        Act::Heal => Ok(control::ask(&Request::Heal).map(drop)?),
        Act::Status { json } => {
            let status = control::ask(&Request::Status)?.ok_or("an answer without a status")?;
            println!("{}", if json { serde_json::to_string(&status)? } else { status.table() });
            Ok(())
        }
        Act::Measure { from, to, seconds } => measure(&from, &to, Duration::from_secs(seconds)),
        Act::Down => down(),
    }
}

/// Starts `run` as a process of its own and waits until it answers.
fn up(path: &Path) -> Result<()> {
    let topology = Topology::load(path)?;
    drop(Lock::take()?);
    let log_path = emulator::folder().join("router.log");
    let log = File::create(&log_path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(path.canonicalize()?).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut router = command.current_dir("/").spawn()?;
    let started = Instant::now();
    loop {
        // An old socket without a listener refuses, so an answer is the new one's.
        if let Ok(Some(_)) = control::ask(&Request::Status) {
            break;
        }
        if router.try_wait()?.is_some() || started.elapsed() > WITHIN {
            let said = std::fs::read_to_string(&log_path)?;
            return Err(format!("the router did not start: {}", said.trim()).into());
        }
        std::thread::sleep(POLL);
    }
    for (place, region) in topology.regions.iter().enumerate() {
        let (first, last) = (Topology::address(place, 1), Topology::address(place, region.nodes));
        let addresses = if region.nodes == 1 { first.to_string() } else { format!("{first} to {last}") };
        println!("{}: {addresses}, ip netns exec {} COMMAND", region.name, namespace::name(&region.name));
    }
    Ok(())
}

fn run(path: &Path) -> Result<()> {
    let topology = Topology::load(path)?;
    // Out of the caller's session, so that a closed terminal does not end the WAN. Fails where we lead one already.
    let _already = setsid();
    let wan = Wan::up(&topology)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            served = control::serve(&wan) => served,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })?;
    Ok(wan.down()?)
}

/// Asks the WAN to end, ends it when it does not, and sweeps.
fn down() -> Result<()> {
    match control::ask(&Request::Down) {
        Ok(_) | Err(ControlError::NotUp) => {}
        Err(error) => eprintln!("portolan-wan: {error}"),
    }
    let started = Instant::now();
    let mut killed = false;
    let lock = loop {
        match Lock::take() {
            Ok(lock) => break lock,
            Err(WanError::Busy(holder)) if started.elapsed() > WITHIN && !killed => {
                let pid = holder.parse().ok().and_then(Pid::from_raw).ok_or("a lock without a process")?;
                eprintln!("portolan-wan: process {holder} does not end, so it is killed");
                kill_process(pid, Signal::KILL)?;
                killed = true;
            }
            Err(WanError::Busy(_)) if started.elapsed() < 2 * WITHIN => std::thread::sleep(POLL),
            Err(error) => return Err(Error::from(error)),
        }
    };
    for name in namespace::sweep()? {
        println!("removed {name}");
    }
    drop(lock);
    Ok(())
}

fn measure(from: &str, to: &str, during: Duration) -> Result<()> {
    let status = control::ask(&Request::Status)?.ok_or("an answer without a status")?;
    let place = |name: &str| -> Result<Place> {
        let region = status.regions.iter().find(|(region, _)| region == name);
        let (region, address) = region.ok_or_else(|| format!("no region is named {name:?}"))?;
        Ok(Place { region: region.clone(), address: address.parse()? })
    };
    let (from, to) = (place(from)?, place(to)?);
    let trips = probe::round_trips(&from, &to, 20, Duration::from_millis(50))?;
    let (least, median) = (trips[0], trips[trips.len() / 2]);
    println!(
        "round trip: {} of 20 came back, least {}, median {}",
        trips.len(),
        show_duration(least),
        show_duration(median)
    );
    let cpu = || control::ask(&Request::Status).ok().flatten().map_or(0.0, |status| status.cpu_seconds);
    let before = cpu();
    let flow = probe::tcp(&from, &to, during / 4, during)?;
    println!("one TCP stream: {}, router CPU {:.2} s", show_rate(flow.rate as u64), cpu() - before);
    Ok(())
}

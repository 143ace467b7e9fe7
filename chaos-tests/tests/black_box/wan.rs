//! The emulated WAN against its own word: what was asked for is what packets meet. Wants root.

use portolan_chaos_tests::cluster::binary;
use portolan_chaos_tests::geo::ONE;
use portolan_chaos_tests::wan::control::{self, Request};
use portolan_chaos_tests::wan::probe::{self, Place};
use portolan_chaos_tests::wan::status::LinkStatus;
use portolan_chaos_tests::wan::{LinkChange, Status, Topology, Wan, namespace};
use portolan_chaos_tests::{Result, tool};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::MutexGuard;

/// What is asked for must be measured within this share of it.
const NEAR: f64 = 0.05;

/// How long a machine may be too busy for a measurement.
const MEASURED_WITHIN: Duration = Duration::from_secs(60);

/// How long the demo may take.
const DEMO_WITHIN: Duration = Duration::from_secs(150);

const TWO: &str = r#"
    name = "two"
    seed = 1
    regions = [{ name = "a", nodes = 2 }, { name = "b" }]
    [[links]]
    from = "a"
    to = "b"
    delay = "30ms"
    [[links]]
    from = "b"
    to = "a"
    delay = "10ms"
"#;

fn one() -> MutexGuard<'static, ()> {
    ONE.blocking_lock()
}

fn place(region: &str, at: usize) -> Place {
    Place { region: region.to_owned(), address: Topology::address(at, 1) }
}

fn set(wan: &Wan, from: &str, to: &str, words: &str) -> Result<()> {
    Ok(wan.set(from, to, LinkChange::parse(words.split_whitespace())?)?)
}

/// Measures until the measurement holds; it tells what is wrong with it. A WAN that does something else than it was told
/// never does it; a machine that is busy does not do it for a while.
fn measured(what: &str, mut measure: impl FnMut() -> Result<std::result::Result<(), String>>) -> Result<()> {
    let until = Instant::now() + MEASURED_WITHIN;
    loop {
        match measure()? {
            Ok(()) => return Ok(()),
            Err(wrong) if Instant::now() > until => return Err(format!("{what}: {wrong}").into()),
            Err(wrong) => eprintln!("{what}: {wrong}; measured again"),
        }
    }
}

fn near(what: &str, asked: f64, mut measure: impl FnMut() -> Result<f64>) -> Result<()> {
    measured(what, || {
        let measured = measure()?;
        let off = measured / asked - 1.0;
        eprintln!("{what}: asked {asked:.4}, measured {measured:.4} ({:+.2} %)", off * 100.0);
        Ok(if off.abs() <= NEAR { Ok(()) } else { Err(format!("asked {asked}, measured {measured}")) })
    })
}

/// The lower quartile of round trips: the upper half is also how late a busy machine wakes the probe's own threads.
fn round_trip_ms(from: &Place, to: &Place) -> Result<f64> {
    let trips = probe::round_trips(from, to, 40, Duration::from_millis(10))?;
    Ok(trips[trips.len() / 4].as_secs_f64() * 1e3)
}

#[test]
fn round_trips_are_what_was_asked() -> Result<()> {
    if !tool::is_root("round_trips_are_what_was_asked") {
        return Ok(());
    }
    let _one = one();
    let wan = Wan::up(&Topology::parse(TWO)?)?;
    let (a, b) = (place("a", 0), place("b", 1));
    near("round trip in ms", 40.0, || round_trip_ms(&a, &b))?;
    near("round trip in ms, begun at the other end", 40.0, || round_trip_ms(&b, &a))?;
    for ms in [20, 100, 300] {
        set(&wan, "a", "b", &format!("delay={ms}ms"))?;
        near("round trip in ms, changed", f64::from(ms + 10), || round_trip_ms(&a, &b))?;
    }
    set(&wan, "a", "b", "delay=50ms jitter=20ms")?;
    measured("round trips that vary", || {
        let trips = probe::round_trips(&a, &b, 200, Duration::from_millis(10))?;
        let (least, most) = (trips[0].as_secs_f64() * 1e3, trips[trips.len() - 1].as_secs_f64() * 1e3);
        let held = least > 39.0 && least < 50.0 && most > 70.0 && most < 84.0;
        Ok(if held { Ok(()) } else { Err(format!("between {least} and {most} ms")) })
    })?;
    let shown = wan.status().link("a", "b").and_then(|link| link.measured_rtt_ms);
    assert!(shown.is_some_and(|shown| shown > 39.0 && shown < 82.0), "the router's own measure: {shown:?}");
    Ok(wan.down()?)
}

#[test]
fn loss_rate_and_reordering_are_what_was_asked() -> Result<()> {
    if !tool::is_root("loss_rate_and_reordering_are_what_was_asked") {
        return Ok(());
    }
    let _one = one();
    let wan = Wan::up(&Topology::parse(TWO)?)?;
    let (a, b) = (place("a", 0), place("b", 1));
    let seconds = Duration::from_secs;

    set(&wan, "a", "b", "loss=10%")?;
    near("loss", 0.1, || Ok(probe::udp(&a, &b, 40_000_000, 200, seconds(4))?.loss()))?;
    let status = wan.status();
    let shown = status.link("a", "b").and_then(LinkStatus::measured_loss);
    assert!(shown.is_some_and(|shown| (shown - 0.1).abs() < 0.005), "loss by the router's count: {shown:?}");
    measured("loss in the other direction", || {
        let loss = probe::udp(&b, &a, 1_000_000, 200, seconds(1))?.loss();
        Ok(if loss == 0.0 { Ok(()) } else { Err(format!("{loss}")) })
    })?;
    assert_eq!(wan.status().link("b", "a").map(|link| link.lost), Some(0), "the other direction loses nothing");

    for (rate, bits) in [("10mbit", 10e6), ("200mbit", 200e6)] {
        set(&wan, "a", "b", &format!("loss=0% rate={rate}"))?;
        near("rate of UDP", bits, || Ok(probe::udp(&a, &b, (bits * 1.4) as u64, 1400, seconds(3))?.rate))?;
        assert!(wan.status().link("a", "b").is_some_and(|link| link.overflowed > 0), "what is too much overflows");
        // 1,448 bytes of every 1,500 are payload.
        near("rate of TCP", bits * 1448.0 / 1500.0, || Ok(probe::tcp(&a, &b, seconds(2), seconds(3))?.rate))?;
    }

    set(&wan, "a", "b", "rate=none reorder=10%")?;
    measured("reordering", || {
        let flow = probe::udp(&a, &b, 8_000_000, 100, seconds(4))?;
        let (loss, overtaken) = (flow.loss(), flow.overtaken as f64 / flow.received as f64);
        let held = loss == 0.0 && (overtaken / 0.1 - 1.0).abs() <= NEAR;
        Ok(if held { Ok(()) } else { Err(format!("{overtaken} were overtaken, {loss} lost")) })
    })?;
    Ok(wan.down()?)
}

#[test]
fn a_gigabit_on_four_links_at_once() -> Result<()> {
    if !tool::is_root("a_gigabit_on_four_links_at_once") {
        return Ok(());
    }
    let _one = one();
    let wan = Wan::up(&Topology::load(&topology("three-continents.toml"))?)?;
    let (eu, us, asia) = (place("eu-west", 0), place("us-east", 1), place("ap-south", 2));
    let pairs = [(&eu, &us), (&us, &asia), (&asia, &eu), (&us, &eu)];
    measured("four links at once", || {
        let started = (Instant::now(), wan.status().cpu_seconds);
        let flows: Vec<_> = pairs
            .map(|(from, to)| {
                let (from, to) = (from.clone(), to.clone());
                std::thread::spawn(move || probe::tcp(&from, &to, Duration::from_secs(4), Duration::from_secs(6)))
            })
            .into_iter()
            .map(|flow| flow.join().map_err(|_| "a flow panicked")?.map_err(portolan_chaos_tests::Error::from))
            .collect::<Result<_>>()?;
        let cpu = (wan.status().cpu_seconds - started.1) / started.0.elapsed().as_secs_f64();
        let total: f64 = flows.iter().map(|flow| flow.rate / 1e9).sum();
        let each: Vec<_> = flows.iter().map(|flow| format!("{:.3}", flow.rate / 1e9)).collect();
        eprintln!(
            "four links: {} Gbit/s, router {:.1} % of a core, {:.1} % for each Gbit/s",
            each.join(" "),
            cpu * 100.0,
            cpu / total * 100.0
        );
        let fast = flows.iter().all(|flow| flow.rate > 0.8e9);
        Ok(if fast { Ok(()) } else { Err(format!("{each:?} Gbit/s")) })
    })?;
    Ok(wan.down()?)
}

#[test]
fn a_cut_region_is_alone_but_for_the_host() -> Result<()> {
    if !tool::is_root("a_cut_region_is_alone_but_for_the_host") {
        return Ok(());
    }
    let _one = one();
    let wan = Wan::up(&Topology::parse(TWO)?)?;
    let (a, b) = (place("a", 0), place("b", 1));
    wan.cut("b")?;
    assert!(probe::round_trips(&a, &b, 3, Duration::from_millis(10)).is_err(), "nothing passes a cut");
    let address = SocketAddr::from((b.address, 0));
    let listener = namespace::within("b", move || TcpListener::bind(address))??;
    let target = listener.local_addr()?;
    measured("the host reaches a cut region, at once", || {
        let before = Instant::now();
        TcpStream::connect_timeout(&target, Duration::from_secs(1))?;
        let took = before.elapsed();
        Ok(if took < Duration::from_millis(20) { Ok(()) } else { Err(format!("it took {took:?}")) })
    })?;
    wan.heal();
    near("round trip in ms, healed", 40.0, || round_trip_ms(&a, &b))?;
    assert!(wan.set("a", "c", LinkChange::default()).is_err(), "no such region");
    Ok(wan.down()?)
}

#[test]
fn nodes_of_one_region_are_near_and_see_their_own_addresses() -> Result<()> {
    if !tool::is_root("nodes_of_one_region_are_near_and_see_their_own_addresses") {
        return Ok(());
    }
    let _one = one();
    let wan = Wan::up(&Topology::parse(TWO)?)?;
    let second = Place { region: "a".to_owned(), address: Topology::address(0, 2) };
    measured("a round trip within a region", || {
        let ms = round_trip_ms(&place("a", 0), &second)?;
        Ok(if ms < 2.0 { Ok(()) } else { Err(format!("{ms} ms")) })
    })?;
    let (from, to) = (SocketAddr::from((second.address, 0)), SocketAddr::from((Topology::address(1, 1), 0)));
    let sender = namespace::within("a", move || UdpSocket::bind(from))??;
    let receiver = namespace::within("b", move || UdpSocket::bind(to))??;
    receiver.set_read_timeout(Some(Duration::from_secs(2)))?;
    sender.send_to(b"x", receiver.local_addr()?)?;
    assert_eq!(receiver.recv_from(&mut [0; 8])?.1, sender.local_addr()?);
    Ok(wan.down()?)
}

#[test]
fn the_demo_runs_across_three_continents() -> Result<()> {
    if !tool::is_root("the_demo_runs_across_three_continents") {
        return Ok(());
    }
    let _one = one();
    let wan = Wan::up(&Topology::load(&topology("three-continents.toml"))?)?;
    let data = tempfile::tempdir()?;
    let (portolan, data) = (binary(), data.path().join("data"));
    let portolan = portolan.to_str().ok_or("a path that is not UTF-8")?;
    let data = data.to_str().ok_or("a path that is not UTF-8")?;
    let (launcher, address) = ("ip netns exec wan-{region}", "10.77.{r}.{i}");
    let dev = ["dev", "--demo", "--data", data, "--launcher", launcher, "--address", address];
    let said = tokio::runtime::Runtime::new()?.block_on(tool::run(DEMO_WITHIN, portolan, &dev))?;
    assert!(said.contains("bit for bit"), "{said}");
    let status = wan.status();
    let link = status.link("eu-west", "ap-south").ok_or("no link")?;
    assert!(link.offered > 10_000, "the image went over the link: {} packets", link.offered);
    Ok(wan.down()?)
}

fn topology(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies").join(name)
}

fn program(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_portolan-wan")).args(arguments).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr).into()) }
}

fn namespaces() -> usize {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with("wan-")).count()
}

/// Takes down whatever a test that failed has left.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = program(&["down"]) {
            eprintln!("portolan-wan down: {error}");
        }
    }
}

#[test]
fn the_program_steers_a_wan_in_the_background() -> Result<()> {
    if !tool::is_root("the_program_steers_a_wan_in_the_background") {
        return Ok(());
    }
    let _one = one();
    let _down = Down;
    let path = topology("three-continents.toml");
    let path = path.to_str().ok_or("a path that is not UTF-8")?;
    let said = program(&["up", path])?;
    assert!(said.contains("ap-south: 10.77.3.1 to 10.77.3.4, ip netns exec wan-ap-south"), "{said}");
    let refused = program(&["up", path]).err().ok_or("a second WAN")?.to_string();
    assert!(refused.contains("a WAN is up already"), "{refused}");

    program(&["set", "eu-west", "us-east", "delay=120ms", "loss=1%"])?;
    program(&["cut", "ap-south"])?;
    let refused = program(&["set", "eu-west", "us-east", "dealy=1ms"]).err().ok_or("a misspelt key")?;
    assert!(refused.to_string().contains("dealy"), "{refused}");
    let status: Status = serde_json::from_str(&program(&["status", "--json"])?)?;
    let link = status.link("eu-west", "us-east").ok_or("no link")?;
    assert_eq!((link.delay_ms, link.loss, link.rtt_ms, link.cut), (120.0, 0.01, 160.0, false));
    assert!(status.link("us-east", "ap-south").is_some_and(|link| link.cut));
    assert!(program(&["status"])?.contains("160 ms"));
    program(&["heal"])?;
    let status: Status = serde_json::from_str(&program(&["status", "--json"])?)?;
    assert!(status.links.iter().all(|link| !link.cut && link.loss == 0.0));
    assert_eq!(namespaces(), 3);
    program(&["down"])?;
    assert_eq!(namespaces(), 0);
    assert!(program(&["status"]).is_err());
    Ok(())
}

#[test]
fn nothing_is_left_after_a_crash_and_down() -> Result<()> {
    if !tool::is_root("nothing_is_left_after_a_crash_and_down") {
        return Ok(());
    }
    let _one = one();
    let _down = Down;
    let path = topology("two-and-witness.toml");
    let mut router = Command::new(env!("CARGO_BIN_EXE_portolan-wan")).arg("run").arg(&path).spawn()?;
    let started = Instant::now();
    while control::ask(&Request::Status).is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "the router does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    router.kill()?;
    router.wait()?;
    assert_eq!(namespaces(), 3, "a killed router cannot sweep");
    let removed = program(&["down"])?;
    assert_eq!(removed.lines().count(), 3, "{removed}");
    assert_eq!(namespaces(), 0);
    let addresses = Command::new("ip").args(["address", "show"]).output()?;
    assert!(!String::from_utf8_lossy(&addresses.stdout).contains("10.77."), "no address is left on the host");
    Ok(())
}

//! Made-up evidence for the tests of the report: a small run whose figures can be worked out by hand, and seeded ones of
//! any length that look like real ones.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::figures::Report;
use super::run::{Judged, Run};
use crate::history::{Call, History, Micros, Record, Seen};
use crate::invariants::{After, Event, Evidence, FinalPull, NodeInfo, Violation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const SECOND: u64 = 1_000_000;

/// A node for each region, named after it.
fn nodes(regions: &[&str], each: usize) -> Vec<NodeInfo> {
    let node = |region: &str, place| NodeInfo { name: format!("{region}-{place}"), region: region.to_owned() };
    regions.iter().flat_map(|region| (1..=each).map(move |place| node(region, place))).collect()
}

/// A fault, of which most say little: what is not said is as a file that lacks it would have it.
pub(super) fn event(fault: &str, begin: f64, end: Option<f64>, nodes: &[usize], minority: &[usize]) -> Event {
    let kind = fault.split(' ').next().unwrap_or_default();
    let event = json!({
        "fault": fault, "kind": kind, "begin": micros(begin), "end": end.map(micros), "nodes": nodes, "stops_writes": false,
        "minority": minority,
    });
    serde_json::from_value(event).unwrap()
}

pub(super) fn micros(seconds: f64) -> Micros {
    Micros((seconds * SECOND as f64).round() as u64)
}

/// A call of a tenth of a second, by the client of a region.
pub(super) fn record(region: &str, end: f64, push: bool, status: Option<u16>) -> Record {
    let (repo, digest) = ("team/app".to_owned(), format!("sha256:{region}{:08}", micros(end).0));
    let call = if push {
        Call::PutTag { repo, tag: "v1".to_owned(), digest }
    } else {
        Call::GetBlob { repo, digest, range: None }
    };
    let ok = status == Some(200) || status == Some(201);
    let seen = Seen { status, whole: ok, right: (ok && !push).then_some(true), ..Seen::default() };
    let place = region.bytes().next().unwrap_or_default() - b'a';
    Record {
        id: 0,
        client: u32::from(place),
        region: region.to_owned(),
        node: usize::from(place),
        start: micros(end - 0.1),
        end: micros(end),
        call,
        seen,
    }
}

/// Ten seconds of three regions with a node each: a killed node, then one that is cut off.
pub(super) fn evidence() -> Evidence {
    let mut records = Vec::new();
    let pulls: [(&str, &[f64]); 3] =
        [("a", &[1.0, 1.9, 4.5, 9.5]), ("b", &[1.0, 2.0, 3.0, 5.0, 6.5, 9.0]), ("c", &[1.5, 5.5, 8.2])];
    let pushes: [(&str, &[f64]); 3] = [("a", &[1.0, 4.3, 9.0]), ("b", &[1.5, 3.6, 5.8, 9.2]), ("c", &[5.0, 8.4])];
    for (region, ends) in pulls {
        records.extend(ends.iter().map(|end| record(region, *end, false, Some(200))));
    }
    for (region, ends) in pushes {
        records.extend(ends.iter().map(|end| record(region, *end, true, Some(201))));
    }
    let failed = [
        (record("a", 2.5, false, None), 2.1),
        (record("c", 7.0, false, Some(503)), 6.9),
        (record("a", 3.0, true, Some(503)), 2.9),
        (record("c", 7.5, true, None), 6.5),
    ];
    records.extend(failed.into_iter().map(|(record, start)| Record { start: micros(start), ..record }));
    records.sort_by_key(|record| record.end);
    let pull = |region: &str, end: f64, node, right: bool| FinalPull {
        node,
        repo: "team/app".to_owned(),
        digest: record(region, end, true, None).call.digest().unwrap_or_default().to_owned(),
        status: right.then_some(200),
        right,
    };
    let pulls =
        vec![pull("a", 1.0, 0, false), pull("a", 1.0, 1, true), pull("b", 3.6, 0, false), pull("c", 8.4, 1, false)];
    Evidence {
        nodes: nodes(&["a", "b", "c"], 1),
        history: History(records),
        events: vec![event("cut c from all", 6.0, Some(8.0), &[], &[2]), event("kill a-1", 2.0, Some(4.0), &[0], &[])],
        after: After { pulls, ..After::default() },
        ..Evidence::default()
    }
}

/// The run of [`evidence`].
pub(super) fn run() -> Run {
    Run {
        scenario: "small".to_owned(),
        seed: 7,
        topology: "three [test] regions".to_owned(),
        began_unix: 1_800_000_000,
        length: Micros(10 * SECOND),
        version: "portolan 0.1.0".to_owned(),
        command: "portolan-chaos replay small --seed 7".to_owned(),
        leaders: vec![(Micros(0), Some(0)), (micros(2.0), None), (micros(3.5), Some(1))],
        judged: vec![
            Judged { invariant: "right_bytes".to_owned(), promise: "P4".to_owned(), calls: 13 },
            Judged { invariant: "tags_linearizable".to_owned(), promise: "P2".to_owned(), calls: 0 },
        ],
        violations: Vec::new(),
    }
}

/// The report of [`evidence`].
pub(super) fn small() -> Report {
    Report::new(run(), &evidence())
}

/// The name of a made-up run, which a page must not take for tags.
pub(super) const SCENARIO: &str = "mixed <faults> & \"more\"";

/// A seeded run of three regions: every half minute one of four faults, and one stale answer that was not marked.
pub(super) fn made(seed: u64, seconds: u64, calls: u64) -> (Run, Evidence) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut events = Vec::new();
    let mut leaders = vec![(Micros(SECOND / 2), Some(0))];
    for slot in 0..(seconds - 8) / 28 {
        let begin = (slot * 28) as f64 + rng.random_range(10.0..16.0);
        let end = Some(begin + rng.random_range(7.0..16.0));
        let leader = usize::from(slot % 8 == 0) * 2;
        events.push(match slot % 4 {
            0 => {
                leaders.extend([(micros(begin), None), (micros(begin + 3.2), Some(leader))]);
                event(
                    &format!("kill {}", if leader == 2 { "eu-west-1" } else { "us-east-1" }),
                    begin,
                    end,
                    &[2 - leader],
                    &[],
                )
            }
            1 => event("cut ap-south from all", begin, end, &[], &[4, 5]),
            2 => event("fsync-slow us-east-1 80ms", begin, end, &[], &[]),
            _ => event("pause us-east-2", begin, end, &[3], &[]),
        });
    }
    let mut records: Vec<Record> = (0..calls).map(|call| made_call(&mut rng, call, calls, seconds, &events)).collect();
    records.sort_by_key(|record| record.end);
    for (id, record) in records.iter_mut().enumerate() {
        record.id = id as u64;
    }
    let evidence = Evidence {
        nodes: nodes(&["eu-west", "us-east", "ap-south"], 2),
        history: History(records),
        events,
        ..Evidence::default()
    };
    let judged =
        ["tags_linearizable P2", "read_your_push P2", "right_bytes P4", "pulls_go_on P7", "stale_is_marked P7"];
    let judged = judged.iter().enumerate().filter_map(|(place, words)| {
        let (invariant, promise) = words.split_once(' ')?;
        let calls = calls as usize / (place + 1);
        Some(Judged { invariant: invariant.to_owned(), promise: promise.to_owned(), calls })
    });
    let run = Run {
        scenario: SCENARIO.to_owned(),
        seed,
        topology: "three continents".to_owned(),
        length: Micros(seconds * SECOND),
        command: format!("portolan-chaos replay mixed --seed {seed}"),
        leaders,
        judged: judged.collect(),
        violations: vec![violation()],
        ..self::run()
    };
    (run, evidence)
}

const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];

fn made_call(rng: &mut StdRng, call: u64, calls: u64, seconds: u64, events: &[Event]) -> Record {
    let start = ((call as f64 + rng.random::<f64>()) / calls as f64 * (seconds as f64 - 6.0)).max(0.0);
    let place = rng.random_range(0..3);
    let push = rng.random_bool(0.08);
    let at = micros(start);
    let fault = events.iter().find(|event| event.begin <= at && event.end.is_none_or(|end| end > at));
    let mut took = [0.004, 0.006, 0.009][place] * (1.0 - rng.random::<f64>()).powf(-0.7);
    if push {
        took += [0.1, 0.19, 0.24][place] * rng.random_range(0.9..1.2);
    }
    let mut status = Some(if push { 201 } else { 200 });
    let since = fault.map_or(0.0, |fault| start - fault.begin.0 as f64 / SECOND as f64);
    match fault.map(|fault| fault.kind.as_str()) {
        Some("kill") if push && since < 3.2 => {
            (took, status) = (3.3 - since, if since < 2.0 { Some(503) } else { status });
        }
        Some("kill") if place == 0 && rng.random_bool(0.4 / (1.0 + since)) => (took, status) = (0.02, None),
        Some("cut") if place == 2 && push => (took, status) = (1.0, Some(503)),
        Some("cut") if place == 2 && rng.random_bool(0.3) => took += 1.0,
        Some("fsync-slow") if push => took += rng.random_range(0.1..0.9),
        Some("pause") if place == 1 && rng.random_bool(0.2) => (took, status) = (2.0 + rng.random::<f64>(), Some(504)),
        _ => {}
    }
    let mut record = record("a", start + took, push, status);
    (record.start, record.region, record.node) = (at, REGIONS[place].to_owned(), place * 2 + rng.random_range(0..2));
    record.client = place as u32 * 8 + rng.random_range(0..8);
    record
}

/// A tag that jumps back, with an answer that nobody knows and a name that looks like a tag of a page.
pub(super) fn violation() -> Violation {
    let call = |client: u32, (start, end): (f64, f64), call: Call, status, digest: Option<&str>| Record {
        id: u64::from(client),
        client,
        region: REGIONS[client as usize % 3].to_owned(),
        node: client as usize % 3 * 2,
        start: micros(start),
        end: micros(end),
        call,
        seen: Seen { status, whole: status.is_some(), digest: digest.map(str::to_owned), ..Seen::default() },
    };
    let (repo, tag) = (|| "team/<b>app</b>".to_owned(), || "stable".to_owned());
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(32));
    let put = |byte| Call::PutTag { repo: repo(), tag: tag(), digest: digest(byte) };
    let get = || Call::GetTag { repo: repo(), tag: tag() };
    let mut records = vec![
        call(0, (46.012, 46.134), put("a1"), Some(201), None),
        call(3, (49.2, 50.2), put("b2"), Some(201), None),
        call(4, (50.310, 50.322), get(), Some(200), Some(&digest("b2"))),
        call(5, (50.9, 51.904), get(), Some(200), Some(&digest("a1"))),
        call(7, (51.2, 54.2), put("c3"), None, None),
        call(4, (55.0, 55.01), get(), Some(404), None),
        call(5, (56.0, 56.7), get(), Some(503), None),
    ];
    records[4].seen.error = Some("connection reset \u{1b}[31mby peer".to_owned());
    Violation {
        invariant: "tags_linearizable".to_owned(),
        what:
            "team/<b>app</b>:stable was read as a1a1a1a1 after it had been read as b2b2b2b2 & nobody had moved it back"
                .to_owned(),
        records,
        at: micros(51.904),
    }
}

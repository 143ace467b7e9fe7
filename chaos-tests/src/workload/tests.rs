//! Clients against a registry in memory: that choices come from seeds and answers, and shares are those of the mix.

use super::client::{Client, Shared};
use super::door::{Answer, Ask, Door};
use super::mix::Mix;
use super::plan::Plan;
use super::recorder::{Clock, Recorder, word};
use super::stand_in::StandIn;
use super::{Workload, turn};
use crate::cluster::Node;
use crate::history::{Call, History, Outcome, Record, Seen};
use crate::kills;
use crate::truth::{Parts, Truth};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

const REGIONS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: u32 = 9;

fn plan(seed: u64, mix: Mix) -> Plan {
    // Sizes as small as can be: nobody looks at the bytes here.
    Plan { seed, mix, pause: Duration::ZERO, scale: 1e-5, ..Plan::default() }
}

fn shared(plan: Plan, truth: Arc<Truth>) -> Arc<Shared> {
    let regions = REGIONS.map(Into::into).to_vec();
    Arc::new(Shared::new(plan, truth, regions).unwrap())
}

/// Lets clients live beside each other, and gives what they saw.
async fn live<D: Door>(shared: &Arc<Shared>, turns: usize, clients: Vec<(u32, Arc<D>)>) -> History {
    let (recorder, desk) = Recorder::start(Clock::default(), None).unwrap();
    let (_stop, stopped) = watch::channel(false);
    let lives = clients.into_iter().map(|(number, door)| {
        let region = REGIONS[number as usize % 3].into();
        let mut client = Client::new(number, region, Arc::clone(shared), door, desk.clone(), stopped.clone());
        async move { turn::live(&mut client, Some(turns)).await }
    });
    futures::future::join_all(lives).await;
    drop(desk);
    recorder.finish().await.unwrap()
}

async fn run(seed: u64, mix: Mix, lost: u32, turns: usize) -> History {
    let door = Arc::new(StandIn::new(seed, lost));
    let clients = (0..CLIENTS).map(|number| (number, Arc::clone(&door))).collect();
    live(&shared(plan(seed, mix), Arc::default()), turns, clients).await
}

fn share(history: &History, test: impl Fn(&Record) -> bool) -> f64 {
    history.0.iter().filter(|record| test(record)).count() as f64 / history.0.len() as f64
}

/// Notes what one client asks, and what it gets.
struct Tape<D> {
    door: Arc<D>,
    entries: Mutex<Vec<(String, Answer)>>,
}

impl<D: Door> Door for Tape<D> {
    async fn ask(&self, ask: Ask) -> Answer {
        let place = {
            let mut entries = self.entries.lock().unwrap();
            entries.push((format!("{ask:?}"), Answer::default()));
            entries.len() - 1
        };
        let answer = self.door.ask(ask).await;
        self.entries.lock().unwrap()[place].1 = answer.clone();
        answer
    }
}

/// Gives the answers of a tape, as long as it is asked the same.
struct Replay {
    entries: Mutex<VecDeque<(String, Answer)>>,
    differs: Mutex<Option<(String, String)>>,
}

impl Door for Replay {
    async fn ask(&self, ask: Ask) -> Answer {
        let entry = self.entries.lock().unwrap().pop_front();
        let (wanted, answer) = entry.unwrap_or_else(|| ("nothing".to_owned(), Answer::default()));
        let asked = format!("{ask:?}");
        if asked != wanted {
            self.differs.lock().unwrap().get_or_insert((wanted, asked));
        }
        answer
    }
}

#[tokio::test]
async fn choices_depend_on_nothing_but_the_seed_and_the_answers() {
    const TURNS: usize = 120;
    let seed = kills::seed();
    for mix in [Mix::writes(), Mix::uploads()] {
        let (door, truth) = (Arc::new(StandIn::new(seed, 10)), Arc::<Truth>::default());
        let tapes: Vec<_> =
            (0..CLIENTS).map(|_| Arc::new(Tape { door: Arc::clone(&door), entries: Mutex::default() })).collect();
        let clients = (0..).zip(tapes.iter().cloned()).collect();
        live(&shared(plan(seed, mix.clone()), Arc::clone(&truth)), TURNS, clients).await;

        // Each alone, without the others and in no time, is told the same, and asks the same; with another seed it does not.
        for (number, tape) in (0..).zip(&tapes) {
            for other_seed in [false, true] {
                let entries: VecDeque<_> = tape.entries.lock().unwrap().clone().into();
                assert!(entries.len() > TURNS, "{} requests", entries.len());
                let replay = Arc::new(Replay { entries: Mutex::new(entries), differs: Mutex::default() });
                let plan = plan(seed ^ u64::from(other_seed), mix.clone());
                live(&shared(plan, Arc::clone(&truth)), TURNS, vec![(number, Arc::clone(&replay))]).await;
                let (left, differs) = (replay.entries.lock().unwrap().len(), replay.differs.lock().unwrap().clone());
                if other_seed {
                    assert!(differs.is_some(), "client {number} of another seed asks the same");
                } else {
                    assert!(differs.is_none() && left == 0, "client {number}: {left} requests left, {differs:#?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn of_twenty_calls_of_the_study_about_nineteen_read() {
    let history = run(kills::seed(), Mix::study(), 0, 1200).await;
    let reads = share(&history, |record| !record.call.is_write());
    let blobs = share(&history, |record| matches!(record.call, Call::GetBlob { .. }));
    let tags = share(&history, |record| matches!(record.call, Call::GetTag { .. } | Call::GetManifest { .. }));
    eprintln!("{} calls: reads {reads:.3}, of blobs {blobs:.3}, of manifests {tags:.3}", history.0.len());
    assert!((0.94..0.96).contains(&reads), "{reads}");
    assert!(blobs > tags && tags > 0.25, "an image is more blobs than manifests: {blobs} {tags}");
}

#[tokio::test]
async fn every_preset_makes_every_kind_of_call_but_most_of_its_own() {
    let seed = kills::seed();
    type Test = fn(&Call) -> bool;
    let cases: [(&str, Test, f64); 3] = [
        ("writes", Call::is_write, 0.55),
        ("tags", |call| matches!(call, Call::PutTag { .. } | Call::GetTag { .. } | Call::DeleteTag { .. }), 0.6),
        ("uploads", |call| matches!(call, Call::PutBlob { .. }), 0.4),
    ];
    for (name, own, least) in cases {
        let history = run(seed, Mix::named(name).unwrap(), 0, 300).await;
        let found = share(&history, |record| own(&record.call));
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        history.0.iter().for_each(|record| *words.entry(word(&record.call)).or_default() += 1);
        eprintln!("{name}: {found:.3} of {words:?}");
        assert!(found > least, "{name}: {found}");
        assert_eq!(words.len(), 11, "{name}");
    }
}

#[tokio::test]
async fn clients_go_on_when_answers_are_lost_and_never_push_a_digest_under_a_tag_twice() {
    let history = run(kills::seed(), Mix::writes(), 15, 150).await;
    let unknown = share(&history, |record| record.outcome() == Outcome::Unknown);
    assert!((0.02..0.4).contains(&unknown), "{unknown}");
    let mut pushed: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &history.0 {
        if let Call::PutTag { digest, .. } = &record.call {
            *pushed.entry(digest).or_default() += 1;
        }
    }
    assert!(pushed.len() > 200 && pushed.values().all(|times| *times == 1), "{pushed:?}");
    for blob in history.filter(|record| matches!(record.call, Call::PutBlob { .. }) && record.is_ok()) {
        assert_eq!(blob.seen.status, Some(201), "only the closing PUT acknowledges an upload: {blob:?}");
    }
    for client in 0..CLIENTS * 2 {
        let calls: Vec<_> = history.0.iter().filter(|record| record.client == client).collect();
        assert!(calls.len() > 3, "client {client} made {} calls", calls.len());
        assert!(calls.windows(2).all(|two| two[0].end <= two[1].start), "client {client} makes two calls at once");
    }
}

#[tokio::test]
async fn two_clients_race_for_the_same_tag_with_different_manifests() {
    let history = run(kills::seed(), Mix::tags(), 0, 100).await;
    let puts: Vec<_> = history.0.iter().filter(|record| matches!(record.call, Call::PutTag { .. })).collect();
    let races = puts.iter().filter(|put| put.client % 2 == 1).filter(|twin| {
        puts.iter().any(|put| {
            let (Call::PutTag { repo, tag, digest }, Call::PutTag { repo: same, tag: name, digest: theirs }) =
                (&put.call, &twin.call)
            else {
                return false;
            };
            let together = put.start < twin.end && twin.start < put.end;
            put.client + 1 == twin.client && together && (repo, tag) == (same, name) && digest != theirs
        })
    });
    let races = races.count();
    assert!(races > 30, "{races}");
}

/// Begins uploads, and ends the run with the first.
struct Last(watch::Sender<bool>);

impl Door for Last {
    async fn ask(&self, ask: Ask) -> Answer {
        let status = if ask.method == reqwest::Method::HEAD { 404 } else { 202 };
        self.0.send_replace(status == 202);
        let seen = Seen { status: Some(status), whole: true, ..Seen::default() };
        Answer { seen, location: Some("/v2/a/b/blobs/uploads/1".to_owned()), ..Answer::default() }
    }
}

#[tokio::test]
async fn an_upload_that_the_end_of_the_run_leaves_open_is_not_acknowledged() {
    let (recorder, desk) = Recorder::start(Clock::default(), None).unwrap();
    let (stop, stopped) = watch::channel(false);
    let shared = shared(plan(kills::seed(), Mix::uploads()), Arc::default());
    let mut client = Client::new(0, "a".into(), shared, Last(stop), desk, stopped);
    super::hopper::turn(&mut client).await;
    drop(client);
    let history = recorder.finish().await.unwrap();
    assert_eq!(history.0.len(), 1);
    assert_eq!(history.0[0].outcome(), Outcome::Unknown, "{history:#?}");
}

#[tokio::test]
async fn clients_go_on_without_any_node_and_stop_when_nobody_wants_them_any_more() {
    // Nobody listens there.
    let address = || "127.0.0.1:1".to_owned();
    let node = |region: &str| Node {
        id: 0,
        name: region.to_owned(),
        region: region.to_owned(),
        registry: address(),
        ops: address(),
        peer: address(),
        pid: 0,
        data: std::path::PathBuf::new(),
    };
    let plan = Plan { length: Some(Duration::from_secs(3600)), ..plan(kills::seed(), Mix::writes()) };
    let running = Workload::start(&REGIONS.map(node), plan).unwrap();
    let mut counts = running.watch();
    let within = Duration::from_secs(60);
    let busy = tokio::time::timeout(within, counts.wait_for(|counts| counts.calls > 200)).await.unwrap();
    let seen = busy.unwrap().clone();
    assert_eq!((seen.ok, seen.failed + seen.unknown), (0, seen.calls));
    drop(running);
    // The recorder ends after the last client.
    let ended = async { while counts.changed().await.is_ok() {} };
    tokio::time::timeout(within, ended).await.unwrap();
}

/// Answers everything with one manifest.
struct Same(Vec<u8>, String);

impl Door for Same {
    async fn ask(&self, _: Ask) -> Answer {
        let digest = Some(self.1.clone());
        let seen = Seen { status: Some(200), whole: true, digest, ..Seen::default() };
        Answer { seen, body: self.0.clone(), ..Answer::default() }
    }
}

#[tokio::test]
async fn a_manifest_is_right_only_with_the_bytes_that_were_made_and_the_digest_that_was_asked_for() {
    let truth = Arc::<Truth>::default();
    let parts = Parts::Image { config: truth.blob(1, 10), layers: Vec::new() };
    let made = truth.manifest("1".to_owned(), parts.clone());
    let other = truth.manifest("2".to_owned(), parts.clone());
    let never = crate::truth::Manifest::new("3".to_owned(), parts);
    let mut flipped = made.bytes();
    flipped[0] ^= 1;
    for (body, digest, by_tag, by_digest) in [
        (made.bytes(), made.digest, true, true),
        (flipped, made.digest, false, false),
        // Another push's: right for a tag, which may point anywhere, and wrong for a digest.
        (other.bytes(), other.digest, true, false),
        (never.bytes(), never.digest, false, false),
    ] {
        let (recorder, desk) = Recorder::start(Clock::default(), None).unwrap();
        let (_stop, stopped) = watch::channel(false);
        let door = Same(body, digest.to_string());
        let shared = shared(plan(1, Mix::study()), Arc::clone(&truth));
        let mut client = Client::new(0, "a".into(), shared, door, desk, stopped);
        assert_eq!(client.get_tag(0, "r", "t").await.is_some(), by_tag);
        assert_eq!(client.get_manifest(0, "r", made.digest).await.is_some(), by_digest);
        drop(client);
        let history = recorder.finish().await.unwrap();
        let right: Vec<_> = history.0.iter().map(|record| record.seen.right).collect();
        assert_eq!(right, [Some(by_tag), Some(by_digest)], "{history:#?}");
    }
}

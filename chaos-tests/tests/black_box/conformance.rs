//! The official conformance suites of the OCI distribution-spec, with every category enabled but OCI_DATA_SPARSE: at a
//! single node, behind a balancer that sends each request to another node, and the same while followers are killed.
//! `deploy/conformance.sh` builds the suites and runs these; what the suites report stays in `PORTOLAN_REPORTS`.

mod suite;
mod tally;

use portolan_chaos_tests::balancer::{Balancer, Entry};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::{Result, kills, tool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use suite::{Case, Suite};
use tally::{Kill, Passed, Tally, judge};

/// A run while followers are killed goes on until so many were.
const KILLS: usize = 10;
/// From one kill to the next, in milliseconds; longer when a node is not back by then.
const KILL_EVERY_MS: std::ops::Range<u64> = 2_500..3_500;
/// How long the suites may be run again and again until everything has passed.
const AGAIN_WITHIN: Duration = Duration::from_secs(180);

/// Where the reports of a setting go. What an earlier run left there is removed.
fn reports(setting: &str, suite: Suite) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).unwrap_or(Path::new(".")).join("conformance");
    let root = std::env::var_os("PORTOLAN_REPORTS").map_or(target, PathBuf::from);
    let folder = std::path::absolute(root)?.join(format!("{setting}-{}", suite.name()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// One line for a setting, on the screen and beside its reports.
fn tell(folder: &Path, setting: &str, suite: Suite, runs: usize, tally: &Tally, kills: Option<usize>) -> Result<()> {
    let mut line = format!(
        "conformance {} {setting}: {} cases in {runs} run(s), {} passed, {} failed, {} unsupported",
        suite.name(),
        tally.cases(),
        tally.passed,
        tally.failed.len(),
        tally.unsupported.len(),
    );
    if tally.counterparts > 0 {
        line += &format!(", {} not run since their counterparts were", tally.counterparts);
    }
    if let Some(kills) = kills {
        let again = if tally.unexcused() == 0 { ", all of which passed when run again" } else { "" };
        let (cut, after) = (tally.cut.len(), tally.after_cut.len());
        line += &format!("; {kills} kills cut {cut} cases, and {after} more built on those{again}");
    }
    eprintln!("{line}");
    std::fs::write(folder.join("counts.txt"), line + "\n")?;
    Ok(())
}

/// Hands a result on; for an error the logs of all nodes are kept beside the reports.
fn keep_logs<T>(cluster: &Cluster, folder: &Path, result: Result<T>) -> Result<T> {
    if result.is_err() {
        for (index, node) in cluster.nodes().iter().enumerate() {
            std::fs::write(folder.join(format!("{}.log", node.name)), cluster.logs(index)?)?;
        }
    }
    result
}

/// Runs a suite once in every order of deletion that it knows, each in repositories of its own.
async fn run_once(suite: Suite, program: &Path, registry: &str, folder: &Path) -> Result<Vec<Vec<Case>>> {
    let orders = match suite {
        Suite::Release => vec![(false, folder.join("blobs-first")), (true, folder.join("manifests-first"))],
        Suite::Main => vec![(true, folder.to_owned())],
    };
    let mut runs = Vec::new();
    for (manifests_first, folder) in orders {
        let repo = format!("conformance/{}-{}", suite.name(), rand::random::<u32>());
        runs.push(suite.run(program, registry, &repo, manifests_first, &folder).await?);
    }
    Ok(runs)
}

/// Checks a run that nothing disturbed.
fn check_whole(suite: Suite, folder: &Path, runs: &[Vec<Case>], tally: &Tally) -> Result<()> {
    tally.check()?;
    for cases in runs {
        assert!(cases.len() >= suite.least_cases(), "only {} cases of {}", cases.len(), suite.name());
    }
    if suite == Suite::Main {
        assert_eq!(suite::unsupported_features(folder)?, [] as [String; 0]);
    }
    Ok(())
}

async fn single(suite: Suite, test: &str) -> Result<()> {
    let Some(program) = suite.program(test) else { return Ok(()) };
    let folder = reports("single", suite)?;
    let mut cluster = Cluster::start(Options { regions: vec!["eu-west"], ..Options::patient() }).await?;
    let runs = run_once(suite, &program, &cluster.nodes()[0].registry, &folder).await?;
    let mut tally = Tally::default();
    runs.iter().for_each(|cases| tally.add(judge(cases, &[], &[])));
    tell(&folder, "at a single node", suite, runs.len(), &tally, None)?;
    keep_logs(&cluster, &folder, check_whole(suite, &folder, &runs, &tally))?;
    cluster.stop().await?;
    Ok(())
}

/// Behind a balancer, first with all nodes, then while followers die.
async fn balanced(suite: Suite, test: &str) -> Result<()> {
    if !tool::have("haproxy", test) {
        return Ok(());
    }
    let Some(program) = suite.program(test) else { return Ok(()) };
    let mut cluster = Cluster::start(Options::patient()).await?;
    let whole = all_nodes(suite, &program, &cluster).await?;
    while_followers_die(suite, &program, &mut cluster, &whole).await?;
    cluster.stop().await?;
    Ok(())
}

async fn all_nodes(suite: Suite, program: &Path, cluster: &Cluster) -> Result<Passed> {
    let folder = reports("balanced", suite)?;
    let balancer = Balancer::start(cluster.nodes(), &folder).await?;
    let runs = run_once(suite, program, balancer.address(), &folder).await?;
    let entries = balancer.entries().await?;
    let mut tally = Tally::default();
    let mut passed = Passed::default();
    for cases in &runs {
        tally.add(judge(cases, &entries, &[]));
        passed.note(cases);
    }
    tell(&folder, "behind a balancer", suite, runs.len(), &tally, None)?;
    keep_logs(cluster, &folder, check_whole(suite, &folder, &runs, &tally).and_then(|()| check_spread(&entries)))?;
    Ok(passed)
}

/// That the setting is what it claims to be: no two requests in a row went to one node, on few connections.
fn check_spread(entries: &[Entry]) -> Result<()> {
    let repeated = entries.windows(2).filter(|pair| pair[0].server == pair[1].server).count();
    let connections: HashSet<&str> = entries.iter().map(|entry| entry.connection.as_str()).collect();
    eprintln!("{} requests on {} connections, {repeated} to the node before", entries.len(), connections.len());
    if repeated > 0 {
        return Err(format!("{repeated} times two requests in a row went to one node").into());
    }
    if connections.len() * 10 > entries.len() {
        return Err("the suite does not keep its connections".into());
    }
    Ok(())
}

async fn while_followers_die(suite: Suite, program: &Path, cluster: &mut Cluster, whole: &Passed) -> Result<()> {
    let folder = reports("killed", suite)?;
    let balancer = Balancer::start(cluster.nodes(), &folder).await?;
    let deaths = Deaths::default();
    let killing = kill_followers(cluster, &balancer, &deaths);
    let running = async {
        let result = run_until_passed(suite, program, &balancer, &deaths, whole, &folder).await;
        deaths.stop.store(true, Ordering::SeqCst);
        result
    };
    // A node that does not come back says more than a suite that fails for it.
    let (killed, ran) = tokio::join!(killing, running);
    keep_logs(cluster, &folder, killed.and(ran))
}

/// What dies, and whether more should.
#[derive(Default)]
struct Deaths {
    kills: Mutex<Vec<Kill>>,
    stop: AtomicBool,
}

impl Deaths {
    fn so_far(&self) -> Vec<Kill> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kill>> {
        self.kills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Kills a follower with SIGKILL every few seconds and brings it back, one at a time: two of three would be no quorum.
async fn kill_followers(cluster: &mut Cluster, balancer: &Balancer, deaths: &Deaths) -> Result<()> {
    let mut random = StdRng::seed_from_u64(kills::seed());
    let names: Vec<String> = cluster.nodes().iter().map(|node| node.name.clone()).collect();
    while !deaths.stop.load(Ordering::SeqCst) {
        let next = tokio::time::sleep(Duration::from_millis(random.random_range(KILL_EVERY_MS)));
        let leader = cluster.leader().await?;
        let followers: Vec<usize> = (0..names.len()).filter(|node| *node != leader).collect();
        let victim = followers[random.random_range(0..followers.len())];
        let id = cluster.nodes()[victim].id;
        // Before the signal, so that nobody judges without it.
        deaths.lock().push(Kill { node: names[victim].clone(), id, from_ms: now_ms(), gone_ms: i64::MAX });
        cluster.kill(victim).await?;
        if let Some(kill) = deaths.lock().last_mut() {
            kill.gone_ms = now_ms();
        }
        // A node that is back before the balancer has missed it would be sent requests while it starts.
        balancer.wait_down(&names[victim]).await?;
        cluster.restart(victim)?;
        cluster.wait_writable(victim).await?;
        balancer.wait_up(&names[victim]).await?;
        next.await;
    }
    Ok(())
}

/// Runs the suite again and again until enough nodes were killed and every case that passes without kills has passed.
async fn run_until_passed(
    suite: Suite,
    program: &Path,
    balancer: &Balancer,
    deaths: &Deaths,
    whole: &Passed,
    folder: &Path,
) -> Result<()> {
    let (mut tally, mut passed, mut runs) = (Tally::default(), Passed::default(), 0);
    let started = Instant::now();
    loop {
        let rounds = run_once(suite, program, balancer.address(), &folder.join(format!("run-{}", runs + 1))).await?;
        let entries = balancer.entries().await?;
        for cases in &rounds {
            tally.add(judge(cases, &entries, &deaths.so_far()));
            passed.note(cases);
            runs += 1;
        }
        let lacking = passed.lacks(whole);
        let kills = deaths.so_far().len();
        if tally.unexcused() > 0 || (kills >= KILLS && lacking.is_empty()) {
            tell(folder, "while followers are killed", suite, runs, &tally, Some(kills))?;
            std::fs::write(folder.join("kills.txt"), format!("{:#?}\n{:#?}\n", deaths.so_far(), tally))?;
            return tally.check();
        }
        if started.elapsed() > AGAIN_WITHIN {
            return Err(format!("after {runs} runs and {kills} kills these have not passed: {lacking:#?}").into());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_s_suite_passes_at_a_single_node() -> Result<()> {
    single(Suite::Release, "conformance v1.1.1 at a single node").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_branch_s_suite_passes_at_a_single_node() -> Result<()> {
    single(Suite::Main, "conformance main at a single node").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_s_suite_passes_behind_a_balancer_also_while_followers_die() -> Result<()> {
    balanced(Suite::Release, "conformance v1.1.1 behind a balancer").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_branch_s_suite_passes_behind_a_balancer_also_while_followers_die() -> Result<()> {
    balanced(Suite::Main, "conformance main behind a balancer").await
}

//! A daemon of a test's own, apart from any other on the machine.

use portolan_chaos_tests::tool::Home;
use portolan_chaos_tests::{Result, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::process::Child;

const SOON: Duration = Duration::from_secs(60);
const LOG: &str = "daemon.log";

/// One that runs, with its home. Dropping it kills it.
pub(super) struct Daemon {
    child: Child,
    home: Home,
}

impl Daemon {
    /// Starts it and waits until the command `ready` succeeds.
    pub(super) async fn start(home: Home, program: &str, args: &[&str], ready: &[&str]) -> Result<Self> {
        let child = home.start(LOG, program, args)?;
        let daemon = Self { child, home };
        let started = wait::until(program, SOON, || async {
            daemon.home.run(ready[0], &ready[1..]).await.map_err(|error| error.to_string())
        });
        if let Err(error) = started.await {
            let log = std::fs::read_to_string(daemon.home.path().join(LOG)).unwrap_or_default();
            return Err(format!("{error}\n{log}").into());
        }
        Ok(daemon)
    }

    /// Where it and its clients run.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// Stops it with SIGTERM, so that it can undo what it mounted.
    pub(super) async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            kill_process(pid, Signal::TERM)?;
        }
        tokio::time::timeout(SOON, self.child.wait()).await??;
        Ok(())
    }
}

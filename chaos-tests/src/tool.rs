//! Other programs, under a deadline.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// What one command of a registry client may take.
const CLIENT: Duration = Duration::from_secs(300);

/// Whether a program is there. When it is not, says so in the form that the test script counts.
#[must_use]
pub fn have(program: &str, test: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !found {
        eprintln!("skipped: {test} (no {program} on this machine)");
    }
    found
}

/// The bit of `CAP_SYS_ADMIN` in a mask of capabilities (`linux/capability.h`).
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Whether this process is root and may mount, which container engines want too: root of a container often may not.
/// When it is not, says why in the form that the test script counts.
#[must_use]
pub fn is_root(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: {test} (wants root)");
        return false;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let may_mount = has_capability(&status, CAP_SYS_ADMIN);
    if !may_mount {
        eprintln!("skipped: {test} (wants a root that may mount: CAP_SYS_ADMIN is missing here)");
    }
    may_mount
}

/// Whether `/proc/PID/status` lists a capability as effective.
fn has_capability(status: &str, capability: u64) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & capability != 0)
}

/// Runs a program to its end and gives its standard output.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than `within` (it is killed then).
pub async fn run(within: Duration, program: &str, args: &[&str]) -> crate::Result<String> {
    run_in(within, None, program, args).await
}

/// [`run`] in a folder.
///
/// # Errors
/// As [`run`].
pub async fn run_in(within: Duration, folder: Option<&Path>, program: &str, args: &[&str]) -> crate::Result<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let output = output_of(within, command, &format!("{program} {}", args.join(" "))).await?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// The standard output of a command that succeeds in time; `line` is what it is called in a message.
async fn output_of(within: Duration, mut command: Command, line: &str) -> crate::Result<Vec<u8>> {
    let output = tokio::time::timeout(within, command.output())
        .await
        .map_err(|_| format!("{line}: not done after {within:?}"))?
        .map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// A home folder of its own, in which registry clients run: they read no settings of the machine's user, and what they
/// keep (settings, caches, keys, temporary files) goes with it. Relative names in their arguments are below it.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> crate::Result<Self> {
        let folder = TempDir::with_prefix("portolan-client")?;
        std::fs::create_dir(folder.path().join("tmp"))?;
        Ok(Self { folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a client to its end and gives its standard output as text.
    ///
    /// # Errors
    /// When it cannot be started, fails, or hangs (it is killed then).
    pub async fn run(&self, program: &str, args: &[&str]) -> crate::Result<String> {
        Ok(String::from_utf8(self.bytes(program, args).await?)?)
    }

    /// [`Home::run`] for one whose standard output is content.
    ///
    /// # Errors
    /// As [`Home::run`].
    pub async fn bytes(&self, program: &str, args: &[&str]) -> crate::Result<Vec<u8>> {
        output_of(CLIENT, self.command(program, args), &format!("{program} {}", args.join(" "))).await
    }

    /// [`Home::run`] for one that reads a file of this home from its standard input.
    ///
    /// # Errors
    /// As [`Home::run`], and when there is no such file.
    pub async fn feed(&self, file: &str, program: &str, args: &[&str]) -> crate::Result<String> {
        let mut command = self.command(program, args);
        command.stdin(std::fs::File::open(self.path().join(file))?);
        let output = output_of(CLIENT, command, &format!("{program} {} <{file}", args.join(" "))).await?;
        Ok(String::from_utf8(output)?)
    }

    /// Starts a program that goes on; what it says is in `log`, a file of this home. Dropping the child kills it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, log: &str, program: &str, args: &[&str]) -> crate::Result<Child> {
        let log = std::fs::File::create(self.path().join(log))?;
        let mut command = self.command(program, args);
        Ok(command.stdout(log.try_clone()?).stderr(log).spawn().map_err(|error| format!("{program}: {error}"))?)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let home = self.path();
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(home)
            .env("HOME", home)
            .env("TMPDIR", home.join("tmp"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env_remove("DOCKER_CONFIG")
            .env_remove("REGISTRY_AUTH_FILE")
            // Of keys that live as long as this folder; without it cosign asks a terminal.
            .env("COSIGN_PASSWORD", "")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::{CAP_SYS_ADMIN, has_capability};

    #[test]
    fn a_container_s_root_is_told_from_one_that_may_mount() {
        let status = |mask: &str| format!("Name:\tit\nCapPrm:\tffffffffffffffff\nCapEff:\t{mask}\nCapBnd:\t0\n");
        for (mask, want) in [
            ("000001ffffffffff", true),
            ("0000000000200000", true),
            // What container engines leave by default.
            ("00000000a80425fb", false),
            ("0000000000000000", false),
            ("", false),
        ] {
            assert_eq!(has_capability(&status(mask), CAP_SYS_ADMIN), want, "{mask}");
        }
        assert!(!has_capability("", CAP_SYS_ADMIN));
    }
}

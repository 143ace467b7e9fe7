//! Other programs, under a deadline.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

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

/// Whether this process is root, which mounts and container engines want.
#[must_use]
pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test} (wants root)");
    }
    root
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
    let line = format!("{program} {}", args.join(" "));
    let output = tokio::time::timeout(within, command.output())
        .await
        .map_err(|_| format!("{line}: not done after {within:?}"))?
        .map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }
}

//! What the kernel knows of a process.

use portolan_chaos_tests::Result;
use std::fs;

/// Linux reports CPU time in hundredths of a second to user space on every architecture that Debian has.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory now, in MiB.
pub(crate) fn resident_mib(pid: i32) -> Result<f64> {
    status_mib(pid, "VmRSS:")
}

/// Peak resident memory, in MiB.
pub(crate) fn peak_mib(pid: i32) -> Result<f64> {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: i32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or_else(|| format!("no {field}"))?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kib / 1024.0)
}

/// CPU time used so far, in seconds, user and system together.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command's name, in parentheses, may hold spaces; fields are counted behind it.
    let (_, fields) = stat.rsplit_once(") ").ok_or("an unknown form of /proc/PID/stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || -> Result<f64> { Ok(fields.next().ok_or("no figure")?.parse()?) };
    Ok((next()? + next()?) / TICKS_PER_SECOND)
}

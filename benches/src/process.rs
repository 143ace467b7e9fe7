//! What the kernel knows of a process.

use portolan_chaos_tests::Result;
use std::fs;

/// Linux reports CPU time in hundredths of a second to user space on every architecture that Debian has.
const TICKS_PER_SECOND: f64 = 100.0;

const MIB: f64 = 1_048_576.0;

/// Resident memory now, in MiB.
///
/// # Errors
/// When the process is gone.
pub fn resident_mib(pid: i32) -> Result<f64> {
    Ok(figure(pid, "status", "VmRSS:")? / 1024.0)
}

/// Peak resident memory since the start or [`forget_peak`], in MiB.
///
/// # Errors
/// When the process is gone.
pub fn peak_mib(pid: i32) -> Result<f64> {
    Ok(figure(pid, "status", "VmHWM:")? / 1024.0)
}

/// Lets the peak begin anew.
///
/// # Errors
/// When the process is gone.
pub fn forget_peak(pid: i32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// What the process sent to the disk so far, in MiB.
///
/// # Errors
/// When the process is gone.
pub fn written_mib(pid: i32) -> Result<f64> {
    Ok(figure(pid, "io", "write_bytes:")? / MIB)
}

/// CPU time used so far, in seconds, user and system together.
///
/// # Errors
/// When the process is gone.
pub fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command's name, in parentheses, may hold spaces; fields are counted behind it.
    let (_, fields) = stat.rsplit_once(") ").ok_or("an unknown form of /proc/PID/stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || -> Result<f64> { Ok(fields.next().ok_or("no figure")?.parse()?) };
    Ok((next()? + next()?) / TICKS_PER_SECOND)
}

/// A process and its children: nginx does its work in them.
#[must_use]
pub fn with_children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// The figure behind a field's name in one of the process's files.
fn figure(pid: i32, file: &str, field: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find(|line| line.starts_with(field)).ok_or_else(|| format!("no {field}"))?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}

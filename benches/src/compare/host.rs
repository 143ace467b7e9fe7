//! The machine and the programs that a run was made with.

use portolan_chaos_tests::cluster;
use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

/// Whether a program is on the path.
#[must_use]
pub fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// The machine, as pairs of a word and what it is.
#[must_use]
pub fn machine() -> Vec<(String, String)> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let memory = memory.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default();
    let load = read("/proc/loadavg");
    vec![
        ("CPU".to_owned(), format!("{cpu}, {cores} cores")),
        ("memory".to_owned(), format!("{:.0} GiB", memory / 1_048_576.0)),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("system".to_owned(), field_of(&read("/etc/os-release"), "PRETTY_NAME=")),
        ("load before".to_owned(), load.split_whitespace().next().unwrap_or_default().to_owned()),
    ]
}

/// How many processes wanted a core during the last minute.
#[must_use]
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// The programs that are compared, and their versions.
#[must_use]
pub fn versions() -> Vec<(String, String)> {
    let portolan = cluster::binary();
    let asked: [(&str, &OsStr, &str); 3] = [
        ("Portolan", portolan.as_os_str(), "--version"),
        ("docker-registry", OsStr::new("docker-registry"), "--version"),
        ("nginx", OsStr::new("nginx"), "-v"),
    ];
    asked.iter().map(|(name, program, argument)| ((*name).to_owned(), first_line(program, argument))).collect()
}

fn first_line(program: &OsStr, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).stdin(Stdio::null()).output() else {
        return "not installed".to_owned();
    };
    // nginx tells its version on standard error.
    let text = [output.stdout, output.stderr].concat();
    version(String::from_utf8_lossy(&text).lines().next().unwrap_or_default()).to_owned()
}

/// The version in a line that begins with the program's name, in whatever form.
fn version(line: &str) -> &str {
    let last = line.split_whitespace().next_back().unwrap_or(line);
    last.rsplit('/').next().unwrap_or(last)
}

/// `name : value` of a file below `/proc`.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `NAME="value"` of a file of the system.
fn field_of(text: &str, name: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim_matches('"').to_owned()
}

/// The time now, in UTC, to the minute.
#[must_use]
pub fn now() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).stdin(Stdio::null()).output();
    date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{field, field_of, version};

    #[test]
    fn a_version_is_the_last_word_without_a_name() {
        for (line, want) in [
            ("portolan 0.1.0", "0.1.0"),
            ("docker-registry github.com/docker/distribution 2.8.2+ds1", "2.8.2+ds1"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("", ""),
        ] {
            assert_eq!(version(line), want, "{line}");
        }
    }

    #[test]
    fn fields_of_system_files_are_found() {
        let text = "processor\t: 0\nmodel name\t: A CPU: fast\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A CPU: fast"));
        assert_eq!(field(text, "flags"), None);
        assert_eq!(field_of("ID=x\nPRETTY_NAME=\"An OS 1\"\n", "PRETTY_NAME="), "An OS 1");
    }
}

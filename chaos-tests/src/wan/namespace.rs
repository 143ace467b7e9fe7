//! Network namespaces of our own: made, entered, swept away. All are named `wan-` and a region.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tun_rs::{DeviceBuilder, SyncDevice};

/// What every namespace's name begins with, and no other's.
const PREFIX: &str = "wan-";

/// Where `ip` keeps its namespaces.
const FOLDER: &str = "/run/netns";

/// Packets that a device holds for the router.
const DEVICE_QUEUE: u32 = 4096;

/// Socket buffers up to this size: a gigabit over 220 ms has 27 MB under way, which the usual 4 MB never fill.
const LARGEST_BUFFER: &str = "4096 131072 134217728";

/// A namespace or device that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A program failed.
    #[error("{command}: {message}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// What it said.
        message: String,
    },
    /// A namespace cannot be entered.
    #[error("network namespace {name}: {source}")]
    Enter {
        /// The namespace.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A TUN device cannot be made.
    #[error("TUN device in {place} (is there a /dev/net/tun, and is this root?): {source}")]
    Device {
        /// The namespace.
        place: String,
        /// Why.
        source: io::Error,
    },
}

/// The namespace of a region.
#[must_use]
pub fn name(region: &str) -> String {
    format!("{PREFIX}{region}")
}

/// Makes a region's namespace with its addresses, and the device that the router reads.
///
/// # Errors
/// When `ip` fails or there are no TUN devices.
pub fn create(region: &str, addresses: &[Ipv4Addr], mtu: u16) -> Result<SyncDevice, NamespaceError> {
    let name = name(region);
    ip(&["netns", "add", &name])?;
    let place = name.clone();
    let device = within(region, move || -> io::Result<SyncDevice> {
        // Paths under `net` belong to the namespace of the thread that opens them.
        for key in ["tcp_rmem", "tcp_wmem"] {
            std::fs::write(Path::new("/proc/sys/net/ipv4").join(key), LARGEST_BUFFER)?;
        }
        // What a link was like must not be remembered for connections after it has changed.
        std::fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")?;
        tun("wan0", mtu)
    })?;
    let device = device.map_err(|source| NamespaceError::Device { place, source })?;
    ip(&["-n", &name, "link", "set", "lo", "up"])?;
    for address in addresses {
        ip(&["-n", &name, "address", "add", &format!("{address}/32"), "dev", "wan0"])?;
    }
    ip(&["-n", &name, "link", "set", "wan0", "up"])?;
    ip(&["-n", &name, "route", "add", "10.77.0.0/16", "dev", "wan0"])?;
    Ok(device)
}

/// Makes the device by which this host reaches every region.
///
/// # Errors
/// When `ip` fails or there are no TUN devices.
pub fn create_host(address: Ipv4Addr, mtu: u16) -> Result<SyncDevice, NamespaceError> {
    let device =
        tun("wan-host", mtu).map_err(|source| NamespaceError::Device { place: "the host".to_owned(), source })?;
    ip(&["address", "add", &format!("{address}/32"), "dev", "wan-host"])?;
    ip(&["link", "set", "wan-host", "up"])?;
    ip(&["route", "add", "10.77.0.0/16", "dev", "wan-host"])?;
    Ok(device)
}

/// Runs `act` on a thread of its own inside a region's namespace. Sockets opened there stay there.
///
/// # Errors
/// When there is no such namespace or it may not be entered.
pub fn within<T: Send + 'static>(region: &str, act: impl FnOnce() -> T + Send + 'static) -> Result<T, NamespaceError> {
    let name = name(region);
    let path = PathBuf::from(FOLDER).join(&name);
    let thread = std::thread::Builder::new().name(name.clone()).spawn(move || -> io::Result<T> {
        let namespace = std::fs::File::open(path)?;
        let network = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(network))?;
        Ok(act())
    });
    let joined = thread.and_then(|thread| match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    });
    joined.map_err(|source| NamespaceError::Enter { name, source })
}

/// Removes every namespace of ours, whoever left it; says which.
///
/// # Errors
/// When `ip` fails.
pub fn sweep() -> Result<Vec<String>, NamespaceError> {
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return Ok(Vec::new()) };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ours: Vec<_> = names.filter(|name| name.starts_with(PREFIX)).collect();
    ours.sort();
    for name in &ours {
        ip(&["netns", "delete", name])?;
    }
    Ok(ours)
}

fn tun(name: &str, mtu: u16) -> io::Result<SyncDevice> {
    let device = DeviceBuilder::new().name(name).mtu(mtu).offload(true).build_sync()?;
    device.set_tx_queue_len(DEVICE_QUEUE)?;
    device.set_nonblocking(true)?;
    Ok(device)
}

fn ip(arguments: &[&str]) -> Result<(), NamespaceError> {
    let failed = |message| NamespaceError::Command { command: format!("ip {}", arguments.join(" ")), message };
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

//! What was asked of every link beside what is measured on it.

use super::quantity::{show_duration, show_rate, show_share};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A running WAN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The topology's name.
    pub topology: String,
    /// The regions and their first addresses, in order.
    pub regions: Vec<(String, String)>,
    /// Every ordered pair.
    pub links: Vec<LinkStatus>,
    /// CPU seconds of the router since it runs.
    pub cpu_seconds: f64,
    /// Seconds since it runs.
    pub up_seconds: f64,
    /// How often the router has measured; what it measured is as of the last time.
    pub round: u64,
}

/// One direction of a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// The delay asked for, one way.
    pub delay_ms: f64,
    /// The jitter asked for.
    pub jitter_ms: f64,
    /// The loss asked for, 0 to 1.
    pub loss: f64,
    /// The reordering asked for, 0 to 1.
    pub reorder: f64,
    /// The rate asked for in bits per second, 0 for none.
    pub rate: u64,
    /// The queue in bytes.
    pub queue_bytes: u64,
    /// Whether it is cut.
    pub cut: bool,
    /// The round trip asked for: this delay and the one back.
    pub rtt_ms: f64,
    /// The round trip measured: the median of the last three seconds.
    pub measured_rtt_ms: Option<f64>,
    /// Bits per second carried during the last second.
    pub carried: u64,
    /// Bytes of packets that went on their way since the WAN is up.
    pub carried_bytes: u64,
    /// Packets offered since the link's last change.
    pub offered: u64,
    /// Of these, lost by chance.
    pub lost: u64,
    /// Of these, dropped because the queue was full.
    pub overflowed: u64,
    /// Of these, met by a cut.
    pub met_cut: u64,
}

impl LinkStatus {
    /// The loss measured, once there was a packet.
    #[must_use]
    pub fn measured_loss(&self) -> Option<f64> {
        (self.offered > 0).then(|| self.lost as f64 / self.offered as f64)
    }
}

impl Status {
    /// The link between two regions.
    #[must_use]
    pub fn link(&self, from: &str, to: &str) -> Option<&LinkStatus> {
        self.links.iter().find(|link| link.from == from && link.to == to)
    }

    /// A table for people: asked beside measured.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header([
            "FROM",
            "TO",
            "STATE",
            "RTT",
            "MEASURED",
            "JITTER",
            "LOSS",
            "MEASURED",
            "REORDER",
            "RATE",
            "CARRIED",
            "LOST",
            "OVERFLOWED",
            "MET CUT",
        ]);
        for link in &self.links {
            let ms = |ms: f64| show_duration(Duration::from_secs_f64(ms.max(0.0) / 1e3));
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            table.add_row([
                link.from.clone(),
                link.to.clone(),
                if link.cut { "cut".to_owned() } else { "up".to_owned() },
                ms(link.rtt_ms),
                or_dash(link.measured_rtt_ms.map(ms)),
                ms(link.jitter_ms),
                show_share(link.loss),
                or_dash(link.measured_loss().map(show_share)),
                show_share(link.reorder),
                show_rate(link.rate),
                if link.carried == 0 { "0".to_owned() } else { show_rate(link.carried) },
                link.lost.to_string(),
                link.overflowed.to_string(),
                link.met_cut.to_string(),
            ]);
        }
        for column in 3..14 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let share = 100.0 * self.cpu_seconds / self.up_seconds.max(0.001);
        let regions: Vec<_> = self.regions.iter().map(|(name, address)| format!("{name} {address}")).collect();
        format!(
            "{}: {}\n{}\nrouter: up {:.0} s, CPU {:.2} s ({share:.1} % of one core)",
            self.topology,
            regions.join(", "),
            table.trim_fmt(),
            self.up_seconds,
            self.cpu_seconds,
        )
    }
}

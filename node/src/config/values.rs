//! What values a single key takes: words for its type, and ranges of numbers.

use toml::Value;

/// The words for what a key takes, where the type's own words would not tell enough.
pub(crate) fn allowed(table: &str, key: &str) -> Option<&'static str> {
    Some(match (table, key) {
        ("public" | "peer" | "ops", "listen") => "an IP address and a port such as \"127.0.0.1:5000\"",
        ("node", "role") => "\"full\", \"witness\" or \"edge\"",
        ("cluster", "profile") => "\"lan\", \"wan\" or \"global\"",
        ("cluster", "members") => {
            "a list of nodes such as [{ name = \"a\", region = \"eu\", peer = \"10.0.0.1:7000\" }]"
        }
        ("auth", "mode") => "\"open\"",
        ("storage", "verify_reads") => "\"always\", \"interval\" or \"never\"",
        ("node", _) | ("cluster", "name") => "a string",
        ("public", "tls_cert" | "tls_key") | ("peer", "ca" | "cert" | "key") => "the path of a PEM file",
        ("peer", "advertise") => "a host and a port such as \"node-a.example.org:7000\"",
        _ => return None,
    })
}

/// Durations longer than this are taken for a mistake of the unit: 366 days in milliseconds.
const LONGEST_MS: i64 = 366 * 24 * 3600 * 1000;
/// Sizes larger than this are taken for a mistake of the unit: 1 PiB.
const LARGEST_BYTES: i64 = 1 << 50;

/// Keys of which 0 means "none" or "at once".
const ZERO_ALLOWED: [(&str, &str); 4] = [
    ("storage", "reserve_bytes"),
    ("deletes", "fence_timeout_ms"),
    ("deletes", "grace_ms"),
    ("uploads", "owner_wait_ms"),
];

/// What range a number should have had, when it is outside.
pub(crate) fn out_of_range(table: &str, key: &str, value: &Value) -> Option<String> {
    let number = value.as_integer()?;
    let lowest = i64::from(!ZERO_ALLOWED.contains(&(table, key)));
    let (highest, unit) = if key.ends_with("_ms") {
        (LONGEST_MS, " milliseconds")
    } else if key.ends_with("_bytes") {
        (LARGEST_BYTES, " bytes")
    } else {
        (i64::from(u32::MAX), "")
    };
    (!(lowest..=highest).contains(&number)).then(|| format!("must be from {lowest} to {highest}{unit}"))
}

//! The names of this crate's metrics.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

/// Says what each metric means, and begins it at zero. Repeating it is harmless.
pub(crate) fn describe() {
    describe_gauge!("portolan_upload_sessions", "Upload sessions that this node keeps.");
    describe_counter!("portolan_upload_bytes_total", Unit::Bytes, "Bytes of uploads that landed on this node's disk.");
    describe_counter!(
        "portolan_stale_answers_total",
        "Tags and lists answered without a leader's confirmation, and marked so."
    );
    upload_sessions().set(0.0);
    upload_bytes().increment(0);
    stale_answers().increment(0);
}

/// Upload sessions.
pub(crate) fn upload_sessions() -> Gauge {
    gauge!("portolan_upload_sessions")
}

/// Bytes of uploads.
pub(crate) fn upload_bytes() -> Counter {
    counter!("portolan_upload_bytes_total")
}

/// Answers that may be stale.
pub(crate) fn stale_answers() -> Counter {
    counter!("portolan_stale_answers_total")
}

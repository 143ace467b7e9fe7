//! `OTEL_PROPAGATORS`: what of a trace crosses processes. The SDK leaves this variable to us.

use opentelemetry::global;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

/// What the specification says when the variable is not set.
pub(crate) const DEFAULT: &str = "tracecontext,baggage";

/// Installs the propagators of a comma-separated list, for the whole process.
pub(crate) fn install(list: &str) {
    let chosen = names(list).into_iter().filter_map(propagator).collect();
    global::set_text_map_propagator(TextMapCompositePropagator::new(chosen));
}

/// Each name once; `none` leaves out the others too.
fn names(list: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name == "none" {
            return Vec::new();
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn propagator(name: &str) -> Option<Box<dyn TextMapPropagator + Send + Sync>> {
    match name {
        "tracecontext" => Some(Box::new(TraceContextPropagator::new())),
        "baggage" => Some(Box::new(BaggagePropagator::new())),
        _ => {
            tracing::warn!(
                name,
                "OTEL_PROPAGATORS names what this node does not know; it has tracecontext, baggage, none"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, names};

    #[test]
    fn the_list_is_read_as_the_specification_says() {
        let cases: [(&str, &[&str]); 5] = [
            (DEFAULT, &["tracecontext", "baggage"]),
            (" baggage , tracecontext,baggage", &["baggage", "tracecontext"]),
            ("tracecontext,none", &[]),
            ("none", &[]),
            ("b3", &["b3"]),
        ];
        for (list, want) in cases {
            assert_eq!(names(list), want, "{list:?}");
        }
    }
}

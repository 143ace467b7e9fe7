//! Keeps apart what ships and what is broken on purpose: each build refuses what the other is for, and says what it is.

use portolan_sabotage::{ARMED, Sabotage, UnknownWay, VARIABLE};
use std::sync::OnceLock;

/// Why a build and its environment do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// The variable of the other build.
    #[error(
        "{VARIABLE} is set, and this build cannot be sabotaged: nothing would be tested. Unset it, or run \
         portolan-sabotaged"
    )]
    NotSabotaged,
    /// A sabotaged build without a sabotage.
    #[error("this build exists to be broken, and {VARIABLE} does not say how; where it shall work, run portolan")]
    NoWay,
    /// A way that there is not.
    #[error("{VARIABLE}: {0}")]
    UnknownWay(UnknownWay),
}

/// Refuses a command that would not be what its caller believes: a node that is thought to be sabotaged and is not, or
/// a sabotaged build that nobody told in which way. Of the plain one only what runs nodes is refused.
///
/// # Errors
/// When the build and the environment do not go together.
pub(crate) fn check(runs_nodes: bool) -> Result<(), Mismatch> {
    judge(ARMED, runs_nodes, std::env::var_os(VARIABLE).is_some(), portolan_sabotage::chosen())
}

fn judge(
    armed: bool,
    runs_nodes: bool,
    is_set: bool,
    chosen: Result<Option<Sabotage>, UnknownWay>,
) -> Result<(), Mismatch> {
    match (armed, chosen) {
        (false, _) if is_set && runs_nodes => Err(Mismatch::NotSabotaged),
        (true, Ok(None)) => Err(Mismatch::NoWay),
        (true, Err(unknown)) => Err(Mismatch::UnknownWay(unknown)),
        (false, _) | (true, Ok(Some(_))) => Ok(()),
    }
}

/// The version, which says so when it is sabotaged.
pub(crate) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let version = env!("CARGO_PKG_VERSION");
        match portolan_sabotage::chosen() {
            _ if !ARMED => version.to_owned(),
            Ok(Some(way)) => format!("{version} SABOTAGED ({way})"),
            Ok(None) | Err(_) => format!("{version} SABOTAGED (no way is chosen)"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{ARMED, Mismatch, Sabotage, judge, version};

    #[test]
    fn each_build_refuses_what_the_other_is_for() {
        let way = || Ok(Some(Sabotage::SkipFsync));
        let unknown = || "x".parse::<Sabotage>().map(Some);
        let (plain, sabotaged, nodes, client) = (false, true, true, false);
        let cases = [
            (judge(plain, nodes, false, Ok(None)), Ok(())),
            (judge(plain, nodes, true, way()), Err(Mismatch::NotSabotaged)),
            (judge(plain, nodes, true, unknown()), Err(Mismatch::NotSabotaged)),
            (judge(plain, client, true, way()), Ok(())),
            (judge(sabotaged, nodes, true, way()), Ok(())),
            (judge(sabotaged, nodes, false, Ok(None)), Err(Mismatch::NoWay)),
            (judge(sabotaged, client, false, Ok(None)), Err(Mismatch::NoWay)),
            (
                judge(sabotaged, nodes, true, unknown()),
                Err(Mismatch::UnknownWay(unknown().expect_err("no way has this name"))),
            ),
        ];
        for (at, (found, want)) in cases.into_iter().enumerate() {
            assert_eq!(found, want, "case {at}");
        }
    }

    #[test]
    fn what_ships_has_a_plain_version() {
        assert_eq!(version() == env!("CARGO_PKG_VERSION"), !ARMED, "{}", version());
    }
}

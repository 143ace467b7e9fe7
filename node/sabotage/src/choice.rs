//! Which way this process is sabotaged in.

use crate::way::{Sabotage, UnknownWay};
use std::ffi::OsStr;

/// The environment variable that names the way.
pub const VARIABLE: &str = "PORTOLAN_SABOTAGE";

/// Whether this build can be sabotaged at all.
pub const ARMED: bool = cfg!(feature = "armed");

/// The way that the environment asks for; `None` when it asks for none. What the build can do does not matter.
///
/// # Errors
/// When the variable is set and names no way.
pub fn chosen() -> Result<Option<Sabotage>, UnknownWay> {
    named(std::env::var_os(VARIABLE).as_deref())
}

/// The way that this value of the variable names.
fn named(value: Option<&OsStr>) -> Result<Option<Sabotage>, UnknownWay> {
    value.map(|name| name.to_string_lossy().parse()).transpose()
}

/// Whether this process is sabotaged in that way.
#[cfg(not(feature = "armed"))]
#[inline(always)]
#[must_use]
pub const fn is(_way: Sabotage) -> bool {
    false
}

/// Whether this process is sabotaged in that way: the environment is read once. A name that is no way has ended the
/// process at its start, see [`chosen`].
#[cfg(feature = "armed")]
#[must_use]
pub fn is(way: Sabotage) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Sabotage>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| chosen().ok().flatten()) == Some(way)
}

#[cfg(test)]
mod tests {
    #[cfg(not(feature = "armed"))]
    use super::ARMED;
    use super::{Sabotage, UnknownWay, is, named};
    use std::ffi::OsStr;

    #[test]
    fn the_variable_names_one_way_or_none_and_anything_else_is_refused() {
        assert_eq!(named(None), Ok(None));
        for way in Sabotage::ALL {
            assert_eq!(named(Some(OsStr::new(way.name()))), Ok(Some(way)));
        }
        for given in ["", "none", "skip-fsync,serve-rot"] {
            assert_eq!(named(Some(OsStr::new(given))), Err(UnknownWay { given: given.to_owned() }));
        }
    }

    /// It compiles only where `is` is a constant, and only where that says no.
    #[cfg(not(feature = "armed"))]
    #[test]
    fn an_unarmed_build_takes_no_way_and_decides_when_it_compiles() {
        const {
            assert!(!ARMED);
            let mut at = 0;
            while at < Sabotage::ALL.len() {
                assert!(!is(Sabotage::ALL[at]));
                at += 1;
            }
        }
    }

    /// The variable is read once per process: this one starts itself anew for each way, and that one looks which ways
    /// it takes.
    #[cfg(feature = "armed")]
    #[test]
    fn an_armed_build_takes_the_chosen_way_and_no_other() {
        const ASKED: &str = "PORTOLAN_SABOTAGE_TOLD";
        let taken =
            || Sabotage::ALL.into_iter().filter(|way| is(*way)).map(Sabotage::name).collect::<Vec<_>>().join(" ");
        if let Some(wanted) = std::env::var_os(ASKED) {
            assert_eq!(taken(), wanted.to_string_lossy());
            return;
        }
        let name = std::thread::current().name().expect("tests have names").to_owned();
        for chosen in Sabotage::ALL.map(Some).into_iter().chain([None]) {
            let mut again = std::process::Command::new(std::env::current_exe().expect("it runs"));
            again.args(["--exact", &name]).env_remove(super::VARIABLE);
            again.env(ASKED, chosen.map_or("", Sabotage::name));
            again.envs(chosen.map(|way| (super::VARIABLE, way.name())));
            let ended = again.output().expect("it starts");
            assert!(ended.status.success(), "{chosen:?}: {}", String::from_utf8_lossy(&ended.stdout));
            assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "{chosen:?}: it ran no test");
        }
    }
}

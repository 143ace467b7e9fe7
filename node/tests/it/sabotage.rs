//! Whoever believes that he tests a sabotaged node, and does not, is told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn portolan(arguments: &[&str], sabotage: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(arguments).env_remove("PORTOLAN_SABOTAGE");
    command.envs(sabotage.map(|way| ("PORTOLAN_SABOTAGE", way)));
    command.output().unwrap()
}

#[test]
fn what_ships_runs_no_node_while_it_is_to_be_sabotaged() {
    for command in [&["serve", "--config", "/nowhere/portolan.toml"][..], &["dev", "--data", "/nowhere"]] {
        for way in ["skip-fsync", "no-such-way", ""] {
            let refused = portolan(command, Some(way));
            let words = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{command:?} {way:?}: {words}");
            assert!(words.contains("PORTOLAN_SABOTAGE is set"), "{command:?} {way:?}: {words}");
        }
    }
    let unset = portolan(&["serve", "--config", "/nowhere/portolan.toml"], None);
    let words = String::from_utf8(unset.stderr).unwrap();
    assert!(words.contains("cannot read the configuration"), "{words}");
}

#[test]
fn the_version_of_what_ships_is_a_plain_one_whatever_the_environment_says() {
    for sabotage in [None, Some("skip-fsync")] {
        let told = portolan(&["--version"], sabotage);
        let expected = concat!("portolan ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(String::from_utf8(told.stdout).unwrap(), expected);
    }
}

//! `portolan`: one binary that is a node, a whole cluster for development, and the command line of an operator.

use std::process::ExitCode;

// Whoever builds with the feature wants the other binary, and must not put a broken one in this one's place.
const _: () = assert!(!portolan_sabotage::ARMED, "with the feature `sabotage`, build --bin portolan-sabotaged");

fn main() -> ExitCode {
    portolan::main()
}

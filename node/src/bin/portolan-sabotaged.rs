//! `portolan-sabotaged`: `portolan` with one safeguard taken out, for the tests of the tests. See `portolan_sabotage`.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan::main()
}

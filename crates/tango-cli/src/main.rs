//! The `tango` command. The code is in the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    tango_cli::main()
}

//! The command `tango-bridge`. The code is in the library of this package.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match tango_bridge::run::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            _ = std::io::stderr().write_all(format!("tango-bridge: {failure}\n").as_bytes());
            failure.status()
        }
    }
}

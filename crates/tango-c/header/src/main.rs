//! Writes `include/tango.h`, or, with `--check`, fails if it is not what this would write.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let config = cbindgen::Config::from_file(library.join("cbindgen.toml")).expect("cbindgen.toml can be read");
    let bindings = cbindgen::Builder::new().with_crate(&library).with_config(config).generate();
    let mut header = Vec::new();
    bindings.expect("the crate can be read").write(&mut header);
    let file = library.join("include/tango.h");
    if !check {
        std::fs::write(&file, header).expect("the header can be written");
    } else if std::fs::read(&file).expect("the header can be read") != header {
        eprintln!("include/tango.h is not what the crate says: cargo run --manifest-path crates/tango-c/header/Cargo.toml");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

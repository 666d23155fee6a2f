//! The `tango` command: shows what a link of `rust_tango` does, and brings links to the shell.
//!
//! ```text
//! tango                      demo.rs   the main job: processes, a real link, every byte checked
//! tango send / recv LINK     send.rs   standard input -> link;  recv.rs  link -> standard output
//! tango ls / rm              ls.rs     who is on which link;    rm.rs    take links away
//! ```
//!
//! The demonstration starts this same program again for its processes, with a hidden subcommand
//! (`demo_roles.rs`); `demo_crew.rs` looks after them, as `receivers.rs` does after those who read what is sent.
//! What all subcommands share: where links are (`place.rs`), signals (`signals.rs`), how to wait for what nobody
//! reports (`pauses.rs`), how a failure is told (`failure.rs`), how numbers and tables are written (`report.rs`).
//!
//! A library only so that its command line can be fuzzed (`fuzz/`): programs use `rust_tango`.
//!
//! Exit status: 0, done; 1, failed; 2, wrong use; 3, fragments were lost; 128 + N, ended by signal N.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("the tango command needs links in shared memory, which rust_tango has on Linux only");

mod demo;
mod demo_crew;
mod demo_roles;
mod failure;
mod ls;
mod pauses;
mod place;
mod receivers;
mod recv;
mod report;
mod rm;
mod send;
mod signals;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::place::Place;

const EXAMPLES: &str = "\
Examples:
  tango                             show it: messages between processes, checked
  tango send quotes < FILE          in one terminal: waits for a receiver
  tango recv quotes > COPY          in another one: the same bytes
  tail -f LOG | tango send log --lines --wait-for 0 --consumers 4
  tango recv log --lines            up to four of these get every line
  tango recv log --lines --observe  any number of these; nobody waits for them
  tango ls                          which links there are, and who is on them
  tango rm quotes                   take away what a crashed sender left
  tango rm --dead                   take away all links that nobody uses

A link is one sender, its ring of messages in shared memory, and everyone who
reads it. Links are found by name, in the folder that --dir names, or TANGO_DIR
in the environment, or else /dev/shm/tango-UID.

Exit status: 0 done, 1 failed, 2 wrong use, 3 fragments were lost, 128 + N ended
by signal N.";

/// Messages between processes of one machine, through shared memory
#[derive(Debug, Parser)]
#[command(name = "tango", version, after_help = EXAMPLES)]
struct Cli {
    /// The folder of links (otherwise: TANGO_DIR)
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Send(send::Arguments),
    Recv(recv::Arguments),
    Ls(ls::Arguments),
    Rm(rm::Arguments),
    #[command(hide = true)]
    Role(demo_roles::Arguments),
}

/// The whole command: arguments and standard input in, exit status out.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let link = match &cli.command {
        Some(Command::Send(arguments)) => Some(arguments.link.as_str()),
        Some(Command::Recv(arguments)) => Some(arguments.link.as_str()),
        _ => None,
    };
    signals::explain_lost_memory(link);
    let place = Place::new(cli.dir);
    let done = match cli.command {
        None => demo::run(&demo::Arguments::default(), &place),
        Some(Command::Demo(arguments)) => demo::run(&arguments, &place),
        Some(Command::Send(arguments)) => send::run(&arguments, &place),
        Some(Command::Recv(arguments)) => recv::run(&arguments, &place),
        Some(Command::Ls(_)) => ls::run(&place),
        Some(Command::Rm(arguments)) => rm::run(&arguments, &place),
        Some(Command::Role(arguments)) => demo_roles::run(&arguments, &place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// What the command makes of its arguments (the first is its own name) before it does anything.
///
/// # Errors
/// The sentence that it ends with, if they make no sense. (Asking for help makes sense.)
pub fn check(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    match Cli::try_parse_from(arguments) {
        Err(error) if !asks_for_help(&error) => Err(sentence(&error).sentence().unwrap_or_default()),
        _ => Ok(()),
    }
}

fn asks_for_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// What clap has to say: help as it is, a mistake in one line.
fn explain(error: &clap::Error) -> ExitCode {
    if asks_for_help(error) {
        return match error.print().and_then(|()| io::stdout().flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::writing(error).tell(),
        };
    }
    sentence(error).tell()
}

/// A mistake in the arguments, in one line.
fn sentence(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let parts: Vec<String> = text
        .split("\n\n")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty() && !part.starts_with("Usage:") && !part.starts_with("For more"))
        .collect();
    let sentence = parts.join("; ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    Failure::usage(format!("{sentence} ('tango --help' explains)"))
}

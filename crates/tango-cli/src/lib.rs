//! The `tango` command: links of `rust_tango` for the shell, and a demonstration of what a link does.
//!
//! Each subcommand is one file (or folder) with its options, its help text and a function `run`:
//!
//! ```text
//! tango [demo]       demo/     stream messages between processes and check every byte
//! tango send LINK    send.rs   standard input -> link
//! tango recv LINK    recv.rs   link -> standard output
//! tango ls           ls.rs     list links, their producers and their consumers
//! tango rm LINK      rm.rs     remove links
//! ```
//!
//! A subcommand imports only the shared files: `receivers.rs` (the receivers of a link, as its sender sees
//! them), `folder.rs` (where links are), `signals.rs`, `options.rs` (option values), `format.rs` (numbers
//! and tables), `backoff.rs` (polling) and `failure.rs` (error messages and exit statuses).
//!
//! This crate has a library target for the fuzz target of the command line. Programs depend on `rust_tango`
//! instead.
//!
//! Exit status: 0 for success, 1 for a failure, 2 for invalid usage, 3 if fragments were lost, 128 + N
//! after signal N.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("the tango command needs links in shared memory, which rust_tango supports on Linux only");

mod failure;

mod backoff;
mod folder;
mod format;
mod options;
mod receivers;
mod signals;

mod demo;
mod ls;
mod recv;
mod rm;
mod send;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::folder::LinkFolder;

const DETAILS: &str = "\
Examples:
  tango                               run the demonstration (3 seconds)
  tango recv numbers > numbers.txt &  wait for a link and copy it to a file
  seq 1000000 | tango send numbers    send standard input to that receiver
  tail -f /var/log/syslog | tango send log --lines --wait-for 0 --consumers 4
  tango recv log --lines              receive every line (up to 4 receivers)
  tango recv log --lines --observe    receive without slowing the sender down
  tango ls                            list the links and their users
  tango rm numbers                    remove a link left by a crashed sender
  tango rm --dead                     remove all links that no process uses

A link connects one sender to its receivers through a ring of fragments in
shared memory. A fragment is one message, or a part of a long one. A link is
found by its name, in the folder of links.

Exit status:
  0      success
  1      failure
  2      invalid usage
  3      fragments were lost
  128+N  terminated by signal N";

/// Send messages between processes of one machine through shared memory
#[derive(Debug, Parser)]
#[command(name = "tango", version, after_help = DETAILS)]
struct Cli {
    /// Folder of the links
    /// [default: $TANGO_DIR, else /dev/shm/tango-UID]
    #[arg(long, global = true, value_name = "FOLDER", verbatim_doc_comment, display_order = 100)]
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
    Role(demo::role::Arguments),
}

/// Runs the command with the arguments of this process, and returns its exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_parse_error(&error),
    };
    let link = match &cli.command {
        Some(Command::Send(arguments)) => Some(arguments.link.as_str()),
        Some(Command::Recv(arguments)) => Some(arguments.link.as_str()),
        _ => None,
    };
    signals::report_truncated_files(link);
    let folder = LinkFolder::new(cli.dir);
    let result = match cli.command {
        None => demo::run(&demo::Arguments::default(), &folder),
        Some(Command::Demo(arguments)) => demo::run(&arguments, &folder),
        Some(Command::Send(arguments)) => send::run(&arguments, &folder),
        Some(Command::Recv(arguments)) => recv::run(&arguments, &folder),
        Some(Command::Ls(_)) => ls::run(&folder),
        Some(Command::Rm(arguments)) => rm::run(&arguments, &folder),
        Some(Command::Role(arguments)) => demo::role::run(&arguments, &folder),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Parses arguments without running anything. The first argument is the name of the command itself.
///
/// # Errors
/// The error message, on one line, if the arguments are invalid. A request for help is valid.
pub fn check(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    match Cli::try_parse_from(arguments) {
        Err(error) if !is_help(&error) => Err(usage_failure(&error).message().unwrap_or_default()),
        _ => Ok(()),
    }
}

/// `--help` and `--version`, which clap reports as errors.
fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// Prints help texts as they are, and errors on one line.
fn report_parse_error(error: &clap::Error) -> ExitCode {
    if is_help(error) {
        return match error.print().and_then(|()| io::stdout().flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::output(error).report(),
        };
    }
    usage_failure(error).report()
}

/// Joins clap's paragraphs into one line and drops its general hints.
fn usage_failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| {
            !paragraph.is_empty() && !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more")
        })
        .collect();
    let message = paragraphs.join("; ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Failure::usage(format!("{message} (see 'tango --help')"))
}

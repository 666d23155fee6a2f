//! The `tango` command: links of `rust_tango` for the shell, and a demonstration of what a link does.
//!
//! Each subcommand is one file (or folder) with its options, its help text and a function `run`:
//!
//! ```text
//! tango [demo]       demo/       stream messages between processes and check every byte
//! tango send LINK    send/       standard input -> link
//! tango recv LINK    recv/       link -> standard output
//! tango record LINK  record.rs   links -> file
//! tango capture LINK capture/    links -> pcapng, for Wireshark
//! tango info FILE    info.rs     what is in a file
//! tango replay FILE  replay/     file -> links
//! tango ls           ls/         list links, their producers and their consumers
//! tango inspect LINK inspect.rs  all of a link, and of the processes that use it
//! tango top          top/        show the links and their rates on a screen
//! tango peek LINK    peek/       show the newest fragments
//! tango signal LINK  signal.rs   stop a link, and wait until its producer has seen it
//! tango doctor       doctor/     what on this machine hurts links
//! tango bench        bench.rs    how fast a link is here, compared with a cache line
//! tango ping LINK    ping.rs     the same between two processes that people start
//! tango export       export/     metrics of all links for Prometheus
//! tango rm LINK      rm.rs       remove links
//! ```
//!
//! A subcommand imports only the shared files: `recording/` (the files of recordings, and how several links are read at
//! once), `measuring/` (what two processes do to measure a link), `receivers.rs` (the receivers of a link, as its sender
//! sees them), `joining.rs` (waiting for a link), `report.rs` (what is said of a link), `sampling.rs` (counts of links, and
//! rates), `summary.rs` (what went through), `shown.rs` (fragments for people),
//! `arguments.rs` (options of several subcommands), `options.rs` (option values), `hints.rs` (why a link may be missing),
//! `format.rs` (numbers, lines and tables), `folder.rs` (where links are), `content.rs` (what `send` and `recv` agree on),
//! `backoff.rs` (polling), `failure.rs` (error messages and exit statuses), `standard.rs` (the standard streams),
//! `signals.rs` and `terminal.rs` (a screen).
//!
//! This crate has a library target for the fuzz target of the command line. Programs depend on `rust_tango`
//! instead.
//!
//! Exit status: 0 for success, 1 for a failure, 2 for invalid usage, 3 if fragments were lost, 128 + N
//! after signal N.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("the tango command needs links in shared memory, which rust_tango supports on Linux only");

mod terminal;

mod signals;
mod standard;

mod format;

mod failure;

mod backoff;
mod content;
mod folder;
mod hints;
mod joining;
mod options;
mod receivers;
mod shown;
mod summary;

mod arguments;

mod report;
mod sampling;

mod recording;

mod measuring;

mod bench;
mod capture;
mod completions;
mod demo;
mod doctor;
mod export;
mod info;
mod inspect;
mod ls;
mod man;
mod peek;
mod ping;
mod record;
mod recv;
mod replay;
mod rm;
mod send;
mod signal;
mod top;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::Failure;
use crate::folder::LinkFolder;

const DETAILS: &str = "\
Examples:
  tango                               run the demonstration (3 seconds)
  tango recv numbers > numbers.txt &  wait for a link and copy it to a file
  seq 1000000 | tango send numbers    send standard input to that receiver
  tail -f /var/log/syslog | tango send log --lines --wait-for 0 --consumers 4
  tango recv log                      receive every line (up to 4 receivers)
  tango recv log --observe            receive without slowing the sender down
  tango record log -o log.mcap        record it, without slowing the sender down
  tango replay log.mcap               send what was recorded
  tango capture log -o - | wireshark -k -i -
  tango ls                            list the links and their users
  tango inspect numbers               show all of a link and of its processes
  tango top                           watch all links on a screen
  tango export                        metrics of all links for Prometheus
  tango peek numbers --follow         show fragments, without slowing it down
  tango signal numbers halt           stop a link, wait for its producer
  tango doctor                        find what makes links slow here
  tango bench                         measure the speed of a link here
  tango ping test --answer            measure between two processes: the other
  tango ping test                     one, such as in a container, and this one
  tango rm numbers                    remove a link left by a crashed sender
  tango rm --dead                     remove all links that no process uses
  tango completions bash              complete this command in a shell
  tango man pages                     write manual pages

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
    Record(record::Arguments),
    Capture(capture::Arguments),
    Info(info::Arguments),
    Replay(replay::Arguments),
    Ls(ls::Arguments),
    Inspect(inspect::Arguments),
    Top(top::Arguments),
    Export(export::Arguments),
    Peek(peek::Arguments),
    Doctor(doctor::Arguments),
    Bench(bench::Arguments),
    Ping(ping::Arguments),
    Signal(signal::Arguments),
    Rm(rm::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// One process of the demonstration, or one that answers a measurement. It is not a subcommand, because clap would suggest it
/// to people.
#[derive(Debug, Parser)]
struct Role<A: Args> {
    /// Folder of the links
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    arguments: A,
}

impl<A: Args> Role<A> {
    /// From the arguments of this process, the first of which is the name of the role.
    fn parse_arguments() -> Result<(A, LinkFolder), Failure> {
        let role = Self::try_parse_from(env::args_os().skip(1)).map_err(|error| usage_failure(&error))?;
        signals::report_truncated_files(None);
        Ok((role.arguments, LinkFolder::new(role.dir)))
    }
}

/// Runs the command with the arguments of this process, and returns its exit status.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<(), Failure> {
    signals::unblock_termination().map_err(Failure::signals)?;
    let role = env::args_os().nth(1);
    if role.as_ref().is_some_and(|first| first == demo::role::NAME) {
        let (arguments, folder) = Role::parse_arguments()?;
        return demo::role::run(&arguments, &folder);
    }
    if role.is_some_and(|first| first == measuring::role::NAME) {
        let (arguments, folder) = Role::parse_arguments()?;
        return measuring::role::run(&arguments, &folder);
    }
    let cli = match parse(env::args_os()) {
        Err(error) if is_help(&error) => return print_help(&error),
        parsed => parsed.map_err(|error| usage_failure(&error))?,
    };
    let link = match &cli.command {
        Some(Command::Send(arguments)) => Some(arguments.link.as_str()),
        Some(Command::Recv(arguments)) => Some(arguments.link.as_str()),
        Some(Command::Inspect(arguments)) => Some(arguments.link.name.as_str()),
        Some(Command::Record(arguments)) => arguments.only_link(),
        Some(Command::Capture(arguments)) => arguments.only_link(),
        Some(Command::Peek(arguments)) => Some(arguments.link.name.as_str()),
        Some(Command::Signal(arguments)) => Some(arguments.link.name.as_str()),
        Some(Command::Ping(arguments)) => Some(arguments.link.as_str()),
        _ => None,
    };
    signals::report_truncated_files(link);
    let folder = LinkFolder::new(cli.dir);
    match cli.command {
        None => demo::run(&demo::Arguments::default(), &folder),
        Some(Command::Demo(arguments)) => demo::run(&arguments, &folder),
        Some(Command::Send(arguments)) => send::run(&arguments, &folder),
        Some(Command::Recv(arguments)) => recv::run(&arguments, &folder),
        Some(Command::Ls(arguments)) => ls::run(&arguments, &folder),
        Some(Command::Inspect(arguments)) => inspect::run(&arguments, &folder),
        Some(Command::Export(arguments)) => export::run(&arguments, &folder),
        Some(Command::Top(arguments)) => top::run(&arguments, &folder),
        Some(Command::Record(arguments)) => record::run(&arguments, &folder),
        Some(Command::Capture(arguments)) => capture::run(&arguments, &folder),
        Some(Command::Info(arguments)) => info::run(&arguments),
        Some(Command::Replay(arguments)) => replay::run(&arguments, &folder),
        Some(Command::Peek(arguments)) => peek::run(&arguments, &folder),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments, &folder),
        Some(Command::Bench(arguments)) => bench::run(&arguments, &folder),
        Some(Command::Ping(arguments)) => ping::run(&arguments, &folder),
        Some(Command::Signal(arguments)) => signal::run(&arguments, &folder),
        Some(Command::Rm(arguments)) => rm::run(&arguments, &folder),
        Some(Command::Completions(arguments)) => completions::run(&arguments, command()),
        Some(Command::Man(arguments)) => man::run(&arguments, command()),
    }
}

/// The command line with all subcommands.
fn command() -> clap::Command {
    /// Otherwise clap takes `--depth -4` for two options, and says so instead of what a depth can be.
    fn with_negative_values(command: clap::Command) -> clap::Command {
        command.mut_args(|argument| {
            let has_value = !argument.is_positional() && argument.get_action().takes_values();
            if has_value { argument.allow_negative_numbers(true) } else { argument }
        })
    }
    with_negative_values(Cli::command()).mut_subcommands(with_negative_values)
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> clap::error::Result<Cli> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Parses arguments without running anything. The first argument is the name of the command itself.
///
/// # Errors
/// The error message, on one line, if the arguments are invalid. A request for help is valid.
pub fn check(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    match parse(arguments) {
        Err(error) if !is_help(&error) => Err(usage_failure(&error).message().unwrap_or_default()),
        _ => Ok(()),
    }
}

/// `--help` and `--version`, which clap reports as errors.
fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// Prints a help text as it is, with colors on a terminal that has them.
fn print_help(help: &clap::Error) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    let text = help.render();
    let text = if terminal::has_colors() { text.ansi().to_string() } else { text.to_string() };
    standard::print(&text).map_err(Failure::output)
}

/// Joins clap's paragraphs into one line. Drops its general hints, and the advice to pass an unknown option
/// as a value.
fn usage_failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("tip: to pass "));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut help = "tango --help".to_owned();
    let mut message: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n") {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(usage) = paragraph.strip_prefix("Usage: tango ") {
            let subcommand = usage.split(' ').next().filter(|word| word.chars().all(char::is_alphanumeric));
            help = subcommand.map_or(help, |subcommand| format!("tango {subcommand} --help"));
        } else if !paragraph.is_empty() && !paragraph.starts_with("For more") {
            message.push(paragraph);
        }
    }
    let message = message.join("; ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Failure::usage(format!("{message} (see '{help}')"))
}

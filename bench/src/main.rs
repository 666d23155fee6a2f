//! rust-tango side by side with its peers and with what the hardware allows. The README beside
//! `Cargo.toml` says what is measured and how to read it; the modules, from the bottom up:
//!
//! - `message`: what travels, and how a reader tells a right message from a wrong one;
//! - `method`: cores, clocks, rounds, medians and ratios;
//! - `raw`: the limits of the hardware;
//! - `peers`: every channel behind one pair of traits;
//! - `exchange`: what the two sides of a measurement do;
//! - `process`: the same with the sides in two processes;
//! - `contests`: which rows each table has;
//! - `report`: tables, summary, JSON.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

mod contests;
mod exchange;
mod message;
mod method;
mod peers;
mod process;
mod raw;
mod report;

use crate::contests::Contest;
use crate::method::{Cores, Effort, interleave, pin};
use crate::report::{Machine, Report, Table};

/// Nanoseconds of a producer's work between two messages, little and more.
const WORK: [f64; 2] = [7.0, 45.0];

/// Measures rust-tango side by side with its peers and with what the hardware allows.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    child: Option<Hidden>,

    /// Shorter windows and fewer rounds: under a minute, less certain
    #[arg(long)]
    quick: bool,

    /// Rounds behind each table [default: 7, with --quick 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// Only tables or rows whose name contains this; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Cores for the producer and the consumer, for example 2,3 [default: the first two that differ]
    #[arg(long, value_name = "P,C", value_parser = parse_cores)]
    cores: Option<(usize, usize)>,

    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Hidden {
    /// The consumer's side of a measurement across two processes
    #[command(hide = true)]
    Child(process::ChildArgs),
}

fn parse_cores(text: &str) -> Result<(usize, usize), String> {
    let parse = || {
        let (producer, consumer) = text.split_once(',')?;
        Some((producer.trim().parse().ok()?, consumer.trim().parse().ok()?))
    };
    parse().ok_or_else(|| "two numbers with a comma between them are needed".to_owned())
}

fn main() -> ExitCode {
    end_with_the_first_panic();
    let arguments = Arguments::parse();
    if let Some(Hidden::Child(child)) = &arguments.child {
        process::run_child(child);
        return ExitCode::SUCCESS;
    }
    if let Err(error) = ctrlc::set_handler(end_at_a_signal) {
        eprintln!("warning: a signal will leave a folder in /dev/shm behind: {error}");
    }
    match measure(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A side that panics would leave the other one spinning for ever.
fn end_with_the_first_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        process::remove_folder();
        std::process::exit(101);
    }));
}

fn end_at_a_signal() {
    process::remove_folder();
    std::process::exit(130);
}

fn measure(arguments: &Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let (cores, warning) = Cores::choose(arguments.cores)?;
    let machine = Machine::describe(cores);
    pin(cores.producer);
    let effort = if arguments.quick {
        Effort { rounds: 5, window_ms: 60.0 }
    } else {
        Effort { rounds: 7, window_ms: 150.0 }
    };
    let effort = Effort { rounds: arguments.rounds.map_or(effort.rounds, usize::from), ..effort };
    let steps = WORK.map(message::steps_of_work);

    let warnings: Vec<String> = warning.into_iter().chain(machine.warning()).collect();
    print!("{}", machine.text());
    println!(
        "{} rounds, windows of {} ms; little work: {} steps, about {} ns; more work: {} steps, about {} ns",
        effort.rounds, effort.window_ms, steps[0], WORK[0], steps[1], WORK[1]
    );
    for warning in &warnings {
        println!("warning: {warning}");
    }

    let contests: Vec<Contest> =
        contests::all(steps)?.into_iter().filter_map(|contest| contest.only(&arguments.only)).collect();
    if contests.is_empty() {
        return Err(format!("no table and no row is called {:?}", arguments.only).into());
    }
    let mut tables = Vec::new();
    for contest in &contests {
        let rounds = interleave(&contest.rows, cores, effort);
        let table = Table::new(contest.title, contest.unit, &contest.rows, &rounds);
        println!("\n{}", table.text());
        tables.push(table);
    }

    let summaries: Vec<String> = tables.iter().filter_map(Table::summary).collect();
    if !summaries.is_empty() {
        println!("Summary: tango against the best peer, medians of ratios within rounds");
        summaries.iter().for_each(|summary| println!("  {summary}"));
    }
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());

    let wrong: Vec<String> =
        tables.iter().flat_map(|table| table.wrong().map(str::to_owned).collect::<Vec<_>>()).collect();
    if let Some(file) = &arguments.json {
        let report = Report { machine, effort, steps, warnings, tables };
        std::fs::write(file, serde_json::to_string_pretty(&report)?)?;
    }
    if wrong.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("wrong payloads from {}", wrong.join(", ")).into())
    }
}

//! rust-tango side by side with its peers and with what the hardware allows. The README beside
//! `Cargo.toml` says what is measured and how to read it; the modules, from the bottom up:
//!
//! - `message`: what travels, and how a reader tells a right message from a wrong one;
//! - `method`: cores, clocks, rounds, medians and ratios;
//! - `raw`: the limits of the hardware;
//! - `peers`: every channel behind the same traits, one file each;
//! - `exchange`: what the two sides of a measurement do;
//! - `process`: the same with readers in other processes;
//! - `workloads`: which tables there are, and which rows they have;
//! - `report`: tables, summary, page with plots, JSON.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

mod exchange;
mod message;
mod method;
mod peers;
mod process;
mod raw;
mod report;
mod workloads;

use crate::method::{Cores, Effort, SharedCore, Sharing, interleave, let_loose, pin, quantiles};
use crate::report::{Machine, Report, Table};
use crate::workloads::Contest;

/// Some peers are built on the stack before they move to the heap.
const STACK: usize = 1 << 30;

/// After that long, the tables that are left of a quick run have one round each.
const QUICK: Duration = Duration::from_secs(75);

/// Measures rust-tango side by side with its peers and with what the hardware allows.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    child: Option<Hidden>,

    /// Shorter windows and fewer rounds: under two minutes, less certain
    #[arg(long)]
    quick: bool,

    /// Each row once with few messages: checks what is delivered, and measures nothing
    #[arg(long, conflicts_with_all = ["quick", "rounds", "window", "report"])]
    smoke: bool,

    /// Rounds behind each table [default: 7, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// Milliseconds of each measurement [default: 100, with --quick 8]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..))]
    window: Option<u16>,

    /// Only this workload (see --list); may be given several times
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,

    /// Only tables whose key contains this; may be given several times
    #[arg(long, value_name = "KEY")]
    only: Vec<String>,

    /// Only rows whose name contains this, and limits; may be given several times
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,

    /// Names workloads, tables and rows, and measures nothing
    #[arg(long)]
    list: bool,

    /// Cores for the producer and the consumer, for example 2,3 [default: the first two that differ]
    #[arg(long, value_name = "P,C", value_parser = parse_cores)]
    cores: Option<(usize, usize)>,

    /// Measures even if both threads share one core, which says little
    #[arg(long)]
    shared_core: bool,

    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write README.md, index.html and report.json to this folder
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,

    /// Print the tables that the README of the repository shows
    #[arg(long)]
    readme: bool,

    /// Measures nothing, but takes a JSON file of before for --html, --report and --readme
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Hidden {
    /// A reader in another process
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

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    end_with_the_first_panic();
    let run = || {
        run(Arguments::parse()).unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        })
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run);
    thread.expect("a thread can be started").join().expect("a panic ends the process")
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

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Some(Hidden::Child(child)) = &arguments.child {
        process::run_child(child);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &arguments.from {
        let report: Report = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        write(&arguments, &report)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Err(error) = ctrlc::set_handler(end_at_a_signal) {
        eprintln!("warning: a signal will leave a folder in /dev/shm behind: {error}");
    }
    let cores = Cores::choose(arguments.cores)?;
    let contests = chosen(&arguments)?;
    if arguments.list {
        // Whoever reads it may have seen enough.
        return match list(&contests) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    let report = measure(&arguments, cores, &contests)?;
    write(&arguments, &report)?;
    let wrong: Vec<String> = report.tables.iter().flat_map(Table::wrong).collect();
    if wrong.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("wrong payloads from {}", wrong.join(", ")).into())
    }
}

/// The tables and rows that are wanted.
fn chosen(arguments: &Arguments) -> Result<Vec<Contest>, Failure> {
    let contests = workloads::all()?;
    let names = workloads::names(&contests);
    if let Some(unknown) = arguments.workload.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("no workload is called {unknown}; there are {}", names.join(", ")).into());
    }
    let wanted = |contest: &Contest| {
        (arguments.workload.is_empty() || arguments.workload.iter().any(|name| name == contest.workload))
            && (arguments.only.is_empty()
                || arguments.only.iter().any(|key| contest.key.contains(key.as_str())))
    };
    let chosen: Vec<Contest> = contests
        .into_iter()
        .filter(wanted)
        .filter_map(|contest| contest.with_peers(&arguments.peer))
        .collect();
    if chosen.is_empty() { Err("no table is left; --list names them".into()) } else { Ok(chosen) }
}

fn list(contests: &[Contest]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for contest in contests {
        writeln!(out, "{}  --workload {}  --only {}", contest.title, contest.workload, contest.key)?;
        for row in &contest.rows {
            writeln!(out, "    {}", row.name)?;
        }
    }
    Ok(())
}

fn measure(arguments: &Arguments, cores: Cores, contests: &[Contest]) -> Result<Report, Failure> {
    let start = Instant::now();
    let effort = effort(arguments);
    let machine = Machine::describe(cores);
    let mut warnings = machine.warnings();
    match cores.sharing() {
        Sharing::Apart => {}
        Sharing::Siblings => warnings.push(format!(
            "cores {} and {} are two threads of one physical core",
            cores.producer, cores.consumer
        )),
        Sharing::Same if arguments.shared_core || effort.smoke => {
            warnings.push("both threads share one core: figures say little".into());
        }
        Sharing::Same => {
            return Err("both threads would share one core, and figures would say little: \
                        give two with --cores, or go on with --shared-core"
                .into());
        }
    }
    let _shared = SharedCore::assume(cores.sharing() == Sharing::Same);
    if effort.smoke {
        let_loose();
    }
    pin(cores.producer);
    for (name, fact) in machine.facts() {
        println!("{name:10} {fact}");
    }
    if !effort.smoke {
        println!("{:10} {} rounds, windows of {} ms", "effort", effort.rounds, effort.window_ms);
    }
    for warning in warnings.iter().filter(|_| !effort.smoke) {
        println!("warning: {warning}");
    }

    let bar = ProgressBar::new(contests.len() as u64);
    let style = "{elapsed_precise} {bar:24} {pos}/{len} {prefix}: {wide_msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("a template"));
    let mut tables = Vec::new();
    for contest in contests {
        bar.set_prefix(contest.key.clone());
        if bar.is_hidden() {
            // Not a terminal: one line a table.
            eprintln!("{:.0} s: {}, {} rows", start.elapsed().as_secs_f64(), contest.key, contest.rows.len());
        }
        // A quick run on a machine that is busy has less of everything, rather than taking long.
        let late = arguments.quick && start.elapsed() > QUICK;
        let effort = if late { Effort { rounds: 1, ..effort } } else { effort };
        let rounds = interleave(&contest.rows, cores, effort, &|what| bar.set_message(what.to_owned()));
        let table = Table::new(contest, &rounds);
        bar.suspend(|| {
            if effort.smoke {
                println!("{:22} {} rows are right", table.key, table.rows.len());
            } else {
                println!("\n{}", table.text());
            }
        });
        bar.inc(1);
        tables.push(table);
    }
    bar.finish_and_clear();

    let seconds = start.elapsed().as_secs_f64();
    let command = std::iter::once("bench".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>();
    let report = Report {
        machine,
        command: command.join(" "),
        effort,
        seconds,
        warnings,
        quantiles: quantiles(),
        tables,
    };
    if !effort.smoke {
        println!("{}", report::ending(&report));
    }
    println!("{seconds:.0} s in all");
    Ok(report)
}

fn effort(arguments: &Arguments) -> Effort {
    let usual = match arguments.quick {
        true => Effort { rounds: 3, window_ms: 8.0, patience: 1.6, smoke: false },
        false => Effort { rounds: 7, window_ms: 100.0, patience: 2.0, smoke: false },
    };
    Effort {
        rounds: arguments.rounds.map_or(usual.rounds, usize::from),
        window_ms: arguments.window.map_or(usual.window_ms, f64::from),
        smoke: arguments.smoke,
        ..usual
    }
}

fn write(arguments: &Arguments, report: &Report) -> Result<(), Failure> {
    let json =
        |file: &Path| -> Result<(), Failure> { Ok(std::fs::write(file, serde_json::to_string(report)?)?) };
    if let Some(file) = &arguments.json {
        json(file)?;
    }
    if let Some(file) = &arguments.html {
        std::fs::write(file, report::page(report))?;
    }
    if arguments.readme {
        println!("{}", report::readme(report));
    }
    if let Some(folder) = &arguments.report {
        std::fs::create_dir_all(folder)?;
        json(&folder.join("report.json"))?;
        std::fs::write(folder.join("index.html"), report::page(report))?;
        std::fs::write(folder.join("README.md"), report::markdown(report))?;
    }
    Ok(())
}

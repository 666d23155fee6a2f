//! Measures rust-tango side by side with its peers, and with what the hardware does without a channel. The README
//! beside `Cargo.toml` says what is measured and how to read it.
//!
//! It also lists the layers: a file imports only from the layers below its own.

#![cfg_attr(not(feature = "peers"), allow(dead_code))]

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

mod failure;

mod message;

mod cores;

mod figures;

mod plan;

mod channel;

mod peers;

mod exchange;

mod bare;

mod memory;

mod process;

mod tasks;

mod rounds;

mod workloads;

mod report;

mod regression;

mod arguments;

use crate::arguments::Arguments;
use crate::cores::{Cores, SharedCore, pin, run_unpinned};
use crate::failure::Failure;
use crate::figures::quantiles;
use crate::regression::{Outcome, Request};
use crate::report::{Report, Table};
use crate::rounds::{Effort, interleave};
use crate::workloads::TableSpec;

/// Some peers are built on the stack before they are moved to the heap.
const STACK: usize = 1 << 30;

/// After this time, a quick run measures each remaining table in one round.
const QUICK: Duration = Duration::from_secs(75);

/// Milliseconds of a measurement when two commits are compared.
const COMPARED_WINDOW: f64 = 40.0;

/// The folder of the reports that are committed.
const REPORTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmark");

/// How the program ends after a wrong argument.
const BAD_ARGUMENT: u8 = 2;
/// How it ends if something is slower than in the other commit.
const SLOWER: u8 = 3;

fn main() -> ExitCode {
    end_with_the_first_panic();
    let run = || {
        let mut arguments = std::env::args().skip(1);
        let first = arguments.next().unwrap_or_default();
        if first == process::CHILD {
            process::run_child(&arguments.next().unwrap_or_default(), workloads::child);
            return ExitCode::SUCCESS;
        }
        let result = if first == regression::SERVE { serve() } else { run(&Arguments::parse()) };
        process::remove_run_folder();
        match result {
            Ok(code) => code,
            Err(Failure::Usage(text)) => {
                eprintln!("error: {text}");
                ExitCode::from(BAD_ARGUMENT)
            }
            Err(Failure::Other(error)) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run);
    thread.expect("a thread can be started").join().expect("a panic ends the process")
}

/// Without this, the other side would wait for a thread that panicked.
fn end_with_the_first_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        process::remove_run_folder();
        std::process::exit(101);
    }));
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    arguments.check_places()?;
    if let Some(file) = &arguments.from {
        write(arguments, &read(file)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.readme {
        print(&(report::of_the_readme(Path::new(REPORTS))? + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    clean_up_when_interrupted()?;
    let cores = arguments.cores()?;
    let tables = arguments.tables()?;
    if arguments.list {
        list(&tables)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(commit) = &arguments.against {
        return compare(arguments, commit, cores, tables);
    }
    let report = measure(arguments, cores, &tables)?;
    if let Some(complaint) = report.disturbed() {
        return Err(Failure::other(complaint));
    }
    write(arguments, &report)?;
    let wrong: Vec<String> = report.tables.iter().flat_map(Table::wrong).collect();
    if wrong.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::other(format!("wrong payloads from {}", wrong.join(", "))))
    }
}

/// Measures for another program.
fn serve() -> Result<ExitCode, Failure> {
    clean_up_when_interrupted()?;
    regression::serve();
    Ok(ExitCode::SUCCESS)
}

fn clean_up_when_interrupted() -> Result<(), Failure> {
    Ok(ctrlc::set_handler(|| {
        process::remove_run_folder();
        std::process::exit(130);
    })?)
}

/// Compares this library with that of another commit.
fn compare(
    arguments: &Arguments,
    commit: &str,
    cores: Cores,
    tables: Vec<TableSpec>,
) -> Result<ExitCode, Failure> {
    let all = !arguments.only.is_empty() || !arguments.workload.is_empty();
    let request = Request {
        commit,
        with_changes: arguments.with_changes,
        cores,
        window_ms: arguments.window.map_or(COMPARED_WINDOW, f64::from),
        rounds: arguments.rounds.map(usize::from),
    };
    match regression::compare(&request, &regression::key_rows(tables, all))? {
        Outcome::NothingSlower => Ok(ExitCode::SUCCESS),
        Outcome::Slower => Ok(ExitCode::from(SLOWER)),
    }
}

/// A report that was written by `--json`.
fn read(file: &Path) -> Result<Report, Failure> {
    let complaint = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("--from {}: {error}; name a file that --json has written", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| complaint(&error))?;
    serde_json::from_str(&text).map_err(|error| complaint(&error))
}

fn list(tables: &[TableSpec]) -> Result<(), Failure> {
    let mut text = String::new();
    for table in tables {
        writeln!(text, "{}  --workload {}  --only {}", table.title, table.workload, table.key)?;
        table.rows.iter().try_for_each(|row| writeln!(text, "    {}", row.name))?;
    }
    print(&text)
}

fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader of a pipe may have read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

fn measure(arguments: &Arguments, cores: Cores, specs: &[TableSpec]) -> Result<Report, Failure> {
    let start = Instant::now();
    let (rounds, window_ms, patience) = if arguments.quick { (3, 8.0, 1.6) } else { (7, 100.0, 2.0) };
    let effort = Effort {
        rounds: arguments.rounds.map_or(rounds, usize::from),
        window_ms: arguments.window.map_or(window_ms, f64::from),
        patience,
        smoke: arguments.smoke,
    };
    let (facts, mut warnings) = report::describe(cores);
    let one_core = cores.producer == cores.consumer;
    if one_core {
        warnings.push("both threads share one core: figures say little".into());
    } else if cores.are_siblings() {
        warnings.push("the two cores are two threads of one physical core".into());
    }
    let _shared = SharedCore::assume(one_core);
    if effort.smoke {
        run_unpinned();
    }
    pin(cores.producer);
    for (name, fact) in &facts {
        println!("{name:10} {fact}");
    }
    if !effort.smoke {
        println!("{:10} {} rounds, windows of {} ms", "effort", effort.rounds, effort.window_ms);
        warnings.iter().for_each(|warning| println!("warning: {warning}"));
    }

    let mut tables = Vec::new();
    for spec in specs {
        eprintln!("{:.0} s: {}, {} rows", start.elapsed().as_secs_f64(), spec.key, spec.rows.len());
        // A quick run on a busy machine measures less, instead of taking longer.
        let late = arguments.quick && start.elapsed() > QUICK;
        let effort = if late { Effort { rounds: 1, ..effort } } else { effort };
        let table = Table::new(spec, &interleave(&spec.rows, cores, effort));
        if effort.smoke {
            println!("{:22} {} rows are right", table.key, table.rows.len());
        } else {
            println!("\n{}", report::table(&table)?);
        }
        tables.push(table);
    }

    let seconds = start.elapsed().as_secs_f64();
    let command = std::env::args().skip(1).fold("bench".to_owned(), |command, next| command + " " + &next);
    let hardware_threads = Cores::count();
    let quantiles = quantiles();
    let report = Report {
        family: report::family(),
        facts,
        hardware_threads,
        command,
        effort,
        seconds,
        warnings,
        quantiles,
        tables,
    };
    if !effort.smoke {
        println!("\n{}", report::text("ending.txt", &report)?);
    }
    println!("{seconds:.0} s in all");
    Ok(report)
}

fn write(arguments: &Arguments, report: &Report) -> Result<(), Failure> {
    let json =
        |file: &Path| -> Result<(), Failure> { Ok(std::fs::write(file, serde_json::to_string(report)?)?) };
    if let Some(file) = &arguments.json {
        json(file)?;
    }
    if let Some(file) = &arguments.html {
        std::fs::write(file, report::text("page.html", report)?)?;
    }
    if let Some(folder) = &arguments.report {
        let folder = folder.join(&report.family);
        std::fs::create_dir_all(&folder)?;
        json(&folder.join("report.json"))?;
        std::fs::write(folder.join("index.html"), report::text("page.html", report)?)?;
        std::fs::write(folder.join("README.md"), report::text("report.md", report)?)?;
        eprintln!("the report is in {}", folder.display());
    }
    Ok(())
}

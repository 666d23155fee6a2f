//! Measures rust-tango side by side with its peers, and with what the hardware does without a channel. The README
//! beside `Cargo.toml` says what is measured and how to read it.
//!
//! It also lists the layers: a file imports only from the layers below its own.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

mod message;

mod cores;

mod figures;

mod plan;

mod channel;

mod peers;

mod exchange;

mod raw;

mod memory;

mod process;

mod rounds;

mod workloads;

mod report;

use crate::cores::{Cores, SharedCore, pin, run_unpinned};
use crate::figures::quantiles;
use crate::report::{Report, Table};
use crate::rounds::{Effort, interleave};
use crate::workloads::TableSpec;

/// Some peers are built on the stack before they are moved to the heap.
const STACK: usize = 1 << 30;

/// After this time, a quick run measures each remaining table in one round.
const QUICK: Duration = Duration::from_secs(75);

/// Measure rust-tango side by side with its peers, and with what the hardware does without a channel
#[derive(Parser)]
#[command(version, after_help = include_str!("examples.txt"))]
struct Arguments {
    /// Use shorter windows and fewer rounds: under two minutes, less certain
    #[arg(long)]
    quick: bool,

    /// Check the content of a few messages for each row, and measure nothing
    #[arg(long, conflicts_with_all = ["quick", "rounds", "window", "report"])]
    smoke: bool,

    /// Measure each table in N rounds [default: 7, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// Make each measurement MS milliseconds long [default: 100, with --quick 8]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..))]
    window: Option<u16>,

    /// Measure only this workload (see --list); may be given several times
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,

    /// Measure only tables whose key contains KEY; may be given several times
    #[arg(long, value_name = "KEY")]
    only: Vec<String>,

    /// Measure only rows whose name contains NAME, and limits; may be given several times
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,

    /// List workloads, tables and rows, and measure nothing
    #[arg(long)]
    list: bool,

    /// Run the producer on core P and the consumer on core C, for example 2,3 [default: the first two that differ]
    #[arg(long, value_name = "P,C", value_delimiter = ',')]
    cores: Vec<usize>,

    /// Measure even if both threads share one core, although figures then say little
    #[arg(long)]
    shared_core: bool,

    /// Write all figures to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a page with plots to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write README.md (short), index.html (with plots) and report.json (all figures) to FOLDER
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,

    /// Print the table for the README of the repository
    #[arg(long)]
    readme: bool,

    /// Measure nothing; take the figures for --html, --report and --readme from FILE, written by --json
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    end_with_the_first_panic();
    let run = || {
        let mut arguments = std::env::args().skip(1);
        if arguments.next().as_deref() == Some(process::CHILD) {
            process::run_child(&arguments.next().unwrap_or_default(), workloads::child);
            return ExitCode::SUCCESS;
        }
        let result = run(&Arguments::parse());
        process::remove_run_folder();
        if let Err(error) = result {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
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

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(file) = &arguments.from {
        let report: Report = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        return write(arguments, &report);
    }
    ctrlc::set_handler(|| {
        process::remove_run_folder();
        std::process::exit(130);
    })?;
    let cores = Cores::choose(&arguments.cores)?;
    let tables = chosen(arguments)?;
    if arguments.list {
        return list(&tables);
    }
    let report = measure(arguments, cores, &tables)?;
    write(arguments, &report)?;
    let wrong: Vec<String> = report.tables.iter().flat_map(Table::wrong).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("wrong payloads from {}", wrong.join(", ")).into()) }
}

/// The tables and rows that the arguments ask for.
fn chosen(arguments: &Arguments) -> Result<Vec<TableSpec>, Failure> {
    let tables = workloads::all();
    let names = workloads::names(&tables);
    if let Some(unknown) = arguments.workload.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("no workload is called {unknown}; there are {}", names.join(", ")).into());
    }
    let wanted = |table: &TableSpec| {
        let Arguments { workload, only, .. } = arguments;
        (workload.is_empty() || workload.iter().any(|name| name == table.workload))
            && (only.is_empty() || only.iter().any(|key| table.key.contains(key.as_str())))
    };
    let tables = tables.into_iter().filter(wanted);
    let chosen: Vec<TableSpec> = tables.filter_map(|table| table.with_peers(&arguments.peer)).collect();
    if chosen.is_empty() { Err("no table is left; --list names them".into()) } else { Ok(chosen) }
}

fn list(tables: &[TableSpec]) -> Result<(), Failure> {
    let mut text = String::new();
    for table in tables {
        writeln!(text, "{}  --workload {}  --only {}", table.title, table.workload, table.key)?;
        table.rows.iter().try_for_each(|row| writeln!(text, "    {}", row.name))?;
    }
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
        if !arguments.shared_core && !effort.smoke {
            return Err("both threads would share one core, and figures would say little: \
                        choose two cores with --cores, or continue with --shared-core"
                .into());
        }
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
    let report = Report { facts, command, effort, seconds, warnings, quantiles: quantiles(), tables };
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
    if arguments.readme {
        println!("{}", report::text("readme.md", report)?);
    }
    if let Some(folder) = &arguments.report {
        std::fs::create_dir_all(folder)?;
        json(&folder.join("report.json"))?;
        std::fs::write(folder.join("index.html"), report::text("page.html", report)?)?;
        std::fs::write(folder.join("README.md"), report::text("report.md", report)?)?;
    }
    Ok(())
}

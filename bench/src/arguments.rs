//! The command line: what can be asked for, and whether it makes sense. What does not is found before anything is
//! measured, and the message names the argument and what would be right.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::cores::Cores;
use crate::failure::Failure;
use crate::workloads::{self, OPERATION, TableSpec, command};

/// Measure rust-tango side by side with its peers, and with what the hardware does without a channel
#[derive(Parser)]
#[command(version, after_help = include_str!("examples.txt"))]
pub(crate) struct Arguments {
    /// Use shorter windows and fewer rounds: under two minutes, less certain
    #[arg(long)]
    pub(crate) quick: bool,

    /// Check the content of a few messages for each row, and measure nothing
    #[arg(long, conflicts_with_all = ["quick", "rounds", "window", "report", "json", "html", "readme"])]
    pub(crate) smoke: bool,

    /// Compare the library with that of COMMIT, in two minutes: both are built with these benchmarks, and take turns
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["quick", "smoke", "shared_core", "peer", "report", "json", "html", "from"])]
    pub(crate) against: Option<String>,

    /// With --against: compare although the library has changes that are not committed
    #[arg(long, requires = "against")]
    pub(crate) with_changes: bool,

    /// Measure each table in N rounds [default: 7, with --quick 3, with --against as many as fit into two minutes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: Option<u16>,

    /// Make each measurement MS milliseconds long [default: 100, with --quick 8, with --against 40]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) window: Option<u16>,

    /// Measure only this workload (see --list); may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Vec<String>,

    /// Measure only tables whose key contains KEY; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(crate) only: Vec<String>,

    /// Measure only rows whose name contains NAME, and bare rows; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) peer: Vec<String>,

    /// List workloads, tables and rows, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,

    /// Run the producer on core P and the consumer on core C, for example 2,3 [default: the first two that differ]
    #[arg(long, value_name = "P,C", value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,

    /// Measure even if both threads share one core, although figures then say little
    #[arg(long)]
    pub(crate) shared_core: bool,

    /// Write all figures to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a page with plots to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Write README.md (short), index.html (with plots) and report.json (all figures) to a folder in FOLDER that is
    /// named after the processor
    #[arg(long, value_name = "FOLDER")]
    pub(crate) report: Option<PathBuf>,

    /// Print the table of figures for the README of the repository, from the reports in docs/benchmark
    #[arg(long, conflicts_with_all = ["from", "report", "json", "html"])]
    pub(crate) readme: bool,

    /// Measure nothing; take the figures for --html and --report from FILE, written by --json
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
}

impl Arguments {
    /// The cores to measure on.
    pub(crate) fn cores(&self) -> Result<Cores, Failure> {
        let cores = Cores::choose(&self.cores)?;
        if cores.producer == cores.consumer && !self.shared_core && !self.smoke && !self.list {
            return Err(Failure::usage(
                "both threads would share one core, and figures would say little: choose two with --cores P,C, or \
                 continue with --shared-core",
            ));
        }
        Ok(cores)
    }

    /// The tables and rows that are asked for.
    pub(crate) fn tables(&self) -> Result<Vec<TableSpec>, Failure> {
        let tables = workloads::all();
        let names = workloads::names(&tables);
        if let Some(unknown) = self.workload.iter().find(|name| !names.contains(&name.as_str())) {
            let names = names.join(", ");
            return Err(Failure::usage(format!(
                "--workload {unknown}: no workload has that name; there are {names}"
            )));
        }
        if let Some(unknown) =
            self.only.iter().find(|key| !tables.iter().any(|table| table.key.contains(key.as_str())))
        {
            return Err(Failure::usage(format!(
                "--only {unknown}: no table has a key that contains this; --list shows the keys, for example {}",
                tables[0].key
            )));
        }
        let is_row =
            |name: &str| tables.iter().any(|table| table.rows.iter().any(|row| row.name.contains(name)));
        if let Some(unknown) = self.peer.iter().find(|name| !is_row(name)) {
            return Err(Failure::usage(format!(
                "--peer {unknown}: no row has a name that contains this; --list shows the names, for example rtrb"
            )));
        }
        // Tables that need what is not there are left out, unless they were asked for.
        let needs_the_command = |table: &TableSpec| table.workload == OPERATION;
        let is_there = command().is_some() || self.list;
        let wanted = |table: &TableSpec| {
            let Self { workload, only, .. } = self;
            let is_asked_for = !(workload.is_empty() && only.is_empty());
            (is_there || is_asked_for || !needs_the_command(table))
                && (workload.is_empty() || workload.iter().any(|name| name == table.workload))
                && (only.is_empty() || only.iter().any(|key| table.key.contains(key.as_str())))
        };
        let tables = tables.into_iter().filter(wanted);
        let chosen: Vec<TableSpec> = tables.filter_map(|table| table.with_peers(&self.peer)).collect();
        if chosen.is_empty() {
            return Err(Failure::usage(
                "--workload, --only and --peer together leave no table: give fewer of them (--list shows all)",
            ));
        }
        if !is_there && chosen.iter().any(needs_the_command) {
            return Err(Failure::usage(format!(
                "{OPERATION} needs the command tango: build it with 'cargo build --release' at the root of the repository, or \
                 name it in TANGO_COMMAND"
            )));
        }
        Ok(chosen)
    }

    /// Checks that what is to be written can be, before minutes are spent on it.
    pub(crate) fn check_places(&self) -> Result<(), Failure> {
        for (argument, file) in [("--json", &self.json), ("--html", &self.html)] {
            let Some(file) = file else { continue };
            let folder =
                file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if file.is_dir() {
                return Err(Failure::usage(format!(
                    "{argument} {}: this is a folder; name a file",
                    file.display()
                )));
            }
            if !folder.is_dir() {
                return Err(Failure::usage(format!(
                    "{argument} {}: there is no folder {}; make it first",
                    file.display(),
                    folder.display()
                )));
            }
        }
        if let Some(folder) = self.report.as_ref().filter(|folder| folder.exists() && !folder.is_dir()) {
            return Err(Failure::usage(format!(
                "--report {}: this is a file; name a folder",
                folder.display()
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()))
    }

    /// What is said about this command line before anything is measured.
    fn complaint(line: &str) -> String {
        let arguments = match arguments(line) {
            Ok(arguments) => arguments,
            Err(error) => {
                assert_eq!(error.exit_code(), 2);
                return error.to_string();
            }
        };
        let result = arguments.cores().map(|_| ());
        match result.and_then(|()| arguments.tables().map(|_| ())).and_then(|()| arguments.check_places()) {
            Ok(()) => String::new(),
            Err(Failure::Usage(text)) => text,
            Err(Failure::Other(error)) => panic!("not a complaint about an argument: {error}"),
        }
    }

    #[test]
    fn a_wrong_argument_is_named_with_what_would_be_right() {
        for (line, argument, right) in [
            ("--workload latency", "--workload latency", "round-trip"),
            ("--only latency", "--only latency", "throughput-8"),
            ("--peer zeromq", "--peer zeromq", "rtrb"),
            ("--only deep --peer heapless", "--only", "--list"),
            ("--cores 0", "--cores 0", "P,C"),
            ("--cores 0,1,2", "--cores 0,1,2", "P,C"),
            ("--cores 0,999", "--cores 0,999", "of these"),
            ("--cores a,b", "--cores", "a"),
            ("--cores 0,0", "--cores", "--shared-core"),
            ("--rounds 0", "--rounds", "1.."),
            ("--window long", "--window", "long"),
            ("--json /nowhere/file", "--json /nowhere/file", "/nowhere"),
            ("--html /", "--html /", "name a file"),
            ("--report Cargo.toml", "--report Cargo.toml", "name a folder"),
            ("--with-changes", "--against", "--with-changes"),
            ("--against HEAD --quick", "--against", "--quick"),
            ("quick", "quick", "--help"),
        ] {
            let text = complaint(line);
            assert!(text.contains(argument) && text.contains(right), "{line}: {text}");
        }
        assert_eq!(complaint("--workload throughput --only 64 --peer tango"), "");
    }
}

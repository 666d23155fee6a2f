//! `tango doctor`: what on this machine hurts the latency or the reliability of links.
//!
//! `finding` is a fact, `machine` the files that facts are read from, `processor` and `memory` the checks.

mod finding;

mod machine;

mod memory;
mod processor;

use std::path::PathBuf;

use serde::Serialize;

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::report::{self, VERSION};
use crate::{format, standard};

use finding::{Finding, Level};
use machine::Machine;

const DETAILS: &str = "\
Examples:
  tango doctor                 check this machine, for this user
  tango doctor --problems      only what is not ok
  docker exec feed tango doctor
  tango doctor --json | jq '.findings[] | select(.level == \"loses\")'

For each fact: what was found, what it costs, and how to change it.
  ok       costs nothing
  unknown  cannot be read here
  note     may cost something; that depends on the program
  slow     costs latency or throughput
  fails    makes calls fail, with an error
  loses    deletes links while they are used

Limits and cgroups are those of this process: run doctor where your program
runs, as its user. It reads files and changes nothing.

--json prints one object on one line: version, folder (of links), and findings
with check, level, found, costs and change.

Exit status:
  0      nothing deletes links here
  1      something deletes links while they are used, or another failure
  2      invalid usage
  128+N  terminated by signal N";

/// Check this machine for what makes links slow or unreliable
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Show only what is not ok
    #[arg(long)]
    problems: bool,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Read the files of another machine, for tests
    #[arg(long, hide = true, default_value = "/", value_name = "FOLDER")]
    root: PathBuf,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    folder: String,
    findings: Vec<Finding>,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    let (machine, folder) = (Machine::new(&arguments.root), folder.path());
    let mut findings = memory::findings(&machine, &folder);
    findings.append(&mut processor::findings(&machine));
    let losing: Vec<_> = findings
        .iter()
        .filter(|finding| finding.level == Level::Loses)
        .map(|finding| finding.check)
        .collect();
    let losing = losing.join(", ");
    if arguments.problems {
        findings.retain(|finding| finding.level != Level::Ok);
    }
    let text = if arguments.json {
        let folder = folder.to_string_lossy().into_owned();
        report::json(&Report { version: VERSION, folder, findings })? + "\n"
    } else {
        text(&findings)
    };
    standard::print(&text).map_err(Failure::output)?;
    if losing.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("links can be lost on this machine: {losing}")))
    }
}

fn text(findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for finding in findings {
        let mut row = |level: &str, check: &str, text: &str| {
            rows.push(vec![level.to_owned(), check.to_owned(), format::one_line(text)]);
        };
        row(finding.level.word(), finding.check, &finding.found);
        if !finding.costs.is_empty() {
            row("", "  costs", &finding.costs);
        }
        if !finding.change.is_empty() {
            row("", "  change", &finding.change);
        }
    }
    format::table(&rows, &[])
}

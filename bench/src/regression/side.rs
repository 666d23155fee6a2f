//! One side of a regression run: a program that measures what it is asked to. It reads tasks and writes samples, each
//! a line of JSON. Both sides are the same benchmarks with another library.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::cores::pin;
use crate::failure::Failure;
use crate::plan::{Plan, Sample};
use crate::workloads;

/// The first argument of a program that measures for another one.
pub(crate) const SERVE: &str = "serve";

/// Measures the plans that arrive, until the input ends.
pub(crate) fn serve() {
    let tables = workloads::all();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let Task { table, row, plan } =
            serde_json::from_str(&line).expect("the parent has the same benchmarks");
        let table = tables.iter().find(|spec| spec.key == table).expect("both sides have the same tables");
        let row = table.rows.iter().find(|spec| spec.name == row).expect("both sides have the same rows");
        pin(plan.cores.producer);
        let sample = (row.run)(&Plan { row: row.id, ..plan });
        let sample = serde_json::to_string(&sample).expect("numbers are JSON");
        let mut output = io::stdout();
        if writeln!(output, "{sample}").and_then(|()| output.flush()).is_err() {
            break;
        }
    }
}

/// What a program is asked to measure. The row has a name, because its number depends on which peers were compiled.
#[derive(Serialize, Deserialize)]
struct Task<'a> {
    table: Cow<'a, str>,
    row: Cow<'a, str>,
    plan: Plan,
}

pub(super) struct Side {
    name: String,
    process: Child,
    /// `None` once the program is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Side {
    pub(super) fn start(program: &Path, name: &str) -> Result<Self, Failure> {
        let mut process = Command::new(program)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::other(format!("{} does not start: {error}", program.display())))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Ok(Self { name: name.to_owned(), process, input, output })
    }

    /// # Panics
    /// If the program has ended, which it has said why, or has delivered wrong payloads.
    pub(super) fn measure(&mut self, table: &str, row: &str, plan: &Plan) -> Sample {
        let task = Task { table: table.into(), row: row.into(), plan: *plan };
        let mut line = serde_json::to_string(&task).expect("names and numbers are JSON");
        line.push('\n');
        let sent = self.input.as_mut().expect("it has not ended").write_all(line.as_bytes());
        let mut answer = String::new();
        let received = sent.and_then(|()| self.output.read_line(&mut answer));
        let sample = received.ok().and_then(|_| serde_json::from_str::<Sample>(&answer).ok());
        let Some(sample) = sample else { panic!("the program of {} ended in a measurement", self.name) };
        assert_eq!(sample.wrong, 0, "wrong payloads from {}", self.name);
        sample
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.input = None;
        // It ends with its input. Nobody is left to tell if it failed in doing so.
        let _ = self.process.wait();
    }
}

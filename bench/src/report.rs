//! What comes out: the machine, one text table for each contest as it ends, a summary, and all of it
//! as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::method::{Contestant, Cores, Effort, Role, Rounds, Sample, Spread};

/// What a table counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Million messages a second: more is better.
    MillionPerSecond,
    /// Gibibytes of payload a second, of messages of that many bytes: more is better.
    GibibytesPerSecond(usize),
    /// Nanoseconds a round trip: less is better.
    Nanoseconds,
}

impl Unit {
    fn of(self, nanos: f64) -> f64 {
        match self {
            Self::MillionPerSecond => 1e3 / nanos,
            Self::GibibytesPerSecond(bytes) => bytes as f64 / nanos * 1e9 / f64::from(1 << 30),
            Self::Nanoseconds => nanos,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::MillionPerSecond => "million messages a second",
            Self::GibibytesPerSecond(_) => "GiB of payload a second",
            Self::Nanoseconds => "ns a round trip",
        }
    }

    fn spread(self, nanos: Spread) -> Spread {
        let (a, b) = (self.of(nanos.min), self.of(nanos.max));
        Spread { median: self.of(nanos.median), min: a.min(b), max: a.max(b) }
    }
}

/// One row, computed.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: String,
    role: Role,
    value: Spread,
    /// How many times as good as this row ours between threads is, within the rounds.
    tango: Option<Spread>,
    /// The same for ours between processes.
    tango_processes: Option<Spread>,
    /// How many times the limit of the hardware this row takes, within the rounds.
    times_limit: Option<Spread>,
    wrong: u64,
    lost: u64,
    messages: u64,
    samples: Vec<Sample>,
}

/// One contest, computed.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    title: String,
    unit: Unit,
    rows: Vec<Row>,
    /// Rounds behind the figures.
    rounds: usize,
    thrown: usize,
    retaken: u32,
    doubtful: usize,
    /// Round trip of an atomic word between the cores, in ns, while this was measured.
    distance: Spread,
}

impl Table {
    pub(crate) fn new(title: &str, unit: Unit, contestants: &[Contestant], rounds: &Rounds) -> Self {
        let find = |role| contestants.iter().position(|contestant| contestant.role == role);
        let (tango, tango_processes) = (find(Role::Tango), find(Role::TangoProcesses));
        let limit = find(Role::Limit);
        let row = |(i, contestant): (usize, &Contestant)| {
            let samples: Vec<Sample> = rounds.kept.iter().map(|round| round[i]).collect();
            let compared = matches!(contestant.role, Role::Peer | Role::Published);
            let ratio_to =
                |other: Option<usize>| other.filter(|_| compared).map(|other| rounds.ratio(i, other));
            Row {
                name: contestant.name.clone(),
                role: contestant.role,
                value: unit.spread(rounds.nanos(i)),
                tango: ratio_to(tango),
                tango_processes: ratio_to(tango_processes),
                times_limit: limit.filter(|&limit| limit != i).map(|limit| rounds.ratio(i, limit)),
                wrong: samples.iter().map(|sample| sample.wrong).sum(),
                lost: samples.iter().map(|sample| sample.lost).sum(),
                messages: samples.iter().map(|sample| sample.messages).sum(),
                samples,
            }
        };
        Self {
            title: title.to_owned(),
            unit,
            rows: contestants.iter().enumerate().map(row).collect(),
            rounds: rounds.kept.len(),
            thrown: rounds.thrown,
            retaken: rounds.retaken,
            doubtful: rounds.doubtful,
            distance: Spread::of(&rounds.distance),
        }
    }

    /// Names of the rows of ours or of peers that delivered wrong payloads, which must not be.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = &str> {
        let fatal = |row: &&Row| row.wrong > 0 && row.role != Role::Published;
        self.rows.iter().filter(fatal).map(|row| row.name.as_str())
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} ({})\n", self.title, self.unit.name());
        let _ = writeln!(
            text,
            "  {} rounds, {} thrown out, {} measurements taken again; cores {} apart ({} to {})",
            self.rounds,
            self.thrown,
            self.retaken,
            nanos(self.distance.median),
            nanos(self.distance.min),
            nanos(self.distance.max),
        );
        if self.doubtful > 0 {
            let _ = writeln!(
                text,
                "  warning: {} of the rounds were disturbed and are used for want of better ones",
                self.doubtful
            );
        }
        let mut lines = vec![self.header()];
        lines.extend(self.rows.iter().map(|row| self.line(row)));
        lay_out(&mut text, &lines);
        text
    }

    fn has(&self, value: impl Fn(&Row) -> bool) -> bool {
        self.rows.iter().any(value)
    }

    fn header(&self) -> Vec<String> {
        let mut cells = vec![String::new(), "median".into(), "min to max".into()];
        if self.has(|row| row.times_limit.is_some()) {
            cells.push(if self.unit == Unit::Nanoseconds { "times raw" } else { "of the limit" }.into());
        }
        if self.has(|row| row.tango.is_some()) {
            cells.push("tango is better by".into());
        }
        if self.has(|row| row.tango_processes.is_some()) {
            cells.push("2 processes".into());
        }
        cells
    }

    fn line(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![
            row.name.clone(),
            figure(row.value.median),
            format!("{} to {}", figure(row.value.min), figure(row.value.max)),
        ];
        let ratio = |spread: Option<Spread>| {
            spread.map_or_else(String::new, |ratio| {
                format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max)
            })
        };
        if self.has(|row| row.times_limit.is_some()) {
            cells.push(match (self.unit, row.times_limit) {
                (Unit::Nanoseconds, times) => ratio(times),
                // Of what goes through a second, the limit is the larger.
                (_, Some(times)) => format!("{:.2}", 1.0 / times.median),
                (_, None) => String::new(),
            });
        }
        if self.has(|row| row.tango.is_some()) {
            cells.push(ratio(row.tango));
        }
        if self.has(|row| row.tango_processes.is_some()) {
            cells.push(ratio(row.tango_processes));
        }
        let mut notes = Vec::new();
        if row.wrong > 0 {
            notes.push(format!("{} wrong payloads", row.wrong));
        }
        if row.lost > 0 {
            let share = row.lost as f64 / (row.lost + row.messages) as f64;
            notes.push(format!("lost {:.1} %", share * 100.0));
        }
        cells.push(notes.join(", "));
        cells
    }

    /// The one line that counts: ours against the best peer, and against the published crate.
    pub(crate) fn summary(&self) -> Option<String> {
        let against = |ratio: fn(&Row) -> Option<Spread>| {
            let best = self
                .rows
                .iter()
                .filter(|row| row.role == Role::Peer)
                .filter_map(|row| Some((row, ratio(row)?)))
                .min_by(|a, b| a.1.median.total_cmp(&b.1.median));
            let published = self.rows.iter().find(|row| row.role == Role::Published).and_then(ratio);
            let mut parts = Vec::new();
            if let Some((row, ratio)) = best {
                parts.push(format!("{:.2} x {}", ratio.median, row.name));
            }
            if let Some(ratio) = published {
                parts.push(format!("{:.1} x published", ratio.median));
            }
            parts
        };
        let limit = |role| {
            let row = self.rows.iter().find(|row| row.role == role)?;
            let times = row.times_limit.filter(|_| self.unit == Unit::Nanoseconds)?;
            Some(format!("{:.2} x raw", times.median))
        };
        let side = |name: &str, role, ratio| {
            let mut parts: Vec<String> = limit(role).into_iter().collect();
            parts.extend(against(ratio));
            (!parts.is_empty()).then(|| format!("{name}: {}", parts.join(", ")))
        };
        let sides: Vec<String> = [
            side("threads", Role::Tango, |row| row.tango),
            side("2 processes", Role::TangoProcesses, |row| row.tango_processes),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!sides.is_empty()).then(|| format!("{}\n    {}", self.title, sides.join("\n    ")))
    }
}

fn nanos(value: f64) -> String {
    format!("{value:.0} ns")
}

fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// Writes cells in columns: the first and the last to the left, the others to the right.
fn lay_out(text: &mut String, lines: &[Vec<String>]) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let mut out = String::from(" ");
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = if column == 0 || column + 1 == columns {
                write!(out, " {cell:<width$} ")
            } else {
                write!(out, " {cell:>width$} ")
            };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    model: String,
    hardware_threads: usize,
    virtual_machine: bool,
    kernel: String,
    load: f64,
    cores: Cores,
}

impl Machine {
    pub(crate) fn describe(cores: Cores) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        Self {
            model: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            hardware_threads: std::thread::available_parallelism().map_or(1, |count| count.get()),
            virtual_machine: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            cores,
        }
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "{}, {} hardware threads available{}, Linux {}, load {:.2}\nproducer on core {}, consumer on core {}\n",
            self.model,
            self.hardware_threads,
            if self.virtual_machine { " of a virtual machine" } else { "" },
            self.kernel,
            self.load,
            self.cores.producer,
            self.cores.consumer,
        )
    }

    /// What is wrong with this machine right now, if anything is.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.load > 0.5).then(|| {
            format!("other programs are busy (load {:.2}): expect rounds to be thrown out", self.load)
        })
    }
}

/// Everything, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) effort: Effort,
    /// Steps of work between two messages, for little and for more work.
    pub(crate) steps: [u32; 2],
    pub(crate) warnings: Vec<String>,
    pub(crate) tables: Vec<Table>,
}

//! Where it was measured, and what.

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::method::Cores;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) model: String,
    pub(crate) hardware_threads: usize,
    pub(crate) virtual_machine: bool,
    pub(crate) caches: Vec<String>,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) governor: Option<String>,
    pub(crate) load: f64,
    pub(crate) cores: Cores,
    /// Of the repository, with a mark if files had been changed.
    pub(crate) commit: String,
    pub(crate) compiler: String,
    pub(crate) optimized: bool,
    /// Seconds since 1970.
    pub(crate) time: u64,
}

impl Machine {
    pub(crate) fn describe(cores: Cores) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|total| total.split(' ').next()?.parse::<f64>().ok());
        let governor = read(&format!("{}/cpufreq/scaling_governor", cpu(cores.producer)));
        Self {
            model: field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            hardware_threads: std::thread::available_parallelism().map_or(1, |count| count.get()),
            virtual_machine: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            caches: caches(cores.producer),
            memory_gib: memory.unwrap_or(0.0) / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            governor: Some(governor.trim().to_owned()).filter(|governor| !governor.is_empty()),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            cores,
            commit: commit(),
            compiler: said("rustc", &["--version"]).unwrap_or_else(|| "an unknown compiler".into()),
            optimized: !cfg!(debug_assertions),
            time: std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
        }
    }

    /// In lines, each with a name and what it is.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut processor = format!("{}, {} hardware threads available", self.model, self.hardware_threads);
        if self.virtual_machine {
            processor += " of a virtual machine";
        }
        let mut system = format!("Linux {}, {:.0} GiB of memory", self.kernel, self.memory_gib);
        if let Some(governor) = &self.governor {
            system += &format!(", frequency governor {governor}");
        }
        let cores = format!("producer on {}, consumer on {}", self.cores.producer, self.cores.consumer);
        vec![
            ("processor", processor),
            ("caches", self.caches.join(", ")),
            ("system", format!("{system}, load {:.2} before the start", self.load)),
            ("cores", cores),
            ("commit", self.commit.clone()),
            ("compiler", self.compiler.clone()),
            ("time", utc(self.time)),
        ]
    }

    /// What is wrong with this machine or this build right now, if anything is.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.load > 0.5 {
            let load = self.load;
            warnings
                .push(format!("other programs are busy (load {load:.2}): expect rounds to be thrown out"));
        }
        if !self.optimized {
            warnings.push("built without --release: figures mean nothing".into());
        }
        warnings
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn cpu(core: usize) -> String {
    format!("/sys/devices/system/cpu/cpu{core}")
}

/// What the kernel says about the caches that a core uses.
fn caches(core: usize) -> Vec<String> {
    (0..)
        .map(|index| {
            let of = |name| read(&format!("{}/cache/index{index}/{name}", cpu(core))).trim().to_owned();
            (of("level"), of("type"), of("size"), of("shared_cpu_list"))
        })
        .take_while(|(level, ..)| !level.is_empty())
        .filter(|(_, kind, ..)| kind != "Instruction")
        .map(|(level, _, size, shared)| format!("L{level} {size} (cores {shared})"))
        .collect()
}

fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let git = |arguments: &[&str]| said("git", &[&["-C", folder], arguments].concat());
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}, with changes"),
    }
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A time as people write it.
fn utc(seconds: u64) -> String {
    let (mut day, minute) = (seconds / 86_400, seconds / 60 % 1440);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02} UTC", day + 1, minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_827_696), "2000-02-29 12:34 UTC");
        assert_eq!(utc(1_735_689_599), "2024-12-31 23:59 UTC");
    }
}

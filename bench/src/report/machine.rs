//! The machine, the commit and the compiler of a run.

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::cores::Cores;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    model: String,
    hardware_threads: usize,
    virtual_machine: bool,
    caches: Vec<String>,
    memory_gib: f64,
    kernel: String,
    governor: Option<String>,
    load: f64,
    cores: Cores,
    /// The commit of the repository, and whether files had been changed.
    commit: String,
    compiler: String,
    optimized: bool,
    /// Seconds since 1970.
    time: u64,
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
            kernel: read("/proc/sys/kernel/osrelease"),
            governor: Some(governor).filter(|governor| !governor.is_empty()),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            cores,
            commit: commit(),
            compiler: output("rustc", &["--version"]).unwrap_or_else(|| "an unknown compiler".into()),
            optimized: !cfg!(debug_assertions),
            time: std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
        }
    }

    /// Facts with their names.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut processor = format!("{}, {} hardware threads available", self.model, self.hardware_threads);
        if self.virtual_machine {
            processor += " of a virtual machine";
        }
        let mut system = format!("Linux {}, {:.0} GiB of memory", self.kernel, self.memory_gib);
        if let Some(governor) = &self.governor {
            system += &format!(", frequency governor {governor}");
        }
        let seconds = format!("@{}", self.time);
        let time = output("date", &["-u", "-d", &seconds, "+%Y-%m-%d %H:%M UTC"]).unwrap_or(seconds);
        vec![
            ("processor", processor),
            ("caches", self.caches.join(", ")),
            ("system", format!("{system}, load {:.2} before the start", self.load)),
            ("cores", format!("producer on {}, consumer on {}", self.cores.producer, self.cores.consumer)),
            ("commit", self.commit.clone()),
            ("compiler", self.compiler.clone()),
            ("time", time),
        ]
    }

    /// Properties of this machine or this build that make figures less certain.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.load > 0.5 {
            let load = self.load;
            warnings.push(format!("other programs are busy (load {load:.2}): expect discarded rounds"));
        }
        if !self.optimized {
            warnings.push("built without --release: figures mean nothing".into());
        }
        warnings
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn cpu(core: usize) -> String {
    format!("/sys/devices/system/cpu/cpu{core}")
}

/// The data caches of a core, as the kernel describes them.
fn caches(core: usize) -> Vec<String> {
    (0..)
        .map(|index| {
            let of = |name| read(&format!("{}/cache/index{index}/{name}", cpu(core)));
            (of("level"), of("type"), of("size"), of("shared_cpu_list"))
        })
        .take_while(|(level, ..)| !level.is_empty())
        .filter(|(_, kind, ..)| kind != "Instruction")
        .map(|(level, _, size, shared)| format!("L{level} {size} (cores {shared})"))
        .collect()
}

fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let git = |arguments: &[&str]| output("git", &[&["-C", folder], arguments].concat());
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}, with changes"),
    }
}

/// The output of a program, if it succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! The machine, the commit and the compiler of a run.

use std::process::Command;

use crate::cores::Cores;

/// Where the kernel describes a core, without its number.
const CPU: &str = "/sys/devices/system/cpu/cpu";

/// Facts about this machine and this build with their names, and warnings about what makes figures less certain.
pub(crate) fn describe(cores: Cores) -> (Vec<(String, String)>, Vec<String>) {
    let cpuinfo = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut processor = field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    processor += &format!(", {threads} hardware threads available");
    if field(&cpuinfo, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")) {
        processor += " of a virtual machine";
    }
    let mut system = format!("Linux {}", read("/proc/sys/kernel/osrelease"));
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    if let Ok(kibibytes) = memory.trim_end_matches(" kB").parse::<f64>() {
        system += &format!(", {:.0} GiB of memory", kibibytes / f64::from(1 << 20));
    }
    let governor = read(&format!("{CPU}{}/cpufreq/scaling_governor", cores.producer));
    if !governor.is_empty() {
        system += &format!(", frequency governor {governor}");
    }
    let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
    let facts = [
        ("processor", processor),
        ("caches", caches(cores.producer).join(", ")),
        ("system", format!("{system}, load {load} before the start")),
        ("cores", format!("producer on {}, consumer on {}", cores.producer, cores.consumer)),
        ("commit", commit()),
        ("compiler", output("rustc", &["--version"]).unwrap_or_else(|| "unknown".into())),
        ("time", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(|| "unknown".into())),
    ];
    let mut warnings = Vec::new();
    if load.parse().is_ok_and(|load: f64| load > 0.5) {
        warnings.push(format!("other programs are busy (load {load}): expect discarded rounds"));
    }
    if cfg!(debug_assertions) {
        warnings.push("built without --release: figures mean nothing".into());
    }
    (facts.map(|(name, fact)| (name.to_owned(), fact)).to_vec(), warnings)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The data caches of a core, as the kernel describes them.
fn caches(core: usize) -> Vec<String> {
    (0..)
        .map(|index| {
            let of = |name| read(&format!("{CPU}{core}/cache/index{index}/{name}"));
            (of("level"), of("type"), of("size"), of("shared_cpu_list"))
        })
        .take_while(|(level, ..)| !level.is_empty())
        .filter(|(_, kind, ..)| kind != "Instruction")
        .map(|(level, _, size, shared)| format!("L{level} {size} (cores {shared})"))
        .collect()
}

/// The commit of these benchmarks, and whether it has changes.
pub(crate) fn commit() -> String {
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

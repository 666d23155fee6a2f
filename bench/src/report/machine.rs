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

/// The family of this processor, as in the name of a folder: `amd-zen4`.
pub(crate) fn family() -> String {
    family_of(&read("/proc/cpuinfo"))
}

/// The family that the kernel describes in these lines. One without a name here has its numbers.
fn family_of(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
    };
    let (vendor, family, model) = (field("vendor_id"), field("cpu family"), field("model"));
    let model_number: u32 = model.parse().unwrap_or(0);
    let name = match (vendor, family) {
        ("AuthenticAMD", "23") => match model_number {
            0x00..0x30 => "amd-zen",
            _ => "amd-zen2",
        },
        ("AuthenticAMD", "25") => match model_number {
            0x10..0x20 | 0x60..0x80 | 0xa0..0xb0 => "amd-zen4",
            _ => "amd-zen3",
        },
        ("AuthenticAMD", "26") => "amd-zen5",
        ("GenuineIntel", "6") => match model_number {
            0x55 => "intel-skylake-server",
            0x6a | 0x6c => "intel-ice-lake-server",
            0x8f => "intel-sapphire-rapids",
            0xcf => "intel-emerald-rapids",
            0xad | 0xae => "intel-granite-rapids",
            0x97 | 0x9a => "intel-alder-lake",
            0xb7 | 0xba | 0xbf => "intel-raptor-lake",
            _ => "",
        },
        ("", _) => match (field("CPU implementer"), field("CPU part")) {
            ("0x41", "0xd0c") => "arm-neoverse-n1",
            ("0x41", "0xd40") => "arm-neoverse-v1",
            ("0x41", "0xd49") => "arm-neoverse-n2",
            ("0x41", "0xd4f") => "arm-neoverse-v2",
            _ => "",
        },
        _ => "",
    };
    if !name.is_empty() {
        return name.to_owned();
    }
    let numbers = [vendor, family, model, field("CPU implementer"), field("CPU part")];
    let numbers = numbers.into_iter().filter(|number| !number.is_empty()).collect::<Vec<_>>().join("-");
    let name = format!("{} {numbers}", std::env::consts::ARCH).to_lowercase();
    name.split(|character: char| !character.is_ascii_alphanumeric()).collect::<Vec<_>>().join("-")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_a_folder() {
        let x86 = |vendor: &str, family: u32, model: u32| {
            family_of(&format!(
                "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: a name\n"
            ))
        };
        assert_eq!(x86("AuthenticAMD", 25, 17), "amd-zen4");
        assert_eq!(x86("AuthenticAMD", 25, 1), "amd-zen3");
        assert_eq!(x86("GenuineIntel", 6, 143), "intel-sapphire-rapids");
        assert!(x86("GenuineIntel", 6, 1).ends_with("genuineintel-6-1"));
        assert_eq!(family_of("CPU implementer\t: 0x41\nCPU part\t: 0xd40\n"), "arm-neoverse-v1");
        assert!(!family_of("").contains(' '));
    }
}

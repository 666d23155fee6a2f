//! What hurts latency: cores, clocks, other users of the machine.

use super::finding::{Finding, Level};
use super::machine::Machine;

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    vec![
        governor(machine),
        isolated(machine),
        smt(machine),
        virtualisation(machine),
        steal(machine),
        clock(machine),
        quota(machine),
        cores(machine),
    ]
}

const CPU: &str = "/sys/devices/system/cpu";

fn governor(machine: &Machine) -> Finding {
    let mut governors: Vec<_> = machine
        .entries(CPU, "")
        .iter()
        .filter_map(|cpu| machine.read(&format!("{cpu}/cpufreq/scaling_governor")))
        .collect();
    governors.sort();
    governors.dedup();
    let found = governors.join(", ");
    match found.as_str() {
        "" => Finding::ok("governor", "the clock rate of the cores is not chosen by this system"),
        "performance" => Finding::ok("governor", found),
        _ => Finding::new("governor", Level::Slow, found)
            .costs("a core that has slept runs slower for a while: the first messages after a pause are late")
            .change("cpupower frequency-set -g performance"),
    }
}

fn isolated(machine: &Machine) -> Finding {
    match machine.read(&format!("{CPU}/isolated")) {
        None => Finding::unknown("isolated cores", &format!("{CPU}/isolated")),
        Some(cores) if cores.is_empty() => Finding::new("isolated cores", Level::Note, "none")
            .costs("other programs can run on the core of a reader or producer, and delay it by milliseconds")
            .change("pin both ends (taskset), keep others away: the kernel's isolcpus= and nohz_full=, or AllowedCPUs= of systemd"),
        Some(cores) => Finding::ok("isolated cores", cores),
    }
}

fn smt(machine: &Machine) -> Finding {
    match machine.read(&format!("{CPU}/smt/active")).as_deref() {
        Some("0") => Finding::ok("SMT", "off: each core runs one thread"),
        Some("1") => Finding::new("SMT", Level::Note, "on: two threads share a core")
            .costs("whatever runs on the other thread of a core takes a part of its speed")
            .change(format!(
                "pin both ends to cores whose siblings are idle ({CPU}/cpu0/topology/thread_siblings_list)"
            )),
        _ => Finding::unknown("SMT", &format!("{CPU}/smt/active")),
    }
}

fn virtualisation(machine: &Machine) -> Finding {
    let flags = machine.field("/proc/cpuinfo", "flags");
    let is_guest = flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
        || machine.has("/sys/hypervisor/type");
    if !is_guest {
        return Finding::ok("virtualisation", "no sign of a hypervisor");
    }
    let names = ["/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name", "/sys/hypervisor/type"];
    let names: Vec<_> = names.iter().filter_map(|file| machine.read(file)).collect();
    let found = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    Finding::new("virtualisation", Level::Note, format!("a virtual machine{found}"))
        .costs("the host can stop or move its cores at any time; waking a sleeping reader takes longer")
        .change("fixed cores (pinned, not shared), if the host offers them")
}

fn steal(machine: &Machine) -> Finding {
    let times = machine.field("/proc/stat", "cpu ").unwrap_or_default();
    let times: Vec<u64> = times.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guest times are counted in the first two.
    let all: u64 = times.iter().take(8).fold(0, |sum, time| sum.saturating_add(*time));
    let (Some(steal), true) = (times.get(7), all > 0) else {
        return Finding::unknown("steal time", "/proc/stat");
    };
    let percent = *steal as f64 / all as f64 * 100.0;
    let found = format!("{percent:.2} % since the system started");
    if percent < 0.1 {
        return Finding::ok("steal time", found);
    }
    Finding::new("steal time", Level::Slow, found)
        .costs("the host ran others while a core had work: both ends stand still then, for milliseconds")
        .change("another host, or cores that are not shared")
}

fn clock(machine: &Machine) -> Finding {
    const FILE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match machine.read(FILE).as_deref() {
        None => Finding::unknown("clock source", FILE),
        Some(source @ ("tsc" | "arch_sys_counter" | "kvm-clock" | "hyperv_clocksource_tsc_page")) => {
            Finding::ok("clock source", source)
        }
        Some(source) => Finding::new("clock source", Level::Slow, source)
            .costs("each reading of the time can be a system call: timestamps and waits with timeouts are slower")
            .change("see 'dmesg | grep -i tsc' for why the TSC is not used; the kernel's tsc=reliable if it is known to be"),
    }
}

fn quota(machine: &Machine) -> Finding {
    let quotas =
        machine.in_cgroups("cpu.max", "cpu", "cpu.cfs_quota_us").into_iter().filter_map(|(file, value)| {
            let mut words = value.split_whitespace();
            let quota: f64 = words.next()?.parse().ok().filter(|quota| *quota > 0.0)?;
            let period = match words.next() {
                Some(period) => period.to_owned(),
                None => machine.read(&file.replace("quota", "period"))?,
            };
            let period: f64 = period.parse().ok().filter(|period| *period > 0.0)?;
            Some((quota / period, file))
        });
    match quotas.min_by(|a, b| a.0.total_cmp(&b.0)) {
        None => Finding::ok("processor quota", "none"),
        Some((cores, file)) => Finding::new("processor quota", Level::Slow, format!("{cores:.2} cores ({file})"))
            .costs("all threads of the cgroup stand still for the rest of a period, often 100 ms, when it is used up; readers that spin use it up")
            .change("no limit (--cpus, CPUQuota=, limits.cpu), or whole cores instead (--cpuset-cpus, AllowedCPUs=)"),
    }
}

fn cores(machine: &Machine) -> Finding {
    let Some(list) = machine.field("/proc/self/status", "Cpus_allowed_list") else {
        return Finding::unknown("usable cores", "/proc/self/status");
    };
    let count = |range: &str| match range.split_once('-') {
        Some((first, last)) => Some(last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)? + 1),
        None => range.parse::<u64>().ok().map(|_| 1),
    };
    let cores: u64 = list.split(',').filter_map(count).sum();
    let found = format!("{cores} ({list})");
    if cores > 1 {
        return Finding::ok("usable cores", found);
    }
    Finding::new("usable cores", Level::Slow, found)
        .costs("both ends take turns: each message waits for the other end to be scheduled")
        .change("allow this process a second core (taskset, --cpuset-cpus, AllowedCPUs=)")
}

//! `tango doctor` finds on this machine, and in the files of others, what makes links slow or unreliable. It fails only if
//! something deletes links.

mod common;

use std::fs;
use std::path::Path;

use common::{Exited, TestFolder};
use serde_json::Value;

/// The files of a machine: path and content.
type Files = [(&'static str, &'static str)];

/// A server that is set up for links.
const SERVER: &Files = &[
    ("proc/self/status", "Name:\ttango\nUid:\t1000\t1000\t1000\t1000\nCpus_allowed_list:\t2-5,8\n"),
    (
        "proc/self/mounts",
        "none / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw,nosuid,size=16777216k,huge=within_size 0 0\n",
    ),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            4096                 4096                 files     \nMax locked memory         unlimited            unlimited            bytes     \n",
    ),
    ("proc/self/cgroup", "0::/system.slice/feed.service\n"),
    ("proc/meminfo", "MemTotal: 65000000 kB\nSwapTotal:             0 kB\n"),
    ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu tsc constant_tsc\n"),
    ("proc/stat", "cpu  100000 0 20000 900000 0 0 10 0 0 0\ncpu0 1 2\n"),
    ("proc/sys/kernel/osrelease", "6.8.0-45-generic\n"),
    ("proc/sys/vm/swappiness", "60\n"),
    ("run/systemd/system/.keep", ""),
    ("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\nRemoveIPC=no\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/isolated", "2-5\n"),
    ("sys/devices/system/cpu/smt/active", "0\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size advise [never] deny force\n"),
    ("sys/fs/cgroup/system.slice/feed.service/cpu.max", "max 100000\n"),
    ("sys/fs/cgroup/system.slice/feed.service/memory.max", "max\n"),
];

/// Writes the files of a machine, and then changes to some of them.
fn machine(folder: &TestFolder, changes: &Files) -> String {
    let root = folder.links().with_file_name("root");
    let _ = fs::remove_dir_all(&root);
    for (path, content) in SERVER.iter().chain(changes) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root.display().to_string()
}

fn findings(exited: &Exited) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&exited.out).unwrap();
    assert_eq!(report["version"], 1);
    report["findings"].as_array().unwrap().clone()
}

/// What is found with these changes for links in this folder: the level and what was found of one check.
#[track_caller]
fn finds(changes: &Files, links: &str, check: &str) -> (String, String) {
    let folder = TestFolder::new();
    let root = machine(&folder, changes);
    let doctor = folder.run(&format!("doctor --json --dir {links} --root {root}"));
    let findings = findings(&doctor);
    let found = findings.iter().find(|finding| finding["check"] == check).unwrap();
    let [level, text] = ["level", "found"].map(|field| found[field].as_str().unwrap().to_owned());
    // Whatever is not good says what it costs and how to change it.
    let is_explained = ["costs", "change"].iter().all(|field| found[field] != "");
    assert_eq!(is_explained, !["ok", "unknown"].contains(&level.as_str()), "{found}");
    let loses = findings.iter().any(|finding| finding["level"] == "loses");
    if loses {
        doctor.assert_failed(1, &["links can be lost on this machine", check]);
    } else {
        doctor.assert_ok();
    }
    (level, text)
}

const LINKS: &str = "/dev/shm/tango-1000";

#[track_caller]
fn assert_finds(changes: &Files, check: &str, level: &str, part: &str) {
    assert_finds_in(LINKS, changes, check, level, part);
}

#[track_caller]
fn assert_finds_in(links: &str, changes: &Files, check: &str, level: &str, part: &str) {
    let found = finds(changes, links, check);
    assert!(found.0 == level && found.1.contains(part), "{found:?} and not {level} {part:?}");
}

#[test]
fn this_machine_can_be_checked() {
    let folder = TestFolder::new();
    let doctor = folder.run("doctor --json");
    assert!([0, 1].contains(&doctor.code()), "{}", doctor.err);
    let findings = findings(&doctor);
    let level = |check: &str| {
        let found = findings.iter().find(|finding| finding["check"] == check).unwrap();
        found["level"].as_str().unwrap().to_owned()
    };
    assert_eq!(level("kernel"), "ok", "the tests themselves need a new kernel");
    assert_ne!(level("usable cores"), "unknown");
    let text = String::from_utf8(folder.run("doctor").out).unwrap();
    let checks = text.lines().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(checks, findings.len());
    let problems = findings.iter().filter(|finding| finding["level"] != "ok").count();
    let text = String::from_utf8(folder.run("doctor --problems").out).unwrap();
    assert_eq!(text.lines().filter(|line| !line.starts_with(' ')).count(), problems);
}

#[test]
fn a_good_machine_has_no_problems() {
    let folder = TestFolder::new();
    let root = machine(&folder, &[]);
    let doctor = folder.run(&format!("doctor --problems --dir {LINKS} --root {root}"));
    doctor.assert_ok();
    assert_eq!(String::from_utf8(doctor.out).unwrap(), "");
}

#[test]
fn what_deletes_links_is_a_failure() {
    const DEFAULT: (&str, &str) = ("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\n");
    assert_finds(&[DEFAULT], "logout", "loses", "RemoveIPC=yes");
    assert_finds_in("/run/quotes", &[DEFAULT], "logout", "ok", "spares /run/quotes");
    let service = ("proc/self/status", "Uid:\t0\t101\t0\t0\nCpus_allowed_list:\t0-3\n");
    assert_finds(&[DEFAULT, service], "logout", "ok", "spares user 101");
    // The last file by name counts, wherever it lies.
    let (yes, no) = ("[Login]\nRemoveIPC=yes\n", "[Login]\nRemoveIPC=no\n");
    let (late, early) = ("usr/lib/systemd/logind.conf.d/90.conf", "etc/systemd/logind.conf.d/10.conf");
    assert_finds(&[DEFAULT, (late, no), (early, yes)], "logout", "ok", "RemoveIPC=no");
    assert_finds(&[(late, yes), (early, no)], "logout", "loses", "RemoveIPC=yes");

    const OLD: (&str, &str) =
        ("usr/lib/tmpfiles.d/tmp.conf", "# x\nq /tmp 1777 root root 10d\nq /var/tmp 1777 root root 30d\n");
    assert_finds_in("/tmp/links", &[OLD], "cleaner", "loses", "what is in /tmp is deleted after 10d");
    assert_finds(&[OLD], "cleaner", "ok", "nothing");
    let spared = ("etc/tmpfiles.d/links.conf", "x /tmp/links - - - 10d\n");
    assert_finds_in("/tmp/links", &[OLD, spared], "cleaner", "ok", "nothing");
    let overridden = ("etc/tmpfiles.d/tmp.conf", "q /tmp 1777 root root -\n");
    assert_finds_in("/tmp/links", &[OLD, overridden], "cleaner", "ok", "nothing");
}

#[test]
fn memory_and_limits() {
    let mounts = |text| [("proc/self/mounts", text)];
    assert_finds(&[], "space", "ok", "16.0 GiB free of 16.0 GiB on /dev/shm (tmpfs)");
    assert_finds(
        &mounts("none / overlay rw 0 0\nshm /dev/shm tmpfs rw,size=65536k 0 0\n"),
        "space",
        "fails",
        "64.0 MiB",
    );
    assert_finds_in("/home/links", &[], "space", "slow", "on / (ext4)");
    assert_finds(&mounts("tmpfs /dev/shm tmpfs rw,size=1g 0 0\n"), "huge pages", "note", "never");
    assert_finds(&mounts("tmpfs /dev/shm tmpfs rw,huge=always 0 0\n"), "huge pages", "note", "huge=always");
    let swap = ("proc/meminfo", "SwapTotal:       8000000 kB\n");
    assert_finds(&[swap], "swap", "slow", "8000000 kB, swappiness 60");
    let noswap = ("proc/self/mounts", "tmpfs /dev/shm tmpfs rw,noswap 0 0\n");
    assert_finds(&[swap, noswap], "swap", "ok", "noswap");
    let limits = (
        "proc/self/limits",
        "Max open files            1024                 4096                 files     \nMax locked memory         8388608              8388608              bytes     \n",
    );
    assert_finds(&[limits], "open files", "note", "1024");
    assert_finds(&[limits], "locked memory", "note", "8.0 MiB");
    // Of all cgroups above, the least.
    let inner = ("sys/fs/cgroup/system.slice/feed.service/memory.max", "536870912\n");
    let outer = ("sys/fs/cgroup/system.slice/memory.max", "134217728\n");
    assert_finds(
        &[inner, outer],
        "memory limit",
        "note",
        "128.0 MiB (/sys/fs/cgroup/system.slice/memory.max)",
    );
    for (release, level, part) in [
        ("5.15.0", "slow", "5.15.0"),
        ("4.9.1", "slow", "4.9.1"),
        ("3.10.0-1160.el7", "fails", "3.10"),
        ("5.16-rc1", "ok", "5.16"),
        ("?", "unknown", "?"),
    ] {
        assert_finds(&[("proc/sys/kernel/osrelease", release)], "kernel", level, part);
    }
}

#[test]
fn processors_and_virtual_machines() {
    let cpu = |file, text| [(file, text)];
    assert_finds(
        &cpu("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
        "governor",
        "slow",
        "performance, powersave",
    );
    assert_finds(&cpu("sys/devices/system/cpu/isolated", "\n"), "isolated cores", "note", "none");
    assert_finds(&cpu("sys/devices/system/cpu/smt/active", "1\n"), "SMT", "note", "on");
    let guest = ("proc/cpuinfo", "flags\t\t: fpu hypervisor tsc\n");
    let vendor = ("sys/class/dmi/id/sys_vendor", "QEMU\n");
    assert_finds(&[guest, vendor], "virtualisation", "note", "a virtual machine (QEMU)");
    assert_finds(&cpu("proc/stat", "cpu  500 0 0 490 0 0 0 10 7 7\n"), "steal time", "slow", "1.00 %");
    let clock = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    assert_finds(&cpu(clock, "hpet\n"), "clock source", "slow", "hpet");
    let quota = ("sys/fs/cgroup/system.slice/feed.service/cpu.max", "150000 100000\n");
    let outer = ("sys/fs/cgroup/system.slice/cpu.max", "200000 100000\n");
    assert_finds(&[quota, outer], "processor quota", "slow", "1.50 cores");
    let old = [
        ("proc/self/cgroup", "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n"),
        ("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n"),
    ];
    assert_finds(&old, "processor quota", "slow", "0.50 cores");
    assert_finds(&old, "memory limit", "ok", "none");
    assert_finds(&[], "usable cores", "ok", "5 (2-5,8)");
    let one = ("proc/self/status", "Uid:\t0\t0\t0\t0\nCpus_allowed_list:\t3\n");
    assert_finds(&[one], "usable cores", "slow", "1 (3)");
}

/// A machine without any of the files.
#[test]
fn what_cannot_be_read_is_unknown() {
    let folder = TestFolder::new();
    let root = folder.links().with_file_name("nothing");
    fs::create_dir(&root).unwrap();
    let doctor = folder.run(&format!("doctor --json --root {}", root.display()));
    doctor.assert_ok();
    let findings = findings(&doctor);
    assert!(findings.iter().all(|finding| ["ok", "unknown"].contains(&finding["level"].as_str().unwrap())));
    assert!(findings.iter().filter(|finding| finding["level"] == "unknown").count() > 8);
    assert!(Path::new("/proc/self/status").exists(), "and so nothing was read of this machine");
}

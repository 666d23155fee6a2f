//! What hurts reliability: where links lie, what deletes them there, and limits that make calls fail.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::finding::{Finding, Level};
use super::machine::Machine;
use crate::format;

const SHM: &str = "/dev/shm";
/// What some links of `tango send` take.
const LITTLE: u64 = 64 << 20;

/// `folder`: the folder of links, as an absolute path.
pub(super) fn findings(machine: &Machine, folder: &Path) -> Vec<Finding> {
    vec![
        place(machine, folder),
        logout(machine, folder),
        cleaner(machine, folder),
        huge_pages(machine, folder),
        swap(machine, folder),
        memory_limit(machine),
        open_files(machine),
        locked_memory(machine),
        kernel(machine),
    ]
}

fn place(machine: &Machine, folder: &Path) -> Finding {
    let Some(mount) = machine.mount_of(folder) else {
        return Finding::unknown("space", "/proc/self/mounts");
    };
    let at = format!("{} ({})", mount.path, mount.kind);
    if mount.kind != "tmpfs" && mount.kind != "hugetlbfs" {
        return Finding::new("space", Level::Slow, format!("links are in {}, on {at}, which is not memory", folder.display()))
            .costs("the kernel writes links to the disk, and can stop a program while it does; network filesystems are refused")
            .change("set TANGO_DIR to a folder below /dev/shm, or on another tmpfs");
    }
    // A file of another machine says only the size.
    let space = if machine.is_real() {
        let found = statvfs(mount.path.as_str()).ok();
        found.map(|found| {
            (found.blocks_available() * found.fragment_size(), found.blocks() * found.fragment_size())
        })
    } else {
        mount.size().map(|size| (size, size))
    };
    let Some((free, size)) = space else {
        return Finding::new("space", Level::Unknown, format!("the size of {at} is not known"));
    };
    let found = format!("{} free of {} on {at}", format::bytes(free as f64), format::bytes(size as f64));
    if free > LITTLE {
        return Finding::ok("space", found);
    }
    Finding::new("space", Level::Fails, found)
        .costs("a link of 'tango send' takes 16.4 MiB; 'create' fails when there is no room (No space left on device)")
        .change(format!("tango rm --dead; mount -o remount,size=2g {}; containers: --shm-size 2g", mount.path))
}

/// systemd-logind deletes what a user has in `/dev/shm` when the last session ends.
fn logout(machine: &Machine, folder: &Path) -> Finding {
    const CHECK: &str = "logout";
    if !machine.has("/run/systemd/system") {
        return Finding::ok(CHECK, "systemd does not run here: nothing is deleted when a user logs out");
    }
    let mut files: Vec<_> =
        ["/usr/lib/systemd/logind.conf", "/etc/systemd/logind.conf"].map(String::from).to_vec();
    let mut more: Vec<_> = ["/usr/lib", "/run", "/etc"]
        .iter()
        .flat_map(|base| machine.entries(&format!("{base}/systemd/logind.conf.d"), ".conf"))
        .collect();
    // By name, wherever they lie. The sort is stable.
    more.sort_by_key(|path| path.rsplit('/').next().map(String::from));
    files.append(&mut more);
    let mut removes = true;
    for line in files
        .iter()
        .filter_map(|file| machine.read(file))
        .flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>())
    {
        if let Some(value) = line.trim().strip_prefix("RemoveIPC=") {
            removes =
                !["no", "false", "off", "0", "n", "f"].contains(&value.trim().to_ascii_lowercase().as_str());
        }
    }
    if !removes {
        return Finding::ok(CHECK, "RemoveIPC=no: links stay when a user logs out");
    }
    let Some(user) = machine.user() else {
        return Finding::unknown(CHECK, "/proc/self/status");
    };
    let last_of_system =
        machine.field("/etc/login.defs", "SYS_UID_MAX").and_then(|number| number.parse().ok()).unwrap_or(999);
    if user <= last_of_system {
        return Finding::ok(
            CHECK,
            format!("RemoveIPC=yes, which spares user {user}: root, or a system user"),
        );
    }
    if !folder.starts_with(SHM) {
        return Finding::ok(
            CHECK,
            format!("RemoveIPC=yes, which spares {}: it is not in {SHM}", folder.display()),
        );
    }
    Finding::new(CHECK, Level::Loses, format!("RemoveIPC=yes: systemd-logind deletes what user {user} has in {SHM} at the last logout"))
        .costs("links of programs that go on end, with what was not read yet")
        .change("RemoveIPC=no in /etc/systemd/logind.conf; or loginctl enable-linger; or a system user; or a RuntimeDirectory= for the links")
}

/// systemd-tmpfiles deletes by age what looks unused, and publishing changes no time of a file.
fn cleaner(machine: &Machine, folder: &Path) -> Finding {
    const CHECK: &str = "cleaner";
    // A file in /etc takes the place of one of the same name in /usr/lib.
    let mut files = machine.entries("/etc/tmpfiles.d", ".conf");
    let name = |path: &str| path.rsplit('/').next().map(String::from);
    for file in machine.entries("/usr/lib/tmpfiles.d", ".conf") {
        if files.iter().all(|other| name(other) != name(&file)) {
            files.push(file);
        }
    }
    // The line of the innermost folder counts.
    let mut innermost: Option<(String, Option<String>)> = None;
    for (file, text) in files.iter().filter_map(|file| Some((file, machine.read(file)?))) {
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [kind, path, ref rest @ ..] = words[..] else { continue };
            let is_longer = innermost.as_ref().is_none_or(|(longest, _)| path.len() > longest.len());
            if !kind.starts_with(['d', 'D', 'q', 'Q', 'v', 'e', 'x'])
                || !folder.starts_with(path)
                || !is_longer
            {
                continue;
            }
            let age = rest.get(3).filter(|age| **age != "-" && !kind.starts_with('x'));
            innermost = Some((
                path.to_owned(),
                age.map(|age| format!("{file}: what is in {path} is deleted after {age}")),
            ));
        }
    }
    if let Some((_, Some(found))) = innermost {
        return Finding::new(CHECK, Level::Loses, found)
            .costs("a link looks as old as it is, however much is published: it is deleted while it is used")
            .change(format!(
                "keep links elsewhere, or spare them: echo 'x {}' > /etc/tmpfiles.d/links.conf",
                folder.display()
            ));
    }
    Finding::ok(CHECK, "systemd-tmpfiles deletes nothing by age where links are")
}

fn huge_pages(machine: &Machine, folder: &Path) -> Finding {
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    const CHECK: &str = "huge pages";
    let mount = machine.mount_of(folder);
    let by_mount = mount.as_ref().and_then(|mount| mount.option("huge")).map(String::from);
    let by_kernel =
        machine.read(FILE).and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned()));
    let (found, mode) = match (by_mount, by_kernel) {
        (Some(mount), _) => (format!("mounted with huge={mount}"), mount),
        (None, Some(kernel)) => (format!("{FILE} is {kernel}"), kernel),
        (None, None) => return Finding::unknown(CHECK, FILE),
    };
    match mode.as_str() {
        "always" | "force" => Finding::new(CHECK, Level::Note, found)
            .costs("each file of a link takes 2 MiB at least")
            .change("mount -o remount,huge=within_size /dev/shm"),
        "within_size" => Finding::ok(CHECK, found),
        _ => Finding::new(CHECK, Level::Note, format!("{found}: links have pages of the usual size"))
            .costs("more address translations for links of many MiB; how much that is was not measured")
            .change("mount -o remount,huge=within_size /dev/shm"),
    }
}

fn swap(machine: &Machine, folder: &Path) -> Finding {
    const CHECK: &str = "swap";
    let Some(total) = machine.field("/proc/meminfo", "SwapTotal") else {
        return Finding::unknown(CHECK, "/proc/meminfo");
    };
    let swappiness = machine.read("/proc/sys/vm/swappiness").unwrap_or_else(|| "?".to_owned());
    if total.split_whitespace().next() == Some("0") {
        return Finding::ok(CHECK, format!("none (swappiness {swappiness})"));
    }
    if machine.mount_of(folder).is_some_and(|mount| mount.option("noswap").is_some()) {
        return Finding::ok(CHECK, format!("{total}, but links are on a filesystem with noswap"));
    }
    Finding::new(CHECK, Level::Slow, format!("{total}, swappiness {swappiness}"))
        .costs(
            "parts of a link that were not used for a while can be on the disk: the next access waits for it",
        )
        .change("mount -o remount,noswap /dev/shm (Linux 6.4), mlockall in both programs, or swapoff -a")
}

fn memory_limit(machine: &Machine) -> Finding {
    let limits = machine.in_cgroups("memory.max", "memory", "memory.limit_in_bytes");
    let limits = limits.into_iter().filter_map(|(file, value)| Some((value.parse::<u64>().ok()?, file)));
    // Version 1 has a number of nearly 2^63 where there is no limit.
    match limits.filter(|(limit, _)| *limit < 1 << 60).min() {
        None => Finding::ok("memory limit", "none"),
        Some((limit, file)) => Finding::new(
            "memory limit",
            Level::Note,
            format!("{} ({file})", format::bytes(limit as f64)),
        )
        .costs(
            "links count for the process that makes them: above the limit, the kernel kills it in 'create'",
        )
        .change(
            "leave room for all links, also those of dead processes: --memory, MemoryMax=, limits.memory",
        ),
    }
}

fn open_files(machine: &Machine) -> Finding {
    const CHECK: &str = "open files";
    match machine.limit("Max open files") {
        None => Finding::unknown(CHECK, "/proc/self/limits"),
        Some(u64::MAX) => Finding::ok(CHECK, "no limit"),
        Some(limit) if limit > 1024 => Finding::ok(CHECK, format!("limit of {limit}")),
        Some(limit) => Finding::new(CHECK, Level::Note, format!("limit of {limit}"))
            .costs("a producer takes 5 descriptors and one for each consumer slot, a consumer 4: above the limit, opening fails")
            .change("ulimit -n 4096; LimitNOFILE=4096; --ulimit nofile=4096"),
    }
}

fn locked_memory(machine: &Machine) -> Finding {
    const CHECK: &str = "locked memory";
    match machine.limit("Max locked memory") {
        None => Finding::unknown(CHECK, "/proc/self/limits"),
        Some(u64::MAX) => Finding::ok(CHECK, "no limit"),
        Some(limit) => Finding::new(CHECK, Level::Note, format!("limit of {}", format::bytes(limit as f64)))
            .costs("a program that locks its memory (mlockall) cannot make or join links above it; others need none")
            .change("ulimit -l unlimited; LimitMEMLOCK=infinity; --ulimit memlock=-1"),
    }
}

fn kernel(machine: &Machine) -> Finding {
    const CHECK: &str = "kernel";
    let Some(release) = machine.read("/proc/sys/kernel/osrelease") else {
        return Finding::unknown(CHECK, "/proc/sys/kernel/osrelease");
    };
    let mut numbers =
        release.split(|char: char| !char.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        return Finding::new(CHECK, Level::Unknown, release);
    };
    let finding = |level, costs: &str| {
        Finding::new(CHECK, level, format!("Linux {release}")).costs(costs).change("a newer kernel")
    };
    match (major, minor) {
        version if version < (3, 15) => {
            finding(Level::Fails, "no locks of open files (Linux 3.15): no link can be made or joined")
        }
        version if version < (4, 16) => finding(
            Level::Slow,
            "no membarrier for all processes (Linux 4.16): each call that publishes or returns credits takes a full fence",
        ),
        version if version < (5, 16) => finding(
            Level::Slow,
            "no sleep on several words at once (futex_waitv, Linux 5.16): asynchronous readers take a thread for each link",
        ),
        _ => Finding::ok(CHECK, format!("Linux {release}")),
    }
}

//! `tango bench` measures two processes and the raw cache line, checks what it receives, says what disturbs it, and leaves no
//! process and no link behind, however it ends.

mod common;

use std::fs;

use common::{Exited, Running, TestFolder, wait_until};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// What a command has printed as JSON, after it has succeeded.
#[track_caller]
fn json(exited: &Exited) -> Value {
    exited.assert_ok();
    assert_eq!(exited.out.iter().filter(|byte| **byte == b'\n').count(), 1);
    serde_json::from_slice(&exited.out).unwrap()
}

#[track_caller]
fn assert_spread(spread: &Value) {
    let [min, median, max] = ["min", "median", "max"].map(|key| spread[key].as_f64().unwrap());
    assert!(0.0 < min && min <= median && median <= max, "{spread}");
}

#[track_caller]
fn assert_latency(latency: &Value, samples: u64) {
    assert!(latency["samples"].as_u64().unwrap() >= samples, "{latency}");
    let percentiles = ["p50", "p90", "p99", "p999", "max"].map(|key| &latency["ns"][key]);
    percentiles.iter().for_each(|spread| assert_spread(spread));
    let medians = percentiles.map(|spread| spread["median"].as_f64().unwrap());
    assert!(medians.is_sorted(), "{latency}");
}

#[track_caller]
fn assert_nothing_lost(report: &Value, sent: u64) {
    assert_eq!((&report["lost"], &report["wrong"]), (&0.into(), &0.into()), "{report}");
    assert_eq!(report["sent"], report["received"]);
    assert!(report["sent"].as_u64().unwrap() >= sent, "{report}");
}

fn usable_cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).collect()
}

/// Starts commands that may use one core only.
fn on_one_core<T>(core: usize, start: impl FnOnce() -> T) -> T {
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut one = CpuSet::new();
    one.set(core).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    let started = start();
    sched_setaffinity(Pid::from_raw(0), &all).unwrap();
    started
}

#[test]
fn the_text_has_every_row_and_fits_a_terminal() {
    let folder = TestFolder::new();
    let exited = folder.run("bench --count 2000 --windows 3");
    exited.assert_ok();
    let text = String::from_utf8(exited.out).unwrap();
    for part in [
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "raw line",
        "round trip",
        "one way",
        "throughput",
        "times the raw line",
        "3 windows of 2,000 messages",
        "every byte checked",
        "0 lost, 0 wrong",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let has_unit = |line: &str| line.contains(" ns") || line.contains(" us") || line.contains(" ms");
    let rows = text.lines().filter(|line| ["raw line ", "one way "].iter().any(|row| line.starts_with(row)));
    assert!(rows.clone().count() >= 3 && rows.clone().any(has_unit), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(folder.list().is_empty());
}

#[test]
fn json_has_percentiles_and_counts() {
    let folder = TestFolder::new();
    let report = json(&folder.run("bench --count 1000 --windows 4 --json --rate 20000"));
    assert_eq!((&report["version"], &report["command"]), (&1.into(), &"bench".into()));
    assert_eq!(
        (&report["windows"], &report["size"], &report["depth"]),
        (&4.into(), &64.into(), &1024.into())
    );
    assert_latency(&report["raw_round_trip"], 4 * 500);
    assert_latency(&report["round_trip"], 4 * 500);
    assert_latency(&report["one_way"], 4 * 1000);
    assert_eq!(report["one_way"]["messages_per_second"], 20000);
    assert_spread(&report["round_trip_to_raw"]);
    assert_spread(&report["round_trip"]["without_clock_ns"]);
    assert_spread(&report["throughput"]["messages_per_second"]);
    assert_eq!(report["throughput"]["messages"], 4 * 1000);
    let rate = report["throughput"]["messages_per_second"]["median"].as_f64().unwrap();
    let bytes = report["throughput"]["bytes_per_second"]["median"].as_f64().unwrap();
    // JSON is read with rounding.
    assert!((bytes / rate - 64.0).abs() < 1e-6, "{report}");
    assert_nothing_lost(&report, 3 * 4 * 1000);
    assert!(report["warnings"].is_array() && report["clock_ns"].as_f64().unwrap() > 0.0);

    let cores: Vec<usize> = serde_json::from_value(report["cores"].clone()).unwrap();
    let usable = usable_cores();
    assert!(cores.iter().all(|core| usable.contains(core)), "{cores:?} of {usable:?}");
    assert_eq!(cores[0] == cores[1], usable.len() == 1);
    assert_eq!(report["cores_share"] == "same_core", usable.len() == 1);
}

#[test]
fn it_measures_what_was_asked_for() {
    let folder = TestFolder::new();
    for (options, size) in
        [("--size 0 --depth 2", 0), ("--size 1 --depth 4", 1), ("--size 5000 --depth 64", 5000)]
    {
        let report = json(&folder.run(&format!("bench --count 200 --windows 2 --json {options}")));
        assert_eq!(report["size"], size);
        assert_nothing_lost(&report, 3 * 2 * 200);
    }
    let report =
        json(&folder.run("bench --count 200 --windows 1 --measure one-way --wait park --rate 5000 --json"));
    assert_latency(&report["raw_round_trip"], 100);
    assert_latency(&report["one_way"], 200);
    assert_eq!((&report["round_trip"], &report["throughput"]), (&Value::Null, &Value::Null));
    assert_eq!((&report["wait"], &report["sent"]), (&"park".into(), &200.into()));
    assert!(json(&folder.run("bench --duration 0.1 --json"))["sent"].as_u64().unwrap() > 0);
    assert!(folder.list().is_empty());
}

#[test]
fn with_one_core_it_says_that_it_measures_the_scheduler() {
    let folder = TestFolder::new();
    let core = *usable_cores().last().unwrap();
    let report = json(&on_one_core(core, || folder.run("bench --count 200 --windows 2 --json")));
    assert_eq!(report["cores"], serde_json::json!([core, core]));
    assert_eq!((&report["cores_share"], &report["wait"]), (&"same_core".into(), &"park".into()));
    assert_nothing_lost(&report, 3 * 2 * 200);
    let warnings = report["warnings"].as_array().unwrap();
    let about_it =
        warnings.iter().find(|warning| warning["found"] == format!("both sides ran on core {core}"));
    assert!(about_it.unwrap()["means"].as_str().unwrap().contains("scheduler"), "{report}");

    let exited = folder.run(&format!("bench --count 100 --windows 1 --wait yield --cores {core},{core}"));
    exited.assert_ok();
    let text = String::from_utf8(exited.out).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("warning both sides ran on core {core}: ")), "{text}");
    assert!(words.contains("measure how fast the scheduler switches"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn invalid_options_are_named() {
    let folder = TestFolder::new();
    let usable = usable_cores();
    folder.run("bench --cores 0,9999").assert_failed(2, &["--cores", "core 9999", &usable[0].to_string()]);
    folder.run("bench --cores 0").assert_failed(2, &["--cores", "two numbers of cores"]);
    folder.run("bench --count 5 --duration 1").assert_failed(2, &["--count", "--duration"]);
    folder.run("bench --windows 0").assert_failed(2, &["--windows"]);
    folder.run("bench --depth 3").assert_failed(2, &["--depth", "a power of two"]);
    folder.run("bench --measure speed").assert_failed(2, &["--measure", "round-trip, one-way, throughput"]);
    assert!(!folder.links().exists());
}

/// Starts a measurement that takes long, and waits until messages are under way. Returns it and the process that answers.
fn measuring(folder: &TestFolder) -> (Running, Pid) {
    let bench = folder.start("bench --duration 600 --windows 1000");
    wait_until("both links are in use", || {
        let links = folder.list();
        links.len() == 2
            && links.iter().all(|name| {
                rust_tango::Link::open_in(folder.links(), name).is_ok_and(|link| link.status().next > 1000)
            })
    });
    let is_child = |status: &str| status.lines().any(|line| line == format!("PPid:\t{}", bench.pid()));
    let child = fs::read_dir("/proc").unwrap().find_map(|entry| {
        let path = entry.ok()?.path();
        let id = path.file_name()?.to_str()?.parse().ok()?;
        fs::read_to_string(path.join("status"))
            .is_ok_and(|status| is_child(&status))
            .then(|| Pid::from_raw(id))
    });
    (bench, child.unwrap())
}

#[track_caller]
fn assert_nothing_left(folder: &TestFolder, child: Pid) {
    wait_until("both links are removed", || folder.list().is_empty());
    // The kernel does not reuse process ids this soon.
    wait_until("the answering process has ended", || kill(child, None).is_err());
    let left = fs::read_dir(folder.links()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name != ".lock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_signal_ends_it_and_removes_both_links() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let folder = TestFolder::new();
        let (bench, child) = measuring(&folder);
        bench.signal(signal);
        let exited = bench.wait();
        assert_eq!((exited.code(), exited.err.as_str()), (128 + signal as i32, ""));
        assert!(folder.list().is_empty());
        assert_nothing_left(&folder, child);
    }
}

#[test]
fn nothing_is_left_if_it_is_killed() {
    let folder = TestFolder::new();
    let (bench, child) = measuring(&folder);
    bench.signal(Signal::SIGKILL);
    bench.wait();
    assert_nothing_left(&folder, child);
}

#[test]
fn it_fails_if_the_process_that_answers_dies() {
    let folder = TestFolder::new();
    let (bench, child) = measuring(&folder);
    kill(child, Signal::SIGKILL).unwrap();
    bench.wait().assert_failed(1, &["the answering side has died"]);
    // The way back of a process that was killed stays, as that of any sender does.
    folder.run("rm --dead");
    assert_nothing_left(&folder, child);
}

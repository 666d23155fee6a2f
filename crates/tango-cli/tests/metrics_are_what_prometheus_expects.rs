//! `tango export` gives Prometheus the counts of all links: as text that its own checker accepts, and over HTTP to the
//! real program. The dashboard in `docs/grafana` asks only for metrics that there are.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use common::{Running, TERMINATION, TestFolder, has_program, wait_until};
use nix::sys::signal::{Signal, kill};
use rust_tango::Link;
use serde_json::Value;

fn link(folder: &TestFolder, name: &str) -> Link {
    Link::builder().depth(16).mtu(64).consumers(2).dir(folder.links()).create(name).unwrap()
}

/// A link whose file with the payloads is gone.
fn damage(folder: &TestFolder, name: &str) {
    drop(link(folder, name));
    fs::remove_file(folder.links().join(name).join("tx")).unwrap();
}

/// The status and the body of a response.
fn get(address: &str, method: &str, path: &str) -> Option<(u16, String)> {
    let response = request(address, method, path)?;
    let status = response.split(' ').nth(1)?.parse().ok()?;
    Some((status, response.split_once("\r\n\r\n")?.1.to_owned()))
}

/// A response with its headers.
fn request(address: &str, method: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}

/// Starts an exporter, and returns its address.
fn exporter(folder: &TestFolder) -> (Running, String) {
    let exporter = folder.start("export --listen 127.0.0.1:0");
    let mut text = String::new();
    wait_until("the address", || {
        text = fs::read_to_string(&exporter.out).unwrap();
        text.ends_with('\n')
    });
    let address = text.trim().strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    (exporter, address.to_owned())
}

/// The values of a metric, with its labels.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

#[test]
fn counts_are_those_of_the_links() {
    let folder = TestFolder::new();
    let exited = folder.run("export --once");
    exited.assert_ok();
    assert!(exited.out.is_empty(), "there is no link");

    let quotes = link(&folder, "quotes");
    let (tx, mut rx) = (quotes.producer().unwrap(), quotes.consumer().unwrap());
    for _ in 0..6 {
        tx.publish(b"x", 0, 0, 0).unwrap();
    }
    (0..2).for_each(|_| drop(rx.poll().unwrap()));
    damage(&folder, "broken");
    let exited = folder.run("export --once");
    exited.assert_ok();
    let text = String::from_utf8(exited.out).unwrap();
    for (series, wanted) in [
        ("tango_link_up{link=\"quotes\"}", 1.0),
        ("tango_link_up{link=\"broken\"}", 0.0),
        ("tango_link_state{link=\"quotes\",state=\"alive\"}", 1.0),
        ("tango_link_published_total{link=\"quotes\"}", 6.0),
        ("tango_link_producers_total{link=\"quotes\"}", 1.0),
        ("tango_link_occupancy_ratio{link=\"quotes\"}", 0.25),
        ("tango_link_depth_fragments{link=\"quotes\"}", 16.0),
        ("tango_link_mtu_bytes{link=\"quotes\"}", 64.0),
        ("tango_link_consumers{link=\"quotes\"}", 1.0),
        ("tango_link_consumer_slots{link=\"quotes\"}", 2.0),
        ("tango_consumer_consumed_total{link=\"quotes\",slot=\"0\"}", 2.0),
        ("tango_consumer_lag_fragments{link=\"quotes\",slot=\"0\"}", 4.0),
        ("tango_consumer_lost_total{link=\"quotes\",slot=\"0\"}", 0.0),
        ("tango_consumer_holding{link=\"quotes\",slot=\"0\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(wanted), "{series} in {text}");
    }
    // Counts go on with another producer.
    drop(tx);
    let tx = quotes.producer().unwrap();
    tx.publish(b"x", 0, 0, 0).unwrap();
    let text = String::from_utf8(folder.run("export --once").out).unwrap();
    assert_eq!(value(&text, "tango_link_published_total{link=\"quotes\"}"), Some(7.0));
    assert_eq!(value(&text, "tango_link_producers_total{link=\"quotes\"}"), Some(2.0));

    if has_program("promtool") {
        let mut command = Command::new("promtool");
        command
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut promtool = command.spawn().unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn http_requests_are_answered() {
    let folder = TestFolder::new();
    let quotes = link(&folder, "quotes");
    let (exporter, address) = exporter(&folder);
    let (status, text) = get(&address, "GET", "/metrics").unwrap();
    assert_eq!((status, value(&text, "tango_link_published_total{link=\"quotes\"}")), (200, Some(0.0)));
    quotes.producer().unwrap().publish(b"x", 0, 0, 0).unwrap();
    let (_, text) = get(&address, "GET", "/metrics").unwrap();
    assert_eq!(value(&text, "tango_link_published_total{link=\"quotes\"}"), Some(1.0));
    // Prometheus 3 refuses a scrape without it.
    let response = request(&address, "GET", "/metrics").unwrap();
    assert!(response.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{response}");
    // What is no HTTP, and a client that says nothing, disturb nobody.
    let silent = TcpStream::connect(&address).unwrap();
    TcpStream::connect(&address).unwrap().write_all(&[0xff; 4096]).unwrap();
    assert_eq!(get(&address, "GET", "/").unwrap().0, 200);
    assert_eq!(get(&address, "GET", "/other").unwrap().0, 404);
    assert_eq!(get(&address, "POST", "/metrics").unwrap().0, 405);
    // The folder cannot be read: a failed scrape, which says why.
    drop(quotes);
    fs::remove_dir_all(folder.links()).unwrap();
    fs::write(folder.links(), "").unwrap();
    let (status, text) = get(&address, "GET", "/metrics").unwrap();
    assert!(status == 500 && text.contains("links"), "{status} {text}");
    drop(silent);
    // A second one cannot have the address.
    folder.run(&format!("export --listen {address}")).assert_failed(1, &["cannot listen on", &address]);
    exporter.signal(Signal::SIGTERM);
    assert_eq!(exporter.wait().code(), 143);
}

#[test]
fn signals_end_it_and_bad_addresses_are_errors() {
    let folder = TestFolder::new();
    for signal in TERMINATION {
        let (exporter, _) = exporter(&folder);
        exporter.signal(signal);
        let exited = exporter.wait();
        assert_eq!((exited.code(), exited.err.as_str()), (128 + signal as i32, ""));
    }
    for address in ["9821", "localhost", "127.0.0.1", "127.0.0.1:70000", "::1:9821x"] {
        let exited = folder.run(&format!("export --listen {address}"));
        exited.assert_failed(2, &["expected an IP address and a port"]);
    }
    folder.run("export --listen 192.0.2.1:9821").assert_failed(1, &["cannot listen on 192.0.2.1:9821: "]);
    folder.run("export --once --listen 127.0.0.1:1").assert_failed(2, &["--once"]);
}

/// Ends the process when it is dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = kill(nix::unistd::Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

#[test]
fn the_real_prometheus_scrapes_it() {
    if !has_program("prometheus") {
        return;
    }
    let folder = TestFolder::new();
    let quotes = link(&folder, "quotes");
    let tx = quotes.producer().unwrap();
    for _ in 0..5 {
        tx.publish(b"x", 0, 0, 0).unwrap();
    }
    damage(&folder, "broken");
    let (_exporter, address) = exporter(&folder);
    let home = folder.links().with_file_name("prometheus");
    fs::create_dir(&home).unwrap();
    let config = format!(
        "scrape_configs:\n- job_name: tango\n  scrape_interval: 1s\n  static_configs:\n  - targets: ['{address}']\n"
    );
    fs::write(home.join("config.yml"), config).unwrap();
    // A free port. Another process could take it meanwhile, which is unlikely.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("127.0.0.1:{port}");
    let log = fs::File::create(home.join("log")).unwrap();
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", home.join("config.yml").display()))
        .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
        .arg(format!("--web.listen-address={own}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    let _prometheus = KillOnDrop(prometheus.unwrap());
    let query = |metric: &str| -> Option<Value> {
        let (_, body) = get(&own, "GET", &format!("/api/v1/query?query={metric}"))?;
        let begin = body.find('{')?;
        let end = body.rfind('}')?;
        serde_json::from_str(&body[begin..=end]).ok()
    };
    let mut published = None;
    wait_until("a scrape", || {
        published =
            query("tango_link_published_total").filter(|found| found["data"]["result"][0].is_object());
        published.is_some()
    });
    let found = &published.unwrap()["data"]["result"][0];
    assert_eq!((found["metric"]["link"].as_str(), found["value"][1].as_str()), (Some("quotes"), Some("5")));
    let up = query("tango_link_up").unwrap();
    assert_eq!(up["data"]["result"].as_array().map(Vec::len), Some(2), "{up}");
}

/// The names of metrics of this crate in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("tango_")).map(String::from).collect()
}

#[test]
fn the_dashboard_and_the_documentation_name_what_there_is() {
    let folder = TestFolder::new();
    let quotes = link(&folder, "quotes");
    let _rx = quotes.consumer().unwrap();
    let text = String::from_utf8(folder.run("export --once").out).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let there: BTreeSet<String> = types.map(String::from).collect();
    assert!(there.len() > 15, "{there:?}");

    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    let dashboard = fs::read_to_string(format!("{docs}/grafana/tango.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut asked: BTreeSet<String> = BTreeSet::new();
    for target in targets {
        let metrics = metrics_in(target["expr"].as_str().unwrap());
        assert!(!metrics.is_empty(), "{target}");
        asked.extend(metrics);
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        asked.extend(metrics_in(&variable["query"].to_string()));
    }
    assert!(asked.is_subset(&there), "{:?}", asked.difference(&there));

    let operating = fs::read_to_string(format!("{docs}/operating.md")).unwrap();
    assert_eq!(metrics_in(&operating), there);
}

//! The command with real processes: mistakes are named and start nothing, a check starts nothing, signals end it in good order,
//! and metrics are there only if asked for.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rust_tango::Link;
use support::bridge::{Bridge, Folder, PATIENCE, free_port};

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tango-bridge"));
    command.args(arguments).env("TANGO_DIR", folder.links()).output().unwrap()
}

/// What is written to standard error by a command that fails with this status, in one line.
fn failure(folder: &Folder, arguments: &[&str], status: i32) -> String {
    let output = run(folder, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    assert!(output.stdout.is_empty() && text.starts_with("tango-bridge: "), "{arguments:?}: {text}");
    text
}

#[test]
fn a_mistake_ends_the_command_with_status_2_before_anything_is_started() {
    let folder = Folder::new();
    // In the last line. A free port is not taken before it is found.
    let port = free_port();
    let text =
        format!("[network]\nlisten = ['tcp/127.0.0.1:{port}']\n[[publish]]\nlinks = ['a*']\nas = 'x'\n");
    let file = folder.file("bridge.toml", &text);
    let file = file.to_str().unwrap();
    for command in ["run", "check"] {
        let text = failure(&folder, &[command, file], 2);
        assert!(
            text.contains("bridge.toml:5: invalid value 'x' for 'as': expected a key with {link}"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert!(!folder.links().exists());
    let text = failure(&folder, &["publish", "a", "--history", "-1"], 2);
    assert!(text.contains("invalid value '-1' for '--history <N>'"), "{text}");
    let text = failure(&folder, &["subscribe", "tango/a"], 2);
    assert!(text.contains("<LINK>"), "{text}");
    let zenoh =
        folder.file("zenoh.json5", "{ transport: { link: { tls: { root_ca_certificate: 'none.pem' } } } }");
    let text = failure(&folder, &["publish", "a", "--zenoh-config", zenoh.to_str().unwrap()], 2);
    assert!(text.contains("zenoh.json5: transport/link/tls/root_ca_certificate: cannot read /"), "{text}");
    let zenoh = folder.file("zenoh.json5", "{\n  transpor: {}\n}");
    let text = failure(&folder, &["publish", "a", "--zenoh-config", zenoh.to_str().unwrap()], 2);
    assert!(text.contains("transpor"), "{text}");
}

#[test]
fn an_address_that_is_taken_is_a_failure() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = failure(&folder, &["publish", "a", "--listen", &format!("tcp/{address}")], 1);
    assert!(text.contains(&address) && text.contains("cannot join the network"), "{text}");
    let free = format!("tcp/127.0.0.1:{}", free_port());
    let text = run(&folder, &["publish", "a", "--listen", &free, "--metrics", &address]);
    assert_eq!(text.status.code(), Some(1));
    let text = String::from_utf8(text.stderr).unwrap();
    assert!(text.contains(&format!("cannot listen on {address} for metrics")), "{text}");
}

#[test]
fn a_check_says_what_would_be_done_and_does_nothing() {
    let folder = Folder::new();
    let _links = ["quotes.eur", "quotes.test", "orders"]
        .map(|name| Link::builder().dir(folder.links()).depth(8).create(name).unwrap());
    // The address is taken. That is no concern of a check.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "[network]\nlisten = ['tcp/{address}']\n[[publish]]\nlinks = ['quotes.*']\ndeny = ['*.test']\n\
         [[subscribe]]\nkey = 'far/**'\nlink = 'far.{{link}}'\n"
    );
    let file = folder.file("bridge.toml", &text);
    let output = run(&folder, &["check", file.to_str().unwrap()]);
    let (text, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), &*errors), (Some(0), ""));
    let listens = format!("listens on tcp/{address}\n");
    for line in [
        &*listens,
        "sends quotes.* (but not *.test) as tango/{link}\n",
        "makes link far.{link} of far/**\n",
        "now there: quotes.eur, sent as tango/quotes.eur\n",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert_eq!(text.matches("now there").count(), 1, "{text}");
}

#[test]
fn help_names_each_option() {
    let folder = Folder::new();
    for (arguments, words) in [
        (&["--help"][..], &["publish", "subscribe", "run", "check", "Exit status"][..]),
        (
            &["publish", "--help"],
            &["--as", "--read", "--congestion", "--history", "--listen", "--zenoh-config"],
        ),
        (&["subscribe", "--help"], &["--allow", "--from", "--depth", "--max-link-bytes", "--connect"]),
        (&["--version"], &["tango-bridge 0."]),
    ] {
        let output = run(&folder, arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        for word in words {
            assert!(text.contains(word), "{word} is not in:\n{text}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
}

#[test]
fn a_signal_ends_it_in_good_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let folder = Folder::new();
        let mut bridge = Bridge::start(&folder, &format!("publish a --listen tcp/127.0.0.1:{}", free_port()));
        bridge.wait_for("started", 1);
        bridge.signal(signal);
        let stopping = bridge.wait_for("stopping", 1);
        assert_eq!(stopping[0]["message"], format!("{signal} has arrived"));
        let (status, said) = bridge.finish();
        // The second signal may come before the end.
        assert!(matches!(status.code(), Some(0 | 143)), "{status}: {said}");
    }
    let folder = Folder::new();
    let mut bridge = Bridge::start(&folder, &format!("publish a --listen tcp/127.0.0.1:{}", free_port()));
    bridge.wait_for("started", 1);
    let (status, said) = bridge.finish();
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let folder = Folder::new();
    let said = folder.file("said", "");
    let program = env!("CARGO_BIN_EXE_tango-bridge");
    let script = format!("trap '' HUP; exec {program} publish a --listen tcp/127.0.0.1:{}", free_port());
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).env("TANGO_DIR", folder.links()).stderr(fs::File::create(&said).unwrap());
    let mut child = command.spawn().unwrap();
    let id = Pid::from_raw(child.id().cast_signed());
    let begin = Instant::now();
    let text = || fs::read_to_string(&said).unwrap();
    while !text().contains("started") && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    // It is ended in any case, and looked at afterwards.
    kill(id, Signal::SIGHUP).unwrap();
    kill(id, Signal::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {}", text());
    assert!(text().contains("SIGTERM has arrived") && !text().contains("SIGHUP"), "{}", text());
}

#[test]
fn the_exit_status_says_whether_fragments_were_lost() {
    for lost in [0, 5] {
        let (folder, other) = (Folder::new(), Folder::new());
        let link = Link::builder().dir(folder.links()).depth(64).consumers(1).create("a").unwrap();
        let producer = link.producer().unwrap();
        let first = producer.next_seq();
        let port = free_port();
        let publish = format!("publish a --read reliable --listen tcp/127.0.0.1:{port}");
        let bridge = Bridge::start(&folder, &publish);
        let mut far =
            Bridge::start(&other, &format!("subscribe tango/* {{link}} --connect tcp/127.0.0.1:{port}"));
        far.wait_for("connections", 1);
        // What is published before the far link is there begins with it.
        let begin = Instant::now();
        let mut reader = loop {
            _ = producer.publish(b"before", 0, 0, 0);
            if let Ok(reader) = Link::open_in(other.links(), "a").and_then(|link| link.observer()) {
                break reader;
            }
            assert!(begin.elapsed() < PATIENCE, "no far link: {}", far.said());
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut left = lost;
        while left > 0 {
            left -= producer.skip(left);
        }
        let last = producer.publish_blocking(b"last", 7, 0, 0).unwrap().seq;
        loop {
            match reader.poll() {
                Ok(Some(found)) if found.meta.seq == last => break,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(begin.elapsed() < PATIENCE, "fragment {last} does not arrive: {}", far.said());
        }
        for (bridge, direction) in [(far, "subscribe"), (bridge, "publish")] {
            let (status, said) = bridge.finish();
            assert_eq!(status.code(), Some(if lost == 0 { 0 } else { 3 }), "{direction}: {said}");
            let summary = said.lines().find(|line| line.contains("\"summary\"")).expect(&said);
            let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
            assert_eq!(summary["direction"], direction);
            assert_eq!(summary["lost_at_origin"], lost, "{direction}: {said}");
            if direction == "publish" {
                assert_eq!(summary["fragments"], last.wrapping_sub(first) + 1 - lost, "{said}");
            }
        }
    }
}

#[test]
fn a_network_that_takes_nothing_does_not_hold_up_the_end() {
    let (folder, other) = (Folder::new(), Folder::new());
    let link = Link::builder().dir(folder.links()).depth(1024).mtu(4096).consumers(1).create("a").unwrap();
    let producer = link.producer().unwrap();
    let port = free_port();
    let publish = format!("publish a --congestion block --queue 1M --listen tcp/127.0.0.1:{port}");
    let mut bridge = Bridge::start(&folder, &publish);
    let mut far =
        Bridge::start(&other, &format!("subscribe tango/* {{link}} --connect tcp/127.0.0.1:{port}"));
    far.wait_for("made", 1);
    bridge.wait_for("connections", 1);
    // It keeps its connection, and reads nothing.
    far.signal(Signal::SIGSTOP);
    // More than the buffers of the network and the queue. The bridge is evicted when it has waited for too long.
    for _ in 0..8192 {
        _ = producer.publish_blocking(&[7; 4096], 7, 0, 0);
    }
    let (status, said) = bridge.finish();
    assert_eq!(status.code(), Some(3), "{status}: {said}");
    assert!(said.lines().last().unwrap().contains("lost"), "{said}");
}

/// The status and the body of a response.
fn get(address: &str, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    (status, response.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn metrics_are_served_where_they_are_asked_for() {
    let (folder, other) = (Folder::new(), Folder::new());
    let link = Link::builder().dir(folder.links()).depth(64).consumers(1).create("quotes").unwrap();
    let producer = link.producer().unwrap();
    let port = free_port();
    let mut bridge =
        Bridge::start(&folder, &format!("publish * --listen tcp/127.0.0.1:{port} --metrics 127.0.0.1:0"));
    let said = bridge.wait_for("metrics", 1)[0]["message"].as_str().unwrap().to_owned();
    let address = said.split("http://").nth(1).unwrap().strip_suffix("/metrics").unwrap();
    let mut far =
        Bridge::start(&other, &format!("subscribe tango/* {{link}} --connect tcp/127.0.0.1:{port}"));
    far.wait_for("connections", 1);
    bridge.wait_for("connections", 1);
    let (status, text) = get(address, "GET", "/metrics");
    assert!(status == 200 && text.contains("\ntango_bridge_connections 1\n"), "{status}: {text}");
    // A slash in a key, and all counts of the link.
    let begin = Instant::now();
    let labels = "{direction=\"publish\",key=\"tango/quotes\",link=\"quotes\"}";
    loop {
        producer.publish_blocking(b"quote", 7, 0, 0).unwrap();
        let text = get(address, "GET", "/metrics").1;
        let value = |metric: &str| {
            let series = format!("tango_bridge_{metric}{labels} ");
            text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok())
        };
        if value("fragments_total").is_some_and(|count| count > 0) {
            assert_eq!(
                (value("up"), value("lost_at_origin_total"), value("dropped_total")),
                (Some(1), Some(0), Some(0))
            );
            assert!(value("payload_bytes_total") >= Some(5), "{text}");
            assert!(text.contains("# TYPE tango_bridge_fragments_total counter\n"), "{text}");
            assert!(text.contains("# TYPE tango_bridge_backlog_bytes gauge\n"), "{text}");
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "nothing is sent:\n{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(get(address, "GET", "/").0, 404);
    assert_eq!(get(address, "POST", "/metrics").0, 405);
    assert!(far.events_of("metrics").is_empty());
}

//! `tango capture` writes what Wireshark's own `tshark` reads, with the dissector of `docs/wireshark`: each field of each
//! fragment, losses, other producers, several links, live and after any end.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use common::recordings::{Recorded, fragment, fragments, publish};
use common::{PATIENCE, Running, TestFolder, has_program, wait_until};
use nix::sys::signal::Signal;
use rust_tango::{Control, Link, LinkBuilder, timestamp};

const DISSECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wireshark/tango.lua");

/// `tshark` with the dissector, and with settings of its own.
fn tshark(folder: &TestFolder, arguments: &[&str]) -> Command {
    let mut command = Command::new("tshark");
    command.arg("-n").args(["-X", &format!("lua_script:{DISSECTOR}")]).args(arguments);
    command.env("HOME", folder.path_of("home")).env("XDG_CONFIG_HOME", folder.path_of("home/config"));
    command
}

/// The lines that `tshark` prints about a file.
#[track_caller]
fn lines(folder: &TestFolder, file: &Path, arguments: &[&str]) -> Vec<String> {
    let output = tshark(folder, arguments).arg("-r").arg(file).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = errors.lines().filter(|line| !line.starts_with("Running as user")).collect();
    assert!(output.status.success() && errors.is_empty(), "{errors:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The values of these fields, for each packet that the filter lets pass.
#[track_caller]
fn values(folder: &TestFolder, file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut arguments = vec!["-Y", filter, "-T", "fields", "-E", "separator=|"];
    fields.iter().for_each(|field| arguments.extend(["-e", field]));
    let split = |line: String| line.split('|').map(str::to_owned).collect();
    lines(folder, file, &arguments).into_iter().map(split).collect()
}

/// What `tshark` finds of the fragments of a link.
#[track_caller]
fn captured(folder: &TestFolder, file: &Path, link: &str) -> Vec<Recorded> {
    let fields = ["tango.seq", "tango.sig", "tango.ctl", "tango.ts", "tango.size", "tango.payload"];
    let found = values(folder, file, &format!("frame.interface_name == \"{link}\""), &fields);
    found.iter().map(|values| decode(values)).collect()
}

fn decode(values: &[String]) -> Recorded {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    };
    let [seq, sig, ctl, ts, size, payload] = values else { panic!("{values:?}") };
    let digits: String = payload.chars().filter(|digit| *digit != ':').collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let payload: Vec<_> = (0..digits.len()).step_by(2).map(byte).collect();
    assert_eq!(number(size), payload.len() as u64);
    (number(seq), number(sig), number(ctl) as u16, number(ts) as u32, payload)
}

/// Waits until the file has this fragment, whose payload is `text`.
fn await_text(path: &Path, text: &str) {
    wait_until("a fragment in the file", || {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|found| found == text.as_bytes())
    });
}

fn builder(folder: &TestFolder) -> LinkBuilder {
    folder.builder().depth(1024).mtu(100)
}

/// Starts a capture of these links into a file, and waits until it has joined them.
fn capture(folder: &TestFolder, arguments: &str, file: &Path) -> Running {
    folder.start(&format!("capture {arguments} -o {}", file.display()))
}

#[test]
fn every_field_of_every_fragment_arrives() {
    if !has_program("tshark") {
        return;
    }
    let folder = TestFolder::new();
    let (quotes, trades) = (
        builder(&folder).create("quotes").unwrap(),
        builder(&folder).start(1 << 63).create("trades").unwrap(),
    );
    let file = folder.path_of("file.pcapng");
    let (tx, other) = (quotes.producer().unwrap(), trades.producer().unwrap());
    publish(&tx, 1..501);
    publish(&other, 1 << 63..(1 << 63) + 300);
    let running = capture(&folder, "quotes trades", &file);
    drop((tx, other));
    let exited = running.wait();
    exited.assert_ok();
    assert!(String::from_utf8(exited.out).unwrap().starts_with("captured 800 fragments ("));

    assert!(captured(&folder, &file, "quotes") == fragments(1..501, 100));
    assert!(captured(&folder, &file, "trades") == fragments(1 << 63..(1 << 63) + 300, 100));
    // A filter for one of them.
    let (_, sig, ctl, _, payload) = fragment(77, 100);
    let found = values(
        &folder,
        &file,
        &format!("tango.sig == {sig}"),
        &[
            "tango.seq",
            "tango.ctl.start",
            "tango.ctl.end",
            "tango.ctl.error",
            "tango.ctl.origin",
            "frame.len",
            "_ws.col.Info",
        ],
    );
    let control = Control::from_bits(ctl);
    let bit = |is_set: bool| if is_set { "1" } else { "0" };
    let wanted = [
        "77",
        bit(!control.continues()),
        bit(!control.more()),
        bit(control.error()),
        &control.origin().to_string(),
        &(48 + payload.len()).to_string(),
    ];
    assert_eq!(found.len(), 1);
    assert_eq!(found[0][..6], wanted);
    let info = &found[0][6];
    assert!(info.starts_with(&format!("quotes seq 77 sig {sig} {} bytes", payload.len())), "{info}");
    let both = values(&folder, &file, "tango.ctl.start == 1 && tango.ctl.end == 0", &["_ws.col.Info"]);
    let starts = |n: &u64| Control::from_bits(fragment(*n, 100).2).bits() & 3 == Control::MORE;
    let numbers = (1..501).chain(1 << 63..(1 << 63) + 300);
    assert_eq!(both.len(), numbers.filter(starts).count());
    assert!(both.iter().all(|info| info[0].contains("[start]")), "{both:?}");
    assert!(
        values(&folder, &file, "tango.lost || tango.time || tango.cut || _ws.malformed", &["tango.seq"])
            .is_empty()
    );
    // Times rise, and are of today.
    let times = values(&folder, &file, "frame.interface_name == \"quotes\"", &["frame.time_epoch"]);
    let times: Vec<f64> = times.iter().map(|time| time[0].parse().unwrap()).collect();
    assert!(times.is_sorted());
    let now = timestamp::now() as f64 / 1e9;
    assert!(times.iter().all(|time| (now - 600.0..now + 1.0).contains(time)), "{times:?}");
}

/// The blocks of a file: type and body.
fn blocks(file: &Path) -> Vec<(u32, Vec<u8>)> {
    let bytes = fs::read(file).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let len = word(at + 4) as usize;
        assert_eq!(word(at + len - 4) as usize, len);
        found.push((word(at), bytes[at + 8..at + len - 4].to_vec()));
        at += len;
    }
    found
}

/// The options of a block after its fixed part, by their codes. Comments are joined.
fn options(body: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let (mut at, mut found) = (0, BTreeMap::<u16, Vec<u8>>::new());
    let half = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
    while half(at) != 0 {
        let len = usize::from(half(at + 2));
        found.entry(half(at)).or_default().extend_from_slice(&body[at + 4..at + 4 + len]);
        at += 4 + len.next_multiple_of(4);
    }
    found
}

#[test]
fn gaps_are_at_their_place_and_are_counted() {
    let folder = TestFolder::new();
    let link = builder(&folder).depth(64).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    // The first of them are gone.
    publish(&tx, 1..201);
    let file = folder.path_of("file.pcapng");
    let running = capture(&folder, "quotes", &file);
    drop(tx);
    let exited = running.wait();
    let found = blocks(&file);
    let (kinds, statistics) = (found.iter().map(|(kind, _)| *kind), &found.last().unwrap().1);
    let packets = kinds.clone().filter(|kind| *kind == 6).count() as u64;
    let lost = 200 - packets;
    assert!(lost > 100, "{packets} packets");
    exited.assert_failed(
        3,
        &[&format!("{lost} fragments of link quotes were lost ({lost} before the capture joined)")],
    );
    assert!(kinds.eq([0x0a0d_0d0a, 1].into_iter().chain((0..packets).map(|_| 6)).chain([5])));
    let counts = options(&statistics[12..]);
    let count = |code: u16| u64::from_le_bytes(counts[&code][..].try_into().unwrap());
    assert_eq!((count(4), count(5), count(8)), (200, lost, packets));
    let comment = String::from_utf8(counts[&1].clone()).unwrap();
    assert_eq!(comment, "the producer closed the link: 201 would have been the next");
    let interface = options(&found[1].1[8..]);
    assert_eq!((&interface[&2][..], &interface[&9][..]), (&b"quotes"[..], &[9][..]));
    assert!(
        String::from_utf8_lossy(&interface[&3]).starts_with("tango link: depth 64, MTU 100, consumer slots ")
    );

    if !has_program("tshark") {
        return;
    }
    let fields = ["tango.seq", "tango.lost", "frame.comment", "_ws.expert.message", "_ws.col.Info"];
    let found = values(&folder, &file, "tango.lost > 0 && tango.flags.lost == 1", &fields);
    let first = lost + 1;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0][..2], [first.to_string(), lost.to_string()]);
    assert_eq!(
        found[0][2],
        format!("{lost} fragments lost (overwritten before the capture joined): 1 to {lost}")
    );
    assert!(found[0][3].contains(&format!("{lost} fragments lost before this one")), "{found:?}");
    assert!(found[0][4].starts_with(&format!("quotes [{lost} lost before] seq {first} ")), "{found:?}");
    assert!(captured(&folder, &file, "quotes") == fragments(first..201, 100));
}

#[test]
fn another_producer_is_noted_and_the_link_is_followed() {
    let folder = TestFolder::new();
    let file = folder.path_of("file.pcapng");
    let mut sender = folder.start("send quotes --lines --wait-for 0 --depth 64 --mtu 64");
    sender.write(b"first\n");
    let running = capture(&folder, "quotes --follow", &file);
    await_text(&file, "first");
    sender.signal(Signal::SIGKILL);
    sender.wait();
    let link = Link::open_in(folder.links(), "quotes").unwrap();
    let tx = link.producer().unwrap();
    tx.send(b"second").unwrap();
    await_text(&file, "second");
    tx.send(b"later").unwrap();
    await_text(&file, "later");
    // Another link of the name.
    drop((tx, link));
    folder.run("rm quotes").assert_ok();
    let link = builder(&folder).create("quotes").unwrap();
    link.producer().unwrap().send(b"third").unwrap();
    await_text(&file, "third");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code(), 128 + Signal::SIGTERM as i32);
    let kinds: Vec<_> = blocks(&file).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6, 6, 1, 6, 5, 5], "complete");

    if !has_program("tshark") {
        return;
    }
    let fields = ["frame.interface_id", "tango.seq", "tango.flags.producer", "frame.comment"];
    let found = values(&folder, &file, "tango-link", &fields);
    let numbers: Vec<_> = found.iter().map(|found| [found[0].as_str(), &found[1]]).collect();
    assert_eq!(numbers, [["0", "1"], ["0", "2"], ["0", "3"], ["1", "1"]]);
    // An observer may learn of it when it has read all that was there.
    let noted: Vec<_> = found.iter().filter(|found| found[2] == "1").collect();
    assert!(noted.len() == 1 && ["2", "3"].contains(&noted[0][1].as_str()), "{found:?}");
    assert!(noted[0][3].contains("another producer "), "{found:?}");
    assert!(found.iter().all(|found| found[3].is_empty() || found == noted[0]), "{found:?}");
    let descriptions = values(&folder, &file, "tango-link", &["frame.interface_description"]);
    assert!(descriptions[3][0].ends_with("link number 2 of this name"), "{descriptions:?}");
}

#[test]
fn payloads_are_cut_and_handed_on() {
    if !has_program("tshark") {
        return;
    }
    let folder = TestFolder::new();
    let link = builder(&folder).mtu(400_000).depth(4).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let now = timestamp::now();
    tx.publish(br#"{"bid": 101.25}"#, 7, 0, timestamp::compress(now)).unwrap();
    tx.publish(&vec![b'['; 300_000], 8, 0, timestamp::compress(now)).unwrap();
    drop(tx);
    let file = folder.path_of("file.pcapng");
    capture(&folder, "quotes --ts-ns", &file).wait().assert_ok();
    let fields = ["tango.size", "tango.cut", "frame.len", "frame.cap_len", "tango.time", "tango.age"];
    let found = values(&folder, &file, "tango-link", &fields);
    assert_eq!(found[0][..4], ["15", "", "63", "63"]);
    assert_eq!(found[1][..4], ["300000", "37904", "300048", "262144"]);
    for found in &found {
        let age: f64 = found[5].parse().unwrap();
        assert!((0.0..600.0).contains(&age), "{found:?}");
        assert!(found[4].contains(&format!(".{:09}", now % 1_000_000_000)), "{found:?}, {now}");
    }
    // To another dissector, for all links, for this one, or for another.
    let json = |preference: &str| {
        let option = format!("tango-link.payload:{preference}");
        lines(&folder, &file, &["-o", &option, "-Y", "json", "-T", "fields", "-e", "json.key", "-c", "1"])
    };
    assert_eq!(
        (json("json"), json("trades=data quotes=json")),
        (vec!["bid".to_owned()], vec!["bid".to_owned()])
    );
    assert!(json("trades=json").is_empty() && json("no-such-dissector").is_empty());

    let cut = folder.path_of("cut.pcapng");
    capture(&folder, "quotes --snaplen 4", &cut).wait().assert_ok();
    let found =
        values(&folder, &cut, "tango-link", &["tango.size", "tango.cut", "tango.payload", "frame.len"]);
    assert_eq!(found[0], ["15", "11", "7b226269", "63"]);
    folder
        .run("capture quotes -o x --snaplen 262097")
        .assert_failed(2, &["'262097'", "--snaplen", "from 0 to 262096"]);
}

/// Ends the process with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As `tango capture quotes -o - | wireshark -k -i -`. Each fragment is shown before the next is published.
#[test]
fn a_stream_is_shown_live() {
    if !has_program("tshark") {
        return;
    }
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let running = folder.start_with("capture quotes -o -", Stdio::null(), Some(writer.into()));
    let errors = File::create(folder.path_of("tshark.err")).unwrap();
    let mut shown = tshark(&folder, &["-l", "-i", "-", "-T", "fields", "-e", "tango.seq"]);
    let shown = shown.stdin(reader).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
    let mut shown = Killed(shown);
    let output = BufReader::new(shown.0.stdout.take().unwrap());
    let (to, lines) = mpsc::channel();
    let reader = thread::spawn(move || output.lines().try_for_each(|line| to.send(line.unwrap())));
    for number in 1..6 {
        tx.send(b"quote").unwrap();
        assert_eq!(lines.recv_timeout(PATIENCE), Ok(number.to_string()));
    }
    drop(tx);
    let exited = running.wait();
    assert_eq!(exited.code(), 0);
    assert!(exited.err.starts_with("tango: captured 5 fragments ("), "{}", exited.err);
    assert_eq!(lines.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    reader.join().unwrap().unwrap();
}

/// It ends when nobody reads the stream any more, also while nothing is published.
#[test]
fn a_stream_without_a_reader_ends() {
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let _tx = link.producer().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = folder.start_with("capture quotes -o -", Stdio::null(), Some(writer.into()));
    // The description of the interface, after which there is nothing to write.
    let (mut begun, mut bytes) = (Vec::new(), [0; 4096]);
    while !begun.windows(10).any(|found| found == b"tango link") {
        let len = reader.read(&mut bytes).unwrap();
        begun.extend_from_slice(&bytes[..len]);
    }
    drop(reader);
    let exited = running.wait();
    assert_eq!((exited.code(), exited.err.as_str()), (0, ""));
}

/// A reader of the stream that does not read makes the capture lose fragments, and the producer does not wait.
#[test]
fn a_slow_reader_of_a_stream_does_not_hold_the_producer_back() {
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = folder.start_with("capture quotes -o - --buffer 1M", Stdio::null(), Some(writer.into()));
    // 6 MB, of which the pipe and the buffer take less than half.
    publish(&tx, 1..100_001);
    let metrics = link.metrics();
    assert_eq!(metrics.backpressure_events, 0);
    drop(tx);
    let file = folder.path_of("file.pcapng");
    std::io::copy(&mut reader, &mut File::create(&file).unwrap()).unwrap();
    let exited = running.wait();
    assert_eq!(exited.code(), 3, "{}", exited.err);
    let found = blocks(&file);
    let packets = found.iter().filter(|(kind, _)| *kind == 6).count() as u64;
    let counts = options(&found.last().unwrap().1[12..]);
    let count = |code: u16| u64::from_le_bytes(counts[&code][..].try_into().unwrap());
    assert_eq!((count(4), count(5), count(8)), (100_000, 100_000 - packets, packets));
}

#[test]
fn killed_and_limited_captures_are_readable() {
    let folder = TestFolder::new();
    let link = builder(&folder).depth(1 << 15).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let file = folder.path_of("file.pcapng");
    let running = capture(&folder, "quotes", &file);
    publish(&tx, 1..10_001);
    tx.send(b"the last one").unwrap();
    await_text(&file, "the last one");
    running.signal(Signal::SIGKILL);
    running.wait();
    let found = blocks(&file);
    assert_eq!(found.iter().filter(|(kind, _)| *kind == 6).count(), 10_001);
    if has_program("tshark") {
        assert!(captured(&folder, &file, "quotes")[..10_000] == fragments(1..10_001, 100));
        // Cut within a packet, as when it is killed during a write.
        let cut = folder.path_of("cut.pcapng");
        let bytes = fs::read(&file).unwrap();
        fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
        let output = tshark(&folder, &["-T", "fields", "-e", "tango.seq", "-r"]).arg(&cut).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("cut short"), "{output:?}");
        let numbers = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<u64> = numbers.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.into_iter().eq(1..10_001));
    }

    // A count.
    let some = folder.path_of("some.pcapng");
    capture(&folder, "quotes --count 10", &some).wait().assert_ok();
    let kinds: Vec<_> = blocks(&some).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 5]);
    // A time.
    capture(&folder, "quotes --duration 10ms --force", &some).wait().assert_ok();
    assert!(blocks(&some).len() > 2);
    // A disk that is full: everything up to there, and no half packet.
    let full = folder.path_of("full.pcapng");
    let limited =
        folder.start_in_shell(&format!("ulimit -f 200; exec \"$0\" capture quotes -o {}", full.display()));
    let exited = limited.wait();
    exited.assert_failed(
        1,
        &[&full.display().to_string(), "File too large", "fragments of link quotes (within "],
    );
    let readable = exited.err.split("; the ").nth(1).unwrap().split(' ').next().unwrap().replace(',', "");
    let packets = blocks(&full).iter().filter(|(kind, _)| *kind == 6).count();
    assert_eq!(readable.parse(), Ok(packets));
    assert!(packets > 500);
    let full_stream = File::options().write(true).open("/dev/full").unwrap();
    let exited = folder.start_with("capture quotes -o -", Stdio::null(), Some(full_stream.into())).wait();
    exited.assert_failed(1, &["cannot write to standard output: No space left"]);
    // An existing file stays.
    folder
        .run(&format!("capture quotes -o {}", full.display()))
        .assert_failed(1, &[&full.display().to_string(), "exists already", "--force"]);
    folder.run("capture quotes quotes -o x").assert_failed(2, &["link quotes is named twice"]);
}

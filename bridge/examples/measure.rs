//! Measures both bridges as processes on the loopback device, against plain zenoh with one `put` for each message.
//!
//! ```text
//! cargo build --release --manifest-path bridge/Cargo.toml --bin tango-bridge --example measure
//! bridge/target/release/examples/measure
//! ```
//!
//! *Bridges*: this process publishes into a link and reads the far link. *Plain zenoh*: this process puts, another
//! subscribes; batching is zenoh's, congestion control blocks. Both go through one TCP connection. Each payload begins with
//! the time when it was published. The two take turns, and the table has the medians of all rounds.
//!
//! Messages each second are counted from the first publish to the last arrival, with a sender that goes as fast as it can.
//! Latencies are from publish to arrival, at a fixed rate that both can do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, hint, process, thread};

use nix::time::{ClockId, clock_gettime};
use rust_tango::{Link, Start, Wait as Waiting};
use zenoh::Wait;
use zenoh::qos::CongestionControl;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const KEY: &str = "measure/link";
/// Rounds of each.
const ROUNDS: usize = 5;

/// How messages are sent.
#[derive(Debug, Clone, Copy)]
struct Load {
    size: usize,
    count: u64,
    /// Messages each second, or as fast as possible.
    rate: Option<u64>,
}

/// Nanoseconds of a clock that all processes of the machine share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// What has arrived.
struct Arrivals {
    first_sent: u64,
    last: u64,
    latencies: Vec<u64>,
}

impl Arrivals {
    fn new(load: &Load) -> Self {
        Self { first_sent: u64::MAX, last: 0, latencies: Vec::with_capacity(load.count as usize) }
    }

    fn add(&mut self, payload: &[u8]) {
        let Some(sent) = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else { return };
        self.last = now();
        self.first_sent = self.first_sent.min(sent);
        self.latencies.push(self.last - sent);
    }

    /// Messages each second, and median and 99th percentile of the latencies, in nanoseconds.
    fn summary(mut self) -> [f64; 3] {
        self.latencies.sort_unstable();
        let quantile = |part: f64| {
            let at = (self.latencies.len() as f64 * part) as usize;
            self.latencies[at.min(self.latencies.len() - 1)] as f64
        };
        let seconds = (self.last - self.first_sent) as f64 / 1e9;
        [self.latencies.len() as f64 / seconds, quantile(0.5), quantile(0.99)]
    }
}

/// Calls `send` with each message at its time.
fn send_all(load: &Load, mut send: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut payload = vec![0; load.size];
    let begin = now();
    for at in 0..load.count {
        if let Some(rate) = load.rate {
            let due = begin + at * 1_000_000_000 / rate;
            // Sleeping is not exact enough for the last part.
            while let Some(left) = due.checked_sub(now()).filter(|left| *left > 0) {
                if left > 200_000 {
                    thread::sleep(Duration::from_nanos(left - 100_000));
                } else {
                    hint::spin_loop();
                }
            }
        }
        payload[..8].copy_from_slice(&now().to_le_bytes());
        send(&payload)?;
    }
    Ok(())
}

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn endpoint() -> Result<String> {
    Ok(format!("tcp/{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

/// Both bridges. The folders are in memory.
fn bridges(load: &Load, folder: &Path) -> Result<[f64; 3]> {
    let (near, far) = (folder.join("near"), folder.join("far"));
    let depth = 1 << 14;
    let link =
        Link::builder().depth(depth).mtu(load.size).slot(128).region(32 << 20).dir(&near).create("near")?;
    let program = env::current_exe()?.with_file_name("../tango-bridge");
    let endpoint = endpoint()?;
    let start = |arguments: &str, links: &Path| -> Result<Process> {
        let mut command = Command::new(&program);
        command.args(arguments.split(' ')).env("TANGO_DIR", links).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        Ok(Process(child))
    };
    let publish = format!("publish near --as {KEY} --read reliable --congestion block --listen {endpoint}");
    let subscribe = format!("subscribe {KEY} far --congestion block --connect {endpoint}");
    let _processes = [start(&publish, &near)?, start(&subscribe, &far)?];
    let far_link = Link::open_wait_in(&far, "far", Some(Duration::from_secs(30)))?;
    let mut consumer = far_link.consumer_from(Start::Oldest)?.with_wait(Waiting::Park);
    let producer = link.producer()?.with_wait(Waiting::Park);
    let load = *load;
    let sender = thread::spawn(move || -> Result<()> {
        send_all(&load, |payload| Ok(producer.publish_blocking(payload, 0, 0, 0).map(|_| ())?))?;
        // The link is closed behind the last message.
        drop(producer);
        Ok(())
    });
    let mut arrivals = Arrivals::new(&load);
    while let Some(fragment) = consumer.wait()? {
        arrivals.add(&fragment.payload.read());
    }
    sender.join().expect("the sender panicked")?;
    assert_eq!(arrivals.latencies.len() as u64, load.count, "messages are missing");
    link.remove()?;
    Ok(arrivals.summary())
}

fn session(key: &str, endpoint: &str) -> Result<zenoh::Session> {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("listen/endpoints", "[]"),
        ("scouting/multicast/enabled", "false"),
        (key, &*format!("[{endpoint:?}]")),
    ] {
        config.insert_json5(key, value)?;
    }
    zenoh::open(config).wait()
}

/// Plain zenoh: puts here, and subscribes in a process of this program.
fn plain(load: &Load) -> Result<[f64; 3]> {
    let endpoint = endpoint()?;
    let session = session("listen/endpoints", &endpoint)?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["subscriber", &endpoint, &load.size.to_string(), &load.count.to_string()]);
    let mut child = Process(command.stdout(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(child.0.stdout.take().expect("it is piped")).lines();
    let mut next_line = || lines.next().ok_or("the subscriber has ended")?.map_err(Box::from);
    let publisher = session.declare_publisher(KEY).congestion_control(CongestionControl::Block).wait()?;
    let line: Result<String> = next_line();
    assert_eq!(line?, "ready");
    while !publisher.matching_status().wait()?.matching() {
        thread::sleep(Duration::from_millis(5));
    }
    send_all(load, |payload| publisher.put(payload).wait())?;
    let line: Result<String> = next_line();
    let figures: Vec<f64> = line?.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(figures.try_into().map_err(|_| "three figures")?)
}

/// The other process of [`plain`].
fn subscriber(arguments: &[String]) -> Result<()> {
    let [endpoint, size, count] = arguments else { return Err("endpoint, size and count".into()) };
    let load = Load { size: size.parse()?, count: count.parse()?, rate: None };
    let session = session("connect/endpoints", endpoint)?;
    let (done, is_done) = std::sync::mpsc::channel();
    let mut arrivals = Some(Arrivals::new(&load));
    let _subscriber = session
        .declare_subscriber(KEY)
        .callback_mut(move |sample| {
            if let Some(all) = &mut arrivals {
                all.add(&sample.payload().to_bytes());
                if all.latencies.len() as u64 == load.count {
                    _ = done.send(arrivals.take());
                }
            }
        })
        .wait()?;
    println!("ready");
    std::io::stdout().flush()?;
    let [rate, median, most] = is_done.recv()?.ok_or("no arrivals")?.summary();
    println!("{rate} {median} {most}");
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(name: &str, load: &Load, figures: &[usize]) -> Result<()> {
    let mut rounds: Vec<[[f64; 3]; 2]> = Vec::new();
    for round in 0..=ROUNDS {
        let folder: PathBuf = Path::new("/dev/shm").join(format!("tango-measure-{}", process::id()));
        fs::create_dir(&folder)?;
        let ours = bridges(load, &folder);
        fs::remove_dir_all(&folder)?;
        let both = [ours?, plain(load)?];
        // The first is for warming up.
        if round > 0 {
            rounds.push(both);
        }
    }
    for &figure in figures {
        let (label, scale) = [("messages/s", 1.0), ("median, us", 1e-3), ("99 %, us", 1e-3)][figure];
        let of = |which: usize| median(rounds.iter().map(|both| both[which][figure] * scale).collect());
        let ratio = median(rounds.iter().map(|[ours, plain]| ours[figure] / plain[figure]).collect());
        println!("| {name} | {label} | {:.0} | {:.0} | {ratio:.2} |", of(0), of(1));
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "subscriber") {
        return subscriber(&arguments[1..]);
    }
    println!("| what | unit | bridges | plain zenoh | ratio |\n|---|---|---|---|---|");
    for (size, count) in [(64, 3_000_000), (1024, 1_000_000)] {
        compare(&format!("{size} B, as fast as possible"), &Load { size, count, rate: None }, &[0])?;
    }
    for (size, rate) in [(64, 1000), (64, 50_000), (1024, 1000), (1024, 50_000)] {
        let load = Load { size, count: rate * 3, rate: Some(rate) };
        compare(&format!("{size} B, {rate} each second"), &load, &[1, 2])?;
    }
    Ok(())
}

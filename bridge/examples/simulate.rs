//! A small simulation of what docs/beyond.md says about many hosts, and about cuts. The same figures each time.
//!
//! ```text
//! cargo run --release --manifest-path bridge/Cargo.toml --example simulate
//! ```
//!
//! *Fan-out.* An origin sends network messages to routers or hosts, these to others, down to the hosts. A machine sends
//! its copies one after the other through its own network card. A copy travels for the delay of its wire. A lost packet is
//! repaired by TCP: after a round trip, or after a timeout if the repair is lost, too. What was sent behind it on the same
//! connection arrives no earlier.
//!
//! *Cuts.* All packets are lost for some time. TCP tries again at growing distances; zenoh closes the connection when
//! nothing has come for its lease, and connects again. While there is a connection, what is produced waits in the queue of
//! the bridge, and with `block` in the ring of the link, too. After a new connection, it is queried from the ring.
//!
//! *Left out:* congestion that others cause, TCP's window, so that every message may leave at once, lost
//! acknowledgements, the time for copying and for waking threads, and slow hosts. Losses are independent, which on real
//! wires they are not. Figures are therefore for comparing ways to build it, and not what one will measure.

use std::fmt::Write;

/// Numbers that look random: SplitMix64.
struct Random(u64);

impl Random {
    /// From 0 to less than 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

// What all of it is simulated with. Times are in seconds.
/// Fragments each second, of 64 bytes of payload.
const FRAGMENTS: f64 = 100_000.0;
/// Fragments of one network message.
const BATCH: f64 = 50.0;
/// Bytes of a fragment, with its record, on the network.
const FRAGMENT_BYTES: f64 = 64.0 + 20.0;
/// Bytes of a network message: header, records, and about as much again as zenoh, TCP and IP add.
const MESSAGE_BYTES: f64 = 48.0 + BATCH * FRAGMENT_BYTES + 200.0;
/// Packets of one message.
const PACKETS: i32 = 3;
/// Bytes that a machine's network card sends each second: 10 Gbit/s.
const CARD: f64 = 10e9 / 8.0;
/// TCP's shortest timeout.
const TIMEOUT: f64 = 0.2;

/// One stage of the way: how many machines each machine sends to, and over which wire.
#[derive(Clone, Copy)]
struct Stage {
    width: usize,
    delay: f64,
    /// The part of the packets that is lost.
    loss: f64,
}

/// Between data centres.
const fn far(width: usize) -> Stage {
    Stage { width, delay: 0.035, loss: 1e-4 }
}

/// Within one.
const fn near(width: usize) -> Stage {
    Stage { width, delay: 0.000_05, loss: 1e-6 }
}

/// How many messages arrived how late, in steps of 10 microseconds, up to 2 seconds.
struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    const STEP: f64 = 10e-6;

    fn new() -> Self {
        Self { counts: vec![0; 200_000], total: 0 }
    }

    fn add(&mut self, latency: f64) {
        let last = self.counts.len() - 1;
        self.counts[((latency / Self::STEP) as usize).min(last)] += 1;
        self.total += 1;
    }

    /// The latency in milliseconds that this part of the messages does not exceed.
    fn quantile(&self, part: f64) -> f64 {
        let (mut left, mut at) = ((self.total as f64 * part) as u64, 0);
        while at + 1 < self.counts.len() && left >= self.counts[at] {
            left -= self.counts[at];
            at += 1;
        }
        (at + 1) as f64 * Self::STEP * 1000.0
    }
}

/// Sends what a machine has received at these times down the stages.
fn spread(sent: &[f64], here: &[f64], stages: &[Stage], random: &mut Random, latencies: &mut Latencies) {
    let Some((stage, rest)) = stages.split_first() else {
        sent.iter().zip(here).for_each(|(sent, here)| latencies.add(here - sent));
        return;
    };
    let copy = MESSAGE_BYTES / CARD;
    let mut free: f64 = 0.0;
    let starts: Vec<f64> = here
        .iter()
        .map(|at| {
            let start = at.max(free);
            free = start + copy * stage.width as f64;
            start
        })
        .collect();
    // That any of the packets of a message is lost.
    let loss = 1.0 - (1.0 - stage.loss).powi(PACKETS);
    for child in 0..stage.width {
        let mut before: f64 = 0.0;
        let arrivals: Vec<f64> = starts
            .iter()
            .map(|start| {
                let mut at = start + copy * (child + 1) as f64 + stage.delay;
                if random.unit() < loss {
                    // The receiver reports the gap when more arrives. The repair may be lost, too.
                    at += 2.0 * stage.delay + BATCH / FRAGMENTS;
                    let mut timeout = TIMEOUT;
                    while random.unit() < stage.loss {
                        at += timeout;
                        timeout *= 2.0;
                    }
                }
                before = before.max(at);
                before
            })
            .collect();
        spread(sent, &arrivals, rest, random, latencies);
    }
}

fn fan_out(text: &mut String, name: &str, stages: &[Stage]) {
    let messages = 5_000;
    let hosts: usize = stages.iter().map(|stage| stage.width).product();
    let rate = MESSAGE_BYTES * FRAGMENTS / BATCH;
    let sends = |width: usize| format!("{:.0}", rate * width as f64 / 1e6);
    let routers: Vec<String> = stages[1..].iter().map(|stage| sends(stage.width)).collect();
    let widest = stages.iter().map(|stage| stage.width).max().unwrap_or(0);
    let used = rate * widest as f64 / CARD;
    let routers = if routers.is_empty() { "-".to_owned() } else { routers.join(", ") };
    _ = write!(
        text,
        "| {name} | {hosts} | {} | {routers} | {:.0} % | ",
        sends(stages[0].width),
        used * 100.0
    );
    if used >= 1.0 {
        text.push_str("does not fit | | | |\n");
        return;
    }
    let (mut random, mut at) = (Random(hosts as u64), 0.0);
    let sent: Vec<f64> = (0..messages)
        .map(|_| {
            at += 2.0 * random.unit() * BATCH / FRAGMENTS;
            at
        })
        .collect();
    let mut latencies = Latencies::new();
    spread(&sent, &sent, stages, &mut random, &mut latencies);
    let [half, most, nearly, worst] = [0.5, 0.99, 0.999, 1.0 - 1e-9].map(|part| latencies.quantile(part));
    _ = writeln!(text, "{half:.2} | {most:.2} | {nearly:.2} | {worst:.2} |");
}

// Cuts.
/// Rings of 2 to the power of these.
const DEPTHS: [i32; 3] = [16, 20, 22];
/// Seconds without a message after which zenoh closes a connection.
const LEASE: f64 = 10.0;
/// A round trip between data centres.
const ROUND_TRIP: f64 = 0.07;
/// Bytes that wait in the queue of the bridge, by default.
const QUEUE: f64 = (16 << 20) as f64;

/// When messages pass again after the beginning of a cut, and whether the connection has survived.
fn resumes(cut: f64, random: &mut Random) -> (f64, bool) {
    // The first packet that is lost is sent at once, and again after a timeout that depends on the round trips before.
    let mut timeout = TIMEOUT + ROUND_TRIP * (1.0 + random.unit());
    let mut at = timeout;
    while at < cut {
        timeout *= 2.0;
        at += timeout;
    }
    if at < LEASE {
        return (at + ROUND_TRIP / 2.0, true);
    }
    // A thread that waits in `put` holds up closing for as long as the lease, too, and has begun to wait a little later.
    // Each attempt to connect asks again after 1, 3 and 7 seconds, and is given up after 10.
    let (mut begin, mut pause) = (LEASE + random.unit(), 0.1);
    loop {
        if let Some(asked) = [0.0, 1.0, 3.0, 7.0].iter().map(|after| begin + after).find(|at| *at >= cut) {
            // TCP's handshake, and zenoh's, which is two round trips.
            return (asked + 3.0 * ROUND_TRIP, false);
        }
        begin += 10.0 + pause;
        pause = f64::min(pause * 2.0, 1.0);
    }
}

/// How many fragments are produced in this time. The rate of each tenth of a second is between 0 and twice the mean.
fn produced(seconds: f64, rate: f64, random: &mut Random) -> f64 {
    let mut left = seconds;
    let mut sum = 0.0;
    while left > 0.0 {
        sum += rate * left.min(0.1) * 2.0 * random.unit();
        left -= 0.1;
    }
    sum
}

/// Of 2000 cuts of this length: the part in which fragments are lost, and the part that the connection survives; and the
/// fragments that the ring had to hold, in all but one of a thousand cuts.
fn cuts(cut: f64, rate: f64, depth: f64, blocks: bool) -> (f64, f64, f64) {
    let mut random = Random(cut.to_bits() ^ rate.to_bits());
    let (count, mut lossy, mut survived, mut needed) = (2000, 0, 0, Vec::new());
    for _ in 0..count {
        let (resumed, is_same) = resumes(cut, &mut random);
        let lost = if is_same {
            survived += 1;
            let ring = if blocks { depth } else { 0.0 };
            produced(resumed, rate, &mut random) - QUEUE / FRAGMENT_BYTES - ring
        } else {
            // What was under way when the cut began is lost as well, and the query travels.
            let missing = produced(resumed + 1.5 * ROUND_TRIP, rate, &mut random);
            needed.push(missing);
            missing - depth
        };
        lossy += i32::from(lost > 0.0);
    }
    needed.sort_by(f64::total_cmp);
    let most = needed.get(needed.len() * 999 / 1000).copied().unwrap_or(0.0);
    let part = |n: i32| f64::from(n) / f64::from(count) * 100.0;
    (part(lossy), part(survived), most)
}

/// All that the program prints.
pub(crate) fn report() -> String {
    let mut text = String::from(
        "| layout | hosts | origin sends, MB/s | routers send, MB/s | fullest card | median, ms | 99 % | 99.9 % | worst |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    fan_out(&mut text, "10 far hosts, each by itself", &[far(10)]);
    fan_out(&mut text, "1 far router, 10 hosts", &[far(1), near(10)]);
    fan_out(&mut text, "1000 far hosts, each by itself", &[far(1000)]);
    fan_out(&mut text, "10 far routers, 100 hosts each", &[far(10), near(100)]);
    fan_out(&mut text, "10 far routers, 10 routers each, 10 hosts each", &[far(10), near(10), near(10)]);
    let rates = [10_000.0, 100_000.0];
    for blocks in [false, true] {
        let kind = if blocks { "block" } else { "drop" };
        _ = write!(text, "\n| cut, s; `{kind}` | connection survives |");
        for rate in rates {
            for depth in DEPTHS {
                _ = write!(text, " {:.0} k/s, 2^{depth} |", rate / 1e3);
            }
        }
        text.push_str("\n|---|---|---|---|---|---|---|---|\n");
        for cut in [0.1, 1.0, 3.0, 5.0, 8.0, 15.0, 30.0, 60.0] {
            _ = write!(text, "| {cut} | {:.0} % |", cuts(cut, rates[0], 1.0, blocks).1);
            for rate in rates {
                for depth in DEPTHS {
                    _ = write!(text, " {:.0} % |", cuts(cut, rate, f64::from(1 << depth), blocks).0);
                }
            }
            text.push('\n');
        }
    }
    text.push_str(
        "\n| cut, s | 10 k/s: fragments | depth | 100 k/s: fragments | depth |\n|---|---|---|---|---|\n",
    );
    for cut in [15.0, 30.0, 60.0] {
        _ = write!(text, "| {cut} |");
        for rate in rates {
            let needed = cuts(cut, rate, 1.0, true).2;
            _ = write!(text, " {:.0} k | 2^{} |", needed / 1e3, (needed as u64).next_power_of_two().ilog2());
        }
        text.push('\n');
    }
    text
}

#[allow(dead_code, reason = "a test includes this file")]
fn main() {
    print!("{}", report());
}

//! The memory of a channel once messages have gone all the way round its ring. It is the growth of a process that
//! does nothing else, so memory that is reserved and never touched does not count.

use std::path::Path;

use crate::channel::{Channel, ProcessChannel, Receiver, Sender};
use crate::cores::Span;
use crate::message::{Source, is_correct};
use crate::plan::Sample;

/// Channels that are made one after the other. All live until the last has been measured, because memory that one
/// frees would be reused by the next.
const CHANNELS: usize = 5;

/// Memory of a channel between threads.
pub(crate) fn of_threads<C: Channel<N, D>, const N: usize, const D: usize>() -> Sample {
    let mut growth = Growth::default();
    one_more::<C, N, D>(&mut growth);
    growth.of_one()
}

/// Makes one more channel, and the others while it lives.
fn one_more<C: Channel<N, D>, const N: usize, const D: usize>(growth: &mut Growth) {
    let mut storage = C::storage();
    let (mut tx, mut rx) = C::split(&mut storage);
    growth.add(lap::<N>(&mut tx, &mut rx, D));
    if growth.resident.len() < CHANNELS {
        one_more::<C, N, D>(growth);
    }
}

/// Memory of a channel in shared memory, with both sides in this process.
pub(crate) fn of_processes<C: ProcessChannel<N, D>, const N: usize, const D: usize>(folder: &Path) -> Sample {
    let mut growth = Growth::default();
    let mut alive = Vec::new();
    while growth.resident.len() < CHANNELS {
        let folder = folder.join(alive.len().to_string());
        std::fs::create_dir(&folder).expect("the folder is ours");
        let mut tx = C::create(&folder, 1);
        let mut rx = C::attach(&folder);
        C::connect(&mut tx);
        growth.add(lap::<N>(&mut tx, &mut rx, D));
        alive.push((tx, rx));
    }
    growth.of_one()
}

/// How the memory of this process grows with each channel.
#[derive(Default)]
struct Growth {
    /// Bytes after messages have gone round each channel.
    resident: Vec<f64>,
    wrong: u64,
}

impl Growth {
    fn add(&mut self, wrong: u64) {
        self.resident.push(resident());
        self.wrong += wrong;
    }

    /// The mean without the first two: the first loads code and prepares the stack and the allocator, and the first
    /// call of [`resident`] loads its own code.
    fn of_one(&self) -> Sample {
        let bytes = (self.resident[CHANNELS - 1] - self.resident[1]) / (CHANNELS - 2) as f64;
        let span = Span { nanos: 1.0, on_core: 1.0 };
        Sample { figure: bytes.max(0.0), ..Sample::window(1, span, self.wrong) }
    }
}

/// Sends a little more than one lap, one message at a time.
fn lap<const N: usize>(tx: &mut impl Sender<N>, rx: &mut impl Receiver<N>, depth: usize) -> u64 {
    let mut source = Source::new();
    let mut wrong = 0;
    for number in 0..(depth + depth / 8) as u64 {
        tx.send(source.message(number));
        wrong += u64::from(!rx.receive(|bytes| is_correct::<N>(bytes, number)));
    }
    wrong
}

/// Bytes of this process in memory; shared pages count in proportion.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").expect("every Linux has this file");
    let kibibytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .expect("it contains this line");
    kibibytes * 1024.0
}

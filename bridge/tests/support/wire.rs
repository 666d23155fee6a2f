//! Two hosts in network namespaces of their own, and the wire between them, which delays, loses, reorders and cuts.
//!
//! ```text
//!   host 10.77.0.1: tun device  <->  a thread of the test: the wire  <->  tun device: host 10.77.0.2
//! ```
//!
//! The wire works on IP packets, so that the kernel's TCP repairs what it does. It is a thread, because many kernels are
//! built without the queueing discipline `netem`. A namespace has no name: it goes away with its last process and
//! descriptor, however the test ends.
#![allow(unsafe_code)]

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{array, cmp, env};

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, unshare};

use super::Random;

/// What the wire does with packets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions {
    /// How long each packet travels, at least.
    pub(crate) delay: Duration,
    /// How much longer it may travel. Packets that are less than this apart overtake each other.
    pub(crate) jitter: Duration,
    /// The part of the packets that is lost, from 0 to 1.
    pub(crate) loss: f64,
    /// Whether all packets are lost.
    pub(crate) cut: bool,
}

/// The addresses of the two hosts.
pub(crate) const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

type Task = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread in it.
pub(crate) struct Host {
    tasks: mpsc::Sender<Task>,
}

impl Host {
    /// A namespace with the loopback device.
    fn new() -> io::Result<Self> {
        let (tasks, inbox) = mpsc::channel::<Task>();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            _ = ready.send(unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from));
            inbox.into_iter().for_each(|task| task());
        });
        is_ready.recv().unwrap()?;
        let host = Self { tasks };
        host.run(|| ip("link set lo up"))?;
        Ok(host)
    }

    /// Runs this on the thread in the namespace. Processes that it starts, and sockets that it opens, are there, too.
    pub(crate) fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, out) = mpsc::channel();
        self.tasks.send(Box::new(move || _ = result.send(task()))).expect("the thread of the host has ended");
        out.recv().expect("the task panicked on the host")
    }
}

/// Two hosts and the wire between them. Dropping it ends the wire.
pub(crate) struct Network {
    pub(crate) hosts: [Host; 2],
    conditions: Arc<Mutex<Conditions>>,
    counts: Arc<[AtomicU64; 3]>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Two hosts on a wire that does nothing to packets yet. The seed decides which are lost.
    ///
    /// `None` where the kernel or the rights of this process do not allow it: then the test is skipped. If
    /// `TANGO_CI_NETNS=required` is set, the test fails instead.
    pub(crate) fn new(seed: u64) -> Option<Self> {
        match Self::try_new(seed) {
            Ok(network) => Some(network),
            Err(error) if env::var_os("TANGO_CI_NETNS").is_some_and(|value| value == "required") => {
                panic!("no network namespaces here: {error}");
            }
            Err(error) => {
                eprintln!("skipped: no network namespaces here: {error}");
                None
            }
        }
    }

    fn try_new(seed: u64) -> io::Result<Self> {
        let hosts = [Host::new()?, Host::new()?];
        let mut devices = Vec::new();
        for (host, (own, peer)) in
            hosts.iter().zip([(ADDRESSES[0], ADDRESSES[1]), (ADDRESSES[1], ADDRESSES[0])])
        {
            devices.push(host.run(move || {
                let device = open_tun()?;
                ip(&format!("addr add {own} peer {peer} dev tango0"))?;
                ip("link set tango0 up")?;
                io::Result::Ok(device)
            })?);
        }
        let devices: [File; 2] = devices.try_into().expect("two devices");
        let (conditions, counts, stop) =
            (Arc::<Mutex<Conditions>>::default(), Arc::default(), Arc::default());
        let wire = Wire {
            devices,
            under_way: BinaryHeap::new(),
            taken: 0,
            random: Random(seed),
            conditions: conditions.clone(),
            counts: Arc::clone(&counts),
        };
        let thread = Some(thread::spawn({
            let stop = Arc::clone(&stop);
            move || wire.run(&stop)
        }));
        Ok(Self { hosts, conditions, counts, stop, thread })
    }

    /// Changes what happens to packets from now on.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.conditions.lock().unwrap());
    }

    /// All packets are lost for this long.
    pub(crate) fn cut_for(&self, time: Duration) {
        self.set(|conditions| conditions.cut = true);
        thread::sleep(time);
        self.set(|conditions| conditions.cut = false);
    }

    /// Packets that were delivered, that were lost, and that overtook another.
    pub(crate) fn counts(&self) -> [u64; 3] {
        array::from_fn(|at| self.counts[at].load(Relaxed))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// A packet that travels. The one that is due first is the greatest, for the heap.
#[derive(PartialEq, Eq)]
struct Packet {
    due: Instant,
    number: u64,
    to: usize,
    bytes: Vec<u8>,
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Wire {
    devices: [File; 2],
    under_way: BinaryHeap<Packet>,
    taken: u64,
    random: Random,
    conditions: Arc<Mutex<Conditions>>,
    counts: Arc<[AtomicU64; 3]>,
}

impl Wire {
    fn run(mut self, stop: &AtomicBool) {
        let mut last = [0; 2];
        while !stop.load(Relaxed) {
            let now = Instant::now();
            while self.under_way.peek().is_some_and(|packet| packet.due <= now) {
                let packet = self.under_way.pop().expect("there is one");
                // A device that is full, or not up any more, loses packets.
                let is_sent = (&self.devices[packet.to]).write(&packet.bytes).is_ok();
                self.counts[usize::from(!is_sent)].fetch_add(1, Relaxed);
                let has_overtaken = packet.number < last[packet.to];
                self.counts[2].fetch_add(u64::from(has_overtaken), Relaxed);
                last[packet.to] = packet.number.max(last[packet.to]);
            }
            let longest = Duration::from_millis(20);
            let wait = self.under_way.peek().map_or(longest, |packet| packet.due.duration_since(now));
            let mut fds = [0, 1].map(|at| PollFd::new(self.devices[at].as_fd(), PollFlags::POLLIN));
            _ = ppoll(&mut fds, Some(wait.min(longest).into()), None);
            for from in 0..2 {
                self.take_from(from);
            }
        }
    }

    /// Takes what this host has sent by now, but not endlessly.
    fn take_from(&mut self, from: usize) {
        let mut bytes = [0; 2048];
        for _ in 0..256 {
            let Ok(size) = (&self.devices[from]).read(&mut bytes) else { return };
            let conditions = *self.conditions.lock().unwrap();
            if conditions.cut || self.random.unit() < conditions.loss {
                self.counts[1].fetch_add(1, Relaxed);
                continue;
            }
            self.taken += 1;
            let due = Instant::now() + conditions.delay + conditions.jitter.mul_f64(self.random.unit());
            let bytes = bytes[..size].to_vec();
            self.under_way.push(Packet { due, number: self.taken, to: 1 - from, bytes });
        }
    }
}

/// Runs `ip` with these arguments in the namespace of the calling thread.
fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| {
        io::Error::other(format!("the program ip (Debian package iproute2) cannot be run: {error}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// A device `tango0` in the namespace of the calling thread, whose packets are read from and written to the file. It goes
/// away with the file.
fn open_tun() -> io::Result<File> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: all zero is a value of this structure of numbers and bytes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tango0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the call reads and writes one `ifreq`, which outlives it. The descriptor is open.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

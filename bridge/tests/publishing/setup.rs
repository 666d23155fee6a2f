//! A bridge that publishes, in this process, and a program that knows only zenoh, connected to it over loopback. Between
//! them is a wire that can be stalled.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rust_tango::{Link, LinkBuilder, Producer};
use tango_bridge::context::{Context, Direction, Entry, Register, Stop};
use tango_bridge::counts::Counts;
use tango_bridge::journal::{Event, Journal};
use tango_bridge::network;
use tango_bridge::publishing::Publishing;
use tango_bridge::settings::{Network, Publish};
use tango_bridge::wire::{Description, EndCause, GapCause, Message, Origin, decode};
use zenoh::query::ConsolidationMode;
use zenoh::{Config, Session, Wait};

/// Whatever takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A fragment that came over the network, or was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) seq: u64,
    pub(crate) sig: u64,
    pub(crate) ctl: u16,
    pub(crate) ts: u32,
    pub(crate) payload: Vec<u8>,
}

/// A network message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Fragments(Origin, Vec<Piece>),
    State(Origin, u64, Description),
    /// The state of a link that was removed.
    LastState(Origin, u64, Description),
    Gap(Origin, u64, u64, GapCause),
    End(Origin, u64, EndCause),
}

impl Got {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match decode(bytes).expect("a message of the bridge") {
            Message::Fragments(fragments) => {
                let pieces = fragments.iter().map(|of| Piece {
                    seq: of.seq,
                    sig: of.sig,
                    ctl: of.ctl,
                    ts: of.ts,
                    payload: of.payload.to_vec(),
                });
                Self::Fragments(fragments.header().origin, pieces.collect())
            }
            Message::State(header, description) if header.is_of_removed() => {
                Self::LastState(header.origin, header.first, description)
            }
            Message::State(header, description) => Self::State(header.origin, header.first, description),
            Message::Gap(header, cause) => Self::Gap(header.origin, header.first, header.count, cause),
            Message::End(header, cause) => Self::End(header.origin, header.first, cause),
        }
    }
}

/// A bridge, a program that knows only zenoh, and a wire.
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) context: Context,
    publishing: Option<Publishing>,
    pub(crate) far: Session,
    from: Receiver<Vec<u8>>,
    /// What was received and not asked for yet.
    ahead: VecDeque<Got>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) is_stalled: Arc<AtomicBool>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder of its own for each test.
pub(crate) fn new_folder() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("bridge-publishing-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
    std::env::temp_dir().join(name)
}

/// Settings for all links, with the default key.
pub(crate) fn all() -> Publish {
    Publish { links: vec!["*".to_owned()], ..Publish::default() }
}

impl Setup {
    /// The folder is empty, and nothing is published yet.
    pub(crate) fn new() -> Self {
        let folder = new_folder();
        let near = free_port();
        let listen = vec![format!("tcp/127.0.0.1:{near}")];
        let session = network::open(&Network { listen, ..Network::default() }).unwrap();
        let is_stalled = Arc::new(AtomicBool::new(false));
        let wire = wire(near, is_stalled.clone());
        let mut config = Config::default();
        let connect = format!("[\"tcp/127.0.0.1:{wire}\"]");
        for (key, value) in [
            ("listen/endpoints", "[]"),
            ("connect/endpoints", &connect),
            ("scouting/multicast/enabled", "false"),
            ("scouting/gossip/enabled", "false"),
        ] {
            config.insert_json5(key, value).unwrap();
        }
        let far = zenoh::open(config).wait().unwrap();
        let (to, from) = channel();
        let take = move |sample: zenoh::sample::Sample| _ = to.send(sample.payload().to_bytes().into_owned());
        far.declare_subscriber("tango/**").callback(take).background().wait().unwrap();
        let probe = session.declare_publisher("tango/probe").wait().unwrap();
        eventually("the bridge hears of the subscriber", || {
            probe.matching_status().wait().unwrap().matching()
        });
        drop(probe);
        let events = Arc::new(Mutex::new(Vec::new()));
        let journal = {
            let events = events.clone();
            Journal::new(move |event| events.lock().unwrap().push(event.clone()))
        };
        let context = Context {
            session,
            bridge: 77,
            folder: folder.clone(),
            journal,
            register: Register::default(),
            stop: Stop::default(),
        };
        let ahead = VecDeque::new();
        Self { folder, context, publishing: None, far, from, ahead, events, is_stalled }
    }

    /// Begins to publish.
    pub(crate) fn start(&mut self, settings: Publish) {
        self.publishing = Some(Publishing::start(&self.context, settings).unwrap());
    }

    /// Ends publishing.
    pub(crate) fn stop(&mut self) {
        self.context.stop.set();
        if let Some(publishing) = self.publishing.take() {
            publishing.join();
        }
    }

    pub(crate) fn create(&self, name: &str, builder: LinkBuilder) -> Link {
        builder.dir(&self.folder).create(name).unwrap()
    }

    pub(crate) fn counts(&self, name: &str) -> Arc<Counts> {
        self.context.register.counts(Direction::Publish, name, &format!("tango/{name}"))
    }

    pub(crate) fn has_event(&self, event: &str) -> bool {
        self.events.lock().unwrap().iter().any(|of| of.event == event)
    }

    fn receive(&self) -> Got {
        let bytes = self.from.recv_timeout(PATIENCE).expect("a message arrives in time");
        Got::of(&bytes)
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Got {
        self.ahead.pop_front().unwrap_or_else(|| self.receive())
    }

    /// As if nothing had been received so far.
    pub(crate) fn forget(&mut self) {
        self.ahead.clear();
        while self.from.try_recv().is_ok() {}
    }

    /// The next message that is not the repetition of a state or an end, for one that has heard them.
    pub(crate) fn next_of(&mut self, wanted: impl Fn(&Got) -> bool) -> Got {
        loop {
            let got = self.next();
            if wanted(&got) {
                return got;
            }
        }
    }

    /// The next state, and the number of the next fragment in it.
    pub(crate) fn state(&mut self) -> (Origin, u64, Description) {
        match self.next_of(|got| matches!(got, Got::State(..))) {
            Got::State(origin, next, description) => (origin, next, description),
            _ => unreachable!(),
        }
    }

    /// The next end.
    pub(crate) fn end(&mut self) -> (Origin, u64, EndCause) {
        match self.next_of(|got| matches!(got, Got::End(..))) {
            Got::End(origin, next, cause) => (origin, next, cause),
            _ => unreachable!(),
        }
    }

    /// Fragments and gaps until the number `end` is reached. Each number is in one of them, in order.
    pub(crate) fn until(&mut self, first: u64, end: u64) -> Vec<Got> {
        let (mut next, mut all) = (first, Vec::new());
        while next != end {
            let got = self.next();
            if let Got::Fragments(..) | Got::Gap(..) = got {
                next = follow(next, &got);
                all.push(got);
            }
        }
        all
    }

    /// The replies to a query with these parameters: messages, or errors.
    pub(crate) fn ask(&self, name: &str, parameters: &str) -> Vec<Result<Got, String>> {
        self.ask_at_once(name, parameters).iter().collect()
    }

    /// The same, without waiting for them.
    pub(crate) fn ask_at_once(&self, name: &str, parameters: &str) -> Receiver<Result<Got, String>> {
        let (to, from) = channel();
        let query = self.far.get(format!("tango/{name}?{parameters}"));
        let query = query.consolidation(ConsolidationMode::None).timeout(PATIENCE);
        let take = move |reply: zenoh::query::Reply| {
            let reply = match reply.into_result() {
                Ok(sample) => Ok(Got::of(&sample.payload().to_bytes())),
                Err(error) => Err(error.payload().try_to_string().unwrap().into_owned()),
            };
            _ = to.send(reply);
        };
        query.callback(take).wait().unwrap();
        from
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.is_stalled.store(false, SeqCst);
        self.stop();
        // A message that zenoh is still taking would keep its threads busy, also those of other sessions of this process,
        // when the connection ends.
        let is_sent = |entry: &Entry| entry.counts.backlog.load(SeqCst) == 0;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && !self.context.register.all().iter().all(is_sent) {
            thread::sleep(Duration::from_millis(2));
        }
        _ = self.far.close().wait();
        _ = self.context.session.close().wait();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The number after that of the last fragment in `got`, which continues at `next`.
pub(crate) fn follow(next: u64, got: &Got) -> u64 {
    match got {
        Got::Fragments(_, pieces) => {
            assert!(!pieces.is_empty());
            pieces.iter().fold(next, |next, piece| {
                assert_eq!(piece.seq, next, "in order, and without a hole");
                next.wrapping_add(1)
            })
        }
        Got::Gap(_, first, count, _) => {
            assert_eq!(*first, next, "a gap is where the fragments are missing");
            next.wrapping_add(*count)
        }
        other => panic!("neither fragments nor a gap: {other:?}"),
    }
}

pub(crate) fn pieces(all: &[Got]) -> Vec<Piece> {
    let of =
        all.iter().filter_map(|got| if let Got::Fragments(_, pieces) = got { Some(pieces) } else { None });
    of.flatten().cloned().collect()
}

pub(crate) fn gaps(all: &[Got]) -> Vec<(u64, u64, GapCause)> {
    let of = all.iter().filter_map(|got| match got {
        Got::Gap(_, first, count, cause) => Some((*first, *count, *cause)),
        _ => None,
    });
    of.collect()
}

/// What fragment `seq` of a link with this MTU is in these tests.
pub(crate) fn piece(seq: u64, mtu: usize) -> Piece {
    let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let payload = (0..mixed as usize % (mtu + 1)).map(|at| (at as u64).wrapping_add(mixed) as u8).collect();
    // Whole messages only: the bits for parts of one are zero.
    Piece { seq, sig: !mixed, ctl: (mixed as u16) << 3, ts: mixed as u32, payload }
}

/// Publishes the next fragment, and waits if it must.
pub(crate) fn publish(tx: &Producer<'_>, mtu: usize) -> u64 {
    let piece = piece(tx.next_seq(), mtu);
    tx.publish_blocking(&piece.payload, piece.sig, piece.ctl, piece.ts).unwrap();
    piece.seq
}

pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A wire from a new port to `port`. While it is stalled, nothing comes back through it from there.
fn wire(port: u16, is_stalled: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let new = listener.local_addr().unwrap().port();
    // The thread ends with the process.
    thread::spawn(move || {
        for far in listener.incoming() {
            let (Ok(far), Ok(near)) = (far, TcpStream::connect(("127.0.0.1", port))) else { continue };
            let (back, there) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            let is_stalled = is_stalled.clone();
            thread::spawn(move || copy(far, there, &AtomicBool::new(false)));
            thread::spawn(move || copy(near, back, &is_stalled));
        }
    });
    new
}

fn copy(mut from: TcpStream, mut to: TcpStream, is_stalled: &AtomicBool) {
    let mut buffer = [0; 1 << 16];
    loop {
        while is_stalled.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) if to.write_all(&buffer[..read]).is_err() => break,
            Ok(_) => {}
        }
    }
    _ = to.shutdown(Shutdown::Both);
}

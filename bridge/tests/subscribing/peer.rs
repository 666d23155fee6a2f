//! Both sides of a test: a [`Peer`] that plays the other bridge, and a [`Far`] side that subscribes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rust_tango::{Consumer, FragmentMetadata, Link, TangoError};
use tango_bridge::context::{Context, Direction, Register, Stop};
use tango_bridge::counts::Counts;
use tango_bridge::journal::{Event, Journal};
use tango_bridge::network;
use tango_bridge::settings::{Network, Subscribe};
use tango_bridge::subscribing::Subscribing;
use tango_bridge::wire::{
    Batch, Description, EndCause, GapCause, Origin, encode_end, encode_gap, encode_last_state, encode_state,
};
use zenoh::query::Query;
use zenoh::{Session, Wait};

/// Until a test gives up.
const LONG: Duration = Duration::from_secs(60);

/// Waits until `done` returns something.
pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(begin.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The metadata that fragment `seq` has in these tests.
pub(crate) fn meta(seq: u64) -> FragmentMetadata {
    let ctl = (seq % 7) as u16;
    FragmentMetadata { seq, sig: !seq, ctl, ts: seq as u32 ^ 5, ..FragmentMetadata::default() }
}

/// The payload that fragment `seq` has.
pub(crate) fn payload(seq: u64) -> Vec<u8> {
    let size = 8 + seq % 40;
    seq.to_le_bytes().into_iter().cycle().take(size as usize).collect()
}

/// A network message with fragments.
pub(crate) fn batch(origin: Origin, first: u64, count: u64) -> Vec<u8> {
    let mut batch = Batch::new(origin, first, 0);
    for at in 0..count {
        let seq = first.wrapping_add(at);
        batch.push(&meta(seq), &payload(seq));
    }
    batch.finish()
}

/// How the other bridge answers questions about fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// With what it has kept.
    Rightly,
    /// It never ends the answer.
    Never,
    /// It says that it does not answer now.
    Refused,
    /// It says that the question waits, and then that it does not answer it.
    WaitsAndRefused,
    /// Each second reply is missing.
    WithHoles,
}

#[derive(Debug)]
struct Kept {
    origin: Origin,
    description: Description,
    next: u64,
    /// Messages by their first number.
    ring: BTreeMap<u64, u64>,
    answers: Answers,
    questions: Vec<String>,
    /// Questions that are not answered.
    held: Vec<Query>,
}

/// The other bridge.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) key: String,
    kept: Arc<Mutex<Kept>>,
}

pub(crate) const ORIGIN: Origin = Origin { bridge: 77, link: 1000, producer: 1 };

pub(crate) fn description(name: &str) -> Description {
    Description {
        name: name.to_owned(),
        depth: 64,
        mtu: 64,
        slot: 128,
        region: 0,
        consumers: 4,
        payload_type: None,
        history: 0,
    }
}

impl Peer {
    /// Another bridge for the key `tango/NAME` of a link with this name.
    pub(crate) fn new(session: &Session, name: &str) -> Self {
        let kept = Arc::new(Mutex::new(Kept {
            origin: ORIGIN,
            description: description(name),
            next: 1,
            ring: BTreeMap::new(),
            answers: Answers::Rightly,
            questions: Vec::new(),
            held: Vec::new(),
        }));
        Self { session: session.clone(), key: format!("tango/{name}"), kept }
    }

    /// It answers questions, and has a history of so many fragments.
    pub(crate) fn with_history(self, history: u64) -> Self {
        self.kept.lock().unwrap().description.history = history;
        let kept = self.kept.clone();
        self.session
            .declare_queryable(&self.key)
            .callback(move |query| kept.lock().unwrap().answer(query))
            .background()
            .wait()
            .unwrap();
        self
    }

    pub(crate) fn with_description(self, change: impl FnOnce(&mut Description)) -> Self {
        change(&mut self.kept.lock().unwrap().description);
        self
    }

    pub(crate) fn set_answers(&self, answers: Answers) {
        self.kept.lock().unwrap().answers = answers;
    }

    pub(crate) fn set_origin(&self, change: impl FnOnce(&mut Origin)) {
        change(&mut self.kept.lock().unwrap().origin);
    }

    /// Its link begins with this number.
    pub(crate) fn set_next(&self, next: u64) {
        let mut kept = self.kept.lock().unwrap();
        (kept.next, kept.ring) = (next, BTreeMap::new());
    }

    /// It has nothing before this number any more.
    pub(crate) fn forget_before(&self, first: u64) {
        self.kept.lock().unwrap().ring.retain(|number, _| number.wrapping_sub(first) as i64 >= 0);
    }

    pub(crate) fn questions(&self) -> Vec<String> {
        self.kept.lock().unwrap().questions.clone()
    }

    pub(crate) fn origin(&self) -> Origin {
        self.kept.lock().unwrap().origin
    }

    /// Sends bytes.
    pub(crate) fn put(&self, bytes: Vec<u8>) {
        use zenoh::qos::CongestionControl;
        let put = self.session.put(&self.key, bytes).congestion_control(CongestionControl::Block);
        put.express(true).wait().unwrap();
    }

    /// Sends what the link is.
    pub(crate) fn state(&self) {
        let bytes = {
            let Kept { origin, description, next, .. } = &*self.kept.lock().unwrap();
            encode_state(*origin, *next, description)
        };
        self.put(bytes);
    }

    /// Sends what the link was that is removed now.
    pub(crate) fn last_state(&self) {
        let bytes = {
            let Kept { origin, description, next, .. } = &*self.kept.lock().unwrap();
            encode_last_state(*origin, *next, description)
        };
        self.put(bytes);
    }

    /// Publishes `count` fragments, in one message, and keeps them.
    pub(crate) fn send(&self, count: u64) {
        let first = self.lose(count);
        self.again(first, count);
    }

    /// As [`Self::send`], but the message gets lost. Returns its first number.
    pub(crate) fn lose(&self, count: u64) -> u64 {
        let mut kept = self.kept.lock().unwrap();
        let first = kept.next;
        for at in 0..count {
            kept.ring.insert(first.wrapping_add(at), 1);
        }
        kept.next = first.wrapping_add(count);
        first
    }

    /// Sends fragments, whether they were sent before or not.
    pub(crate) fn again(&self, first: u64, count: u64) {
        self.put(batch(self.origin(), first, count));
    }

    /// Says that the next `count` numbers are lost.
    pub(crate) fn gap(&self, count: u64, cause: GapCause) {
        let (origin, first) = {
            let mut kept = self.kept.lock().unwrap();
            let first = kept.next;
            kept.next = first.wrapping_add(count);
            (kept.origin, first)
        };
        self.put(encode_gap(origin, first, count, cause));
    }

    pub(crate) fn end(&self, cause: EndCause) {
        let (origin, next) = {
            let kept = self.kept.lock().unwrap();
            (kept.origin, kept.next)
        };
        self.put(encode_end(origin, next, cause));
    }
}

impl Kept {
    fn answer(&mut self, query: Query) {
        let parameters = query.parameters().as_str().to_owned();
        self.questions.push(parameters.clone());
        let reply = |bytes: Vec<u8>| query.reply(query.key_expr().clone(), bytes).wait().unwrap();
        if parameters == "state" {
            return reply(encode_state(self.origin, self.next, &self.description));
        }
        let number = |name: &str| query.parameters().get(name).unwrap().parse::<u64>().unwrap();
        let (first, count) = (number("first"), number("count"));
        if self.answers == Answers::Never {
            return self.held.push(query);
        }
        if self.answers == Answers::WaitsAndRefused {
            reply(encode_state(self.origin, self.next, &self.description));
            return query.reply_err("later").wait().unwrap();
        }
        if self.answers == Answers::Refused {
            return query.reply_err("later").wait().unwrap();
        }
        let has = |at: &u64| self.ring.contains_key(&first.wrapping_add(*at));
        let gone = (0..count).take_while(|at| !has(at)).count() as u64;
        if gone > 0 {
            reply(encode_gap(self.origin, first, gone, GapCause::Overrun));
        }
        let mut at = gone;
        while at < count && has(&at) {
            let many = (at..count.min(at + 5)).take_while(has).count() as u64;
            if self.answers != Answers::WithHoles || (at / 5).is_multiple_of(2) {
                reply(batch(self.origin, first.wrapping_add(at), many));
            }
            at += many;
        }
    }
}

/// The side that subscribes.
pub(crate) struct Far {
    pub(crate) context: Context,
    pub(crate) subscribing: Option<Subscribing>,
    events: Arc<Mutex<Vec<Event>>>,
    folder: Option<PathBuf>,
}

/// Two sessions that are connected.
pub(crate) fn sessions() -> (Session, Session) {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = vec![format!("tcp/127.0.0.1:{port}")];
    let listens = network::open(&Network { listen: endpoint.clone(), ..Network::default() }).unwrap();
    let connects = network::open(&Network { connect: endpoint, ..Network::default() }).unwrap();
    (listens, connects)
}

pub(crate) fn subscribe() -> Subscribe {
    Subscribe { key: "tango/**".to_owned(), link: "far.{link}".to_owned(), ..Subscribe::default() }
}

/// A peer and a far side, of a test for the link of this name.
pub(crate) fn pair(name: &str, history: u64) -> (Peer, Far) {
    pair_with(name, history, subscribe())
}

pub(crate) fn pair_with(name: &str, history: u64, settings: Subscribe) -> (Peer, Far) {
    let (there, here) = sessions();
    let peer = Peer::new(&there, name);
    let peer = if history > 0 { peer.with_history(history) } else { peer };
    (peer, Far::new(here, settings))
}

impl Far {
    pub(crate) fn new(session: Session, settings: Subscribe) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir().join(format!("tango-far-{}-{number}", std::process::id()));
        let mut far = Self::in_folder(session, settings, folder.clone());
        far.folder = Some(folder);
        far
    }

    /// Another run of the bridge, which finds the links of the one before.
    pub(crate) fn after(session: Session, settings: Subscribe, before: &Self) -> Self {
        Self::in_folder(session, settings, before.context.folder.clone())
    }

    fn in_folder(session: Session, settings: Subscribe, folder: PathBuf) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let of_journal = events.clone();
        let context = Context {
            session,
            bridge: 1,
            folder,
            journal: Journal::new(move |event| of_journal.lock().unwrap().push(event.clone())),
            register: Register::default(),
            stop: Stop::default(),
        };
        let subscribing = Some(Subscribing::start(&context, settings).unwrap());
        Self { context, subscribing, events, folder: None }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.events().iter().map(|event| event.event).collect()
    }

    /// The first event of this kind.
    pub(crate) fn event(&self, kind: &str) -> Event {
        self.nth_event(kind, 0)
    }

    pub(crate) fn nth_event(&self, kind: &str, nth: usize) -> Event {
        let found = || self.events().into_iter().filter(|event| event.event == kind).nth(nth);
        let begin = Instant::now();
        while begin.elapsed() < LONG {
            if let Some(event) = found() {
                return event;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("there is no event {nth} of the kind {kind}: {:#?}", self.events());
    }

    /// Sends states until the far link is there. Returns it.
    pub(crate) fn meet(&self, peer: &Peer) -> Link {
        until("the far link", || {
            peer.state();
            std::thread::sleep(Duration::from_millis(20));
            self.kinds().iter().any(|kind| ["made", "continued"].contains(kind)).then_some(())
        });
        self.open(peer)
    }

    pub(crate) fn name(&self, peer: &Peer) -> String {
        format!("far.{}", peer.key.strip_prefix("tango/").unwrap())
    }

    pub(crate) fn open(&self, peer: &Peer) -> Link {
        Link::open_in(&self.context.folder, &self.name(peer)).unwrap()
    }

    pub(crate) fn counts(&self, peer: &Peer) -> Arc<Counts> {
        self.context.register.counts(Direction::Subscribe, &self.name(peer), &peer.key)
    }

    /// The counts with these names.
    pub(crate) fn count<const N: usize>(&self, peer: &Peer, names: [&str; N]) -> [u64; N] {
        let all = self.counts(peer).all();
        names.map(|name| all.iter().find(|(of, _)| *of == name).unwrap().1)
    }

    /// Waits until counts have these values: a reader may have a fragment just before it is counted.
    pub(crate) fn until_counts<const N: usize>(&self, peer: &Peer, names: [&str; N], values: [u64; N]) {
        let begin = Instant::now();
        while self.count(peer, names) != values {
            let (all, events) = (self.counts(peer).all(), self.events());
            assert!(begin.elapsed() < LONG, "{names:?} are not {values:?}: {all:?} {events:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// [`Self::until_counts`] for one count.
    pub(crate) fn until_count(&self, peer: &Peer, name: &str, value: u64) {
        self.until_counts(peer, [name], [value]);
    }

    /// Ends the bridge.
    pub(crate) fn stop(&mut self) {
        self.context.stop.set();
        if let Some(subscribing) = self.subscribing.take() {
            subscribing.close();
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.stop();
        if let Some(folder) = &self.folder {
            _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// What a reader finds next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This many fragments from this number on, each as it was sent.
    Fragments(u64, u64),
    /// This many numbers are lost.
    Lost(u64),
}

/// Reads until `end` is next.
pub(crate) fn read(reader: &mut Consumer<'_>, mut next: u64, end: u64) -> Vec<Next> {
    let (mut found, begin) = (Vec::new(), Instant::now());
    while next != end {
        match reader.wait_timeout(Duration::from_millis(100)) {
            Ok(Some(fragment)) => {
                let mut sent = meta(fragment.meta.seq);
                (sent.chunk, sent.size) = (fragment.meta.chunk, fragment.meta.size);
                assert_eq!((fragment.meta, fragment.meta.seq), (sent, next));
                assert_eq!(fragment.payload.as_slice(), payload(next));
                match found.last_mut() {
                    Some(Next::Fragments(_, count)) => *count += 1,
                    _ => found.push(Next::Fragments(next, 1)),
                }
                next = next.wrapping_add(1);
            }
            Ok(None) => assert!(begin.elapsed() < LONG, "there is no number {next}: {found:?}"),
            Err(TangoError::Overrun { lost, next: then }) => {
                assert_eq!(next.wrapping_add(lost), then);
                match found.last_mut() {
                    // One gap may be found in several parts.
                    Some(Next::Lost(count)) => *count += lost,
                    _ => found.push(Next::Lost(lost)),
                }
                next = then;
            }
            Err(error) => panic!("{error} at number {next}: {found:?}"),
        }
    }
    found
}

/// Waits until the reader has nothing more, and its link is closed.
pub(crate) fn until_closed(reader: &mut Consumer<'_>) {
    until("the end of the link", || {
        match reader.wait_timeout(Duration::from_millis(100)) {
            Ok(None) | Err(TangoError::Closed) => {}
            Ok(Some(fragment)) => panic!("a fragment instead of the end: {:?}", fragment.meta),
            Err(error) => panic!("{error}"),
        }
        reader.is_closed().then_some(())
    });
}

//! [`run`]: one process, from its arguments to its exit status.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::path::absolute;
use std::process;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rust_tango::Link;
use serde_json::{Map, Value, json};
use zenoh::Wait;

use crate::connections;
use crate::context::{Context, Direction, Entry, Register, Stop};
use crate::failure::Failure;
use crate::journal::{Event, Format, Journal};
use crate::metrics::{self, direction};
use crate::network;
use crate::pattern::Patterns;
use crate::publishing::Publishing;
use crate::settings::{self, Asked, Network, Settings};
use crate::subscribing::Subscribing;

/// How long the bridge may take, after a signal, to send what it has. A network that is cut would hold it up for longer.
const GRACE: Duration = Duration::from_secs(10);

/// Does what the arguments of this process ask for.
///
/// # Errors
///
/// A message, and the exit status. See `tango-bridge --help`.
pub fn run() -> Result<(), Failure> {
    match settings::parse(std::env::args_os())? {
        Asked::Print(text) => print(&text),
        Asked::Check(settings) => check(&settings),
        Asked::Run(settings) => carry(settings),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The program that reads it has ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::new(format!("cannot write to standard output: {error}"))),
    }
}

/// Says what would be done, and which links that are there now would be sent.
fn check(settings: &Settings) -> Result<(), Failure> {
    network::configuration(&settings.network)?;
    let mut text = settings.to_string();
    let folder = settings.folder.clone().unwrap_or_else(Link::folder_of_links);
    let names = Link::list(&folder).map_err(|error| Failure::new(error.to_string()))?;
    for publish in &settings.publish {
        let chosen = Patterns::new(&publish.links, &publish.deny);
        for name in names.iter().filter(|name| chosen.allow(name)) {
            // Writing into a string does not fail.
            _ = writeln!(text, "now there: {name}, sent as {}", publish.key.replace("{link}", name));
        }
    }
    print(&text)
}

/// What was started.
struct Parts {
    publishing: Vec<Publishing>,
    subscribing: Vec<Subscribing>,
}

impl Parts {
    fn start(context: &Context, settings: Settings) -> Result<Self, Failure> {
        let mut parts = Self { publishing: Vec::new(), subscribing: Vec::new() };
        match parts.add(context, settings) {
            Ok(()) => Ok(parts),
            Err(failure) => {
                context.stop.set();
                parts.join();
                Err(failure)
            }
        }
    }

    fn add(&mut self, context: &Context, settings: Settings) -> Result<(), Failure> {
        for subscribe in settings.subscribe {
            self.subscribing.push(Subscribing::start(context, subscribe)?);
        }
        for publish in settings.publish {
            self.publishing.push(Publishing::start(context, publish)?);
        }
        Ok(())
    }

    fn join(self) {
        self.publishing.into_iter().for_each(Publishing::join);
        self.subscribing.into_iter().for_each(Subscribing::join);
    }
}

/// Carries links until a signal arrives.
fn carry(settings: Settings) -> Result<(), Failure> {
    // First, so that no thread of this process takes them.
    let signals = block_signals()?;
    // What zenoh reports, if RUST_LOG asks for it.
    zenoh::try_init_log_from_env();
    let journal = Journal::to_standard_error(settings.journal);
    let folder = settings.folder.clone().unwrap_or_else(Link::folder_of_links);
    let session = network::open(&settings.network)?;
    let context = Context {
        session: session.clone(),
        bridge: RandomState::new().build_hasher().finish(),
        folder: absolute(&folder).unwrap_or(folder),
        journal: journal.clone(),
        register: Register::default(),
        stop: Stop::default(),
    };
    journal.note(Event::new("started", started(&context, &settings.network)?));
    let connections = connections::watch(&context);
    if let Some(address) = settings.metrics {
        let address = metrics::serve(address, &context.register, &connections)?;
        journal.note(Event::new("metrics", format!("metrics are at http://{address}/metrics")));
    }
    let form = settings.journal;
    let parts = Parts::start(&context, settings)?;
    let signal = wait(&signals)?;
    journal.note(Event::new("stopping", format!("{signal} has arrived")));
    context.stop.set();
    end_by_second_signal(signals);
    let register = context.register.clone();
    let is_whole = within_grace(move || {
        parts.join();
        // Nothing is left to send. A session that cannot say goodbye is gone anyway.
        _ = session.close().wait();
    });
    let links = register.all();
    _ = io::stderr().write_all(summary(form, &links).as_bytes());
    match result(is_whole, &links) {
        None => Ok(()),
        Some(message) => Err(Failure::lost(message)),
    }
}

/// What was lost, if anything was. `is_whole`: all that waited was sent or counted in time.
fn result(is_whole: bool, links: &[Entry]) -> Option<String> {
    let sum = |of: fn(&Entry) -> u64| links.iter().map(of).fold(0, u64::saturating_add);
    let lost = match sum(lost) {
        0 => None,
        lost => Some(format!("fragments were lost or dropped: {lost}")),
    };
    if is_whole {
        return lost;
    }
    let held_up = format!("the network or a consumer has taken nothing for {} seconds", GRACE.as_secs());
    let waited = match sum(|link| link.counts.backlog.load(Relaxed)) {
        0 => "what was under way may be lost".to_owned(),
        backlog => format!("{backlog} bytes that waited are lost"),
    };
    Some(lost.map_or_else(|| format!("{held_up}: {waited}"), |lost| format!("{held_up}: {waited}; {lost}")))
}

/// Where the process listens, and what it connects to.
fn started(context: &Context, network: &Network) -> Result<String, Failure> {
    let config = network::configuration(network)?;
    let of = |which| match network::endpoints(&config, which) {
        endpoints if endpoints.is_empty() => "nothing".to_owned(),
        endpoints => endpoints.join(", "),
    };
    let (listen, connect) = (of("listen"), of("connect"));
    Ok(format!("started: listens on {listen}; connects to {connect}; links in {}", context.folder.display()))
}

fn lost(link: &Entry) -> u64 {
    let counts = &link.counts;
    let losses = [&counts.lost_at_origin, &counts.dropped, &counts.lost_in_network];
    losses.map(|count| count.load(Relaxed)).into_iter().fold(0, u64::saturating_add)
}

/// A line for each link that was carried.
fn summary(form: Format, links: &[Entry]) -> String {
    let mut text = String::new();
    for link in links {
        let Entry { direction: way, link: name, key, counts } = link;
        let line = match form {
            Format::Json => {
                let mut object = Map::new();
                let named =
                    [("event", "summary"), ("direction", direction(*way)), ("link", name), ("key", key)];
                object.extend(named.map(|(name, value)| (name.to_owned(), json!(value))));
                object.extend(counts.all().map(|(name, value)| (name.to_owned(), json!(value))));
                Value::Object(object).to_string()
            }
            Format::Text => {
                let (verb, preposition) = match way {
                    Direction::Publish => ("sent", "as"),
                    Direction::Subscribe => ("received", "from"),
                };
                let (fragments, bytes) = (counts.fragments.load(Relaxed), counts.bytes.load(Relaxed));
                let gone = match lost(link) {
                    0 => "nothing lost".to_owned(),
                    _ => {
                        let named = ["lost_at_origin", "dropped", "lost_in_network"];
                        let all = counts.all();
                        let found = all.iter().filter(|(name, count)| named.contains(name) && *count > 0);
                        let found = found.map(|(name, count)| format!("{} {count}", name.replace('_', " ")));
                        found.collect::<Vec<_>>().join(", ")
                    }
                };
                let rejected = match counts.rejected.load(Relaxed) {
                    0 => String::new(),
                    rejected => format!("; rejected {rejected} messages"),
                };
                // Messages that are rejected may have no link here.
                let name = if name.is_empty() { key } else { name };
                format!(
                    "tango-bridge: {name}: {verb} {fragments} fragments ({bytes} bytes) {preposition} {key}; \
                     {gone}{rejected}"
                )
            }
        };
        text += &line;
        text.push('\n');
    }
    text
}

/// Blocks the signals that end the process, in this thread and all that it starts. A signal that the process was told to ignore
/// stays ignored: a thread that waits for it would get it.
fn block_signals() -> Result<SigSet, Failure> {
    let ignored = ignored_signals();
    let ends = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let signals: SigSet =
        ends.into_iter().filter(|signal| ignored >> (*signal as i32 - 1) & 1 == 0).collect();
    signals.thread_block().map_err(cannot_handle)?;
    Ok(signals)
}

/// One bit for each signal, from signal 1 on.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn wait(signals: &SigSet) -> Result<Signal, Failure> {
    signals.wait().map_err(cannot_handle)
}

fn cannot_handle(error: nix::Error) -> Failure {
    Failure::new(format!("cannot handle signals: {error}"))
}

/// From now on, another signal ends the process at once.
fn end_by_second_signal(signals: SigSet) {
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            process::exit(128 + signal as i32);
        }
    });
}

/// Runs `work` in a thread of its own. Returns whether it has ended in time.
fn within_grace(work: impl FnOnce() + Send + 'static) -> bool {
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        work();
        _ = done.send(());
    });
    is_done.recv_timeout(GRACE).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Counts;

    #[test]
    fn a_summary_has_a_line_for_each_link() {
        let register = Register::default();
        let sent = register.counts(Direction::Publish, "quotes", "tango/quotes");
        Counts::add(&sent.fragments, 3);
        Counts::add(&sent.bytes, 64);
        let received = register.counts(Direction::Subscribe, "far", "tango/orders");
        Counts::add(&received.dropped, 7);
        Counts::add(&received.lost_in_network, 1);
        let links = register.all();
        assert_eq!(
            summary(Format::Text, &links),
            "tango-bridge: quotes: sent 3 fragments (64 bytes) as tango/quotes; nothing lost\n\
             tango-bridge: far: received 0 fragments (0 bytes) from tango/orders; dropped 7, lost in network 1\n"
        );
        let rejected = Register::default();
        Counts::add(&rejected.counts(Direction::Subscribe, "", "tango/junk").rejected, 5);
        assert_eq!(
            summary(Format::Text, &rejected.all()),
            "tango-bridge: tango/junk: received 0 fragments (0 bytes) from tango/junk; nothing lost; rejected 5 messages\n"
        );
        let lines = summary(Format::Json, &links);
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&last["event"], &last["link"], &last["dropped"]),
            (&json!("summary"), &json!("far"), &json!(7))
        );
    }

    #[test]
    fn what_is_said_to_be_lost_was_lost() {
        let register = Register::default();
        let counts = register.counts(Direction::Publish, "quotes", "tango/quotes");
        assert_eq!(result(true, &register.all()), None);
        let held_up = "the network or a consumer has taken nothing for 10 seconds";
        let said = |is_whole| result(is_whole, &register.all()).unwrap();
        assert_eq!(said(false), format!("{held_up}: what was under way may be lost"));
        counts.backlog.store(70, Relaxed);
        assert_eq!(said(false), format!("{held_up}: 70 bytes that waited are lost"));
        counts.backlog.store(0, Relaxed);
        for _ in 0..5 {
            Counts::add(&counts.dropped, 1 << 62);
            Counts::add(&counts.lost_at_origin, 1 << 62);
        }
        let lost = format!("fragments were lost or dropped: {}", u64::MAX);
        assert_eq!(said(true), lost);
        assert_eq!(said(false), format!("{held_up}: what was under way may be lost; {lost}"));
    }
}

//! [`Publishing`]: the links of one setting, as they come and go.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rust_tango::{Link, Start};

use super::carrying::Carrying;
use super::changes::Changes;
use super::removed::Removed;
use crate::context::Context;
use crate::failure::Failure;
use crate::journal::Event;
use crate::pattern::Patterns;
use crate::settings::Publish;

/// Time between two looks whether the folder has changed. That is one system call.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The folder is read at least so often.
const READ_EVERY: Duration = Duration::from_secs(5);
/// A change that comes so soon after another one may leave the time of the folder as it was.
const UNSURE_FOR: Duration = Duration::from_millis(100);

/// The links that match one [`Publish`], and the threads that send them.
///
/// A link that appears later is read from its oldest fragment on. Those that are there at the start are read from the next
/// one on: what was before can be queried.
#[derive(Debug)]
pub struct Publishing {
    thread: JoinHandle<()>,
}

impl Publishing {
    /// Begins to look for the links of `settings` in the folder of `context`, and to send them. It is no error if there is
    /// no such folder yet.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub fn start(context: &Context, settings: Publish) -> Result<Self, Failure> {
        let service = Service::new(context.clone(), settings);
        let thread = thread::Builder::new().name("bridge-folder".to_owned()).spawn(move || service.run());
        let thread = thread.map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        Ok(Self { thread })
    }

    /// Waits for the threads. They end after [`Stop::set`](crate::context::Stop::set), when they have sent what they had, or
    /// some seconds later if the network takes nothing. What was not sent then is counted as dropped.
    pub fn join(self) {
        // It fails if the thread has panicked, which was reported by the panic.
        _ = self.thread.join();
    }
}

struct Service {
    context: Context,
    settings: Publish,
    patterns: Patterns,
    changes: Changes,
    /// Links of which the network is told that they were removed.
    removed: Removed,
    /// Threads by the names of links.
    running: BTreeMap<String, Running>,
    /// The identities of the links that were there.
    identities: BTreeMap<String, u64>,
    /// What was said last of the folder.
    said: String,
}

struct Running {
    key: String,
    thread: JoinHandle<Option<u64>>,
}

impl Service {
    fn new(context: Context, settings: Publish) -> Self {
        let patterns = Patterns::new(&settings.links, &settings.deny);
        let (changes, running, identities) = (Changes::default(), BTreeMap::new(), BTreeMap::new());
        let removed = Removed::new(&context.stop);
        Self { context, settings, patterns, changes, removed, running, identities, said: String::new() }
    }

    fn run(mut self) {
        let mut start = Start::Next;
        let mut folder = FolderWatch::default();
        loop {
            let has_changed = folder.has_changed(&self.context.folder);
            if has_changed {
                self.changes.note();
                self.wake_all();
            }
            if self.collect() || has_changed {
                self.look(start);
            }
            start = Start::Oldest;
            if self.context.stop.wait(LOOK_EVERY) {
                break;
            }
        }
        self.wake_all();
        for (_, running) in self.running {
            _ = running.thread.join();
        }
        self.removed.end();
    }

    /// Wakes threads that wait for fragments, to look what has changed.
    fn wake_all(&self) {
        self.running.values().for_each(|running| running.thread.thread().unpark());
    }

    /// Forgets threads that have ended. Returns whether there are any.
    fn collect(&mut self) -> bool {
        let before = self.running.len();
        let is_ended = |running: &Running| running.thread.is_finished();
        let ended = self.running.iter().filter(|(_, running)| is_ended(running));
        let ended = ended.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for name in ended {
            if let Some(running) = self.running.remove(&name)
                && let Ok(Some(identity)) = running.thread.join()
            {
                self.identities.insert(name, identity);
            }
        }
        self.running.len() < before
    }

    /// Starts a thread for each new link.
    fn look(&mut self, start: Start) {
        let names = match Link::list(&self.context.folder) {
            Ok(names) => names,
            Err(error) => return self.say(Event::new("refused", format!("cannot list links: {error}"))),
        };
        for name in names {
            if self.patterns.allow(&name) && !self.running.contains_key(&name) {
                self.begin(name, start);
            }
        }
    }

    fn begin(&mut self, name: String, start: Start) {
        let key = self.settings.key.replace("{link}", &name);
        if let Some((other, _)) = self.running.iter().find(|(_, running)| running.key == key) {
            let message =
                format!("not sent: link {other} has the key {key} already; put {{link}} into the key");
            return self.say(Event::new("refused", message).of_link(&name).of_key(&key));
        }
        let identity = self.identities.get(&name).copied();
        let of = (&*name, &*key);
        let shared = (self.changes.clone(), self.removed.clone());
        let carrying = Carrying::new(&self.context, &self.settings, of, shared, identity);
        let thread = thread::Builder::new().name("bridge-read".to_owned());
        match thread.spawn(move || carrying.run(start)) {
            Ok(thread) => {
                self.running.insert(name, Running { key, thread });
            }
            Err(error) => {
                let message = format!("not sent: cannot start a thread: {error}");
                self.say(Event::new("refused", message).of_link(&name).of_key(&key));
            }
        }
    }

    /// Writes an event, unless it was the last one.
    fn say(&mut self, event: Event) {
        let text = event.to_string();
        if self.said != text {
            self.said = text;
            self.context.journal.note(event);
        }
    }
}

/// Whether links may have come to a folder or gone: its time of modification says so.
#[derive(Default)]
struct FolderWatch {
    found: Option<SystemTime>,
    read: Option<Instant>,
    /// Another change until then may not be visible in the time.
    unsure_until: Option<Instant>,
}

impl FolderWatch {
    fn has_changed(&mut self, folder: &Path) -> bool {
        let found = folder.metadata().and_then(|metadata| metadata.modified()).ok();
        let now = Instant::now();
        let is_changed = found != self.found || self.read.is_none_or(|read| now - read > READ_EVERY);
        if found != self.found {
            self.unsure_until = Some(now + UNSURE_FOR);
        }
        let is_unsure = self.unsure_until.is_some_and(|until| {
            if now > until {
                self.unsure_until = None;
            }
            true
        });
        if is_changed {
            (self.found, self.read) = (found, Some(now));
        }
        is_changed || is_unsure
    }
}

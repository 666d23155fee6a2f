//! [`watch`]: says when the bridge is connected to other processes, and when it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use zenoh::{Session, Wait};

use crate::context::Context;
use crate::journal::Event;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After this time without any connection, the bridge says so.
const MENTION_AFTER: Duration = Duration::from_secs(5);

/// To how many other processes the network connects this one. It lags by up to a quarter of a second.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<AtomicUsize>);

impl Connections {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Asks zenoh, which must not be done in a task.
fn count(session: &Session) -> usize {
    let info = session.info();
    info.peers_zid().wait().count() + info.routers_zid().wait().count()
}

/// Notes changes in the journal, from a thread of its own, until the bridge should end.
pub fn watch(context: &Context) -> Connections {
    let connections = Connections::default();
    let (context, shared) = (context.clone(), connections.0.clone());
    thread::spawn(move || {
        let (mut before, mut alone_since, mut mentioned) = (0, Instant::now(), false);
        while !context.stop.wait(LOOK_EVERY) {
            let now = count(&context.session);
            shared.store(now, Relaxed);
            if now != before {
                let others = if now == 1 { "process" } else { "processes" };
                context.journal.note(Event::new("connections", format!("connected to {now} other {others}")));
                (before, alone_since, mentioned) = (now, Instant::now(), false);
            } else if now == 0 && !mentioned && alone_since.elapsed() > MENTION_AFTER {
                let text = "connected to no other process; with RUST_LOG=zenoh=debug in the environment, \
                    zenoh says on standard output what it tries";
                context.journal.note(Event::new("alone", text));
                mentioned = true;
            }
        }
    });
    connections
}

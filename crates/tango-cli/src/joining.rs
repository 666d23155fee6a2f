//! Waiting for a link and joining it, as `tango recv` and `tango record` do.

use std::time::{Duration, Instant};

use rust_tango::{Consumer, Link, LinkErrorKind, Start};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::{hints, standard};

/// What kind of consumer reads the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The producer does not know of it.
    Observer,
    /// The producer waits for it, within its patience.
    Evictable,
    /// The producer waits for it.
    Reliable,
}

impl Reading {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Evictable => "evictable",
            Self::Reliable => "reliable",
        }
    }
}

/// Which link to join, and how.
pub(crate) struct Joining<'a> {
    pub(crate) folder: &'a LinkFolder,
    pub(crate) name: &'a str,
    pub(crate) reading: Reading,
    /// Where to begin. A number before the link's first one means the first.
    pub(crate) start: Start,
    /// How long to wait for the link. `None`: without a limit.
    pub(crate) timeout: Option<Duration>,
    /// What to do for being an observer instead, in an imperative.
    pub(crate) otherwise: &'a str,
}

/// Waits for the link and joins it. `None`: it was told to stop before.
pub(crate) fn join(
    joining: &Joining<'_>,
    is_stopped: impl Fn() -> bool,
) -> Result<Option<(Link, Consumer<'static>)>, Failure> {
    let Joining { folder, name, reading, start, timeout, otherwise } = *joining;
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    let mut hints = Some(hints::delay(Duration::from_secs(1)));
    loop {
        let joined = folder.open(name).and_then(|link| {
            let start = since_the_first(start, link.geometry().start);
            let rx = match reading {
                Reading::Observer => link.observer_from(start),
                Reading::Evictable => link.evictable_consumer(start),
                Reading::Reliable => link.consumer_from(start),
            };
            rx.map(|rx| (link, rx))
        });
        match joined {
            Ok(joined) => return Ok(Some(joined)),
            // The link does not exist yet, or it was removed between the two calls.
            Err(error) if error.is_not_found() => {
                if timeout.is_some_and(|timeout| begin.elapsed() >= timeout) {
                    let waited = begin.elapsed().as_secs_f64();
                    let similar = hints::of_similar_names(folder, name);
                    let similar = similar.map_or(String::new(), |similar| format!("; {similar}"));
                    return Err(Failure::new(format!("{error} (waited {waited:.1} s){similar}")));
                }
            }
            Err(error) if error.kind() == LinkErrorKind::Taken => {
                return Err(Failure::new(format!(
                    "all receiver slots of link {name} are taken: {otherwise}, or start the sender with more --consumers"
                )));
            }
            Err(error) if error.observer_may_join() && reading != Reading::Observer => {
                let reason = error.reason();
                return Err(Failure::new(format!(
                    "{reason}; or {otherwise}, which needs no permission to write"
                )));
            }
            Err(error) => return Err(error.into()),
        }
        if is_stopped() {
            return Ok(None);
        }
        if hints.take_if(|after| begin.elapsed() >= *after).is_some() {
            standard::write_error(&hints::of_missing_link(folder, name));
        }
        backoff.sleep();
    }
}

fn since_the_first(start: Start, first: u64) -> Start {
    match start {
        // Numbers wrap.
        Start::At(seq) if seq.wrapping_sub(first).cast_signed() < 0 => Start::At(first),
        start => start,
    }
}

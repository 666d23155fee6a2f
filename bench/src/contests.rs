//! Which rows each table has.

use std::io;
use std::rc::Rc;

use crate::exchange::{round_trip, throughput};
use crate::method::{Contestant, Plan, Role, Sample};
use crate::peers::{
    CrossbeamBlocking, CrossbeamTry, DEPTH, Published, Ringbuf, Rtrb, SyncChannelBlocking, SyncChannelTry,
    Tango, observed, unread,
};
use crate::process::{self, Folder};
use crate::raw;
use crate::report::Unit;

/// One table: contestants that take turns.
pub(crate) struct Contest {
    /// What `--only` knows it by.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) rows: Vec<Contestant>,
}

impl Contest {
    /// What is left of it if only these names are wanted: all of it if one is its own, else the rows
    /// that are named.
    pub(crate) fn only(mut self, names: &[String]) -> Option<Self> {
        let wanted = |text: &str| names.iter().any(|name| text.contains(name.as_str()));
        if !names.is_empty() && !wanted(self.key) {
            self.rows.retain(|row| wanted(&row.name));
        }
        (!self.rows.is_empty()).then_some(self)
    }
}

/// Every table, with `steps` of work for little and for more of it.
pub(crate) fn all(steps: [u32; 2]) -> io::Result<Vec<Contest>> {
    let folder = Rc::new(Folder::new()?);
    let [little, more] = steps;
    let mut no_work = throughputs(&folder, 0);
    no_work.insert(0, row("raw: tango, nobody reads", Role::Limit, unread::<64>));
    let working = |steps| {
        let mut rows = throughputs(&folder, steps);
        let alone = move |plan: &Plan| raw::work_alone::<64>(plan, steps);
        rows.insert(0, row("raw: the work alone", Role::Limit, alone));
        rows
    };
    Ok(vec![
        Contest {
            key: "no-work",
            title: "Throughput, 64 bytes, the producer does nothing else",
            unit: Unit::MillionPerSecond,
            rows: no_work,
        },
        Contest {
            key: "little-work",
            title: "Throughput, 64 bytes, little work before each message",
            unit: Unit::MillionPerSecond,
            rows: working(little),
        },
        Contest {
            key: "more-work",
            title: "Throughput, 64 bytes, more work before each message",
            unit: Unit::MillionPerSecond,
            rows: working(more),
        },
        Contest {
            key: "round-trip-8",
            title: "Round trip, 8 bytes",
            unit: Unit::Nanoseconds,
            rows: round_trips::<8>(&folder),
        },
        Contest {
            key: "round-trip-32",
            title: "Round trip, 32 bytes",
            unit: Unit::Nanoseconds,
            rows: round_trips::<32>(&folder),
        },
        Contest {
            key: "round-trip-64",
            title: "Round trip, 64 bytes",
            unit: Unit::Nanoseconds,
            rows: round_trips::<64>(&folder),
        },
        Contest {
            key: "large-1024",
            title: "Throughput, 1 KiB",
            unit: Unit::GibibytesPerSecond(1024),
            rows: large::<1024>(&folder),
        },
        Contest {
            key: "large-4096",
            title: "Throughput, 4 KiB",
            unit: Unit::GibibytesPerSecond(4096),
            rows: large::<4096>(&folder),
        },
    ])
}

fn throughputs(folder: &Rc<Folder>, steps: u32) -> Vec<Contestant> {
    let [first, second] = [Rc::clone(folder), Rc::clone(folder)];
    vec![
        row("tango", Role::Tango, move |plan| throughput::<Tango, 64>(plan, steps)),
        row("tango, 2 processes", Role::TangoProcesses, move |plan| {
            process::throughput::<64>(&first, plan, steps)
        }),
        row(&format!("rtrb {}", version("rtrb")), Role::Peer, move |plan| {
            throughput::<Rtrb, 64>(plan, steps)
        }),
        row(&format!("ringbuf {}", version("ringbuf")), Role::Peer, move |plan| {
            throughput::<Ringbuf, 64>(plan, steps)
        }),
        row(&format!("crossbeam-channel {}, try_", version("crossbeam-channel")), Role::Peer, move |plan| {
            throughput::<CrossbeamTry, 64>(plan, steps)
        }),
        row(
            &format!("crossbeam-channel {}, blocking", version("crossbeam-channel")),
            Role::Peer,
            move |plan| throughput::<CrossbeamBlocking, 64>(plan, steps),
        ),
        row("std sync_channel, try_", Role::Peer, move |plan| throughput::<SyncChannelTry, 64>(plan, steps)),
        row("std sync_channel, blocking", Role::Peer, move |plan| {
            throughput::<SyncChannelBlocking, 64>(plan, steps)
        }),
        row("published rust-tango 0.1.2", Role::Published, move |plan| {
            throughput::<Published, 64>(plan, steps)
        }),
        row("tango, observer", Role::Extra, move |plan| observed::<64>(plan, steps)),
        row("tango, observer, 2 processes", Role::Extra, move |plan| {
            process::observed::<64>(&second, plan, steps)
        }),
    ]
}

fn round_trips<const N: usize>(folder: &Rc<Folder>) -> Vec<Contestant> {
    let folder = Rc::clone(folder);
    vec![
        row("raw: an atomic word each way", Role::Limit, |plan| raw::round_trip(plan, 1)),
        row("raw: the same round a ring of slots", Role::Extra, |plan| raw::round_trip(plan, DEPTH)),
        row("tango", Role::Tango, round_trip::<Tango, N>),
        row("tango, 2 processes", Role::TangoProcesses, move |plan| process::round_trip::<N>(&folder, plan)),
        row(&format!("rtrb {}", version("rtrb")), Role::Peer, round_trip::<Rtrb, N>),
        row(&format!("ringbuf {}", version("ringbuf")), Role::Peer, round_trip::<Ringbuf, N>),
        row(
            &format!("crossbeam-channel {}, try_", version("crossbeam-channel")),
            Role::Peer,
            round_trip::<CrossbeamTry, N>,
        ),
        row("std sync_channel, try_", Role::Peer, round_trip::<SyncChannelTry, N>),
        row("published rust-tango 0.1.2", Role::Published, round_trip::<Published, N>),
    ]
}

fn large<const N: usize>(folder: &Rc<Folder>) -> Vec<Contestant> {
    let folder = Rc::clone(folder);
    vec![
        row("raw: a copy into a ring, nobody reads", Role::Limit, |plan| raw::copy::<N>(plan, DEPTH)),
        row("tango, nobody reads", Role::Extra, unread::<N>),
        row("tango", Role::Tango, |plan| throughput::<Tango, N>(plan, 0)),
        row("tango, 2 processes", Role::TangoProcesses, move |plan| {
            process::throughput::<N>(&folder, plan, 0)
        }),
    ]
}

fn row(name: &str, role: Role, run: impl Fn(&Plan) -> Sample + 'static) -> Contestant {
    Contestant { name: name.to_owned(), role, run: Box::new(run) }
}

/// The version of a peer that this program was built with.
fn version(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"\nversion = \"");
    include_str!("../Cargo.lock")
        .split_once(&name)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("?", |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(version("rtrb").starts_with("0."));
        assert_eq!(version("no such package"), "?");
    }

    #[test]
    fn only_keeps_tables_and_rows_by_name() {
        let contest = || Contest {
            key: "no-work",
            title: "",
            unit: Unit::Nanoseconds,
            rows: ["tango", "rtrb"]
                .map(|name| row(name, Role::Peer, |_| unreachable!("nothing is measured")))
                .into(),
        };
        let rows = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            contest().only(&names).map_or(0, |contest| contest.rows.len())
        };
        assert_eq!(rows(&[]), 2);
        assert_eq!(rows(&["no-work"]), 2);
        assert_eq!(rows(&["rtrb"]), 1);
        assert_eq!(rows(&["elsewhere"]), 0);
    }
}

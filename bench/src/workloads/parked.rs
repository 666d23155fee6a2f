//! Readers that sleep until a message comes: how long it takes to wake them.
//!
//! Messages are due far enough apart that each reader has gone to sleep; those that spin or yield for a
//! moment first are done with that. The note says which part of a core the reader took meanwhile.

use std::rc::Rc;

use super::{Contest, Rows, ThereOnTime, Unit};
use crate::peers::{
    CrossbeamBlocking, DEPTH, FlumeBlocking, Iceoryx2Event, KanalBlocking, Pipe, RingfireParked, ShaqParked,
    SyncChannelBlocking, TangoWaiting, UnixSocket,
};
use crate::process::Folder;
use crate::raw;

/// Nanoseconds between messages.
const EVERY: u64 = 500_000;

pub(super) fn wake_up(folder: &Rc<Folder>) -> Contest {
    let rows = Rows::<ThereOnTime, 64, DEPTH>::new(folder)
        .due(1, EVERY)
        .limit("raw: a futex", raw::futex_on_time)
        .thread::<TangoWaiting>()
        .thread::<CrossbeamBlocking>()
        .thread::<KanalBlocking>()
        .thread::<FlumeBlocking>()
        .thread::<SyncChannelBlocking>()
        .process::<TangoWaiting>()
        .process::<RingfireParked>()
        .process::<ShaqParked>()
        .process::<Iceoryx2Event>()
        .process::<UnixSocket>()
        .process::<Pipe>();
    Contest {
        key: "parked".into(),
        workload: "parked",
        title: format!("Waking a reader that waits, 64 bytes, one message every {} µs", EVERY / 1000),
        unit: Unit::Latency,
        at: 1e9 / EVERY as f64,
        rows: rows.rows,
    }
}

//! The channels under test, grouped by kind. To add one, declare it with `peer!`, implement `Pair` or `Channel` (between
//! threads) or `ProcessChannel` and its halves, and add it to a function below. Every workload then has rows for it.

mod disruptor;
mod iceoryx2;
mod published;
mod ringfire;
mod rings;
mod shaq;
mod stream;
mod tango;
mod values;

pub(crate) use self::disruptor::Disruptor;
pub(crate) use self::iceoryx2::{Iceoryx2, remove_segments};
pub(crate) use self::published::Published;
pub(crate) use self::ringfire::{Ringfire, RingfireLossy};
pub(crate) use self::rings::RtrbForEach;
pub(crate) use self::tango::{Tango, TangoLoan, TangoMade, TangoObserver, TangoWaiting, unread};
pub(crate) use self::values::{CrossbeamBlocking, FlumeBlocking, KanalBlocking, SyncChannelBlocking};

use self::iceoryx2::Iceoryx2Event;
use self::ringfire::RingfireParked;
use self::rings::{Bbqueue, Heapless, Ringbuf, Rtrb};
use self::shaq::{Shaq, ShaqParked};
use self::stream::{Pipe, UnixSocket};
use self::values::{CrossbeamTry, FlumeTry, KanalTry, SyncChannelTry};
use crate::channel::{ProcessVisitor, Visitor};

/// Visits every channel between threads, in the order of the rows.
pub(crate) fn visit_threads<const N: usize, const D: usize>(visitor: &mut impl Visitor<N, D>) {
    visitor.visit::<Tango>();
    visitor.visit::<Rtrb>();
    visitor.visit::<Ringbuf>();
    visitor.visit::<Disruptor>();
    visitor.visit::<Shaq>();
    visitor.visit::<CrossbeamTry>();
    visitor.visit::<CrossbeamBlocking>();
    visitor.visit::<KanalTry>();
    visitor.visit::<KanalBlocking>();
    visitor.visit::<FlumeTry>();
    visitor.visit::<FlumeBlocking>();
    visitor.visit::<SyncChannelTry>();
    visitor.visit::<SyncChannelBlocking>();
    visitor.visit::<Bbqueue>();
    // Their rings are arrays, and the compiler takes too long over large ones.
    if const { D <= 16_384 } {
        visitor.visit::<Heapless>();
        visitor.visit::<Published<true>>();
    }
}

/// Visits every channel between processes, in the order of the rows. Peers are compared with the first of ours.
pub(crate) fn visit_processes<const N: usize, const D: usize>(visitor: &mut impl ProcessVisitor<N, D>) {
    visitor.visit::<Tango>();
    visitor.visit::<Ringfire>();
    visitor.visit::<Shaq>();
    visitor.visit::<Iceoryx2>();
    visitor.visit::<UnixSocket>();
    visitor.visit::<Pipe>();
}

/// Visits every channel between processes whose readers sleep.
pub(crate) fn visit_parked_processes<const N: usize, const D: usize>(
    visitor: &mut impl ProcessVisitor<N, D>,
) {
    visitor.visit::<TangoWaiting>();
    visitor.visit::<RingfireParked>();
    visitor.visit::<ShaqParked>();
    visitor.visit::<Iceoryx2Event>();
    visitor.visit::<UnixSocket>();
    visitor.visit::<Pipe>();
}

//! The channels under test, grouped by kind. To add one, declare it with `peer!`, implement `Pair` or `Channel` (between
//! threads) or `ProcessChannel` and its halves, and add it to a function below. Every workload then has rows for it.

#[cfg(feature = "peers")]
mod disruptor;
#[cfg(feature = "peers")]
mod iceoryx2;
#[cfg(feature = "peers")]
mod published;
#[cfg(feature = "peers")]
mod ringfire;
#[cfg(feature = "peers")]
mod rings;
#[cfg(feature = "peers")]
mod shaq;
mod stream;
mod tango;
mod tasks;
#[cfg(feature = "peers")]
mod values;

#[cfg(feature = "peers")]
mod others {
    pub(crate) use crate::peers::disruptor::Disruptor;
    pub(crate) use crate::peers::iceoryx2::{Iceoryx2, Iceoryx2Event, remove_segments};
    pub(crate) use crate::peers::published::Published;
    pub(crate) use crate::peers::ringfire::{Ringfire, RingfireLossy, RingfireParked};
    pub(crate) use crate::peers::rings::{Bbqueue, Heapless, Ringbuf, Rtrb, RtrbForEach};
    pub(crate) use crate::peers::shaq::{Shaq, ShaqParked};
    pub(crate) use crate::peers::values::{
        CrossbeamBlocking, CrossbeamTry, FlumeBlocking, FlumeTry, KanalBlocking, KanalTry,
        SyncChannelBlocking, SyncChannelTry,
    };
}

#[cfg(feature = "peers")]
pub(crate) use self::others::*;
pub(crate) use self::tango::{
    NAME, Tango, TangoLoan, TangoMade, TangoObserver, TangoPaced, TangoWaiting, unread,
};
#[cfg(feature = "peers")]
pub(crate) use self::tasks::AsyncChannel;
pub(crate) use self::tasks::{TangoTask, TokioMpsc, runtime};

use self::stream::{Pipe, UnixSocket};
use crate::channel::{ProcessVisitor, Visitor};

/// Visits every channel between threads, in the order of the rows.
pub(crate) fn visit_threads<const N: usize, const D: usize>(visitor: &mut impl Visitor<N, D>) {
    visitor.visit::<Tango>();
    #[cfg(feature = "peers")]
    visit_other_threads(visitor);
}

#[cfg(feature = "peers")]
fn visit_other_threads<const N: usize, const D: usize>(visitor: &mut impl Visitor<N, D>) {
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
    #[cfg(feature = "peers")]
    {
        visitor.visit::<Ringfire>();
        visitor.visit::<Shaq>();
        visitor.visit::<Iceoryx2>();
    }
    visitor.visit::<UnixSocket>();
    visitor.visit::<Pipe>();
}

/// Visits every channel between processes whose readers sleep.
pub(crate) fn visit_parked_processes<const N: usize, const D: usize>(
    visitor: &mut impl ProcessVisitor<N, D>,
) {
    visitor.visit::<TangoWaiting>();
    #[cfg(feature = "peers")]
    {
        visitor.visit::<RingfireParked>();
        visitor.visit::<ShaqParked>();
        visitor.visit::<Iceoryx2Event>();
    }
    visitor.visit::<UnixSocket>();
    visitor.visit::<Pipe>();
}

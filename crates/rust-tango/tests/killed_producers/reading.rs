//! A reader that checks every fragment and every change of the producer.

use rust_tango::{Consumer, Fragment, TangoError};

use crate::common::{assert_whole, sig};

/// A reader, and what it has read so far.
pub(crate) struct Reading {
    pub(crate) rx: Consumer<'static>,
    mtu: usize,
    /// Fragments may have been published in batches, without tags.
    pub(crate) untagged: bool,
    /// The next fragment to read. An observer may be lapped, and then skips some.
    pub(crate) next: u64,
    pub(crate) read: u64,
    pub(crate) lost: u64,
    pub(crate) replaced: u64,
    /// Where it was told that the producer is dead, unless it was told of a new one since.
    gone: Option<u64>,
}

impl Reading {
    pub(crate) fn new(rx: Consumer<'static>, mtu: usize) -> Self {
        let next = rx.next_seq();
        Self { rx, mtu, untagged: false, next, read: 0, lost: 0, replaced: 0, gone: None }
    }

    /// The next fragment, to be held; `None` also if there was an event of the producer instead.
    pub(crate) fn take(&mut self) -> Option<Fragment<'_>> {
        match self.rx.poll() {
            Ok(found) => {
                self.next += u64::from(found.is_some());
                self.read += u64::from(found.is_some());
                found
            }
            Err(TangoError::ProducerReplaced { .. }) => {
                self.gone = None;
                None
            }
            Err(TangoError::ProducerGone) => {
                self.gone = Some(self.next);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads everything there is. Returns true if the producer is gone.
    pub(crate) fn drain(&mut self) -> bool {
        let lossy = !self.rx.is_reliable();
        loop {
            match self.rx.poll() {
                Ok(None) => return false,
                Ok(Some(fragment)) => {
                    assert!(self.gone.is_none(), "a fragment of a producer that was not announced");
                    assert_eq!(fragment.meta.seq, self.next);
                    let mut meta = fragment.meta;
                    if self.untagged && (meta.sig, meta.ctl, meta.ts) == (0, 0, 0) {
                        (meta.sig, meta.ctl, meta.ts) =
                            (sig(meta.seq), sig(meta.seq) as u16, meta.seq as u32);
                    }
                    assert_whole(&meta, fragment.payload.as_slice(), self.mtu);
                    self.next += 1;
                    self.read += 1;
                }
                Err(TangoError::Overrun { lost, next }) if lossy => {
                    assert_eq!(next, self.next + lost);
                    self.next = next;
                    self.lost += lost;
                }
                Err(TangoError::ProducerReplaced { first }) => {
                    assert!(
                        self.gone.is_none_or(|at| first >= at),
                        "the new producer begins at {first}, but the old one was gone at {:?}",
                        self.gone
                    );
                    self.gone = None;
                    self.replaced += 1;
                }
                Err(TangoError::ProducerGone) => {
                    self.gone.get_or_insert(self.next);
                    return true;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

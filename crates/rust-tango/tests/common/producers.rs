//! Helpers for tests of async producers, which are without credits most of the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use rust_tango::{AsyncProducer, Consumer, Link, LinkBuilder, Meta, TangoError};

use super::waiting::MTU;
use super::{payload, sig};

/// Longer than any wait of a test that succeeds.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// The smallest ring.
pub(crate) fn small_ring() -> LinkBuilder {
    Link::builder().depth(2).mtu(MTU).consumers(2)
}

pub(crate) fn producer(link: &Link) -> AsyncProducer {
    link.producer().unwrap().with_patience(NEVER).into_async().unwrap()
}

/// Whether the producer has found that it has no credit.
pub(crate) fn is_held(link: &Link) -> bool {
    link.status().held_by.is_some()
}

/// A producer without credits.
pub(crate) fn full(link: &Link) -> AsyncProducer {
    let mut tx = producer(link);
    while try_send(&mut tx).is_ok() {}
    tx
}

/// Counts how often it is called.
#[derive(Default)]
pub(crate) struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls in vain. `count` is woken when there may be a credit.
pub(crate) fn wait_with(tx: &mut AsyncProducer, count: &Arc<Count>) {
    let waker = Waker::from(count.clone());
    assert!(tx.poll_ready(&mut Context::from_waker(&waker), MTU).is_pending());
}

pub(crate) fn link_with_reader() -> (Link, Consumer<'static>) {
    let link = small_ring().build().unwrap();
    let rx = link.consumer().unwrap();
    (link, rx)
}

/// Publishes the next fragment, with the content that follows from its number.
pub(crate) async fn send(tx: &mut AsyncProducer) -> Result<(), TangoError> {
    let seq = tx.next_seq();
    let meta = Meta::new().sig(sig(seq)).ctl(sig(seq) as u16).ts(seq as u32);
    let meta = tx.send_with(&payload(seq, MTU), meta).await?;
    assert_eq!((meta.seq, tx.next_seq()), (seq, seq.wrapping_add(1)));
    Ok(())
}

/// [`send`], without waiting.
pub(crate) fn try_send(tx: &mut AsyncProducer) -> Result<(), TangoError> {
    let seq = tx.next_seq();
    tx.publish(&payload(seq, MTU), sig(seq), sig(seq) as u16, seq as u32).map(drop)
}

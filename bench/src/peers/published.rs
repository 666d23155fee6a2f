//! The crate that was published under our name before (0.1.2), with flow control, as its README shows.
//! It gives the credit back before the payload is read, so it may deliver wrong payloads: those are
//! counted here and not fatal.

use published::{Consumer, DCache, Fctl, Fseq, MCache, Producer, TangoError};

use super::{Channel, DEPTH, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Published;

impl<const N: usize> Channel<N> for Published {
    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        // Its halves borrow; what they borrow is left behind, about 150 KiB for each measurement.
        let mcache: &MCache<DEPTH> = Box::leak(Box::default());
        let dcache: &DCache<DEPTH, N> = Box::leak(Box::default());
        let fseq = Box::leak(Box::new(Fseq::new(1)));
        let fctl = Box::leak(Box::new(Fctl::new(DEPTH as u64)));
        (
            Producer::with_flow_control(mcache, dcache, fseq, fctl),
            Consumer::with_flow_control(mcache, dcache, fctl, 1),
        )
    }
}

impl<const N: usize> Sender<N> for Producer<'_, DEPTH, DEPTH, N> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        match self.publish(&message.0, 0, 0, 0) {
            Ok(_) => true,
            Err(TangoError::NoCredits) => false,
            Err(error) => panic!("published crate: {error}"),
        }
    }
}

impl<const N: usize> Receiver<N> for Consumer<'_, DEPTH, DEPTH, N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        match self.poll() {
            Ok(fragment) => fragment.map(|fragment| read(fragment.payload.as_slice())),
            Err(error) => panic!("published crate: {error}"),
        }
    }
}

//! `disruptor`: a single producer that fills events in place, and event pollers, which is its way for readers
//! with a thread of their own. `try_publish` and `take(1)`; batches by `try_batch_publish` and `take`, which pass
//! events in place.

use disruptor::{
    BusySpin, EventPoller, MissingFreeSlots, MultiConsumerBarrier, Polling, Producer, Sequence,
    SingleConsumerBarrier, SingleProducer, SingleProducerBarrier, build_single_producer,
};

use crate::channel::{About, FanOut, Receiver, Sender, pair, peer, receiver, sender};
use crate::message::Message;

peer!(Disruptor, About { batch: Some("try_batch_publish, take"), ..About::package("disruptor") });

type Poller<const N: usize> = EventPoller<Message<N>, SingleProducerBarrier>;

pair!(Disruptor, {
    let (poller, builder) = build_single_producer(D, || Message([0; N]), BusySpin).new_event_poller();
    (Publisher(builder.build()), poller)
});

impl<const N: usize, const D: usize> FanOut<N, D> for Disruptor {
    fn open(readers: usize) -> (impl Sender<N> + Send, Vec<impl Receiver<N> + Send>) {
        let (first, builder) = build_single_producer(D, || Message([0; N]), BusySpin).new_event_poller();
        let mut pollers = vec![first];
        if readers == 1 {
            return (FanOutPublisher::One(Publisher(builder.build())), pollers);
        }
        let (second, mut builder) = builder.new_event_poller();
        pollers.push(second);
        while pollers.len() < readers {
            let (poller, next) = builder.new_event_poller();
            pollers.push(poller);
            builder = next;
        }
        (FanOutPublisher::Several(Publisher(builder.build())), pollers)
    }
}

struct Publisher<P>(P);

enum FanOutPublisher<const N: usize> {
    One(Publisher<SingleProducer<Message<N>, SingleConsumerBarrier>>),
    Several(Publisher<SingleProducer<Message<N>, MultiConsumerBarrier>>),
}

impl<const N: usize, P: Producer<Message<N>>> Sender<N> for Publisher<P> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.0.try_publish(|event| *event = *message).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        let room = match publish(&mut self.0, messages) {
            Ok(_) => return messages.len(),
            Err(missing) => messages.len().saturating_sub(missing.0 as usize),
        };
        if room > 0 && publish(&mut self.0, &messages[..room]).is_ok() { room } else { 0 }
    }
}

/// Publishes all of these, or returns how many slots are missing.
#[inline(always)]
fn publish<const N: usize>(
    producer: &mut impl Producer<Message<N>>,
    messages: &[Message<N>],
) -> Result<Sequence, MissingFreeSlots> {
    producer.try_batch_publish(messages.len(), |events| {
        events.zip(messages).for_each(|(event, message)| *event = *message);
    })
}

sender!(FanOutPublisher<N>, |tx, message| match tx {
    Self::One(publisher) => publisher.try_send(message),
    Self::Several(publisher) => publisher.try_send(message),
});

receiver!(
    Poller<N>,
    |rx, read| {
        let mut value = None;
        take(rx, 1, |bytes| value = Some(read(bytes)));
        value
    },
    |rx, max, read| take(rx, max, read)
);

#[inline(always)]
fn take<const N: usize>(poller: &mut Poller<N>, max: usize, mut read: impl FnMut(&[u8])) -> usize {
    match poller.take(max as u64) {
        Ok(mut events) => (&mut events).map(|event| read(&event.0)).count(),
        Err(Polling::NoEvents) => 0,
        Err(Polling::Shutdown) => panic!("disruptor: the producer is gone"),
    }
}

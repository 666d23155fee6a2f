//! Properties of parts beside the link: the duplicate filter against an ordered set, 32-bit timestamps,
//! control bits, and messages that are split and assembled. Properties of private functions are tested in
//! their own files.
#![cfg(feature = "std")]

use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;
use rust_tango::{Assembler, Consumer, Control, Link, MessageError, Producer, Tcache, TcacheBuf, timestamp};

/// A window of tags, in order of age, and the age of each tag.
#[derive(Default)]
struct Window {
    by_age: BTreeMap<u64, u64>,
    ages: HashMap<u64, u64>,
    born: u64,
}

impl Window {
    fn check_and_insert(&mut self, tag: u64, capacity: usize) -> bool {
        if self.ages.contains_key(&tag) {
            return false;
        }
        if self.ages.len() == capacity {
            let (_, oldest) = self.by_age.pop_first().unwrap();
            self.ages.remove(&oldest);
        }
        self.by_age.insert(self.born, tag);
        self.ages.insert(tag, self.born);
        self.born += 1;
        true
    }
}

/// The number of cases for each property. Few under Miri, which interprets every step.
const fn cases(count: u32) -> u32 {
    if cfg!(miri) { 2 } else { count }
}

/// `count`, or few under Miri.
fn many(count: usize) -> usize {
    if cfg!(miri) { 24 } else { count }
}

/// Tags that recur, tags that are likely to have equal hashes, and any others.
fn tag() -> impl Strategy<Value = u64> {
    prop_oneof![0..12_u64, (0..40_u64).prop_map(|tag| tag << 58), any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1000)))]

    #[test]
    fn a_tcache_is_a_window_of_an_ordered_set(
        capacity in 1..40_usize,
        seed in any::<u64>(),
        tags in vec((tag(), 0..60_u8), 0..many(300)),
    ) {
        let buf = TcacheBuf::with_seed(capacity, seed);
        let fixed = Tcache::<7>::with_seed(seed);
        let (mut window, mut of_seven) = (Window::default(), Window::default());
        for (tag, what) in tags {
            match what {
                0 => {
                    buf.clear();
                    window = Window::default();
                }
                1..20 => prop_assert_eq!(buf.contains(tag), window.ages.contains_key(&tag)),
                _ => prop_assert_eq!(buf.check_and_insert(tag), window.check_and_insert(tag, capacity)),
            }
            prop_assert_eq!(fixed.check_and_insert(tag), of_seven.check_and_insert(tag, 7));
            prop_assert_eq!((buf.len(), fixed.len()), (window.ages.len(), of_seven.ages.len()));
        }
        for tag in window.ages.keys() {
            prop_assert!(buf.contains(*tag));
        }
    }

    #[test]
    fn a_time_that_is_near_comes_back(near in any::<u64>(), distance in any::<i32>()) {
        let time = near.wrapping_add_signed(distance.into());
        prop_assert_eq!(timestamp::expand(timestamp::compress(time), near), time);
    }

    #[test]
    fn the_nearest_time_is_taken(near in any::<u64>(), ts in any::<u32>()) {
        let time = timestamp::expand(ts, near);
        prop_assert_eq!(timestamp::compress(time), ts);
        let distance = time.wrapping_sub(near) as i64;
        prop_assert!((-(1 << 31)..1 << 31).contains(&distance), "{distance}");
    }

    #[test]
    fn control_bits_are_apart_from_the_origin(origin in 0..=Control::MAX_ORIGIN, bits in 0..8_u16) {
        let mut control = Control::new(origin);
        for (bit, with) in [
            (1, Control::with_continues as fn(Control) -> Control),
            (2, Control::with_more),
            (4, Control::with_error),
        ] {
            control = if bits & bit != 0 { with(control) } else { control };
        }
        prop_assert_eq!(control.origin(), origin);
        prop_assert_eq!([control.continues(), control.more(), control.error()], [1, 2, 4].map(|bit| bits & bit != 0));
        prop_assert_eq!(control.bits(), origin << 3 | bits);
        prop_assert_eq!(Control::from_bits(control.bits()), control);
    }
}

/// The content of a message. Parts of two messages are never the same.
fn message(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 89 + at * 13) as u8).collect()
}

fn read_all(rx: &mut Consumer<'_>, assemblers: &mut HashMap<u16, Assembler>, got: &mut Vec<Got>) {
    while let Some(fragment) = rx.poll().unwrap() {
        let origin = Control::from_bits(fragment.meta.ctl).origin();
        match assemblers.entry(origin).or_insert_with(|| Assembler::new(2000)).push(&fragment) {
            Ok(None) => {}
            Ok(Some(bytes)) => got.push(Got::Message(fragment.meta.sig, bytes.to_vec())),
            Err(error) => got.push(Got::Error(fragment.meta.sig, error)),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Got {
    Message(u64, Vec<u8>),
    Error(u64, MessageError),
}

/// Publishes one part of a message of this origin.
fn publish_part(tx: &Producer<'_>, parts: &[&[u8]], part: usize, sig: u64, origin: u16) {
    let mut control = Control::new(origin);
    if part > 0 {
        control = control.with_continues();
    }
    if part + 1 < parts.len() {
        control = control.with_more();
    }
    tx.publish(parts[part], sig, control.bits(), 0).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500)))]

    /// Messages of any length, one after the other. The reader is behind by a random number of them.
    #[test]
    fn messages_of_any_length_come_back(
        mtu in 1..200_usize,
        lens in vec(0..many(1500), 1..12),
        start in any::<u64>(),
    ) {
        let link = Link::builder().depth(2048).mtu(mtu).start(start).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let (mut assemblers, mut got, mut sent) = (HashMap::new(), Vec::new(), Vec::new());
        for (number, len) in lens.iter().enumerate() {
            let bytes = message(number, *len);
            // So that the ring has room for it while nobody reads.
            if number % 3 == 0 || len / mtu > 400 {
                read_all(&mut rx, &mut assemblers, &mut got);
            }
            let fragments = tx.send_message(&bytes, number as u64).unwrap();
            prop_assert_eq!(fragments, len.div_ceil(mtu).max(1) as u64);
            sent.push(Got::Message(number as u64, bytes));
            read_all(&mut rx, &mut assemblers, &mut got);
        }
        prop_assert_eq!(got, sent);
        prop_assert!(assemblers.values().all(|assembler| assembler.dropped() == 0));
    }

    /// Fragments of several origins, interleaved. An assembler needs each message in one piece, so it reports
    /// an interrupted message as lost, once, and returns the next whole one.
    #[test]
    fn an_interrupted_message_is_lost_and_the_next_is_not(
        mtu in 1..50_usize,
        lens in vec(1..300_usize, 2..8),
        order in vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let link = Link::builder().depth(4096).mtu(mtu).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let messages: Vec<Vec<u8>> = lens.iter().enumerate().map(|(number, len)| message(number, *len)).collect();
        let parts: Vec<Vec<&[u8]>> = messages.iter().map(|message| message.chunks(mtu).collect()).collect();
        let mut sent = vec![0; parts.len()];
        let mut sequence = Vec::new();
        let all = order.iter().map(|index| index.index(parts.len())).chain((0..parts.len()).cycle());
        for origin in all {
            if sent.iter().zip(&parts).all(|(sent, parts)| *sent == parts.len()) {
                break;
            }
            if sent[origin] < parts[origin].len() {
                publish_part(&tx, &parts[origin], sent[origin], origin as u64, origin as u16);
                sent[origin] += 1;
                sequence.push(origin);
            }
        }
        let (mut assemblers, mut got) = (HashMap::new(), Vec::new());
        read_all(&mut rx, &mut assemblers, &mut got);
        for (origin, message) in messages.into_iter().enumerate() {
            let at = || sequence.iter().enumerate().filter(|(_, of)| **of == origin).map(|(at, _)| at);
            let in_one_piece = at().zip(at().skip(1)).all(|(one, next)| next == one + 1);
            let of_this: Vec<&Got> = got
                .iter()
                .filter(|got| matches!(got, Got::Message(sig, _) | Got::Error(sig, _) if *sig == origin as u64))
                .collect();
            prop_assert_eq!(of_this.len(), 1, "reported once");
            match of_this[0] {
                Got::Message(_, bytes) => prop_assert!(in_one_piece && *bytes == message),
                Got::Error(_, error) => {
                    let is_incomplete = matches!(error, MessageError::Incomplete { .. });
                    prop_assert!(is_incomplete && !in_one_piece, "{error}");
                }
            }
        }
    }
}

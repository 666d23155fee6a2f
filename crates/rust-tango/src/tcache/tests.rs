//! The filter against a plain one, and its invariants.

extern crate std;
use super::window::NONE;
use super::*;
use std::collections::{HashSet, VecDeque};
use std::vec::Vec;

/// The same filter, written without regard to cost.
#[derive(Default)]
struct Plain {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Plain {
    fn check_and_insert(&mut self, tag: u64, depth: usize) -> bool {
        let new = self.known.insert(tag);
        if new {
            self.order.push_back(tag);
            if self.order.len() > depth {
                self.known.remove(&self.order.pop_front().unwrap());
            }
        }
        new
    }
}

/// Checks the invariants at the head of `window.rs`.
fn check_links(window: Window<'_>) {
    let (depth, len) = (window.entries.len(), window.state.len.get() as usize);
    let cursor = window.state.cursor.get() as usize;
    let age = |slot: usize| (cursor + depth - 1 - slot) % depth; // 0: the youngest
    let mut linked = HashSet::new();
    for bucket in 0..depth {
        let (mut link, mut older) = (window.entries[bucket].head.get(), depth);
        while link != NONE {
            let slot = link as usize - 1;
            let entry = &window.entries[slot];
            assert!(linked.insert(slot), "slot {slot} is in a chain twice");
            assert!(age(slot) < len, "slot {slot} is in a chain but not in the window");
            assert!(age(slot) < older, "the chain of bucket {bucket} is out of order");
            assert_eq!(window.bucket(entry.tag.get()), bucket);
            (link, older) = (entry.next.get(), age(slot));
        }
    }
    assert_eq!(linked.len(), len);
}

/// Feeds 4,000 pseudo-random choices from `tags` to the filter and to the plain one, and compares them after
/// each.
fn compare(window: Window<'_>, tags: &[u64], mut random: u64) {
    let (depth, mut plain) = (window.entries.len(), Plain::default());
    for step in 0..if cfg!(miri) { 25 } else { 4_000 } {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let tag = tags[(random >> 16) as usize % tags.len()];
        if random % 1_000 == 0 {
            window.clear();
            plain = Plain::default();
        }
        assert_eq!(window.contains(tag), plain.known.contains(&tag), "step {step}, tag {tag}");
        let new = window.check_and_insert(tag);
        assert_eq!(new, plain.check_and_insert(tag, depth), "step {step}, tag {tag}");
        assert_eq!(window.state.len.get() as usize, plain.order.len());
        for &tag in tags {
            assert_eq!(window.contains(tag), plain.known.contains(&tag), "step {step}, tag {tag}");
        }
        check_links(window);
    }
}

fn compare_depth<const N: usize>() {
    let few: Vec<u64> = (0..2 * N as u64 + 1).map(|i| i.wrapping_sub(1)).collect(); // u64::MAX, 0, 1, ...
    for seed in [0, 1, 0x0dd_ba11] {
        compare(Tcache::<N>::with_seed(seed).window(), &few, 88_172_645_463_325_252 + seed);
    }
}

#[test]
fn agrees_with_the_plain_filter() {
    compare_depth::<1>();
    compare_depth::<2>();
    compare_depth::<3>();
    compare_depth::<8>();
    compare_depth::<13>();
}

#[test]
fn agrees_when_all_tags_collide() {
    for seed in [0, 7] {
        let cache = Tcache::<8>::with_seed(seed);
        // First one bucket only, then two with a few tags each.
        let window = cache.window();
        let of = |bucket| (0..).filter(move |&tag| window.bucket(tag) == bucket);
        let one: Vec<u64> = of(5).take(20).collect();
        let two: Vec<u64> = of(0).take(8).chain(of(7).take(8)).collect();
        compare(window, &one, 0x2545_f491_4f6c_dd1d);
        cache.clear();
        compare(window, &two, 0x2545_f491_4f6c_dd1d);
    }
}

#[test]
fn a_duplicate_does_not_get_younger() {
    let cache = Tcache::<3>::new();
    assert!([1, 2, 3].iter().all(|&tag| cache.check_and_insert(tag)));
    assert!(!cache.check_and_insert(1));
    assert!(cache.check_and_insert(4));
    assert_eq!([1, 2, 3, 4].map(|tag| cache.contains(tag)), [false, true, true, true]);
}

#[test]
fn fresh_ones_hold_no_phantom() {
    let cache = Tcache::<4>::new();
    assert!(cache.is_empty() && !cache.contains(0) && !cache.contains(u64::MAX));
    // Zeroed memory is an empty filter, so all fields of a fresh filter must be 0.
    assert_eq!((cache.state.cursor.get(), cache.state.len.get(), cache.state.salt), (0, 0, 0));
    for entry in &cache.entries {
        assert_eq!((entry.tag.get(), entry.next.get(), entry.head.get()), (0, NONE, NONE));
    }
}

#[test]
fn buckets_are_in_range_and_spread() {
    for seed in if cfg!(miri) { &[1][..] } else { &[0, 1, 2, u64::MAX] } {
        let cache = Tcache::<1_000>::with_seed(*seed);
        let window = cache.window();
        for stride in if cfg!(miri) { &[64][..] } else { &[1, 64, 1 << 20, 1 << 40] } {
            let mut load = [0; 1_000];
            for tag in 0..1_000u64 {
                load[window.bucket(tag * stride)] += 1; // panics out of range
            }
            let longest = load.iter().max().unwrap();
            assert!(*longest <= 20, "seed {seed}, stride {stride}: {longest} tags in one bucket");
        }
        assert!(window.bucket(u64::MAX) < 1_000);
    }
}

#[test]
fn a_seed_changes_the_hash() {
    let (known, own) = (Tcache::<64>::new(), Tcache::<64>::with_seed(1));
    assert!((0..64).any(|tag| known.window().bucket(tag) != own.window().bucket(tag)));
}

#[test]
fn an_entry_is_sixteen_bytes() {
    assert_eq!(size_of::<Entry>(), 16);
    assert_eq!(size_of::<Tcache<4>>(), 16 + 4 * 16);
}

#[test]
fn it_can_move_into_a_thread() {
    fn is_send<T: Send>() {}
    is_send::<Tcache<4>>();
    #[cfg(feature = "alloc")]
    is_send::<TcacheBuf>();
}

#[cfg(feature = "alloc")]
#[test]
fn the_boxed_one_agrees_too() {
    let few: Vec<u64> = (0..15).collect();
    compare(TcacheBuf::new(5).window(), &few, 99);
    compare(TcacheBuf::with_seed(1, 3).window(), &few, 99);
}

#[cfg(feature = "alloc")]
#[test]
#[should_panic(expected = "from 1 to u32::MAX tags, not 0")]
fn a_window_of_nothing_is_refused() {
    let _ = TcacheBuf::new(0);
}

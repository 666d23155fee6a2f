//! The duplicate filter is exact: a tag is a duplicate if and only if it is among the last N new tags.

use rust_tango::Tcache;
#[cfg(feature = "alloc")]
use rust_tango::TcacheBuf;
use std::collections::VecDeque;

/// Pseudo-random tags of `kinds` different values, among them 0 and `u64::MAX`, spread over the whole range.
struct Tags {
    state: u64,
    kinds: u64,
}

impl Iterator for Tags {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Some(match (self.state >> 20) % self.kinds {
            0 => 0,
            1 => u64::MAX,
            kind => kind.wrapping_mul(0x0100_0010_0004_0001), // an odd factor keeps them distinct
        })
    }
}

/// Compares `insert` with the definition: a tag is new unless it is one of the last `depth` new tags.
fn compare(depth: usize, kinds: u64, insert: impl Fn(u64) -> bool) {
    const TAGS: usize = if cfg!(miri) { 500 } else { 20_000 };
    let mut window = VecDeque::new();
    let mut duplicates = 0;
    for tag in (Tags { state: 0x9e37_79b9 + depth as u64, kinds }).take(TAGS) {
        let new = !window.contains(&tag);
        assert_eq!(insert(tag), new, "depth {depth}, {kinds} kinds, tag {tag}");
        if new {
            window.push_back(tag);
            if window.len() > depth {
                window.pop_front();
            }
        } else {
            duplicates += 1;
        }
    }
    let few = TAGS / 200;
    assert!(duplicates > few && duplicates < TAGS - few, "only {duplicates} duplicates were met");
}

fn compare_inline<const N: usize>() {
    for (kinds, seed) in [(2 * N as u64, 0), (4 * N as u64 + 1, 1), (N as u64 + 1, 0xfeed)] {
        let seen = Tcache::<N>::with_seed(seed);
        compare(N, kinds, |tag| seen.check_and_insert(tag));
        assert_eq!((seen.len(), seen.capacity()), (N, N));
    }
}

#[test]
fn inline_windows_of_many_sizes() {
    compare_inline::<1>();
    compare_inline::<2>();
    compare_inline::<7>();
    compare_inline::<64>();
    compare_inline::<100>();
}

#[cfg(feature = "alloc")]
#[test]
fn boxed_windows_of_many_sizes() {
    for depth in [1, 2, 3, 31, 64, 257] {
        let seen = TcacheBuf::with_seed(depth, depth as u64 - 1);
        compare(depth, 2 * depth as u64, |tag| seen.check_and_insert(tag));
        assert_eq!((seen.len(), seen.capacity()), (depth, depth));
    }
}

#[test]
fn zero_and_the_largest_number_are_ordinary_tags() {
    let seen = Tcache::<2>::new();
    for tag in [0, u64::MAX] {
        assert!(!seen.contains(tag));
        assert!(seen.check_and_insert(tag));
        assert!(seen.contains(tag) && !seen.check_and_insert(tag));
    }
    assert!(seen.check_and_insert(1));
    assert_eq!((seen.contains(0), seen.contains(u64::MAX)), (false, true));
}

#[test]
fn after_clear_all_tags_are_new_again() {
    let seen = Tcache::<4>::default();
    for round in 0..3 {
        assert!(seen.is_empty(), "round {round}");
        assert!((0..10).all(|tag| seen.check_and_insert(tag)));
        assert_eq!(seen.len(), 4);
        seen.clear();
        assert!((0..10).all(|tag| !seen.contains(tag)));
    }
}

/// Two million tags take 32 MB, sixteen times the stack of the thread that makes the filter.
#[cfg(feature = "alloc")]
#[test]
#[cfg_attr(miri, ignore = "millions of steps, and nothing that smaller windows do not do")]
fn a_large_window_never_touches_the_stack() {
    const DEPTH: u64 = 2_000_000;
    let made = std::thread::Builder::new().stack_size(2 << 20).spawn(|| TcacheBuf::new(DEPTH as usize));
    let seen = made.unwrap().join().unwrap();
    assert!((0..DEPTH + 1).all(|tag| seen.check_and_insert(tag)));
    assert!((1..DEPTH + 1).all(|tag| !seen.check_and_insert(tag)));
    assert_eq!((seen.len(), seen.contains(0)), (DEPTH as usize, false));
}

//! Sequence numbers wrap around: of two numbers, the one that is less than 2^63 ahead is the later one.

/// How far `to` is ahead of `from`. Negative if it is behind.
pub(crate) fn distance(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from).cast_signed()
}

/// Whether number `a` comes before `b`.
pub(crate) fn is_before(a: u64, b: u64) -> bool {
    distance(b, a) < 0
}

/// The later one.
pub(crate) fn later(a: u64, b: u64) -> u64 {
    if is_before(a, b) { b } else { a }
}

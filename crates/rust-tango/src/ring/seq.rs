//! Arithmetic of sequence numbers.
//!
//! A sequence number is a `u64` that wraps: after `u64::MAX` comes 0. So `<` does not say which of two
//! fragments is older. The distance from one number to the other does, taken modulo 2^64 and read as a signed
//! number:
//!
//! ```text
//!      distance < 0  |  distance > 0
//!    ... a-2   a-1   a   a+1   a+2 ...        (all modulo 2^64)
//!        earlier than a | later than a
//! ```
//!
//! Every function here is right for numbers less than 2^63 apart. Any two numbers of one link are that close,
//! unless one of them was forged. Of two numbers exactly 2^63 apart, neither is before the other. No function
//! panics.

/// The distance from `from` to `to`: positive if `to` is later.
///
/// Exact for numbers less than 2^63 apart. `i64::MIN` in both directions for numbers exactly 2^63 apart.
#[inline]
pub(crate) const fn distance(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from) as i64
}

/// Whether `a` comes before `b`. False if they are equal, or exactly 2^63 apart.
#[inline]
pub(crate) const fn is_before(a: u64, b: u64) -> bool {
    distance(a, b) > 0
}

/// The earlier of two numbers less than 2^63 apart. For other numbers, one of the two.
#[inline]
pub(crate) const fn earlier(a: u64, b: u64) -> u64 {
    if is_before(b, a) { b } else { a }
}

/// The later of two numbers less than 2^63 apart. For other numbers, one of the two.
#[inline]
pub(crate) const fn later(a: u64, b: u64) -> u64 {
    if is_before(a, b) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest distance for which the functions are exact.
    const FAR: u64 = (1 << 63) - 1;

    #[test]
    fn distance_is_signed_and_wraps() {
        for base in [0, 1, 1 << 63, u64::MAX - 1, u64::MAX] {
            assert_eq!(distance(base, base), 0);
            assert_eq!(distance(base, base.wrapping_add(3)), 3);
            assert_eq!(distance(base.wrapping_add(3), base), -3);
            assert_eq!(distance(base, base.wrapping_add(FAR)), i64::MAX);
            assert_eq!(distance(base.wrapping_add(FAR), base), -i64::MAX);
        }
    }

    #[test]
    fn order_holds_across_the_wrap_and_up_to_the_limit() {
        for base in [0, 7, 1 << 63, u64::MAX] {
            for step in [1, 2, 1 << 32, FAR] {
                let next = base.wrapping_add(step);
                assert!(is_before(base, next) && !is_before(next, base), "{base} + {step}");
                assert_eq!((earlier(base, next), earlier(next, base)), (base, base));
                assert_eq!((later(base, next), later(next, base)), (next, next));
            }
            assert!(!is_before(base, base));
            assert_eq!((earlier(base, base), later(base, base)), (base, base));
        }
    }

    #[test]
    fn half_the_circle_is_neither_before_nor_after() {
        let (a, b) = (5, 5 + (1 << 63));
        assert_eq!((distance(a, b), distance(b, a)), (i64::MIN, i64::MIN));
        assert!(!is_before(a, b) && !is_before(b, a));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 256 }))]

        /// Numbers counted from any start compare like plain numbers, even if they wrap.
        #[test]
        fn order_is_that_of_plain_numbers(
            start in proptest::prelude::any::<u64>(),
            a in 0..(1_u64 << 62),
            near in -40..40_i64,
            b in 0..(1_u64 << 62),
        ) {
            for b in [b, a.saturating_add_signed(near)] {
                let (from, to) = (start.wrapping_add(a), start.wrapping_add(b));
                proptest::prop_assert_eq!(distance(from, to), b as i64 - a as i64);
                proptest::prop_assert_eq!(is_before(from, to), a < b);
                proptest::prop_assert_eq!(earlier(from, to), start.wrapping_add(a.min(b)));
                proptest::prop_assert_eq!(later(from, to), start.wrapping_add(a.max(b)));
            }
        }
    }
}

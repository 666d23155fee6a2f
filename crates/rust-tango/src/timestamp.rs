//! Timestamps of 32 bits, for the `ts` of a [`FragmentMetadata`](crate::FragmentMetadata).
//!
//! A fragment has room for the low 32 bits of a time in nanoseconds ([`compress`]). The reader restores the
//! full time ([`expand`]): of all times that end in these 32 bits, it takes the one nearest to a full time
//! that it knows, for example from its own clock.
//!
//! The result is right if the two times are less than 2^31 ns (about 2.147 s) apart, in either direction. If
//! they are farther apart, the result is wrong by a multiple of 2^32 ns (about 4.295 s), and the reader
//! cannot detect that.
//!
//! Any clock will do, as long as both sides read the same one.
//!
//! # Examples
//!
//! ```
//! use rust_tango::timestamp::{compress, expand};
//!
//! let sent = 1_700_000_000_123_456_789; // nanoseconds
//! let ts = compress(sent); // travels with the fragment
//! let received = sent + 350_000; // 350 us later
//! assert_eq!(expand(ts, received), sent);
//! ```

/// The low 32 bits of a time in nanoseconds. The [module](self) has an example.
#[inline]
pub const fn compress(ns: u64) -> u32 {
    ns as u32
}

/// The time of the system's clock, in nanoseconds since 1970. All processes of a machine read the same clock.
///
/// Setting the clock makes the time jump. The result is 0 before 1970, and right until the year 2554.
///
/// # Examples
///
/// ```
/// use rust_tango::timestamp::{compress, expand, now};
///
/// let sent = now();
/// assert_eq!(expand(compress(sent), sent + 350_000), sent);
/// ```
#[cfg(feature = "std")]
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// The time in nanoseconds whose low 32 bits are `ts` and that is nearest to `near`. The [module](self) has
/// an example.
///
/// The result is from `near - 2^31` to `near + 2^31 - 1`. If two times are equally near (2^31 ns to either
/// side), it is the earlier one.
///
/// The arithmetic wraps like a 64-bit clock. It never panics or saturates. Near 0, the nearest time may be
/// before 0, that is, near `u64::MAX`, and the reverse. A clock that started at 0 cannot cause this after its
/// first 2.147 s.
#[inline]
pub const fn expand(ts: u32, near: u64) -> u64 {
    // Sign extension: the 32-bit distance, from -2^31 to 2^31 - 1, becomes the same 64-bit distance.
    let distance = ts.wrapping_sub(near as u32) as i32;
    near.wrapping_add(distance as i64 as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = 1 << 31;

    #[test]
    fn a_time_in_range_comes_back_whole() {
        for near in [HALF, 1 << 32, (1 << 32) - 1, 0x1234_5678_9abc_def0, u64::MAX - HALF] {
            for later in [0, 1, 350_000, HALF - 1] {
                assert_eq!(expand(compress(near + later), near), near + later);
                assert_eq!(expand(compress(near - later), near), near - later);
            }
        }
    }

    #[test]
    fn a_tie_goes_to_the_earlier_time() {
        let near = 5 << 32;
        assert_eq!(expand(compress(near - HALF), near), near - HALF);
        assert_eq!(expand(compress(near + HALF), near), near - HALF);
    }

    #[test]
    fn out_of_range_is_off_by_a_whole_turn() {
        let near = 5 << 32;
        assert_eq!(expand(compress(near + HALF + 1), near), near + HALF + 1 - (1 << 32));
        assert_eq!(expand(compress(near - HALF - 1), near), near - HALF - 1 + (1 << 32));
    }

    #[test]
    fn both_ends_of_the_clock_wrap() {
        assert_eq!(expand(u32::MAX, 0), u64::MAX);
        assert_eq!(expand(0, u64::MAX), 0);
        assert_eq!(expand(7, 0), 7);
    }
}

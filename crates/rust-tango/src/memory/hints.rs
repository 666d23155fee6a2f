//! [`Hints`]: what a link does for speed. [`timing`](crate::timing) says which pay on which processor, and acts on them.

use core::fmt;
use core::str::FromStr;

/// The largest [`Hints::prefetch`].
pub(crate) const MAX_PREFETCH: u8 = 64;

/// What a link does for speed, and for nothing else: what it asks of the caches, and whether waiting readers poll the
/// hot slot. No result depends on it.
///
/// By default, a link takes what was measured to pay on the processor that it runs on. These settings are for people
/// who measure on another one: [`LinkBuilder::hints`](crate::LinkBuilder::hints), or the environment variable
/// `TANGO_HINTS`, which counts for all links of a process that set nothing else.
///
/// As text, it is a list of words with commas between them, or `none`:
///
/// | word | meaning |
/// |---|---|
/// | `prefetch=N` | the producer prefetches lines for writing, N fragments before their use: 1 to 64 |
/// | `prefetch-batches=N` | the same in batches only, if N is more. A single consumer with this hint does not write back what it reads in batches |
/// | `prefetch-large=N` | the producer prefetches lines for writing in rings of more than 2 MiB, N fragments before their use if that is more than `prefetch`: 1 to 64. Not in batches |
/// | `write-back` | a single consumer writes lines back that it has read, if the producer's core is near |
/// | `evict` | a single consumer evicts lines that it has read, if the producer's core is far. The producer evicts lines if one of several consumers is far, or if there is no consumer: there may be observers, which may be far |
/// | `hot-slot` | readers that wait poll the hot slot, and the producer mirrors fragments there |
/// | `hot-page` | readers of links in shared memory map the page of the hot slot writable. They only load from it |
///
/// `write-back` and `evict` do nothing on processors without these instructions.
///
/// # Examples
///
/// ```
/// use rust_tango::{Hints, Link};
///
/// let hints: Hints = "prefetch=6,hot-slot".parse()?;
/// let link = Link::builder().hints(hints).build()?;
/// assert_eq!(hints.to_string(), "prefetch=6,hot-slot");
/// assert_eq!(Hints::NONE.to_string(), "none");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Hints {
    /// How many fragments before their use the producer prefetches lines for writing: 0 (not at all) to 64. A link takes
    /// more for 64.
    pub prefetch: u8,
    /// The same in batches, if that is more. A single consumer of a link with this hint does not write back what it has read in
    /// batches.
    pub prefetch_batches: u8,
    /// As [`Self::prefetch`], if that is less, in rings of more than 2 MiB, which leave the caches. Not in batches.
    pub prefetch_large: u8,
    /// A single consumer writes back what it has read, if the producer is near.
    pub write_back: bool,
    /// A single consumer evicts what it has read, if the producer is far. The producer evicts lines if one of several consumers
    /// is far, or if there is no consumer: there may be observers, which may be far.
    pub evict: bool,
    /// Readers that wait poll the hot slot.
    pub hot_slot: bool,
    /// Readers of links in shared memory map the page of the hot slot writable, from which they only load.
    pub hot_page: bool,
}

impl Hints {
    /// Nothing: readers poll the ring, and no cache instruction is executed except the prefetches of
    /// [`Consumer::poll_batch`](crate::Consumer::poll_batch).
    pub const NONE: Self = Self {
        prefetch: 0,
        prefetch_batches: 0,
        prefetch_large: 0,
        write_back: false,
        evict: false,
        hot_slot: false,
        hot_page: false,
    };
}

/// In the form that [`FromStr`] reads.
impl fmt::Display for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefetch, prefetch_batches, prefetch_large, write_back, evict, hot_slot, hot_page } =
            *self;
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let mut comma = "";
        let ahead = [
            (prefetch, "prefetch"),
            (prefetch_batches, "prefetch-batches"),
            (prefetch_large, "prefetch-large"),
        ];
        for (ahead, word) in ahead {
            if ahead != 0 {
                write!(f, "{comma}{word}={ahead}")?;
                comma = ",";
            }
        }
        for (is_on, word) in
            [(write_back, "write-back"), (evict, "evict"), (hot_slot, "hot-slot"), (hot_page, "hot-page")]
        {
            if is_on {
                write!(f, "{comma}{word}")?;
                comma = ",";
            }
        }
        Ok(())
    }
}

/// A word that [`Hints`] do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HintsError;

impl fmt::Display for HintsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `none`, or words of prefetch=N, prefetch-batches=N, prefetch-large=N (N from 1 to 64), write-back, evict, hot-slot, hot-page, separated by commas")
    }
}

impl core::error::Error for HintsError {}

impl FromStr for Hints {
    type Err = HintsError;

    /// Reads the form that is described at [`Hints`].
    fn from_str(text: &str) -> Result<Self, HintsError> {
        let mut hints = Self::NONE;
        if text == "none" {
            return Ok(hints);
        }
        for word in text.split(',') {
            match word.trim() {
                "write-back" => hints.write_back = true,
                "evict" => hints.evict = true,
                "hot-slot" => hints.hot_slot = true,
                "hot-page" => hints.hot_page = true,
                word => {
                    let (word, ahead) = word.split_once('=').ok_or(HintsError)?;
                    let ahead = ahead.parse().ok().filter(|ahead| (1..=MAX_PREFETCH).contains(ahead));
                    let ahead = ahead.ok_or(HintsError)?;
                    match word {
                        "prefetch" => hints.prefetch = ahead,
                        "prefetch-batches" => hints.prefetch_batches = ahead,
                        "prefetch-large" => hints.prefetch_large = ahead,
                        _ => return Err(HintsError),
                    }
                }
            }
        }
        Ok(hints)
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn hints_are_written_as_they_are_read() {
        use std::string::ToString;

        for text in [
            "none",
            "hot-slot",
            "prefetch=64,evict",
            "prefetch-batches=64",
            "prefetch=1,prefetch-batches=2,prefetch-large=3,write-back,evict,hot-slot,hot-page",
        ] {
            assert_eq!(text.parse::<Hints>().unwrap().to_string(), text);
        }
        assert_eq!("evict, hot-slot".parse::<Hints>(), "hot-slot,evict".parse());
        for text in [
            "",
            "all",
            "prefetch",
            "prefetch=0",
            "prefetch=65",
            "prefetch-batches=65",
            "prefetch-batches",
            "prefetch-=1",
            "prefetch=-1",
            "none,evict",
            "evict,",
            "Evict",
        ] {
            assert_eq!(text.parse::<Hints>(), Err(HintsError), "{text:?}");
        }
    }
}

//! Single processor instructions, and copies between bytes and atomic words.
//!
//! This layer knows nothing of links, fragments or threads. Cache instructions are hints: they change no
//! value. On processors without them they do nothing.
//!
//! Reading order: `processor` (what the processor has), `cache` (prefetch, write back, evict), `clock` (short pauses), `words`
//! (payload bytes in atomic words, and the copies in and out).

pub(crate) mod cache;
pub(crate) mod clock;
pub(crate) mod processor;
pub(crate) mod words;

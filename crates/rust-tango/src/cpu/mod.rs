//! Single instructions and copies: what the processor is asked for, and not what for.
//!
//! Nothing here knows of links, fragments or threads. Reading order: `cache` (prefetch, write back, evict, clock), `words`
//! (bytes in atomic words, and the copies of them).

pub(crate) mod cache;
pub(crate) mod words;

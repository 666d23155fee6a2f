//! [`Batch`]: several fragments under one credit.

use super::handle::Consumer;
use super::mode::Mode;
#[cfg(feature = "alloc")]
use super::payload::OwnedFragment;
use super::payload::{ALIGNED_WORDS, Credit, Fragment, Payload};
use super::poll::{Next, Reader};
use crate::cpu::cache;
use crate::cpu::words::{self, WORD};
use crate::error::TangoError;
use crate::memory::parts::Parts;
use crate::ring::line::{LineState, META_WORDS};
use crate::ring::metadata::FragmentMetadata;

/// Fragments that were there at one moment, borrowed from their consumer. Dropping the batch returns the
/// credits of all of them at once.
///
/// - `&batch` iterates over the fragments in place.
/// - `batch` itself iterates over copies that own their bytes, after it has copied all of them.
///
/// All fragments of a batch count as read once `poll_batch` has returned it. So a loop that ends early, by `break`
/// or by a panic, loses the rest of the batch for this consumer. A program that must not lose them reads fragments
/// one by one ([`Consumer::poll`]).
///
/// # Examples
///
/// See [`Consumer::poll_batch`].
pub struct Batch<'c> {
    source: Source<'c>,
    len: usize,
    /// Kept only for its drop.
    _credit: Option<Credit<'c>>,
}

/// Where the fragments of a batch are.
enum Source<'c> {
    /// In the ring, from this number on.
    Ring { parts: Parts<'c>, first: u64 },
    /// Payloads, one after the other, each aligned. The metadata of the next fragment, its number first, lies before
    /// its payload. The first fragment's does not, so that a buffer for one fragment has room for a batch of it.
    Copies { first: FragmentMetadata, words: &'c [u64] },
}

impl<'a> Consumer<'a> {
    /// Up to `max` fragments that are there now. Never blocks. An empty batch says that there is nothing
    /// now, or that the link is closed: see [`Consumer::is_closed`].
    ///
    /// A reliable consumer reads the fragments in place, and returns their credits together. The batch has
    /// at most as many fragments as the ring has lines.
    ///
    /// An observer or an evictable consumer copies as many as its scratch buffer has room for. A fragment
    /// takes its payload, rounded up to 32 bytes, and 32 bytes more. On a [`Link`](crate::Link), the buffer
    /// has 8 KiB, or room for one fragment if that is more.
    ///
    /// # Errors
    ///
    /// See [`Consumer::poll`]. An error of the first fragment is returned. An error of a later fragment
    /// ends the batch, and the next call returns it.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, Link, TangoError};
    ///
    /// /// Reads until the link is closed. A producer that died is an error.
    /// fn run(rx: &mut Consumer<'_>) -> Result<usize, TangoError> {
    ///     let mut count = 0;
    ///     loop {
    ///         let batch = rx.poll_batch(32)?;
    ///         for fragment in &batch {
    ///             println!("{}: {:?}", fragment.meta.seq, fragment.payload.as_slice());
    ///         }
    ///         count += batch.len();
    ///         let is_empty = batch.is_empty();
    ///         drop(batch); // returns the credits
    ///         if is_empty && rx.is_closed() {
    ///             return Ok(count);
    ///         }
    ///     }
    /// }
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// assert_eq!(tx.publish_batch(&[b"one", b"two", b"three"], 0, 0), 3);
    /// drop(tx);
    /// assert_eq!(run(&mut rx)?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_batch(&mut self, max: usize) -> Result<Batch<'_>, TangoError> {
        self.reader_mut().poll_batch(max)
    }
}

impl<'a> Reader<'a> {
    fn poll_batch(&mut self, max: usize) -> Result<Batch<'_>, TangoError> {
        let found = if max == 0 { Next::Nothing } else { self.find_next()? };
        if let Next::Nothing | Next::Closed = found {
            return Ok(Batch::EMPTY);
        }
        let first = self.next;
        // There cannot be more fragments than lines at once, whatever the lines say.
        let max = (max as u64).min(self.parts.ring.depth());
        let gathered = if self.mode.is_in_place() { self.find_several(max) } else { self.copy_several(max) };
        if gathered.len == 0 {
            return match gathered.stopped_by {
                Some(error) => Err(error(self)),
                None => Ok(Batch::EMPTY),
            };
        }
        let next = first.wrapping_add(gathered.len);
        self.consumed(next);
        self.pacing.timing.took_batch(next);
        if self.mode.returns_credit_of_copy() {
            self.copied_up_to(next);
        }
        let scratch = match &self.mode {
            Mode::Reliable(_) => None,
            Mode::Observing(scratch) => Some(scratch),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Mode::Copying(_, scratch) => Some(scratch),
            #[cfg(feature = "alloc")]
            Mode::Evictable(_, scratch) => Some(scratch),
        };
        let source = match scratch {
            None => Source::Ring { parts: self.parts, first },
            Some(scratch) => {
                Source::Copies { first: gathered.first, words: &scratch.words()[..gathered.words] }
            }
        };
        Ok(Batch { source, len: gathered.len as usize, _credit: self.mode.credit(next) })
    }

    /// Finds up to `max` fragments that will be read in place. Of their metadata, it reads only the place
    /// of the payload.
    fn find_several(&self, max: u64) -> Gathered<'a> {
        let (parts, first) = (self.parts, self.next);
        let mut gathered = Gathered::default();
        while gathered.len < max {
            let n = first.wrapping_add(gathered.len);
            let line = parts.ring.line(n);
            if line.state(n) != LineState::Ready {
                break;
            }
            let place = line.place();
            if place.is_in_slot(self.in_slot) {
                line.for_cache_lines_after_first(place.size as usize, cache::prefetch);
            } else if parts.payload(&line, place).is_none() {
                gathered.stopped_by = Some(Self::unreadable);
                break;
            }
            gathered.len += 1;
        }
        gathered
    }

    /// Copies up to `max` fragments, as many as the scratch buffer has room for.
    fn copy_several(&mut self, max: u64) -> Gathered<'a> {
        let (parts, first) = (self.parts, self.next);
        let mut gathered = Gathered::default();
        let Some(scratch) = self.mode.scratch() else { return gathered };
        while gathered.len < max {
            let n = first.wrapping_add(gathered.len);
            let line = parts.ring.line(n);
            if line.state(n) != LineState::Ready {
                break;
            }
            let meta = line.metadata(n);
            let payload = parts.payload(&line, meta.place());
            line.for_cache_lines(meta.place().size_in_slot(), cache::prefetch);
            let begin = gathered.words.next_multiple_of(ALIGNED_WORDS);
            let head = if gathered.len == 0 { 0 } else { META_WORDS };
            let end = begin + head + payload.map_or(0, <[_]>::len);
            let Some(to) = scratch.words_mut().get_mut(begin..end) else { break };
            let (to_head, to_payload) = to.split_at_mut(head);
            if to_head.is_empty() {
                gathered.first = meta;
            } else {
                let (place, control) = meta.pack();
                to_head.copy_from_slice(&[n, meta.sig, place, control]);
            }
            words::load(payload.unwrap_or_default(), to_payload);
            if !parts.is_valid(n) {
                gathered.stopped_by = Some(Self::overrun);
                break;
            }
            if payload.is_none() {
                gathered.stopped_by = Some(Self::unreadable);
                break;
            }
            gathered.words = end;
            gathered.len += 1;
        }
        gathered
    }
}

/// What was found for a batch.
#[derive(Default)]
struct Gathered<'a> {
    len: u64,
    /// The metadata of the first fragment, if it was copied.
    first: FragmentMetadata,
    /// Words of the copies.
    words: usize,
    /// The error that ended the batch, if one did. It is returned if it belongs to the first fragment.
    stopped_by: Option<fn(&mut Reader<'a>) -> TangoError>,
}

impl Batch<'_> {
    const EMPTY: Self = Batch {
        source: Source::Copies { first: FragmentMetadata::in_slot(0, 0, 0, 0, 0), words: &[] },
        len: 0,
        _credit: None,
    };

    /// How many fragments the batch has. See [`Consumer::poll_batch`].
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the batch has no fragments. See [`Consumer::poll_batch`].
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The fragments in place, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.publish_batch(&[b"one", b"three"], 0, 0);
    /// let batch = rx.poll_batch(32)?;
    /// assert_eq!(batch.iter().map(|fragment| fragment.payload.len()).sum::<usize>(), 8);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn iter(&self) -> BatchIter<'_> {
        BatchIter { batch: self, taken: 0, at: 0 }
    }
}

impl core::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Batch").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<'b> IntoIterator for &'b Batch<'_> {
    type Item = Fragment<'b>;
    type IntoIter = BatchIter<'b>;

    #[inline]
    fn into_iter(self) -> BatchIter<'b> {
        self.iter()
    }
}

/// The fragments of a [`Batch`], in place and in order. See [`Batch::iter`].
#[derive(Debug)]
pub struct BatchIter<'b> {
    batch: &'b Batch<'b>,
    taken: usize,
    /// Words of the copies that the iterator has passed.
    at: usize,
}

impl<'b> Iterator for BatchIter<'b> {
    type Item = Fragment<'b>;

    #[inline]
    fn next(&mut self) -> Option<Fragment<'b>> {
        if self.taken == self.batch.len {
            return None;
        }
        let fragment = match &self.batch.source {
            Source::Ring { parts, first } => {
                let n = first.wrapping_add(self.taken as u64);
                let line = parts.ring.line(n);
                let meta = line.metadata(n);
                // Checked when the batch was made, and again here, because the place is read again.
                let words = if meta.chunk == FragmentMetadata::IN_SLOT {
                    line.room
                } else {
                    parts.payload(&line, meta.place())?
                };
                Fragment { meta, payload: Payload::lent(words, meta.size, None) }
            }
            Source::Copies { first, words } => {
                let mut meta = *first;
                if self.taken != 0 {
                    let head = &words[self.at..][..META_WORDS];
                    meta = FragmentMetadata::unpack(head[0], head[1], head[2], head[3]);
                    self.at += META_WORDS;
                }
                let payload = &words[self.at..][..(meta.size as usize).div_ceil(WORD)];
                self.at = (self.at + payload.len()).next_multiple_of(ALIGNED_WORDS);
                Fragment { meta, payload: Payload::copied(payload, meta.size, None) }
            }
        };
        self.taken += 1;
        Some(fragment)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.batch.len - self.taken))
    }
}

#[cfg(feature = "alloc")]
impl IntoIterator for Batch<'_> {
    type Item = OwnedFragment;
    type IntoIter = alloc::vec::IntoIter<OwnedFragment>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().map(OwnedFragment::from).collect::<alloc::vec::Vec<_>>().into_iter()
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use crate::sync::Relaxed;
    use crate::{Fragment, Link, Start, TangoError};
    use std::vec::Vec;

    /// An impossible place of a payload ends a batch, and is reported once. The fragments after it are
    /// still read.
    #[test]
    fn a_batch_ends_before_a_corrupt_fragment() {
        let link = Link::builder().depth(8).mtu(64).consumers(2).start(1).build().unwrap();
        let tx = link.producer().unwrap();
        let readers = [
            link.consumer().unwrap(),
            link.observer().unwrap(),
            link.evictable_consumer(Start::Next).unwrap(),
        ];
        (1..=5_u64).for_each(|n| tx.send(&n.to_ne_bytes()).unwrap());
        for mut rx in readers {
            rx.reader().parts.ring.line(3).meta[2].store(u64::MAX, Relaxed);
            let mut seen = Vec::new();
            for _ in 0..8 {
                match rx.poll_batch(8) {
                    Ok(batch) => {
                        let bytes = |fragment: Fragment<'_>| fragment.payload.as_slice().to_vec();
                        let found: Vec<_> = batch.iter().map(|fragment| fragment.meta.seq).collect();
                        assert_eq!(found.len(), batch.len(), "fragments are missing");
                        assert!(batch.iter().map(bytes).eq(found.iter().map(|n| n.to_ne_bytes().to_vec())));
                        seen.extend(found);
                    }
                    Err(error) => {
                        assert_eq!(error, TangoError::Corrupt { seq: 3 });
                        seen.push(0);
                    }
                }
            }
            assert_eq!(seen, [1, 2, 0, 4, 5]);
        }
    }

    #[test]
    fn a_batch_retires_no_more_than_it_overwrites() {
        let link = Link::builder().depth(16).mtu(8).consumers(0).start(1).build().unwrap();
        let (tx, mut observer) = (link.producer().unwrap(), link.observer().unwrap());
        (0..16).for_each(|_| tx.send(b"small").unwrap());
        assert_eq!(observer.poll().unwrap().unwrap().meta.seq, 1);
        // The second payload is too large.
        assert_eq!(tx.publish_batch(&[&[0; 8], &[0; 9]], 0, 0), 1);
        assert_eq!(observer.poll().unwrap().unwrap().meta.seq, 2);
        assert_eq!(tx.publish_batch(&[&[0; 8], &[0; 8]], 0, 0), 2);
        assert_eq!(observer.poll().unwrap_err(), TangoError::Overrun { lost: 1, next: 4 });
    }
}

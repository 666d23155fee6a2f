//! [`FragmentMetadata`], its packing into words, and [`Control`], the bits of `ctl`.

use core::fmt;

/// What travels with each payload: 32 bytes that the producer writes and every reader can read.
///
/// The application chooses `sig`, `ctl` and `ts`. The library carries them unchanged, and fills in the rest:
///
/// | field | bits | meaning | used by |
/// |---|---|---|---|
/// | `sig` | 64 | application tag, for example a message type or an instrument | [`Consumer::poll_if`](crate::Consumer::poll_if), which filters on it before it reads the payload |
/// | `ctl` | 16 | three control bits and a 13-bit origin ([`Control`]). 0: a whole message of origin 0 | [`Assembler`](crate::Assembler), which joins the fragments of a message |
/// | `ts` | 32 | timestamp, in any unit. [`timestamp`](crate::timestamp) packs nanoseconds into it | not used by this library |
///
/// A program that needs none of them passes 0 for each, as [`Producer::send`](crate::Producer::send) does.
///
/// # Examples
///
/// ```
/// use rust_tango::{Control, FragmentMetadata, Link, timestamp};
///
/// const QUOTE: u64 = 7;
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
///
/// let now = 1_700_000_000_123_456_789; // nanoseconds
/// tx.publish(b"101.25", QUOTE, Control::new(3).bits(), timestamp::compress(now))?;
///
/// let meta: FragmentMetadata = rx.poll()?.unwrap().meta;
/// assert_eq!((meta.seq, meta.sig, meta.size), (1, QUOTE, 6));
/// assert_eq!(Control::from_bits(meta.ctl).origin(), 3);
/// assert_eq!(timestamp::expand(meta.ts, now + 500), now);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct FragmentMetadata {
    /// Sequence number. It wraps around after `u64::MAX`, so compare two numbers by their wrapping distance
    /// only.
    pub seq: u64,
    /// Application tag. A reader can filter on it before it reads the payload.
    pub sig: u64,
    /// Where the payload starts: a granule of 64 bytes in the payload region, or
    /// [`FragmentMetadata::IN_SLOT`].
    pub chunk: u32,
    /// Length of the payload, in bytes.
    pub size: u32,
    /// Control bits and origin: see [`Control`]. 0 is a whole message of origin 0.
    pub ctl: u16,
    /// Unused. The library writes 0.
    pub reserved: u16,
    /// Timestamp, in a unit that the producer and the readers agree on. See [`timestamp`](crate::timestamp)
    /// for nanoseconds in 32 bits.
    pub ts: u32,
}

impl FragmentMetadata {
    /// The `chunk` of a payload that lies beside its metadata, in the slot of the ring.
    pub const IN_SLOT: u32 = u32::MAX;

    /// The metadata of fragment `seq`, whose payload of `size` bytes lies in the slot.
    #[inline]
    pub(crate) const fn in_slot(seq: u64, size: usize, sig: u64, ctl: u16, ts: u32) -> Self {
        Self { seq, sig, chunk: Self::IN_SLOT, size: size as u32, ctl, reserved: 0, ts }
    }

    /// The placeholder for the number `seq`, which the producer leaves out.
    #[inline]
    pub(crate) const fn left_out(seq: u64) -> Self {
        let Place { chunk, size } = Place::LEFT_OUT;
        Self { seq, sig: 0, chunk, size, ctl: 0, reserved: 0, ts: 0 }
    }

    /// Where the payload lies, and how long it is.
    #[inline]
    pub(crate) const fn place(&self) -> Place {
        Place { chunk: self.chunk, size: self.size }
    }

    /// The two packed words of a metadata line: `chunk | size << 32` and `ctl | reserved << 16 | ts << 32`.
    #[inline]
    pub(crate) const fn pack(&self) -> (u64, u64) {
        (self.place().pack(), self.ctl as u64 | (self.reserved as u64) << 16 | (self.ts as u64) << 32)
    }

    /// The reverse of [`Self::pack`].
    #[inline]
    pub(crate) const fn unpack(seq: u64, sig: u64, place: u64, control: u64) -> Self {
        let Place { chunk, size } = Place::unpack(place);
        Self {
            seq,
            sig,
            chunk,
            size,
            ctl: control as u16,
            reserved: (control >> 16) as u16,
            ts: (control >> 32) as u32,
        }
    }
}

/// Where a payload lies, and how long it is: one word of a metadata line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) chunk: u32,
    pub(crate) size: u32,
}

impl Place {
    /// The place in a *placeholder*: the producer has left this number out (see [`line`](crate::ring::line)).
    ///
    /// No payload has this place: the size is over every MTU, the granule is behind the last of the largest region, and it
    /// is not in the slot. So each check of a place rejects it, and only what is rejected has to be compared with it.
    pub(crate) const LEFT_OUT: Self = Self { chunk: FragmentMetadata::IN_SLOT - 1, size: u32::MAX };

    #[inline]
    pub(crate) const fn pack(self) -> u64 {
        self.chunk as u64 | (self.size as u64) << 32
    }

    #[inline]
    pub(crate) const fn unpack(word: u64) -> Self {
        Self { chunk: word as u32, size: (word >> 32) as u32 }
    }

    /// Whether the payload is in its slot, and takes at most `most` bytes there.
    #[inline(always)]
    pub(crate) const fn is_in_slot(self, most: usize) -> bool {
        self.chunk == FragmentMetadata::IN_SLOT && self.size as usize <= most
    }

    /// How many bytes of payload are in the slot: all, or 0 if the payload is in the region.
    #[inline]
    pub(crate) const fn size_in_slot(self) -> usize {
        if self.chunk == FragmentMetadata::IN_SLOT { self.size as usize } else { 0 }
    }
}

/// Shows where the payload lies as `in slot`, or as the number of its granule. Leaves `reserved` out.
impl fmt::Debug for FragmentMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("FragmentMetadata");
        fields.field("seq", &self.seq).field("sig", &self.sig);
        match self.chunk {
            Self::IN_SLOT => fields.field("chunk", &format_args!("in slot")),
            chunk => fields.field("chunk", &chunk),
        };
        fields.field("size", &self.size).field("ctl", &self.ctl).field("ts", &self.ts).finish()
    }
}

impl fmt::Display for FragmentMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seq={} sig={:#x} size={} ctl={:#06x} ts={}",
            self.seq, self.sig, self.size, self.ctl, self.ts
        )
    }
}

/// The meaning of [`FragmentMetadata::ctl`]: three control bits, and the origin of the message in the 13 bits
/// above them.
///
/// | fragment | bits set |
/// |---|---|
/// | a message that fits one fragment | none |
/// | the first of several | [`MORE`](Control::MORE) |
/// | each in the middle | [`CONTINUES`](Control::CONTINUES) and [`MORE`](Control::MORE) |
/// | the last | [`CONTINUES`](Control::CONTINUES) |
///
/// All fragments of a message have the same origin. [`ERROR`](Control::ERROR) on any of them marks the whole
/// message as damaged. The link itself ignores `ctl`: programs that never split messages may use it as they
/// like.
///
/// # Examples
///
/// ```
/// use rust_tango::Control;
/// let first = Control::new(7).with_more();
/// assert_eq!((first.origin(), first.more(), first.continues()), (7, true, false));
/// assert_eq!(Control::from_bits(0), Control::WHOLE);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Control(u16);

impl Control {
    /// Bit: this fragment continues an earlier one.
    pub const CONTINUES: u16 = 1;
    /// Bit: there are more fragments of this message.
    pub const MORE: u16 = 2;
    /// Bit: the message is damaged, and readers should drop all of it.
    pub const ERROR: u16 = 4;
    /// The largest origin: 8191, 13 bits.
    pub const MAX_ORIGIN: u16 = (1 << 13) - 1;
    /// A whole message of origin 0.
    pub const WHOLE: Self = Self(0);

    /// A whole message of this origin, 0 to [`Control::MAX_ORIGIN`].
    ///
    /// # Panics
    /// If `origin` is over [`Control::MAX_ORIGIN`].
    pub const fn new(origin: u16) -> Self {
        assert!(origin <= Self::MAX_ORIGIN, "an origin has 13 bits");
        Self(origin << 3)
    }

    /// Control bits and origin from the `ctl` of a fragment. Any value is valid.
    pub const fn from_bits(ctl: u16) -> Self {
        Self(ctl)
    }

    /// The value to publish as `ctl`.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// This value with the bit [`CONTINUES`](Control::CONTINUES) set.
    #[must_use]
    pub const fn with_continues(self) -> Self {
        Self(self.0 | Self::CONTINUES)
    }

    /// This value with the bit [`MORE`](Control::MORE) set.
    #[must_use]
    pub const fn with_more(self) -> Self {
        Self(self.0 | Self::MORE)
    }

    /// This value with the bit [`ERROR`](Control::ERROR) set.
    #[must_use]
    pub const fn with_error(self) -> Self {
        Self(self.0 | Self::ERROR)
    }

    /// The origin of the message, 0 to [`Control::MAX_ORIGIN`].
    pub const fn origin(self) -> u16 {
        self.0 >> 3
    }

    /// Whether the fragment continues an earlier one.
    pub const fn continues(self) -> bool {
        self.0 & Self::CONTINUES != 0
    }

    /// Whether there are more fragments of this message.
    pub const fn more(self) -> bool {
        self.0 & Self::MORE != 0
    }

    /// Whether the message is marked as damaged.
    pub const fn error(self) -> bool {
        self.0 & Self::ERROR != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_field() {
        let meta = FragmentMetadata {
            seq: u64::MAX,
            sig: 1,
            chunk: 2,
            size: 3,
            ctl: 0xfff4,
            reserved: 5,
            ts: u32::MAX,
        };
        let (place, control) = meta.pack();
        assert_eq!(FragmentMetadata::unpack(meta.seq, meta.sig, place, control), meta);
        assert_eq!(place, 2 | 3 << 32);
        assert_eq!(control, 0xfff4 | 5 << 16 | 0xffff_ffff << 32);
    }

    #[test]
    fn display_names_what_a_log_needs() {
        let meta = FragmentMetadata::in_slot(7, 5, 0xab, 2, 1);
        assert_eq!(format!("{meta}"), "seq=7 sig=0xab size=5 ctl=0x0002 ts=1");
    }

    #[test]
    fn debug_says_where_the_payload_lies() {
        let meta = FragmentMetadata { reserved: 9, ..FragmentMetadata::in_slot(7, 5, 3, 2, 1) };
        assert_eq!(
            format!("{meta:?}"),
            "FragmentMetadata { seq: 7, sig: 3, chunk: in slot, size: 5, ctl: 2, ts: 1 }"
        );
        let meta = FragmentMetadata { chunk: 4, ..meta };
        assert_eq!(
            format!("{meta:?}"),
            "FragmentMetadata { seq: 7, sig: 3, chunk: 4, size: 5, ctl: 2, ts: 1 }"
        );
    }

    #[test]
    fn control_bits_do_not_touch_the_origin() {
        let control = Control::new(Control::MAX_ORIGIN).with_continues().with_more().with_error();
        assert_eq!(control.bits(), u16::MAX);
        assert_eq!(control.origin(), Control::MAX_ORIGIN);
        assert!(control.continues() && control.more() && control.error());
    }

    #[test]
    fn a_control_bit_that_is_set_already_stays_set() {
        for control in [Control::new(5), Control::from_bits(u16::MAX)] {
            assert_eq!(control.with_continues().with_continues(), control.with_continues());
            assert_eq!(control.with_more().with_more(), control.with_more());
            assert_eq!(control.with_error().with_error(), control.with_error());
        }
        assert_eq!(Control::from_bits(0xabcd).bits(), 0xabcd);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 256 }))]

        /// The packing is one to one in both directions.
        #[test]
        fn any_metadata_and_any_words_come_back(words in proptest::prelude::any::<[u64; 4]>()) {
            let [seq, sig, place, control] = words;
            let meta = FragmentMetadata::unpack(seq, sig, place, control);
            proptest::prop_assert_eq!(meta.pack(), (place, control));
            proptest::prop_assert_eq!((meta.seq, meta.sig), (seq, sig));
            proptest::prop_assert_eq!((meta.chunk, meta.size), (place as u32, (place >> 32) as u32));
            proptest::prop_assert_eq!((meta.ctl, meta.ts), (control as u16, (control >> 32) as u32));
        }
    }
}

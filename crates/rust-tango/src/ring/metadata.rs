//! The metadata of a fragment, its packing into words, and the control bits.

/// What travels with each payload: 32 bytes, written by the producer, read by everyone.
///
/// `sig`, `ctl` and `ts` are the application's; the library fills in the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FragmentMetadata {
    /// Sequence number; wraps around, so compare by wrapping distance only.
    pub seq: u64,
    /// Application tag, which a reader can filter on before it touches the payload.
    pub sig: u64,
    /// Granule of 64 bytes at which the payload starts, or [`FragmentMetadata::IN_SLOT`].
    pub chunk: u32,
    /// Length of the payload, in bytes.
    pub size: u32,
    /// Control bits and origin, see [`Control`]. 0 is a whole message.
    pub ctl: u16,
    /// Not used; 0.
    pub reserved: u16,
    /// Timestamp; see [`timestamp`](crate::timestamp) for nanoseconds in 32 bits.
    pub ts: u32,
}

impl FragmentMetadata {
    /// The `chunk` of a payload that lies beside its metadata, in the slot of the ring.
    pub const IN_SLOT: u32 = u32::MAX;

    /// Of fragment `seq`, whose payload of `size` bytes lies in the slot.
    #[inline]
    pub(crate) const fn in_slot(seq: u64, size: usize, sig: u64, ctl: u16, ts: u32) -> Self {
        Self { seq, sig, chunk: Self::IN_SLOT, size: size as u32, ctl, reserved: 0, ts }
    }

    /// Where the payload lies.
    #[inline]
    pub(crate) const fn place(&self) -> Place {
        Place { chunk: self.chunk, size: self.size }
    }

    /// The two packed words of a metadata line: `chunk | size << 32` and `ctl | reserved << 16 | ts << 32`.
    #[inline]
    pub(crate) const fn pack(&self) -> (u64, u64) {
        (self.place().pack(), self.ctl as u64 | (self.reserved as u64) << 16 | (self.ts as u64) << 32)
    }

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
    #[inline]
    pub(crate) const fn pack(self) -> u64 {
        self.chunk as u64 | (self.size as u64) << 32
    }

    #[inline]
    pub(crate) const fn unpack(word: u64) -> Self {
        Self { chunk: word as u32, size: (word >> 32) as u32 }
    }

    /// How many bytes of payload are in the slot, if they are in it at all.
    #[inline]
    pub(crate) const fn size_in_slot(self) -> usize {
        if self.chunk == FragmentMetadata::IN_SLOT { self.size as usize } else { 0 }
    }
}

impl core::fmt::Display for FragmentMetadata {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "seq={} sig={:#x} size={} ctl={:#06x} ts={}",
            self.seq, self.sig, self.size, self.ctl, self.ts
        )
    }
}

/// The meaning of `ctl`: three bits, and the origin of the message in the 13 bits above them.
///
/// A message that fits one fragment has none of the bits set. A longer one is a first fragment with
/// [`MORE`](Control::MORE), any number with `CONTINUES | MORE`, and a last one with
/// [`CONTINUES`](Control::CONTINUES). Fragments of one message have the same origin.
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
    /// Bit: more fragments of this message follow.
    pub const MORE: u16 = 2;
    /// Bit: the message is damaged and should be dropped as a whole.
    pub const ERROR: u16 = 4;
    /// The largest origin: 13 bits.
    pub const MAX_ORIGIN: u16 = (1 << 13) - 1;
    /// A whole message of origin 0.
    pub const WHOLE: Self = Self(0);

    /// A whole message of this origin.
    ///
    /// # Panics
    /// If `origin` is over [`Control::MAX_ORIGIN`].
    pub const fn new(origin: u16) -> Self {
        assert!(origin <= Self::MAX_ORIGIN, "an origin has 13 bits");
        Self(origin << 3)
    }

    /// From the `ctl` of a fragment.
    pub const fn from_bits(ctl: u16) -> Self {
        Self(ctl)
    }

    /// The `ctl` to publish with.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// With the bit "continues an earlier fragment".
    #[must_use]
    pub const fn with_continues(self) -> Self {
        Self(self.0 | Self::CONTINUES)
    }

    /// With the bit "more follows".
    #[must_use]
    pub const fn with_more(self) -> Self {
        Self(self.0 | Self::MORE)
    }

    /// With the bit "error".
    #[must_use]
    pub const fn with_error(self) -> Self {
        Self(self.0 | Self::ERROR)
    }

    /// Where the message comes from, 0 to [`Control::MAX_ORIGIN`].
    pub const fn origin(self) -> u16 {
        self.0 >> 3
    }

    /// Whether the fragment continues an earlier one.
    pub const fn continues(self) -> bool {
        self.0 & Self::CONTINUES != 0
    }

    /// Whether more fragments of the message follow.
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
    fn control_bits_do_not_touch_the_origin() {
        let control = Control::new(Control::MAX_ORIGIN).with_continues().with_more().with_error();
        assert_eq!(control.bits(), u16::MAX);
        assert_eq!(control.origin(), Control::MAX_ORIGIN);
        assert!(control.continues() && control.more() && control.error());
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

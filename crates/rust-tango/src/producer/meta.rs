//! [`Meta`]: what a publisher says of a fragment, named field by field.

use crate::ring::metadata::Control;
#[cfg(feature = "std")]
use crate::timestamp;

/// The metadata that travels with a payload, for [`Producer::publish_with`](crate::Producer::publish_with). What
/// is not set is 0.
///
/// [`FragmentMetadata`](crate::FragmentMetadata) says what the fields are for.
///
/// # Examples
///
/// ```
/// use rust_tango::{Control, Link, Meta};
///
/// const QUOTE: Meta = Meta::new().sig(7);
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, rx) = (link.producer()?, link.consumer()?);
/// tx.publish_with(b"bid 101.25", QUOTE.ts(1_000))?;
/// let meta = rx.recv()?.meta;
/// assert_eq!((meta.sig, meta.ctl, meta.ts), (7, Control::WHOLE.bits(), 1_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "it is only an argument for a call that publishes"]
pub struct Meta {
    pub(super) sig: u64,
    pub(super) ctl: u16,
    pub(super) ts: u32,
}

impl Meta {
    /// All fields 0. See [`Meta`] for an example.
    pub const fn new() -> Self {
        Self { sig: 0, ctl: 0, ts: 0 }
    }

    /// Sets the tag that readers filter by: any value. See [`Meta`] for an example.
    pub const fn sig(self, sig: u64) -> Self {
        Self { sig, ..self }
    }

    /// Sets the control bits: any value. [`Meta::control`] sets them by name.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Control, Meta};
    ///
    /// let control = Control::new(3).with_more();
    /// assert_eq!(Meta::new().ctl(control.bits()), Meta::new().control(control));
    /// ```
    pub const fn ctl(self, ctl: u16) -> Self {
        Self { ctl, ..self }
    }

    /// Sets the control bits and the origin of a message that is split over several fragments. See
    /// [`Meta::ctl`] for an example.
    pub const fn control(self, control: Control) -> Self {
        self.ctl(control.bits())
    }

    /// Sets the timestamp: any value. [`timestamp::compress`](crate::timestamp::compress) makes one of a time in
    /// nanoseconds. See [`Meta`] for an example.
    pub const fn ts(self, ts: u32) -> Self {
        Self { ts, ..self }
    }

    /// Sets the timestamp to now: the low 32 bits of [`timestamp::now`](crate::timestamp::now). Reading the clock
    /// takes some 20 to 50 nanoseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Meta, timestamp};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// tx.publish_with(b"bid 101.25", Meta::new().ts_now())?;
    ///
    /// let meta = rx.recv()?.meta;
    /// let now = timestamp::now();
    /// let sent = timestamp::expand(meta.ts, now); // right if it was sent less than 2 s ago
    /// println!("{} ns on the way", now.saturating_sub(sent));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn ts_now(self) -> Self {
        self.ts(timestamp::compress(timestamp::now()))
    }
}

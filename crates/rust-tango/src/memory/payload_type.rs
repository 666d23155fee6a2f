//! [`PayloadType`]: what the payloads of a link are, as the link itself says.

use alloc::borrow::Cow;
use alloc::format;
use core::fmt;

use crate::error::{LinkError, LinkErrorKind};
use crate::ring::line::PAYLOAD_ALIGNMENT;

/// The type of the payloads of a link: its name, size and alignment. The link remembers it, so that programs which
/// expect another type find out when they open the link, and not when they read.
///
/// [`LinkBuilder::payload_type`](crate::LinkBuilder::payload_type) sets it, and
/// [`Link::payload_type`](crate::Link::payload_type) returns it. In shared memory it is part of the files of the link
/// (`docs/layout.md`), so that programs in other languages can read it and set it. Two such types are the same if their
/// name, size and alignment are. Nothing compares their fields: if these change, change the name.
///
/// With the feature `zerocopy`, `LinkBuilder::of` and `Link::of` derive it from a type of Rust.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, PayloadType};
///
/// let link = Link::builder().payload_type(PayloadType::new("Quote", 24, 8)).build()?;
/// assert_eq!(link.geometry().mtu, 24);
/// let found = link.payload_type().unwrap();
/// assert_eq!((found.name(), found.size(), found.align()), ("Quote", 24, 8));
/// assert_eq!(found.to_string(), "Quote (24 bytes, alignment 8)");
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PayloadType {
    name: Cow<'static, str>,
    size: usize,
    align: usize,
}

impl PayloadType {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_NAME: usize = 256;

    /// A type of this name, with values of `size` bytes, whose address has to be a multiple of `align`. See
    /// [`PayloadType`] for an example.
    ///
    /// The ranges are checked when the link is made, and again when it is opened: a name of 1 to
    /// [`MAX_NAME`](Self::MAX_NAME) bytes, and an alignment that is a power of two of at most
    /// [`Payload::ALIGNMENT`](crate::Payload::ALIGNMENT).
    ///
    /// Other processes print the name. So it must not contain control characters, white space except U+0020, or
    /// characters that are not shown (Unicode's `Default_Ignorable_Code_Point`), such as those that change the direction of
    /// text.
    pub fn new(name: impl Into<Cow<'static, str>>, size: usize, align: usize) -> Self {
        Self { name: name.into(), size, align }
    }

    /// Its name. See [`PayloadType`] for an example.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of a value, in bytes. Payloads have exactly this size.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The alignment of a value, in bytes.
    pub fn align(&self) -> usize {
        self.align
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LinkErrorKind::Invalid`], with what is wrong.
    pub(crate) fn check(&self) -> Result<(), LinkError> {
        let Self { name, align, .. } = self;
        let wrong = |what| Err(LinkError::new(LinkErrorKind::Invalid, what));
        if name.is_empty() || name.len() > Self::MAX_NAME {
            let (len, most) = (name.len(), Self::MAX_NAME);
            return wrong(format!("a name of a payload type of {len} bytes is not 1 to {most} bytes long"));
        }
        if name.contains(char::is_control) {
            return wrong(format!("the name of the payload type {name:?} contains a control character"));
        }
        if let Some(found) = name.chars().find(|char| is_hidden(*char)) {
            let code = u32::from(found);
            return wrong(format!(
                "the name of the payload type {name:?} contains U+{code:04X}, which is not shown, or shown as a space"
            ));
        }
        if !align.is_power_of_two() || *align > PAYLOAD_ALIGNMENT {
            return wrong(format!(
                "an alignment of {align} bytes of the payload type {name} is not a power of two from 1 to {PAYLOAD_ALIGNMENT}"
            ));
        }
        Ok(())
    }

    /// What an error says of the type of a link, or of the one that was asked for.
    #[cfg(any(feature = "zerocopy", all(feature = "shm", target_os = "linux")))]
    pub(crate) fn describe(of: Option<&Self>) -> alloc::string::String {
        of.map_or_else(|| "no payload type".into(), |of| format!("payload type {of}"))
    }
}

/// The code points with the property `Default_Ignorable_Code_Point`. All that change the direction of text are among them.
const IGNORABLE: [(u32, u32); 17] = [
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x61c, 0x61c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfff8),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0xe0fff),
];

/// Whether a reader of a text would not see this character, or take it for a space.
fn is_hidden(char: char) -> bool {
    let code = u32::from(char);
    char.is_whitespace() && char != ' ' || IGNORABLE.iter().any(|(from, to)| (*from..=*to).contains(&code))
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, size, align } = self;
        write!(f, "{name} ({size} bytes, alignment {align})")
    }
}

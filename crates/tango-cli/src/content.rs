//! What `tango send` and `tango recv` agree on: what a fragment's bytes are, and how long a line may be.

/// The longest line that is sent or received, in bytes without its newline. The help texts name it.
pub(crate) const LONGEST_LINE: usize = 1 << 30;

/// The `sig` of fragments whose payload is a line, or a part of one.
pub(crate) const LINES: u64 = u64::from_le_bytes(*b"lines\n\0\0");
/// The `sig` of fragments whose payload is any part of a stream of bytes.
pub(crate) const BYTES: u64 = u64::from_le_bytes(*b"bytes\0\0\0");

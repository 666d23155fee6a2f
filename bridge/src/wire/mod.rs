//! What travels on the network: how fragments, and what is known of their link, become bytes.
//!
//! One network message carries fragments of one link that follow each other, or says one thing about the link. All numbers
//! are unsigned and little-endian, without padding. A message begins with a [`Header`] of 48 bytes:
//!
//! | offset | bytes | field | content |
//! |---|---|---|---|
//! | 0 | 4 | magic | the bytes `TNGB` |
//! | 4 | 1 | version | 1 |
//! | 5 | 1 | kind | 1 fragments, 2 state, 3 gap, 4 end |
//! | 6 | 2 | cause | of a gap or an end, see [`GapCause`] and [`EndCause`]; 3 in the state of a link that was removed; otherwise 0 |
//! | 8 | 8 | bridge | a random number of the process that sends: another one is another run |
//! | 16 | 8 | link | the identity of the link: another one is a link that was made anew |
//! | 24 | 8 | producer | how many producers the link has had: a larger one is another producer |
//! | 32 | 8 | first | the sequence number of the first fragment; of the next one in a state or an end |
//! | 40 | 8 | count | fragments in this message, or fragments that a gap leaves out; otherwise 0 |
//!
//! *Fragments* have `count` records after the header. Record `i` is fragment `first + i` (numbers wrap around at 2^64):
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `sig` |
//! | 8 | 4 | `ts` |
//! | 12 | 2 | `ctl` |
//! | 14 | 2 | zero |
//! | 16 | 4 | size of the payload, in bytes |
//! | 20 | size | the payload |
//!
//! A *state* is sent when the bridge begins, every second, and as the answer to a query with the parameter `state`. After
//! the header, it has a JSON object that describes the link: see [`Description`]. Programs ignore members that they do not
//! know.
//!
//! A *gap* says that `count` fragments from `first` on are not sent, and why. A program that receives messages whose numbers leave a
//! gap without such a message has lost fragments in the network, and can query them.
//!
//! An *end* says that nothing follows for now, and why. While the bridge runs and nothing follows, it is sent again after each
//! state, for those that come later. If there were several, such as *closed* and then *removed*, each of them is. A state without
//! an end, from another producer or another link, says that more follows.
//!
//! Of a link that was removed, the last state and the ends are sent again each second for a minute, or until a link comes under
//! the key again. So a program that was cut off meanwhile learns which number was the last, and that nothing follows. Its state has the
//! cause *removed*: a program that has had nothing of this link need not begin with it.
//!
//! A query on the key of a link is answered with such messages, in order. Its parameters are `state`, for one state message, or
//! `first=N;count=M`, for the fragments from `N` on as far as the ring of the link still has them, with a gap in the place of
//! those that are gone. It has to ask for all replies: zenoh's default keeps the last one only (`ConsolidationMode::None`). While
//! a query waits because many have come at once, it gets a state every two seconds: the answer follows. An error as the reply
//! says why there is no answer. If there are too many queries, it may be asked again.
//!
//! `examples/plain_subscriber.rs` and `examples/plain_subscriber.py` read all of this with nothing but zenoh.
//!
//! Bytes that come from the network are checked here. Whatever they are, decoding is safe, and takes no more memory than
//! they have.

mod header;

mod batch;
mod decode;

pub use batch::Batch;
pub use decode::{Fragment, Fragments, Message, WireError, decode};
pub use header::{
    Description, EndCause, GapCause, Header, Origin, TypeDescription, encode_end, encode_gap,
    encode_last_state, encode_state,
};

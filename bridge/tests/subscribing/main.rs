//! What arrives from the network is in the far link, in order and once; what is missing is accounted for.
//!
//! The other bridge is a plain session of zenoh that sends messages made by hand and answers questions.

mod both_sides;
mod endings;
mod far_links;
mod numbers;
mod origins;
mod peer;
mod strangers;

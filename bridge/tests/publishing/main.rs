//! What is published into a link arrives at a program that knows only zenoh, or is said to be missing.

mod setup;

mod congestion;
mod content;
mod history;
mod lives;
mod removals;

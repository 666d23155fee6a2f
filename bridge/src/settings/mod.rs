//! What a bridge is asked to do: by the command line or by a file.
//!
//! `values` reads single values, the same ones on the command line and in a file. `types` has the settings, and what they are
//! if nothing is said. `checks` finds what is wrong with the whole, `file` and `arguments` make settings, and name the line
//! or the argument of a mistake. `help` has the texts of the command line. `shown` says what settings mean.

mod values;

mod types;

mod checks;

mod file;
mod help;
mod shown;

mod arguments;

pub use arguments::{Asked, parse};
pub use file::read;
pub use types::{Congestion, DEFAULT_ENDPOINT, DEFAULT_KEY, Network, Publish, Reading, Settings, Subscribe};

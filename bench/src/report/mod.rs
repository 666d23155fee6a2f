//! What a run writes: tables computed from the rounds, as text, as Markdown, as a page with plots, or as JSON.

mod goals;
mod machine;
mod overview;
mod page;
mod tables;
mod text;

pub(crate) use self::machine::Machine;
pub(crate) use self::page::{html, markdown, readme};
pub(crate) use self::tables::{Report, Table};
pub(crate) use self::text::ending;

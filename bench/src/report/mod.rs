//! What a run writes: tables computed from the rounds, as text, as Markdown, as a page with plots, or as JSON.

mod machine;

mod tables;

mod goals;

mod headline;

mod page;

pub(crate) use self::headline::of_the_readme;
pub(crate) use self::machine::{describe, family};
pub(crate) use self::page::{table, text};
pub(crate) use self::tables::{Report, Table};

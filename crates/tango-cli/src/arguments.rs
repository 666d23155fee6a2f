//! Options that several subcommands take, with their help texts, as structs to flatten into those of the subcommands. What
//! their values mean is in `options`.

use std::time::Duration;

use rust_tango::Start;

use crate::options;

/// A link that has to exist.
#[derive(Debug, clap::Args)]
pub(crate) struct ExistingLink {
    /// Name of the link
    #[arg(id = "link", value_name = "LINK")]
    pub(crate) name: String,
}

/// How much of a link to read, and how long to wait for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Extent {
    /// Begin with the oldest fragment that is there
    /// (earlier ones count as lost), the next one, or
    /// this number: oldest, next or SEQ
    /// [default: oldest]
    #[arg(
        long,
        alias = "start",
        value_name = "WHERE",
        default_value = "oldest",
        hide_default_value = true,
        value_parser = options::beginning,
        verbatim_doc_comment
    )]
    pub(crate) from: Start,
    /// Stop after this time, from the (first) link on
    #[arg(long, value_name = "TIME", value_parser = options::duration)]
    pub(crate) duration: Option<Duration>,
    /// Wait no longer than this for the link
    /// [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = options::seconds, verbatim_doc_comment)]
    pub(crate) timeout: Option<Duration>,
}

/// Whether to say at the end what was done.
#[derive(Debug, clap::Args)]
pub(crate) struct Summary {
    /// Print a summary on standard error at the end
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

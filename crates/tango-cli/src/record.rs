//! `tango record`: records links in MCAP files. `recording/` does the work; this file has the options.

use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::joining::Reading;
use crate::recording::{Clock, Compression, Gathering, Limits, Naming, Options, Output};
use crate::{options, signals, standard};

const DETAILS: &str = "\
Examples:
  tango record quotes -o quotes.mcap               until the link ends
  tango record quotes trades -o day.mcap --follow  until a signal, also when
                                                   producers are restarted
  tango record quotes -o q.mcap --rotate-size 1G   q.0001.mcap, q.0002.mcap ...
  tango record quotes -o q.mcap --reliable         all that is published

The files are MCAP: a channel for each link with its metadata and payloads, and
one for gaps, ends and changes of producers. 'tango info' shows what is in them,
'tango replay' makes the links again, and docs/recording.md describes them.

A recorder is an observer unless you say otherwise: the producer does not know
of it. What it is too slow for is lost, counted, and recorded as a gap. What is
read and not yet written takes memory, up to --buffer.

After 'kill -9', or on a full disk, everything is readable up to the last chunk
that was written. Chunks are written when 512 KiB have gathered, and at the
latest after --flush-every. So what is missing is of that time, or, if the
recorder was behind, what was in its --buffer. Sizes may have a unit: K, M, G or
T (powers of 1024). Times are seconds, or have units: 500ms, 10m, 1h30m.

A file that is rotated is longer than --rotate-size by a chunk and the index.

Exit status:
  0      everything was recorded: until the links were closed, or as far as
         --count or --duration says
  1      a file could not be written, a producer died, a link was stopped,
         removed or damaged, or another failure
  2      invalid usage
  3      fragments were lost: the recorder was too slow, it joined after the
         beginning was overwritten (see --from), or a producer left numbers out
  128+N  terminated by signal N; the file is complete";

/// Record links in a file
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    gathered: Options,
    /// The file; it must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Compression of chunks: none, lz4 or zstd, which
    /// takes the least space, for a little more time
    /// [default: zstd]
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "zstd",
        hide_default_value = true,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    compress: Compression,
    /// The producer waits for the recorder, which takes a
    /// slot of a consumer
    #[arg(long, verbatim_doc_comment)]
    reliable: bool,
    /// The same, but only as long as the producer has
    /// patience
    #[arg(long, conflicts_with = "reliable", verbatim_doc_comment)]
    evictable: bool,
    /// Begin another file when one has this size
    #[arg(long, value_name = "SIZE", value_parser = options::size)]
    rotate_size: Option<u64>,
    /// Begin another file after this time
    #[arg(long, value_name = "TIME", value_parser = options::duration)]
    rotate_every: Option<Duration>,
    /// Write what has gathered after this time
    /// [default: 1 second]
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1",
        hide_default_value = true,
        value_parser = options::duration,
        verbatim_doc_comment
    )]
    flush_every: Duration,
}

impl Arguments {
    /// The name of the link, if there is one only.
    pub(crate) fn only_link(&self) -> Option<&str> {
        self.gathered.only_link()
    }

    fn reading(&self) -> Reading {
        match (self.reliable, self.evictable) {
            (true, _) => Reading::Reliable,
            (_, true) => Reading::Evictable,
            _ => Reading::Observer,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    arguments.gathered.check(folder)?;
    signals::interrupt_by_termination().map_err(Failure::signals)?;
    signals::ignore_file_size_limit().map_err(Failure::signals)?;
    let clock = Clock::start();
    let naming = Naming {
        path: arguments.output.clone(),
        numbered: arguments.rotate_size.is_some() || arguments.rotate_every.is_some(),
        force: arguments.force,
    };
    let limits = Limits {
        flush: arguments.flush_every,
        file_size: arguments.rotate_size,
        file_time: arguments.rotate_every,
    };
    let output = Output::begin(naming, arguments.compress, limits, clock.started)?;
    let gathering = Gathering {
        options: &arguments.gathered,
        folder,
        reading: arguments.reading(),
        clock,
        command: "record",
        reader: "the recorder",
    };
    gathering.run(output, standard::print)
}

//! `tango capture`: writes links as a pcapng file or stream, for Wireshark and other programs that read such files.
//!
//! ```text
//! pcapng.rs   the blocks of such a file
//! packet.rs   a fragment as a packet
//! output.rs   what was read of the links, written
//! ```
//!
//! Threads read the links as they do for `tango record` (`recording/gathering.rs`). What they have read is written at once:
//! at the latest 20 milliseconds after it was read, unless the disk or the reader of the stream is slower than that.

mod pcapng;

mod packet;

mod output;

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use self::output::{Output, Target};
use self::packet::HEADER;
use self::pcapng::MOST_IN_PACKET;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::joining::Reading;
use crate::recording::{Clock, Gathering, Naming, Options};
use crate::{signals, standard};

const DETAILS: &str = "\
Examples:
  tango capture quotes -o quotes.pcapng            until the link ends
  tango capture quotes -o - | wireshark -k -i -    watch it in Wireshark
  tango capture quotes trades -o - --from next | tshark -l -i -
  tango capture quotes -o q.pcapng --snaplen 0     metadata only

Each link is an interface, and each fragment a packet: a header with its
metadata, and the payload. Install the dissector docs/wireshark/tango.lua to see
the fields; docs/wireshark/README.md describes the header.

Capture is an observer: the producer does not know of it, and never waits for
it. What it is too slow for is lost, counted, and noted at the next packet, as a
comment and in its header. So are the death of a producer and a new one. The
statistics of each interface at the end of the file say how many were lost.

What was read is written at the latest 20 ms later. After 'kill -9', the file is
readable up to there; on a full disk, up to the last packet that fits. What is
read and not yet written takes memory, up to --buffer. Sizes may have a unit: K,
M, G or T (powers of 1024). Times are seconds, or have units: 500ms, 10m, 1h30m.

Exit status:
  0      everything was captured: until the links were closed, or as far as
         --count or --duration says; or nobody reads the stream any more
  1      the file could not be written, a producer died, a link was stopped,
         removed or damaged, or another failure
  2      invalid usage
  3      fragments were lost: capture was too slow, it joined after the
         beginning was overwritten (see --from), or a producer left numbers out
  128+N  terminated by signal N; the file is complete";

/// Write links as pcapng, for Wireshark
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    gathered: Options,
    /// The file, which must not exist; '-' is standard
    /// output
    #[arg(short, long, value_name = "FILE", verbatim_doc_comment)]
    output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Keep so many bytes of each payload. Wireshark can
    /// read no more than the default
    /// [default: 262096]
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = MOST_IN_PACKET - HEADER,
        hide_default_value = true,
        value_parser = snaplen,
        verbatim_doc_comment
    )]
    snaplen: usize,
}

impl Arguments {
    /// The name of the link, if there is one only.
    pub(crate) fn only_link(&self) -> Option<&str> {
        self.gathered.only_link()
    }
}

fn snaplen(text: &str) -> Result<usize, String> {
    let most = MOST_IN_PACKET - HEADER;
    let len = text.parse().ok().filter(|len| *len <= most);
    len.ok_or_else(|| format!("expected a number of bytes from 0 to {most}"))
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    let Arguments { gathered, output, force, snaplen } = arguments;
    let is_stream = output.as_os_str() == OsStr::new("-");
    // Of a file, the summary goes there.
    standard::check_output().map_err(Failure::output)?;
    if is_stream && io::stdout().is_terminal() {
        let advice = "name a file, or pipe it: tango capture LINK -o - | wireshark -k -i -";
        return Err(Failure::usage(format!(
            "standard output is a terminal, which cannot show a capture: {advice}"
        )));
    }
    gathered.check(folder)?;
    signals::interrupt_by_termination().map_err(Failure::signals)?;
    signals::ignore_file_size_limit().map_err(Failure::signals)?;
    let clock = Clock::start();
    let target = if is_stream {
        Target::Standard(standard::Output)
    } else {
        let naming = Naming { path: output.clone(), numbered: false, force: *force };
        let (file, path) = naming.create(1)?;
        Target::File(file, path)
    };
    let sink = Output::begin(target, clock, gathered.ts_is_ns(), *snaplen)?;
    let (reading, command, reader) = (Reading::Observer, "capture", "the capture");
    let gathering = Gathering { options: gathered, folder, reading, clock, command, reader };
    gathering.run(sink, |summary| {
        if is_stream {
            standard::write_error(&format!("tango: {summary}"));
            return Ok(());
        }
        standard::print(summary)
    })
}

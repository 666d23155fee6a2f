//! `tango peek`: shows the newest fragments of a link, as an observer.

mod shown;

use std::collections::VecDeque;
use std::time::Duration;

use rust_tango::{Consumer, Link, OwnedFragment, Start, TangoError};

use crate::arguments::ExistingLink;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::{format, hints, options, standard};

use shown::{Form, Shown};

/// Time between two looks whether standard output is closed, while no fragment comes.
const CHECK_EVERY: Duration = Duration::from_millis(100);

const DETAILS: &str = "\
Examples:
  tango peek quotes                      the newest 10 fragments
  tango peek quotes --last 1 --bytes 0   only the metadata of the newest one
  tango peek quotes --follow --sig 7     what comes with this sig, as it comes
  tango peek quotes --follow --last 0 --count 1000 --json | jq .size

peek is an observer: it slows neither end. It shows what is still in the ring.
If a fast producer overwrites fragments before peek has read them, it says how
many, in their place.

A fragment is a line of metadata and a dump of its payload, as hexadecimal
numbers and text. The line has its sequence number (seq), the tag of the
application (sig), control bits (ctl: 'continues' and 'more' mark the parts of a
long message), timestamp (ts, in any unit) and size in bytes.

--json prints an object on a line for each fragment: version, seq, sig, ctl, ts,
size, and payload (hexadecimal; the first --bytes bytes, by default all). In the
place of fragments that were lost: version and lost (their number).

With --follow, peek ends when the link is closed, after --count fragments, by a
signal, or when its output is closed.

Exit status:
  0      success
  1      there is no such link, it has no observers, or another failure; with
         --follow: the producer died, or the link was stopped
  2      invalid usage
  3      fragments were lost between those that were shown
  128+N  terminated by signal N";

/// Show the newest fragments of a link, without slowing it down
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) link: ExistingLink,
    /// Show the newest N fragments that are there
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = options::count
    )]
    last: usize,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// With --follow: end after N fragments
    #[arg(
        long,
        value_name = "N",
        requires = "follow",
        value_parser = options::count
    )]
    count: Option<usize>,
    /// Only fragments with this sig (7 or 0x7)
    #[arg(long, value_name = "NUMBER", value_parser = options::sig)]
    sig: Option<u64>,
    /// Only fragments with this ctl (3 or 0x3)
    #[arg(long, value_name = "NUMBER", value_parser = options::ctl)]
    ctl: Option<u16>,
    /// Show no more than N bytes of each payload
    /// [default: 256; with --json: all]
    #[arg(
        long,
        value_name = "N",
        value_parser = options::count,
        verbatim_doc_comment
    )]
    bytes: Option<usize>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn wants(&self, fragment: &OwnedFragment) -> bool {
        let is = |wanted: Option<u64>, found| wanted.is_none_or(|wanted| wanted == found);
        is(self.sig, fragment.meta.sig) && is(self.ctl.map(u64::from), fragment.meta.ctl.into())
    }
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    let name = &arguments.link.name;
    let link = hints::open(folder, name)?;
    if !link.geometry().observers {
        return Err(Failure::new(format!(
            "link {name} was made without observers, so nothing can peek into it (its maker can allow them: LinkBuilder::observers)"
        )));
    }
    let mut shown = Shown::new(Form { json: arguments.json, bytes: arguments.bytes });
    let mut rx = newest(&link, arguments, &mut shown)?;
    let ended = if arguments.follow { follow(&link, &mut rx, arguments, &mut shown) } else { Ok(()) };
    shown.flush()?;
    ended?;
    match shown.lost {
        0 => Ok(()),
        lost => Err(Failure::lost(format!(
            "{} fragments of link {name} were overwritten before they were read",
            format::count(lost)
        ))),
    }
}

/// What a read has brought.
enum Read {
    Fragment(OwnedFragment),
    /// This many fragments are gone.
    Lost(u64),
}

/// Shows what is there, and returns the reader at the first fragment that was not.
fn newest(link: &Link, arguments: &Arguments, shown: &mut Shown) -> Result<Consumer<'static>, Failure> {
    let status = link.status();
    let has_filter = arguments.sig.is_some() || arguments.ctl.is_some();
    let there = status.next.wrapping_sub(status.oldest);
    let wanted = if arguments.last == 0 {
        0
    } else if has_filter {
        there
    } else {
        there.min(arguments.last as u64)
    };
    let mut rx = link.observer_from(Start::At(status.next.wrapping_sub(wanted)))?;
    let mut found: VecDeque<Read> = VecDeque::new();
    let mut fragments = 0;
    // Numbers wrap.
    while status.next.wrapping_sub(rx.next_seq()).cast_signed() > 0 {
        let Some(read) = next(rx.poll().map(|fragment| fragment.map(OwnedFragment::from)))? else { break };
        match &read {
            Read::Fragment(fragment) if !arguments.wants(fragment) => continue,
            Read::Fragment(_) => fragments += 1,
            Read::Lost(_) => {}
        }
        found.push_back(read);
        // What is older than the wanted ones, with what was lost before them.
        while fragments > arguments.last {
            if let Some(Read::Fragment(_)) = found.pop_front() {
                fragments -= 1;
            }
        }
        while fragments == arguments.last && matches!(found.front(), Some(Read::Lost(_))) {
            found.pop_front();
        }
    }
    for read in found {
        show(read, arguments, shown)?;
        if is_enough(arguments, shown) {
            break;
        }
    }
    Ok(rx)
}

/// Shows what comes, until the link has ended or enough was shown.
fn follow(
    link: &Link,
    rx: &mut Consumer<'_>,
    arguments: &Arguments,
    shown: &mut Shown,
) -> Result<(), Failure> {
    while !is_enough(arguments, shown) {
        if let Some(read) = next(rx.poll().map(|fragment| fragment.map(OwnedFragment::from)))? {
            show(read, arguments, shown)?;
            continue;
        }
        shown.flush()?;
        if standard::output_is_closed_within(Duration::ZERO).map_err(Failure::output)? {
            return Ok(());
        }
        let waited = rx.wait_timeout(CHECK_EVERY).map(|fragment| fragment.map(OwnedFragment::from));
        if let Err(TangoError::ProducerGone) = waited {
            return ended(link, &arguments.link.name);
        }
        match next(waited)? {
            Some(read) => show(read, arguments, shown)?,
            None if rx.is_closed() => return ended(link, &arguments.link.name),
            None => {}
        }
    }
    Ok(())
}

/// `None`: there is nothing yet.
fn next(read: Result<Option<OwnedFragment>, TangoError>) -> Result<Option<Read>, Failure> {
    match read {
        Ok(fragment) => Ok(fragment.map(Read::Fragment)),
        Err(TangoError::Overrun { lost, .. }) => Ok(Some(Read::Lost(lost))),
        Err(TangoError::Corrupt { .. }) => Ok(Some(Read::Lost(1))),
        // Another producer goes on.
        Err(TangoError::ProducerReplaced { .. }) => Ok(Some(Read::Lost(0))),
        Err(TangoError::ProducerGone) => Ok(None),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

fn show(read: Read, arguments: &Arguments, shown: &mut Shown) -> Result<(), Failure> {
    match read {
        Read::Fragment(fragment) if arguments.wants(&fragment) => shown.fragment(&fragment),
        Read::Fragment(_) | Read::Lost(0) => Ok(()),
        Read::Lost(lost) => shown.lost(lost),
    }
}

fn is_enough(arguments: &Arguments, shown: &Shown) -> bool {
    arguments.count.is_some_and(|count| shown.fragments >= count)
}

/// The link brings no more.
fn ended(link: &Link, name: &str) -> Result<(), Failure> {
    let status = link.status();
    if status.name_lost {
        Err(Failure::new(format::name_lost(name)))
    } else if status.stopped {
        Err(Failure::new(format!("link {name} was stopped")))
    } else if status.closed {
        Ok(())
    } else {
        Err(Failure::new(format!("the producer of link {name} died")))
    }
}

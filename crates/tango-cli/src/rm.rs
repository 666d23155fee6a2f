//! `tango rm`: removes links.

use std::io::ErrorKind;

use rust_tango::{Link, LinkErrorKind};

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::format;
use crate::standard;

const DETAILS: &str = "\
Examples:
  tango rm numbers          remove one link, unless it is in use
  tango rm --force numbers  stop the link and remove it
  tango rm --dead           remove all links that no process uses

A link is in use as long as its producer or a reliable consumer lives. --force
stops such a link: its producer ends, and its consumers end when they have read
what is left. A link with damaged files is removed like any other; --force is
needed only if a process holds one of its files, or if tango cannot check that.
If a damaged link cannot be stopped, --force says so and removes it. Its
producer then ends within about a second.

--dead prints the name of each link as soon as it is removed. It also removes
the remains of links whose creation was interrupted.

Observers do not count as users. An observer keeps the memory that it has open,
and can still read what is left in a removed link.

Exit status:
  0      success
  1      a link is in use, does not exist, or cannot be removed
  2      invalid usage
  128+N  terminated by signal N";

/// Remove links left behind by crashed senders
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Names of the links to remove
    #[arg(required_unless_present = "dead", value_name = "LINK")]
    links: Vec<String>,
    /// Stop and remove a link even if it is in use
    #[arg(long, short)]
    force: bool,
    /// Remove all links that no process uses
    #[arg(long, conflicts_with_all = ["links", "force"])]
    dead: bool,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    if arguments.dead {
        return remove_all_dead(folder);
    }
    let failures = arguments.links.iter().filter_map(|name| remove(name, arguments.force, folder).err());
    report_all_but_last(failures)
}

fn remove(name: &str, force: bool, folder: &LinkFolder) -> Result<(), Failure> {
    let error = match Link::remove_dead(folder.path(), name) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match error.kind() {
        LinkErrorKind::InUse if !force => {
            Err(Failure::new(format!("{}: use --force to stop and remove it", error.reason())))
        }
        LinkErrorKind::System if !force && Link::holders(folder.path(), name).is_err() => Err(Failure::new(
            format!("{}: use --force to remove the link even if it is in use", error.reason()),
        )),
        LinkErrorKind::InUse | LinkErrorKind::System if force => match folder.open(name) {
            Ok(link) => {
                link.stop()?;
                Ok(link.remove()?)
            }
            // Its files are too damaged to stop the link. A producer that lives notices the removal.
            Err(damage) => {
                folder.remove(name)?;
                Failure::new(format!(
                    "link {name} was removed, but not stopped: its sender, if it lives, ends within about a second ({damage})"
                ))
                .report();
                Ok(())
            }
        },
        _ => Err(error.into()),
    }
}

fn remove_all_dead(folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    Link::remove_leftovers(folder.path())?;
    let (mut any_removed, mut any_failed, mut written) = (false, false, Ok(()));
    for name in folder.list()? {
        match Link::remove_dead(folder.path(), &name) {
            // Printed at once: if the command is interrupted, the user knows what was removed. All links are
            // removed even if their names cannot be printed.
            Ok(()) => {
                any_removed = true;
                if written.is_ok() {
                    written = standard::print(&format!("removed {name}\n")).map_err(Failure::output);
                }
            }
            // The link is in use, or another process has removed it first.
            Err(error) if matches!(error.kind(), LinkErrorKind::InUse | LinkErrorKind::NotFound) => {}
            // Another process does not release the lock of the folder. It would be the same for each of the
            // others, after the same ten seconds.
            Err(error) if error.io_error().is_some_and(|error| error.kind() == ErrorKind::TimedOut) => {
                return Err(error.into());
            }
            Err(error) => {
                any_failed = true;
                Failure::new(format!("{name}: {}", error.reason())).report();
            }
        }
    }
    if !any_removed && !any_failed {
        let text = format!("There are no dead links in {}.", folder.path().display());
        let text = format::one_line(&text) + "\n";
        written = standard::print(&text).map_err(Failure::output);
    }
    if any_failed { Err(Failure::already_reported()) } else { written }
}

/// Reports every failure but the last, which is returned for the caller to report.
fn report_all_but_last(failures: impl Iterator<Item = Failure>) -> Result<(), Failure> {
    let mut last = None;
    for failure in failures {
        if let Some(earlier) = last.replace(failure) {
            Failure::report(&earlier);
        }
    }
    last.map_or(Ok(()), Err)
}

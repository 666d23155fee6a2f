//! `tango rm`: takes links away.

use std::io::Write;

use rust_tango::{Link, LinkErrorKind};

use crate::failure::Failure;
use crate::place::Place;

const DETAILS: &str = "\
A link that has a living producer or a living consumer is left alone, unless
--force is given. Then it is stopped first: its producer ends, and its readers
end when they have read what is there. Broken links are removed too, without
--force as long as nobody holds a file of theirs.

With --dead, every link goes that nobody holds, however it ended, and with it
what makers of links left that were killed half way. Each is named on standard
output. Observers do not hold a link: what they have open, they keep.";

/// Take links away: what a crashed sender left behind
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Names of links
    #[arg(required_unless_present = "dead", value_name = "LINK")]
    links: Vec<String>,
    /// Stop and remove a link even if somebody uses it
    #[arg(long, short)]
    force: bool,
    /// Remove all links that nobody uses
    #[arg(long, conflicts_with_all = ["links", "force"])]
    dead: bool,
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<(), Failure> {
    if arguments.dead {
        return remove_dead(place);
    }
    let failures = arguments.links.iter().filter_map(|name| remove(name, arguments.force, place).err());
    worst(failures)
}

fn remove(name: &str, force: bool, place: &Place) -> Result<(), Failure> {
    let error = match Link::remove_dead(place.explicit(), name) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match error.kind() {
        LinkErrorKind::InUse if !force => Err(Failure::new(format!("{error}: --force stops and removes it"))),
        LinkErrorKind::System if !force && Link::holders(place.explicit(), name).is_err() => {
            Err(Failure::new(format!("{error}: --force removes it, whoever uses it")))
        }
        LinkErrorKind::InUse | LinkErrorKind::System if force => match place.open(name) {
            Ok(link) => {
                link.stop()?;
                Ok(link.remove()?)
            }
            // Too broken to be stopped.
            Err(_) => Ok(place.remove(name)?),
        },
        _ => Err(error.into()),
    }
}

fn remove_dead(place: &Place) -> Result<(), Failure> {
    let (mut removed, mut failures) = (String::new(), Vec::new());
    for (name, result) in Link::remove_all_dead(place.explicit())? {
        match result {
            Ok(()) => removed += &format!("removed {name}\n"),
            // Somebody lives on it; or somebody else has been faster.
            Err(error) if matches!(error.kind(), LinkErrorKind::InUse | LinkErrorKind::NotFound) => {}
            Err(error) => failures.push(Failure::new(format!("{name}: {error}"))),
        }
    }
    if removed.is_empty() && failures.is_empty() {
        removed = format!("There are no dead links in {}.\n", place.folder().display());
    }
    let mut out = std::io::stdout().lock();
    let written = out.write_all(removed.as_bytes()).and_then(|()| out.flush()).map_err(Failure::writing);
    worst(failures.into_iter()).and(written)
}

/// Each failure is told, whatever becomes of the others; the last one by who called.
fn worst(failures: impl Iterator<Item = Failure>) -> Result<(), Failure> {
    let mut worst = None;
    for failure in failures {
        if let Some(earlier) = worst.replace(failure) {
            Failure::tell(&earlier);
        }
    }
    worst.map_or(Ok(()), Err)
}

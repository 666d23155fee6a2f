//! `tango rm`: takes links away.

use rust_tango::LinkStatus;

use crate::failure::Failure;
use crate::place::Place;

const DETAILS: &str = "\
A link that has a living producer or a living reliable consumer is left alone,
unless --force is given. Then it is stopped first: its producer ends, and its
readers end when they have read what is there. Broken links are removed too,
without --force as long as nobody holds a file of theirs.";

/// Take links away: what a crashed sender left behind
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Names of links
    #[arg(required = true, value_name = "LINK")]
    links: Vec<String>,
    /// Stop and remove a link even if somebody uses it
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<(), Failure> {
    let failures = arguments.links.iter().filter_map(|name| remove(name, arguments.force, place).err());
    let mut worst = None;
    for failure in failures {
        // Each is told, whatever becomes of the others.
        if let Some(earlier) = worst.replace(failure) {
            Failure::tell(&earlier);
        }
    }
    worst.map_or(Ok(()), Err)
}

fn remove(name: &str, force: bool, place: &Place) -> Result<(), Failure> {
    match place.open(name) {
        Ok(link) => {
            let holders = holders(&link.status());
            if !holders.is_empty() && !force {
                return Err(in_use(name, &holders));
            }
            if !holders.is_empty() {
                link.stop()?;
            }
            Ok(link.remove()?)
        }
        // Not even the folder is there, or the name is none.
        Err(error) if error.is_not_found() && !place.folder().join(name).exists() => Err(error.into()),
        Err(error) if error.kind() == rust_tango::LinkErrorKind::Invalid => Err(error.into()),
        Err(error) => {
            if !force {
                let held = place.held_files(name).map_err(|unknown| {
                    Failure::new(format!(
                        "{error}; cannot tell whether it is in use ({unknown}), --force removes it"
                    ))
                })?;
                if !held.is_empty() {
                    return Err(in_use(name, &held.join(" and ")));
                }
            }
            Ok(place.remove(name)?)
        }
    }
}

fn in_use(name: &str, holders: &str) -> Failure {
    Failure::new(format!("link {name} is in use by {holders}: --force stops and removes it"))
}

/// Who lives on the link, in words; empty: nobody.
fn holders(status: &LinkStatus) -> String {
    let consumers: Vec<String> = status
        .consumers
        .iter()
        .filter(|consumer| consumer.alive)
        .map(|consumer| consumer.slot.to_string())
        .collect();
    let consumers = match consumers.as_slice() {
        [] => None,
        [one] => Some(format!("the consumer in slot {one}")),
        more => Some(format!("the consumers in slots {}", more.join(", "))),
    };
    let producer = status.producer.then(|| "its producer".to_owned());
    producer.into_iter().chain(consumers).collect::<Vec<_>>().join(" and ")
}

//! [`Maker`]: makes the far link of a key, or continues the one that is there, and tries again until it can.

use std::convert;
use std::sync::Arc;
use std::time::Duration;

use rust_tango::{LinkError, LinkErrorKind};

use super::far::{self, Far, Found};
use super::plan::Plan;
use super::queue::Queue;
use super::report::Report;
use super::shared::Shared;
use crate::wire::Description;

/// How long to wait before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a message is not taken to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// The bridge ends.
    Stopping,
    /// There is no far link for it, and there will be none.
    NoLink,
}

/// Why the far link cannot be opened now.
enum Obstacle {
    /// What the other bridge says of its link is invalid.
    Invalid(String),
    /// Something that may change.
    Other(String),
}

impl convert::From<LinkError> for Obstacle {
    fn from(error: LinkError) -> Self {
        match error.kind() {
            LinkErrorKind::Invalid => Self::Invalid(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Where a far link begins that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// With this number, if it is new. Otherwise where it has ended.
    NewOrContinued(u64),
    /// With this number. One that is elsewhere is replaced.
    Exactly(u64),
}

/// A far link that may be made, for the link with this identity at the origin.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    plan: Plan,
    link: u64,
}

impl Maker {
    /// Checks what the other bridge says of its link, and takes the name.
    ///
    /// # Errors
    ///
    /// Why no far link is made: the kind of event, and a sentence.
    pub(super) fn new(
        shared: &Shared,
        key: &str,
        link: u64,
        description: &Description,
    ) -> Result<Self, (&'static str, String)> {
        let plan = Plan::new(description, &shared.settings, &shared.patterns, &shared.context.folder)
            .map_err(|why| ("refused", format!("the link {:?} is not received: {why}", description.name)))?;
        shared.take_name(&plan.name, key).map_err(|of| {
            let name = &plan.name;
            ("name_taken", format!("it is not received: the far link {name} belongs to the key {of} already"))
        })?;
        Ok(Self { plan, link })
    }

    /// The name of the far link.
    pub(super) fn name(&self) -> &str {
        &self.plan.name
    }

    /// What there is of its name.
    pub(super) fn find(&self, shared: &Shared) -> Found {
        far::find(&shared.context.folder, self.name(), self.link)
    }

    /// Ends the far link while it has no producer.
    pub(super) fn end(&self, shared: &Shared, remove: bool) {
        if far::is_of(&shared.context.folder, self.name(), self.link) {
            // It was removed, or another process has it: it is not ours any more.
            _ = far::end(&shared.context.folder, self.name(), remove);
        }
    }

    /// Opens the far link. As long as that fails, says why, and tries again. Messages do not wait for room in `queue`
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`Halt::NoLink`] if the sizes are invalid, or another link has come at the origin meanwhile.
    pub(super) fn open(
        &self,
        shared: &Shared,
        from: From,
        queue: &Arc<Queue>,
        report: &mut Report,
    ) -> Result<Far, Halt> {
        queue.set_may_wait(false);
        let result = loop {
            match self.try_open(shared, from) {
                Ok(far) => break Ok(far),
                Err(Obstacle::Invalid(why)) => {
                    report.note_once("refused", format!("the link is not received: {why}"));
                    break Err(Halt::NoLink);
                }
                Err(Obstacle::Other(why)) => {
                    let message = format!("cannot make the far link, and tries again: {why}");
                    report.note_once("far_link_failed", message);
                }
            }
            if shared.context.stop.wait(PAUSE) {
                break Err(Halt::Stopping);
            }
            if queue.has_state_of_another(self.link) {
                break Err(Halt::NoLink);
            }
        };
        if result.is_ok() {
            report.is_over("far_link_failed");
        }
        queue.set_may_wait(true);
        result
    }

    fn try_open(&self, shared: &Shared, from: From) -> Result<Far, Obstacle> {
        let (From::NewOrContinued(start) | From::Exactly(start)) = from;
        let folder = &shared.context.folder;
        let found = self.find(shared);
        match found {
            Found::NotOurs => {
                let name = self.name();
                return Err(Obstacle::Other(format!(
                    "there is a link {name} that no bridge has made: remove it (tango rm {name}), or choose another name"
                )));
            }
            Found::Another => far::end(folder, self.name(), true)?,
            Found::Nothing | Found::Unused | Found::Same => {}
        }
        let open = || Far::open(&self.plan, start, self.link, shared.settings.patience);
        let far = open()?;
        let may_continue = matches!(from, From::NewOrContinued(_)) && found == Found::Same;
        if far.next() == start || may_continue {
            return Ok(far);
        }
        far.end(true)?;
        let far = open()?;
        let next = far.next();
        if next == start {
            Ok(far)
        } else {
            let name = self.name();
            Err(Obstacle::Other(format!("the next number of {name} is {next}, and not {start}")))
        }
    }
}

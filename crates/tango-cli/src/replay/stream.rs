//! [`Stream`]: a link that is made again, its producer, and its consumers as they come and go.

use std::time::{Duration, Instant};

use rust_tango::{FragmentMetadata, Producer, TangoError};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::{LinkFolder, RemoveOnDrop};
use crate::receivers::{Receivers, living};
use crate::recording::{Recorded, missing_before};
use crate::{format, hints, signals, standard};

pub(super) struct Stream {
    /// The name that the link had.
    pub(super) recorded_name: String,
    /// The name that it has now.
    name: String,
    tx: Producer<'static>,
    receivers: Receivers,
    wait_for: usize,
    /// The number after the last one that it had.
    end: Option<u64>,
    /// Dropped last: removes the link.
    link: RemoveOnDrop,
}

impl Stream {
    /// Makes the link, under another name if there is one.
    pub(super) fn make(
        folder: &LinkFolder,
        other_name: Option<&str>,
        recorded: &Recorded,
        wait_for: Option<usize>,
    ) -> Result<Self, Failure> {
        let facts = &recorded.facts;
        let name = other_name.unwrap_or(&facts.name);
        let slots = facts.geometry.consumers;
        let wait_for = wait_for.unwrap_or(slots.min(1));
        if wait_for > slots {
            return Err(Failure::usage(format!(
                "--wait-for {wait_for} is more than the {slots} slots for consumers that link {name} has"
            )));
        }
        let start = recorded.first.map_or(facts.geometry.start, |(number, _)| number);
        let link = RemoveOnDrop(facts.settings(folder.builder(), start).create(name)?);
        match link.0.check_trust() {
            Err(error) if wait_for > 0 => return Err(error.into()),
            // Observers can come.
            Err(error) => drop(Failure::from(error).report()),
            Ok(()) => {}
        }
        let tx = link.0.producer()?;
        let receivers = Receivers::new(&link.0, name, wait_for);
        let (recorded_name, name) = (facts.name.clone(), name.to_owned());
        let end = recorded.last.and(recorded.end);
        Ok(Self { recorded_name, name, tx, receivers, wait_for, end, link })
    }

    /// Waits until the awaited consumers have joined.
    pub(super) fn start(&mut self, folder: &LinkFolder) -> Result<(), Failure> {
        let (begin, mut backoff) = (Instant::now(), Backoff::new());
        let mut hint = Some(hints::delay(Duration::ZERO));
        while living(&self.link.0.status()) < self.wait_for {
            self.check_signal()?;
            if self.link.0.status().stopped {
                return Err(self.stopped());
            }
            if hint.take_if(|after| begin.elapsed() >= *after).is_some() {
                standard::write_error(&hints::of_missing_receivers(folder, &self.name, self.wait_for));
            }
            backoff.sleep();
        }
        // Reaps consumers that have died before the start: their deaths do not count.
        let _ = self.tx.consumers();
        self.receivers.start();
        Ok(())
    }

    /// Publishes a fragment with its number. Those that are missing before it are left out. False: a consumer has kept it
    /// waiting for `patience`, or there are many to leave out: what was left out is.
    pub(super) fn publish(
        &self,
        meta: &FragmentMetadata,
        payload: &[u8],
        patience: Duration,
    ) -> Result<bool, Failure> {
        // If they go back, the fragments have other numbers from there on.
        if !self.leave_out_before(meta.seq, patience)? {
            return Ok(false);
        }
        match self.tx.publish_timeout(payload, meta.sig, meta.ctl, meta.ts, patience) {
            Ok(_) => Ok(true),
            Err(TangoError::NoCredits) => Ok(false),
            Err(TangoError::Closed) => Err(self.stopped()),
            Err(error) => Err(Failure::new(format!("link {}: {error}", self.name))),
        }
    }

    /// Leaves out the numbers before this one. False: see [`Self::publish`].
    fn leave_out_before(&self, number: u64, patience: Duration) -> Result<bool, Failure> {
        match missing_before(number, self.tx.next_seq()) {
            0 => Ok(true),
            missing => match self.tx.skip_timeout(missing, patience) {
                Ok(done) => Ok(done == missing),
                Err(_) => Err(self.stopped()),
            },
        }
    }

    /// Leaves out the numbers that are missing at the end. Looks at the consumers each time that it has waited for
    /// `patience`.
    fn leave_out_rest(&mut self, patience: Duration) -> Result<(), Failure> {
        let Some(end) = self.end else { return Ok(()) };
        while !self.leave_out_before(end, patience)? {
            self.check_signal()?;
            self.check()?;
        }
        Ok(())
    }

    /// Looks at the consumers.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.receivers.check().map_or(Ok(()), Err)
    }

    /// Leaves out what is missing at the end, waits until the consumers have read everything, closes the link and removes
    /// it.
    pub(super) fn finish(mut self, patience: Duration) -> Result<(), Failure> {
        if let Err(failure) = self.leave_out_rest(patience) {
            self.abandon();
            return Err(failure);
        }
        let mut backoff = Backoff::new();
        let mut waited = Ok(());
        while self.link.0.status().consumers.iter().any(|consumer| consumer.alive && consumer.lag > 0) {
            waited = self.check_signal();
            if waited.is_err() {
                break;
            }
            backoff.sleep();
        }
        let received = match self.receivers.finish() {
            Some(received) => received,
            None => Err(self.stopped()),
        };
        if waited.is_err() {
            self.abandon();
            return waited;
        }
        drop(self.tx);
        received
    }

    /// Ends the link early: its consumers learn that data is missing.
    pub(super) fn abandon(self) {
        let _ = self.link.0.stop();
    }

    fn check_signal(&self) -> Result<(), Failure> {
        signals::arrived().map_or(Ok(()), |signal| Err(Failure::signal(signal)))
    }

    fn stopped(&self) -> Failure {
        let name = &self.name;
        if self.link.0.status().name_lost {
            return Failure::new(format!("{} before everything was replayed", format::name_lost(name)));
        }
        Failure::new(format!("link {name} was stopped before everything was replayed"))
    }
}

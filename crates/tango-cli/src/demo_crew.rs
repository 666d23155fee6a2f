//! The processes of the demonstration: started, listened to, and ended whatever happens.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, io};

use clap::ValueEnum;

use crate::demo_roles;
use crate::failure::Failure;
use crate::place::Place;
use crate::signals::Ending;

/// Time between two calls of a tick.
const TICK: Duration = Duration::from_millis(200);
/// How much longer than planned a stage may take before something must be wrong.
const GRACE: Duration = Duration::from_secs(60);

/// All processes of a demonstration, and the links that they make. Dropping it ends and removes them.
pub(crate) struct Crew {
    place: Place,
    members: Vec<Member>,
    links: Vec<String>,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

struct Member {
    title: String,
    child: Child,
    stdin: Option<ChildStdin>,
    ready: bool,
    ended: bool,
    report: Option<Report>,
}

enum Event {
    /// A member, and a line that it has written.
    Line(usize, String),
    /// A member whose output has ended.
    End(usize),
    Signal(i32),
}

/// What a role has counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report(HashMap<String, u64>);

impl Report {
    fn parse(text: &str) -> Self {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        Self(pairs.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect())
    }

    /// A count by its name; 0 if it is not there.
    pub(crate) fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }
}

impl Crew {
    /// Nobody yet. From now on, a signal that asks this program to end is a failure of whatever waits here.
    pub(crate) fn new(place: &Place) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel();
        let signals = sender.clone();
        Ending::hold_back()?.when_asked(move |signal| {
            // Nobody listens any more: the demonstration is at its end anyway.
            let _ = signals.send(Event::Signal(signal));
        });
        Ok(Self { place: place.clone(), members: Vec::new(), links: Vec::new(), sender, events })
    }

    /// A name for a link of this run, to be removed at the end.
    pub(crate) fn name_link(&mut self, purpose: &str) -> String {
        // Process ids are not unique among containers that share a folder of links.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("demo-{}-{:03x}-{purpose}", process::id(), now.subsec_nanos() & 0xfff);
        self.links.push(name.clone());
        name
    }

    /// Starts a process; `title` names it in messages. Returns its number.
    pub(crate) fn start(&mut self, title: &str, role: &demo_roles::Arguments) -> Result<usize, Failure> {
        let failed =
            |what: &str, error: io::Error| Failure::new(format!("cannot {what} the {title}: {error}"));
        let program = env::current_exe().map_err(|error| failed("find the program for", error))?;
        let part = role.part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut command = Command::new(program);
        if let Some(dir) = self.place.explicit() {
            command.arg("--dir").arg(dir);
        }
        command.args(["role", "--part", &part, "--link", &role.link, "--back", &role.back]);
        let numbers = [
            ("--size", role.size as u64),
            ("--depth", role.depth as u64),
            ("--consumers", role.consumers as u64),
            ("--nanos", role.nanos),
            ("--rate", role.rate),
            ("--parent", role.parent.into()),
        ];
        for (option, number) in numbers {
            command.arg(option).arg(number.to_string());
        }
        // In a group of its own, so that Ctrl-C reaches the demonstration first, which ends the others.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| failed("start", error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let number = self.members.len();
        self.members.push(Member {
            title: title.to_owned(),
            child,
            stdin,
            ready: false,
            ended: false,
            report: None,
        });
        let sender = self.sender.clone();
        thread::spawn(move || {
            for line in
                stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok)
            {
                let _ = sender.send(Event::Line(number, line));
            }
            let _ = sender.send(Event::End(number));
        });
        Ok(number)
    }

    /// Waits until the links of all who were started are made or joined.
    pub(crate) fn until_ready(&mut self) -> Result<(), Failure> {
        self.until(Duration::ZERO, |member| member.ready, || {})
    }

    /// Gives one of them the sign to begin.
    pub(crate) fn go(&mut self, number: usize) -> Result<(), Failure> {
        let member = &mut self.members[number];
        let sign = member.stdin.as_mut().map(|stdin| stdin.write_all(b"go\n"));
        sign.transpose()
            .map(|_| ())
            .map_err(|error| Failure::new(format!("lost the {}: {error}", member.title)))
    }

    /// Waits until all have ended, which should take `time`; calls `tick` now and then.
    pub(crate) fn until_ended(&mut self, time: Duration, tick: impl FnMut()) -> Result<(), Failure> {
        self.until(time, |member| member.ended, tick)
    }

    /// What the member has counted.
    pub(crate) fn report(&self, number: usize) -> Report {
        self.members[number].report.clone().unwrap_or_default()
    }

    fn until(
        &mut self,
        time: Duration,
        done: impl Fn(&Member) -> bool,
        mut tick: impl FnMut(),
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut next_tick = begin + TICK;
        while let Some(waited_for) = self.members.iter().find(|member| !done(member)) {
            if begin.elapsed() > time + GRACE {
                return Err(Failure::new(format!("the {} did not get on", waited_for.title)));
            }
            match self.events.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {
                    tick();
                    next_tick = Instant::now() + TICK;
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("the crew itself keeps a sender"),
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Signal(number) => Err(Failure::signal(number)),
            Event::Line(number, line) => {
                let member = &mut self.members[number];
                match line.split_once(' ').unwrap_or((&line, "")) {
                    ("ready", _) => member.ready = true,
                    ("result", counts) => member.report = Some(Report::parse(counts)),
                    (_, sentence) => {
                        return Err(Failure::new(format!("the {} failed: {sentence}", member.title)));
                    }
                }
                Ok(())
            }
            Event::End(number) => {
                let member = &mut self.members[number];
                let status = member.child.wait();
                member.ended = true;
                match status {
                    Ok(status) if status.success() && member.report.is_some() => Ok(()),
                    Ok(status) => Err(Failure::new(format!("the {} ended early: {status}", member.title))),
                    Err(error) => Err(Failure::new(format!("lost the {}: {error}", member.title))),
                }
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            if !member.ended {
                // It may have ended meanwhile; its id is ours until we have waited for it.
                let _ = member.child.kill();
                let _ = member.child.wait();
            }
        }
        for link in &self.links {
            // Most have been removed by who made them.
            let _ = self.place.remove(link);
        }
    }
}

//! [`Processes`]: the child processes of the demonstration and the links that they create. Its end, or at the
//! latest dropping it, ends the processes and removes the links, whatever has happened.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::mem;
use std::os::unix::process::CommandExt;
use std::process::{self, Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use nix::sys::signal::Signal;

use crate::demo::protocol::{Counts, Line};
use crate::demo::role;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::measuring::wire::back_of;
use crate::signals::{self, TerminationSignals};

/// Time between two progress updates.
const TICK: Duration = Duration::from_millis(200);
/// A stage fails if it takes this much longer than planned.
const GRACE: Duration = Duration::from_secs(60);

/// All child processes of a demonstration, and its links.
pub(crate) struct Processes {
    folder: LinkFolder,
    processes: Vec<Process>,
    links: Vec<String>,
    /// Kept for the threads that read the output of further processes.
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// The termination signal that has arrived.
    signal: Option<i32>,
}

struct Process {
    /// What messages call it: "the TITLE failed".
    title: String,
    child: Child,
    stdin: Option<ChildStdin>,
    is_ready: bool,
    has_ended: bool,
    /// Lines for the report.
    text: String,
    result: Option<Counts>,
}

impl Process {
    fn end(mut self) {
        if !self.has_ended {
            // It may have ended already. Its id is not reused before it was waited for.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

enum Event {
    /// A line of output of the process with this index.
    Line(usize, String),
    /// The process with this index has closed its output.
    End(usize),
    /// A termination signal has arrived.
    Signal(i32),
    /// The links have been removed.
    Removed,
}

impl Processes {
    /// No processes yet. From now on, a termination signal makes the methods that wait fail.
    pub(crate) fn new(folder: &LinkFolder) -> Result<Self, Failure> {
        // If its parent has ignored this signal, the kernel would not tell how a child has ended.
        signals::restore_default(Signal::SIGCHLD).map_err(Failure::signals)?;
        let (sender, events) = mpsc::channel();
        let on_signal = sender.clone();
        let interrupting = TerminationSignals::block().and_then(|signals| {
            signals.interrupt_main_thread(move |signal| {
                // It fails if the demonstration is ending already.
                let _ = on_signal.send(Event::Signal(signal));
            })
        });
        interrupting.map_err(Failure::signals)?;
        let (processes, links) = (Vec::new(), Vec::new());
        Ok(Self { folder: folder.clone(), processes, links, sender, events, signal: None })
    }

    /// A new name for a link, which is removed at the end, as is the way back of a measurement on it.
    pub(crate) fn name_link(&mut self, purpose: &str) -> String {
        // The time is part of the name because containers that share a folder of links can have equal
        // process ids.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("demo-{}-{:03x}-{purpose}", process::id(), now.subsec_nanos() & 0xfff);
        self.links.extend([back_of(&name), name.clone()]);
        name
    }

    /// Starts a process. `title` names it in error messages. Returns its index.
    pub(crate) fn start(&mut self, title: &str, arguments: &role::Arguments) -> Result<usize, Failure> {
        let failed =
            |what: &str, error: io::Error| Failure::new(format!("cannot {what} the {title}: {error}"));
        let program = env::current_exe().map_err(|error| failed("find the program for", error))?;
        let part =
            arguments.part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut command = Command::new(program);
        command.arg(role::NAME);
        if let Some(dir) = self.folder.dir() {
            command.arg("--dir").arg(dir);
        }
        command.args(["--part", &part, "--link", &arguments.link]);
        let numbers = [
            ("--size", arguments.size as u64),
            ("--depth", arguments.depth as u64),
            ("--consumers", arguments.consumers as u64),
            ("--nanos", arguments.nanos),
            ("--parent", arguments.parent.into()),
        ];
        for (option, number) in numbers {
            command.arg(option).arg(number.to_string());
        }
        // A process group of its own: Ctrl-C then reaches only the demonstration, which ends its children.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| failed("start", error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let index = self.processes.len();
        self.processes.push(Process {
            title: title.to_owned(),
            child,
            stdin,
            is_ready: false,
            has_ended: false,
            text: String::new(),
            result: None,
        });
        let sender = self.sender.clone();
        thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(Event::Line(index, line));
            }
            let _ = sender.send(Event::End(index));
        });
        Ok(index)
    }

    /// Waits until every process has created or joined its links.
    pub(crate) fn wait_until_ready(&mut self) -> Result<(), Failure> {
        self.wait_until(Duration::ZERO, |process| process.is_ready, || {})
    }

    /// Tells a process to begin.
    pub(crate) fn begin(&mut self, index: usize) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let written = process.stdin.as_mut().map(|stdin| stdin.write_all(b"begin\n"));
        written
            .transpose()
            .map(|_| ())
            .map_err(|error| Failure::new(format!("cannot tell the {} to begin: {error}", process.title)))
    }

    /// Waits until every process has ended, which should take `planned`. Calls `tick` every 200 ms.
    pub(crate) fn wait_until_ended(&mut self, planned: Duration, tick: impl FnMut()) -> Result<(), Failure> {
        self.wait_until(planned, |process| process.has_ended, tick)
    }

    /// The counts of a process that has ended.
    pub(crate) fn result(&self, index: usize) -> Counts {
        self.processes[index].result.clone().unwrap_or_default()
    }

    /// What a process has written for the report.
    pub(crate) fn text(&self, index: usize) -> &str {
        &self.processes[index].text
    }

    /// Ends the processes and removes the links. After a signal, which is the error, this takes no longer than
    /// [`signals::GRACE`], even if another process holds a lock that is needed.
    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        for process in self.processes.drain(..) {
            process.end();
        }
        let (folder, links, sender) = (self.folder.clone(), mem::take(&mut self.links), self.sender.clone());
        thread::spawn(move || {
            for link in links {
                // It fails for links that their producers have removed.
                let _ = folder.remove(&link);
            }
            let _ = sender.send(Event::Removed);
        });
        let mut deadline = self.signal.map(|_| Instant::now() + signals::GRACE);
        loop {
            let patience =
                deadline.map_or(TICK, |deadline| deadline.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(patience) {
                Ok(Event::Removed) => break,
                Ok(Event::Signal(number)) => {
                    self.signal = Some(number);
                    deadline = Some(Instant::now() + signals::GRACE);
                }
                Err(RecvTimeoutError::Timeout) if deadline.is_some() => break,
                _ => {}
            }
        }
        self.signal.map_or(Ok(()), |number| Err(Failure::signal(number)))
    }

    fn wait_until(
        &mut self,
        planned: Duration,
        done: impl Fn(&Process) -> bool,
        mut tick: impl FnMut(),
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut next_tick = begin + TICK;
        while let Some(awaited) = self.processes.iter().find(|process| !done(process)) {
            if begin.elapsed() > planned + GRACE {
                let waited = begin.elapsed().as_secs();
                return Err(Failure::new(format!(
                    "timed out after {waited} s waiting for the {}",
                    awaited.title
                )));
            }
            match self.events.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(event) => self.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {
                    tick();
                    next_tick = Instant::now() + TICK;
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("`self.sender` keeps the channel open"),
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Signal(number) => {
                self.signal = Some(number);
                Err(Failure::signal(number))
            }
            Event::Removed => Ok(()),
            Event::Line(index, line) => {
                let process = &mut self.processes[index];
                match Line::parse(&line) {
                    Line::Ready => process.is_ready = true,
                    Line::Text(words) => process.text = mem::take(&mut process.text) + &words + "\n",
                    Line::Result(counts) => process.result = Some(counts),
                    Line::Error(message) => {
                        return Err(Failure::new(format!("the {} failed: {message}", process.title)));
                    }
                }
                Ok(())
            }
            Event::End(index) => {
                let process = &mut self.processes[index];
                let status = process.child.wait();
                process.has_ended = true;
                match status {
                    Ok(status) if status.success() && process.result.is_some() => Ok(()),
                    Ok(status) => Err(Failure::new(format!("the {} ended early: {status}", process.title))),
                    Err(error) => {
                        Err(Failure::new(format!("the {} cannot be waited for: {error}", process.title)))
                    }
                }
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if !self.links.is_empty() {
            let _ = self.end();
        }
    }
}

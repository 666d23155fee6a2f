//! A process that answers, which `tango bench` and the demonstration start: this program again, as `tango bench-role`. That is
//! not a subcommand for people. And what they do with it: [`measure`].

use std::env;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::measuring::answer::{Answering, Served};
use crate::measuring::ask::{Asking, Measured, Plan, Session};
use crate::measuring::cores;
use crate::measuring::created::Created;
use crate::measuring::options::Waiting;
use crate::signals;

/// The first argument of such a process.
pub(crate) const NAME: &str = "bench-role";
/// How long the side that asks waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answer one measurement
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Link of the side that asks
    #[arg(long)]
    link: String,
    /// Core to run on
    #[arg(long)]
    core: usize,
    /// How to wait
    #[arg(long)]
    wait: Option<Waiting>,
    /// Process id of the side that asks
    #[arg(long)]
    parent: u32,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    let Arguments { link, core, wait, parent } = arguments;
    end_with(*parent)?;
    let created = Created::until_signal()?;
    let answering = Answering {
        folder,
        link,
        usable: &[*core],
        core: Some(*core),
        wait: wait.map(Waiting::wait),
        group: None,
        inherits: true,
    };
    let begin = Instant::now();
    let served = answering.serve(&created, || match begin.elapsed() {
        waited if waited > PATIENCE => Err(Failure::new("the asking side has made no link")),
        _ => Ok(()),
    });
    // The side that asks removes what is left, and says if it cannot.
    let _ = created.remove();
    match served? {
        Served::Complete => Ok(()),
        Served::Broken(failure) => Err(failure),
    }
}

/// From now on, the kernel sends this process `SIGTERM` when the process that has started it dies. Fails if that has died.
pub(crate) fn end_with(parent: u32) -> Result<(), Failure> {
    // The parent may have been told to ignore the signal. It ends this process nevertheless.
    signals::restore_default(Signal::SIGTERM).map_err(Failure::signals)?;
    prctl::set_pdeathsig(Signal::SIGTERM)
        .map_err(|error| Failure::new(format!("cannot set the parent-death signal: {error}")))?;
    // If the parent died before that call, no signal comes.
    if parent_id() == parent { Ok(()) } else { Err(Failure::already_reported()) }
}

/// Where the two sides run, and how they wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) cores: [usize; 2],
    pub(crate) wait: Option<Waiting>,
}

/// Two different cores, if this process may use so many, and the best pair for a link.
pub(crate) fn default_cores() -> Result<[usize; 2], Failure> {
    let usable = cores::usable()?;
    let first = usable.first().copied().ok_or_else(|| Failure::new("this process may not use any core"))?;
    Ok([first, cores::beside(&usable, first)?])
}

/// Measures a private link between this process and one that it starts. Both links of this name are removed at the end.
pub(crate) fn measure(
    folder: &LinkFolder,
    link: &str,
    setting: Setting,
    plan: &Plan,
    created: &Created,
    progress: impl FnMut(u32),
) -> Result<Measured, Failure> {
    let Setting { cores, wait } = setting;
    created
        .child(|| start(folder, link, cores[1], wait))
        .map_err(|error| Failure::new(format!("cannot start the answering process: {error}")))?;
    let asking = Asking { folder, link, core: cores[0], wait: wait.map(Waiting::wait), group: None };
    let begin = Instant::now();
    let measured = Session::open(&asking, plan, created, || {
        if let Some(Some(status)) = created.with_child(|child| child.try_wait().ok().flatten()) {
            return Err(Failure::new(format!("the answering process ended early: {status}")));
        }
        if begin.elapsed() > PATIENCE {
            return Err(Failure::new("the answering process did not join"));
        }
        Ok(())
    })
    .and_then(|mut session| session.measure(plan, progress));
    let said = match &measured {
        Ok(_) => None,
        Err(_) => created.with_child(last_words).flatten(),
    };
    let removed = created.remove();
    let measured = measured.map_err(|failure| {
        said.map_or(failure, |said| Failure::new(format!("the answering process failed: {said}")))
    });
    measured.and_then(|measured| removed.map(|()| measured))
}

fn start(folder: &LinkFolder, link: &str, core: usize, wait: Option<Waiting>) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(NAME);
    if let Some(dir) = folder.dir() {
        command.arg("--dir").arg(dir);
    }
    command.args(["--link", link, "--core", &core.to_string(), "--parent", &process::id().to_string()]);
    if let Some(wait) = wait.and_then(|wait| wait.to_possible_value()) {
        command.args(["--wait", wait.get_name()]);
    }
    // A process group of its own: Ctrl-C then reaches only this process, which ends it.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn()
}

/// What the process has said about its failure. It gets a moment to end, since its failure may be the reason for another.
fn last_words(child: &mut Child) -> Option<String> {
    let begin = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if begin.elapsed() > signals::GRACE {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let mut text = String::new();
    child.stderr.take()?.read_to_string(&mut text).ok()?;
    let text = text.trim().trim_start_matches("tango: ");
    (!text.is_empty()).then(|| text.to_owned())
}

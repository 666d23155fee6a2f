//! `tango ping`: round trips between two processes that people start themselves, in containers, cgroups or as users of their
//! choice. One side asks, and `tango ping --answer` in another process answers.

use std::mem;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::measuring::answer::{Answering, Served};
use crate::measuring::ask::{Asking, Session};
use crate::measuring::cores;
use crate::measuring::created::Created;
use crate::measuring::options::{Options, Waiting, What};
use crate::measuring::progress::Progress;
use crate::measuring::wire::back_of;
use crate::{bench, format, hints, options, standard};

const DETAILS: &str = "\
Examples:
  tango ping test --answer &                 answer until terminated
  tango ping test                            measure round trips
  tango ping test --measure round-trip,one-way,throughput
  docker exec -d feed tango ping test --answer --core 2
  docker exec strategy tango ping test --core 3 --json
  tango ping test --answer --once &
  taskset -c 5 tango ping test --wait park   as a program that may sleep

The side that asks makes LINK, and the side that answers LINK.back for the way
back. Both must look in the same folder of links (--dir). Either can be started
first. Each removes its own link at the end. The answering side counts, checks
and measures what it receives, and reports that over its link.

Each side runs on one core: --core, or else one that it may use, and the
answering side takes another than the asking one if it can.

To measure between users, give both sides a --group that both are members of,
and a folder in which the group may make links:
  install -d -m 2770 -g traders /dev/shm/test

'tango bench --help' explains the rows and warnings. There is no raw line if
the answering side may not open the file for it, which is in the folder of
links for a moment.

Exit status:
  0      measured, and every byte was correct; with --answer --once: answered
  1      a message was wrong, the other side died or ended, the link is one of
         another program, or another failure
  2      invalid usage
  3      messages were lost
  128+N  terminated by signal N; the link of this side is removed";

/// Measure round trips to another process
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Name for the link of the side that asks; the way back
    /// is LINK.back
    #[arg(verbatim_doc_comment)]
    pub(crate) link: String,
    /// Answer what 'tango ping LINK' of another process
    /// asks, until terminated
    #[arg(
        long,
        alias = "echo",
        conflicts_with_all = ["size", "depth", "duration", "count", "windows", "rate", "measure", "json"],
        verbatim_doc_comment
    )]
    answer: bool,
    /// Answer one measurement, then exit
    #[arg(long, requires = "answer")]
    once: bool,
    /// Core of this side
    /// [default: one that this process may use]
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    core: Option<usize>,
    /// How this side waits: spin, yield or park
    /// [default: spin; park if both share a core]
    #[arg(long, value_name = "HOW", hide_possible_values = true, verbatim_doc_comment)]
    wait: Option<Waiting>,
    /// Let a member of a group be the other side
    #[arg(long, value_name = "NAME|GID", value_parser = options::group)]
    group: Option<u32>,
    /// Wait no longer than this for the other side
    /// [default: no limit]
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = options::seconds,
        verbatim_doc_comment
    )]
    timeout: Option<Duration>,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    if let Some(core) = arguments.core {
        cores::check("--core", core)?;
    }
    let created = Created::until_signal()?;
    let result =
        if arguments.answer { answer(arguments, folder, &created) } else { ask(arguments, folder, &created) };
    result.and(created.remove())
}

fn ask(arguments: &Arguments, folder: &LinkFolder, created: &Created) -> Result<(), Failure> {
    let Arguments { link, core, wait, group, options, .. } = arguments;
    let plan = options.plan(&[What::RoundTrip]);
    let usable = cores::usable()?;
    let core =
        core.or(usable.first().copied()).ok_or_else(|| Failure::new("this process may not use any core"))?;
    let asking = Asking { folder, link, core, wait: wait.map(Waiting::wait), group: *group };
    let mut session = Session::open(&asking, &plan, created, patience(arguments, folder, true))?;
    let mut progress = Progress::on_terminal();
    let measured = session.measure(&plan, |window| {
        progress.show(&format!("measuring: window {window} of {}", plan.windows));
    });
    progress.erase();
    // Closes the link, so that the other side ends, before this one waits for standard output.
    drop(session);
    let removed = created.remove();
    bench::print(&measured?, &plan, options.json.then_some(("ping", Some(link))))?;
    removed
}

fn answer(arguments: &Arguments, folder: &LinkFolder, created: &Created) -> Result<(), Failure> {
    let Arguments { link, core, wait, group, once, .. } = arguments;
    let usable = cores::usable()?;
    let answering = Answering {
        folder,
        link,
        usable: &usable,
        core: *core,
        wait: wait.map(Waiting::wait),
        group: *group,
        inherits: false,
    };
    let mut is_first = true;
    loop {
        match answering.serve(created, patience(arguments, folder, mem::take(&mut is_first)))? {
            Served::Broken(failure) if *once => return Err(failure),
            // That is no reason not to answer the next one.
            Served::Broken(failure) => drop(failure.report()),
            Served::Complete if *once => return Ok(()),
            Served::Complete => {}
        }
    }
}

/// What a side does while the other one is missing: it says so once, if it has to, and fails when its time is up.
fn patience<'a>(
    arguments: &'a Arguments,
    folder: &'a LinkFolder,
    says_so: bool,
) -> impl FnMut() -> Result<(), Failure> + 'a {
    let begin = Instant::now();
    let mut hint = says_so.then(|| hints::delay(Duration::from_secs(1)));
    move || {
        if arguments.timeout.is_some_and(|timeout| begin.elapsed() >= timeout) {
            return Err(Failure::new(format!(
                "{} (waited {:.1} s)",
                missing(arguments, folder),
                begin.elapsed().as_secs_f64()
            )));
        }
        if hint.take_if(|after| begin.elapsed() >= *after).is_some() {
            let line = format::one_line(&format!("tango: {}", missing(arguments, folder)));
            standard::write_error(&format!("{line}\n"));
        }
        Ok(())
    }
}

/// Says how to start the other side.
fn missing(arguments: &Arguments, folder: &LinkFolder) -> String {
    let link = &arguments.link;
    let path = folder.path();
    let dir = folder.dir().map_or(String::new(), |dir| format!(" --dir {}", dir.display()));
    if arguments.answer {
        format!(
            "no process asks on link {link} in {}; to start one, run: tango ping {link}{dir}",
            path.display()
        )
    } else {
        format!(
            "no process answers on link {link} in {} with {}; to start one, run: tango ping {link} --answer{dir}",
            path.display(),
            back_of(link)
        )
    }
}

//! `tango top`: all links on a screen that is drawn again and again.
//!
//! `keys` reads what was typed, `list` holds what is known of the links, and `view` draws it. This file waits for keys, signals
//! and the next look.

mod keys;
mod list;
mod view;
#[cfg(test)]
mod view_tests;

use std::io::{self, BufWriter};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use ratatui::Terminal;
use ratatui::backend::{Backend, TermionBackend};
use ratatui::layout::{Position, Rect};
use ratatui::termion::event::Key;

use self::keys::Keys;
use self::list::{Column, List};
use self::view::Look;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::receivers::living;
use crate::signals::{self, TerminalSignals};
use crate::{format, options, report, sampling, standard, terminal};

const DETAILS: &str = "\
Examples:
  tango top                     all links, again each second
  tango top --interval 0.2
  tango top --interval 10 | cat     one table after ten seconds, for scripts

Columns:
  STATE      of the producer, as in 'tango ls'. A link that cannot be read is
             damaged or error; the line below the links says why
  FRAG/s     fragments published, a second
  MAX B/s    bytes a second, at most: FRAG/s times the MTU. A link does not
             count bytes
  RING       how much of the ring waits for the slowest consumer. At 100% the
             producer waits, too
  LAG        fragments that the slowest consumer has yet to read
  LOST       fragments that the consumers have missed
  WAITS/s    fragments that had to wait for a consumer, a second
  HISTORY    FRAG/s over time, one interval a character
  CONSUMERS  living reliable consumers, of the available slots
The columns that fit are shown. Units are powers of 1000.

Keys:
  q, Ctrl-C           quit
  up, down, j, k      select a link; also Page Up, Page Down, Home, End
  Enter               the selected link alone, with its consumers; Esc goes back
  right, left, >, <   sort by another column
  r                   reverse the order

If standard output is not a terminal, or TERM is 'dumb', one table is printed
after one interval. NO_COLOR turns colors off.

top reads counters. It reads no fragment and writes to no link.

Exit status:
  0      success
  1      failure; with a table: also if a link cannot be read
  2      invalid usage
  128+N  terminated by signal N";

/// Show all links and their rates on a screen
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Time between two looks, 0.1 or more
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "1",
        value_parser = options::interval
    )]
    interval: Duration,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    if terminal::has_screen() {
        run_on_screen(arguments.interval, folder)
    } else {
        print_table(arguments.interval, folder)
    }
}

/// Prints a table of what happens in one interval.
fn print_table(interval: Duration, folder: &LinkFolder) -> Result<(), Failure> {
    let mut list = List::new();
    list.update(sampling::sample_all(folder)?);
    thread::sleep(interval);
    list.update(sampling::sample_all(folder)?);
    let headings = ["LINK", "STATE", "FRAG/s", "MAX B/s", "RING", "LAG", "LOST", "WAITS/s", "CONSUMERS"]
        .map(String::from);
    let mut rows = vec![headings.to_vec()];
    let mut any_broken = false;
    for row in list.rows() {
        let number = |column| row.number(column).map_or("-".to_owned(), view::compact);
        let mut cells = vec![row.name.clone(), row.state().to_owned()];
        cells.extend([number(Column::Rate), number(Column::Bytes)]);
        cells.push(row.number(Column::Ring).map_or("-".to_owned(), |percent| format!("{percent:.0}%")));
        cells.extend([Column::Lag, Column::Lost, Column::Waits].map(number));
        match &row.found {
            Ok(sample) => cells.push(format!("{} of {}", living(&sample.status), sample.geometry.consumers)),
            Err(unreadable) => {
                any_broken = true;
                cells.push("-".to_owned());
                Failure::new(format!("{}: {}", row.name, unreadable.reason)).report();
            }
        }
        rows.push(cells);
    }
    let text =
        if rows.len() > 1 { format::table(&rows, &[2, 3, 4, 5, 6, 7]) } else { report::nothing_in(folder) };
    standard::print(&text).map_err(Failure::output)?;
    if any_broken { Err(Failure::already_reported()) } else { Ok(()) }
}

/// Draws until the user quits or a signal ends the process.
fn run_on_screen(interval: Duration, folder: &LinkFolder) -> Result<(), Failure> {
    // Before the screen, on which a message would be lost.
    let mut list = List::new();
    list.update(sampling::sample_all(folder)?);
    let mut sampled = Instant::now();
    let signals = TerminalSignals::block().map_err(Failure::signals)?;
    signals::interrupt_by_termination().map_err(Failure::signals)?;

    let _restore = terminal::RestoreOnDrop;
    terminal::enter().map_err(Failure::output)?;
    let backend = TermionBackend::new(BufWriter::new(standard::Output));
    let mut screen = Terminal::new(backend).map_err(Failure::output)?;
    let mut keys = Keys::of_terminal();
    let mut look = Look {
        has_colors: terminal::has_colors(),
        is_unicode: terminal::is_unicode(),
        has_keys: keys.are_open(),
        details: false,
        title: String::new(),
    };
    loop {
        look.title = title(folder, &list, interval);
        screen.draw(|frame| view::draw(frame, &list, &look)).map_err(Failure::output)?;
        let is_due = wait(&keys, &signals, sampled + interval).map_err(Failure::output)?;
        if let Some(signal) = signals::arrived() {
            return Err(Failure::signal(signal));
        }
        while let Some(signal) = signals.next().map_err(Failure::signals)? {
            if signal == Signal::SIGTSTP {
                terminal::restore();
                signals.stop().map_err(Failure::signals)?;
            }
            // Whatever had the terminal meanwhile has left its own modes and texts. After a change of size, drawing alone
            // would do.
            if signal != Signal::SIGWINCH {
                terminal::enter().map_err(Failure::output)?;
                redraw_all(&mut screen).map_err(Failure::output)?;
            }
        }
        for key in keys.read().map_err(Failure::input)? {
            if !handle(key, &mut list, &mut look, &screen) {
                return Ok(());
            }
        }
        look.has_keys = keys.are_open();
        if is_due {
            sampled = Instant::now();
            list.update(sampling::sample_all(folder)?);
        }
    }
}

fn title(folder: &LinkFolder, list: &List, interval: Duration) -> String {
    let links = match list.rows().len() {
        1 => "1 link".to_owned(),
        links => format!("{} links", format::count(links as u64)),
    };
    let seconds = interval.as_secs_f64();
    format::one_line(&format!("tango top   {links} in {}   every {seconds} s", folder.path().display()))
}

/// The next time, all cells are written, and not only those that have changed.
fn redraw_all<B: Backend>(screen: &mut Terminal<B>) -> Result<(), B::Error> {
    let size = screen.size()?;
    screen.resize(Rect::from((Position::ORIGIN, size)))
}

/// Waits for a key, a signal, or this time. Returns whether the time has come.
fn wait(keys: &Keys, signals: &TerminalSignals, until: Instant) -> io::Result<bool> {
    let left = until.saturating_duration_since(Instant::now());
    // Rounded up, so that the loop does not spin in the last millisecond.
    let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    let input = io::stdin();
    let mut ready = vec![PollFd::new(signals.descriptor(), PollFlags::POLLIN)];
    if keys.are_open() {
        ready.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
    }
    match poll(&mut ready, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(Instant::now() >= until),
        Err(error) => Err(error.into()),
    }
}

/// Returns false if the key quits.
fn handle<B: Backend>(key: Key, list: &mut List, look: &mut Look, screen: &Terminal<B>) -> bool {
    let page = screen.size().map_or(1, |size| size.height.saturating_sub(5).max(1)) as isize;
    match key {
        Key::Char('q' | 'Q') => return false,
        Key::Char('\n' | '\r') => look.details = !look.details,
        Key::Esc | Key::Backspace => look.details = false,
        Key::Up | Key::Char('k') => list.move_selection(-1),
        Key::Down | Key::Char('j') => list.move_selection(1),
        Key::PageUp => list.move_selection(-page),
        Key::PageDown => list.move_selection(page),
        Key::Home => list.select(0),
        Key::End => list.select(usize::MAX),
        Key::Right | Key::Char('>') => list.sort_by_next(true),
        Key::Left | Key::Char('<') => list.sort_by_next(false),
        Key::Char('r') => list.reverse(),
        _ => {}
    }
    true
}

//! What is drawn: the list of links, or one link.

use std::iter;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Sparkline, Table, TableState, Wrap};

use super::list::{Column, HISTORY, List, Row};
use crate::format;
use crate::receivers::living;
use crate::sampling::{Sample, consumer_state};

/// What the terminal can show, and what the user wants to see.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) has_colors: bool,
    pub(super) is_unicode: bool,
    /// Keys can be read.
    pub(super) has_keys: bool,
    /// The selected link alone.
    pub(super) details: bool,
    /// The first line: where, how often.
    pub(super) title: String,
}

/// Bars of a plot for terminals without Unicode.
const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "=",
    five_eighths: "=",
    half: "-",
    three_eighths: "-",
    one_quarter: ".",
    one_eighth: ".",
    empty: " ",
};

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, list: &List, look: &Look) {
    let selected = list.selected().and_then(|index| list.rows().get(index));
    let lines = frame.area().height;
    // On a small screen, the rows of the links matter most.
    let [title, body, status, keys] = Layout::vertical([
        Constraint::Length(u16::from(lines >= 4)),
        Constraint::Min(1),
        Constraint::Length(u16::from(lines >= 6)),
        Constraint::Length(u16::from(lines >= 3)),
    ])
    .areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(look.title.clone(), bold), title);
    match selected {
        None => frame.render_widget(Line::raw("There are no links."), body),
        Some(row) if look.details => draw_details(frame, body, row, look),
        Some(row) => {
            draw_list(frame, body, list, look);
            frame.render_widget(Line::raw(format::one_line(&about(row))), status);
        }
    }
    frame.render_widget(Line::styled(keys_that_fit(look, keys.width), bold), keys);
}

/// A sentence about a link: why it cannot be read, or what its producer waits for.
fn about(row: &Row) -> String {
    match &row.found {
        Err(unreadable) => unreadable.reason.clone(),
        Ok(sample) => {
            let (living, slots) = (living(&sample.status), sample.geometry.consumers);
            let held = sample.status.held_by.map(|slot| format!(", waits for consumer #{slot}"));
            let held = held.unwrap_or_default();
            format!("{}: producer {}{held}; {living} of {slots} consumers", row.name, row.state())
        }
    }
}

fn keys_that_fit(look: &Look, width: u16) -> String {
    if !look.has_keys {
        return "Ctrl-C quits".to_owned();
    }
    let arrows = if look.is_unicode { ["\u{2191}\u{2193}", "\u{2190}\u{2192}"] } else { ["j/k", "</>"] };
    let mut keys = vec!["q quit".to_owned()];
    if look.details {
        keys.extend(["Esc list".to_owned(), format!("{} other link", arrows[0])]);
    } else {
        keys.push("Enter details".to_owned());
        keys.extend([
            format!("{} link", arrows[0]),
            format!("{} sort by", arrows[1]),
            "r reverse".to_owned(),
        ]);
    }
    let mut text = String::new();
    for key in keys {
        let gap = if text.is_empty() { "" } else { "   " };
        if text.chars().count() + gap.len() + key.chars().count() > usize::from(width) {
            break;
        }
        text = text + gap + &key;
    }
    text
}

/// The heading of a column and its width.
fn heading(column: Column) -> (&'static str, u16) {
    match column {
        Column::Link => ("LINK", 0),
        Column::State => ("STATE", 7),
        Column::Rate => ("FRAG/s", 6),
        Column::Bytes => ("MAX B/s", 7),
        Column::Ring => ("RING", 4),
        Column::Lag => ("LAG", 5),
        Column::Lost => ("LOST", 5),
        Column::Waits => ("WAITS/s", 7),
        Column::Consumers => ("CONSUMERS", 9),
    }
}

/// The columns that fit, the most important ones first, and the widths of names and of the history.
fn columns_that_fit(width: u16, longest_name: u16) -> (Vec<Column>, u16, u16) {
    const BY_IMPORTANCE: [Column; 8] = [
        Column::State,
        Column::Rate,
        Column::Lag,
        Column::Lost,
        Column::Ring,
        Column::Waits,
        Column::Bytes,
        Column::Consumers,
    ];
    // A narrow history, and a gap on both sides.
    const LEAST_HISTORY: u16 = 8;
    let name = longest_name.clamp(5, (width / 4).max(6));
    let (mut left, mut shown) = (width.saturating_sub(name), vec![Column::Link]);
    for column in BY_IMPORTANCE {
        // The history matters more than how many consumers there are.
        let needed = heading(column).1 + 1 + if column == Column::Consumers { LEAST_HISTORY + 1 } else { 0 };
        if needed > left {
            break;
        }
        left -= heading(column).1 + 1;
        shown.push(column);
    }
    shown.sort_by_key(|column| Column::ALL.iter().position(|other| other == column));
    let extra = longest_name.saturating_sub(name).min(left.saturating_sub(LEAST_HISTORY + 1));
    let history = if left > LEAST_HISTORY { (left - extra - 1).min(HISTORY as u16) } else { 0 };
    (shown, name + if history > 0 { extra } else { longest_name.saturating_sub(name).min(left) }, history)
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, list: &List, look: &Look) {
    let longest = list.rows().iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let (columns, name_width, history_width) =
        columns_that_fit(area.width, u16::try_from(longest).unwrap_or(u16::MAX));
    let (sort, reversed) = list.order();
    let headings = columns.iter().map(|column| {
        let (text, width) = heading(*column);
        let style = if *column == sort {
            Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        } else {
            Style::new().add_modifier(Modifier::BOLD)
        };
        // The mark goes where the column has room for it.
        let mark = match (*column == sort, look.is_unicode, reversed) {
            (false, ..) => "",
            (true, true, false) => "\u{2193}",
            (true, true, true) => "\u{2191}",
            (true, false, false) => "v",
            (true, false, true) => "^",
        };
        let fits = *column == Column::Link || text.len() < usize::from(width);
        let text = if fits { format!("{text}{mark}") } else { text.to_owned() };
        let line = Line::styled(text, style);
        Cell::new(if is_text(*column) { line } else { line.right_aligned() })
    });
    let header = TableRow::new(headings.chain([Cell::new("HISTORY")]));
    let rows = list.rows().iter().map(|row| {
        let cells = columns.iter().map(|column| cell(row, *column, usize::from(name_width), look));
        let plot =
            if history_width > 0 { plot(row, usize::from(history_width), look) } else { String::new() };
        TableRow::new(cells.chain([Cell::new(plot)]))
    });
    let widths = columns.iter().map(|column| match column {
        Column::Link => Constraint::Length(name_width),
        column => Constraint::Length(heading(*column).1),
    });
    let table = Table::new(rows, widths.chain([Constraint::Length(history_width)]))
        .header(header)
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(list.selected()));
}

fn is_text(column: Column) -> bool {
    matches!(column, Column::Link | Column::State)
}

fn cell(row: &Row, column: Column, name_width: usize, look: &Look) -> Cell<'static> {
    let text = match column {
        Column::Link => shortened(&row.name, name_width, look),
        Column::State => row.state().to_owned(),
        Column::Consumers => row.found.as_ref().map_or_else(
            |_| "-".to_owned(),
            |sample| format!("{} of {}", living(&sample.status), sample.geometry.consumers),
        ),
        Column::Ring => row.number(column).map_or("-".to_owned(), |percent| format!("{percent:.0}%")),
        _ => row.number(column).map_or("-".to_owned(), compact),
    };
    let alarming = match column {
        Column::State => !matches!(row.state(), "alive" | "closed"),
        Column::Lost => row.number(column).is_some_and(|lost| lost > 0.0),
        Column::Waits => row.number(column).is_some_and(|waits| waits > 0.0),
        Column::Ring => row.number(column).is_some_and(|percent| percent >= 90.0),
        _ => false,
    };
    let style = match (alarming && look.has_colors, column) {
        (false, _) => Style::new(),
        (true, Column::Ring | Column::Waits) => Style::new().fg(Color::Yellow),
        (true, _) => Style::new().fg(Color::Red),
    };
    let line = Line::styled(text, style);
    Cell::new(if is_text(column) { line } else { line.right_aligned() })
}

fn shortened(name: &str, width: usize, look: &Look) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    let cut = name.chars().take(width.saturating_sub(1));
    cut.chain([if look.is_unicode { '\u{2026}' } else { '~' }]).collect()
}

/// A number in at most five characters, with a unit that is a power of 1000.
pub(super) fn compact(number: f64) -> String {
    let (number, unit) = match number {
        1e18.. => return ">1E".to_owned(),
        9.995e14.. => (number / 1e15, "P"),
        9.995e11.. => (number / 1e12, "T"),
        9.995e8.. => (number / 1e9, "G"),
        9.995e5.. => (number / 1e6, "M"),
        9999.5.. => (number / 1e3, "k"),
        0.0005..9.995 if number.fract() != 0.0 => return format!("{number:.2}"),
        _ => return format!("{number:.0}"),
    };
    match number {
        99.95.. => format!("{number:.0}{unit}"),
        9.995.. => format!("{number:.1}{unit}"),
        _ => format!("{number:.2}{unit}"),
    }
}

/// The rate of fragments over time, as a line of bars, the newest last.
fn plot(row: &Row, width: usize, look: &Look) -> String {
    let bars = bars(look);
    let points = row.history.last(width, |point| point.published);
    let most = points.iter().copied().max().unwrap_or(0).max(1);
    let symbols = [
        bars.empty,
        bars.one_eighth,
        bars.one_quarter,
        bars.three_eighths,
        bars.half,
        bars.five_eighths,
        bars.three_quarters,
        bars.seven_eighths,
        bars.full,
    ];
    let symbol = |point: &u64| symbols[(u128::from(*point) * 8).div_ceil(u128::from(most)) as usize];
    " ".repeat(width - points.len()) + &points.iter().map(symbol).collect::<String>()
}

fn bars(look: &Look) -> bar::Set<'static> {
    if look.is_unicode { bar::NINE_LEVELS } else { ASCII_BARS }
}

fn draw_details(frame: &mut Frame<'_>, area: Rect, row: &Row, look: &Look) {
    let sample = match &row.found {
        Ok(sample) => sample,
        Err(_) => {
            let text = Paragraph::new(format::one_line(&about(row))).wrap(Wrap { trim: true });
            return frame.render_widget(text, area);
        }
    };
    let facts = facts(row, sample);
    let consumers = sample.status.consumers.len() as u16 + 1;
    // Facts first, then plots of two lines, then as many consumers as there is room for.
    let facts_height = (facts.len() as u16).min(area.height);
    let left = area.height - facts_height;
    let plots_height = left.saturating_sub(consumers).clamp(left.min(8), 16) / 4 * 4;
    let plots_height = if left >= 8 { plots_height.min(left.saturating_sub(2) / 4 * 4) } else { 0 };
    let [top, plots, rest] = Layout::vertical([
        Constraint::Length(facts_height),
        Constraint::Length(plots_height),
        Constraint::Min(0),
    ])
    .areas(area);
    for (line, area) in facts.into_iter().zip(top.rows()) {
        frame.render_widget(Line::raw(format::one_line(&line)), area);
    }
    if plots_height > 0 {
        draw_plots(frame, plots, row, look);
    }
    draw_consumers(frame, rest, row, sample, look);
}

/// Sentences about a link.
fn facts(row: &Row, sample: &Sample) -> Vec<String> {
    let (geometry, status) = (&sample.geometry, &sample.status);
    let held = status.held_by.map_or(String::new(), |slot| format!(", waits for consumer #{slot}"));
    let typed = sample.payload_type.as_ref().map_or(String::new(), |of| format!(", payloads are {of}"));
    let most = row.number(Column::Bytes).map_or_else(|| "-".to_owned(), compact);
    vec![
        format!("{}: producer {}{held}", row.name, row.state()),
        format!("depth {}, MTU {}, credits {}{typed}", geometry.depth, geometry.mtu, geometry.credits),
        format!(
            "published {}, waited {}, lost {}, evicted {}, reaped {}",
            format::count(sample.published()),
            format::count(status.backpressure),
            format::count(sample.lost()),
            format::count(status.evicted),
            format::count(status.reaped),
        ),
        format!("producers {}, of which {} took over", status.producers, status.takeovers),
        format!("bytes are not counted: at most {most} a second, if each fragment has the MTU"),
    ]
}

fn draw_plots(frame: &mut Frame<'_>, area: Rect, row: &Row, look: &Look) {
    let [rate, ring, waits, lag] = Layout::vertical([Constraint::Ratio(1, 4); 4]).areas(area);
    draw_plot(frame, rate, "FRAG/s", None, look, |width| row.history.last(width, |point| point.published));
    draw_plot(frame, ring, "RING %", Some(100), look, |width| row.history.last(width, |point| point.ring));
    draw_plot(frame, waits, "WAITS/s", None, look, |width| row.history.last(width, |point| point.waits));
    draw_plot(frame, lag, "LAG", None, look, |width| row.history.last(width, |point| point.lag));
}

/// `top` is the value of the full height: by default, the largest one.
fn draw_plot(
    frame: &mut Frame<'_>,
    area: Rect,
    label: &str,
    top: Option<u64>,
    look: &Look,
    last: impl FnOnce(usize) -> Vec<u64>,
) {
    let [text, plot] = Layout::horizontal([Constraint::Length(14), Constraint::Min(0)]).areas(area);
    let points = last(usize::from(plot.width));
    let newest = points.last().map_or("-".to_owned(), |last| compact(*last as f64));
    let highest = points.iter().copied().max().unwrap_or(0);
    let lines = [format!("{label:<7} {newest:>5}"), format!("    max {:>5}", compact(highest as f64))];
    for (line, area) in lines.into_iter().zip(text.rows()) {
        frame.render_widget(Line::raw(line), area);
    }
    // The newest is at the right.
    let missing = usize::from(plot.width) - points.len();
    let points: Vec<_> = iter::repeat_n(0, missing).chain(points).collect();
    let sparkline = Sparkline::default().data(points).max(top.unwrap_or(highest.max(1)));
    frame.render_widget(sparkline.bar_set(bars(look)), plot);
}

fn draw_consumers(frame: &mut Frame<'_>, area: Rect, row: &Row, sample: &Sample, look: &Look) {
    let right = |text: String| Cell::new(Line::raw(text).right_aligned());
    let rows = sample.status.consumers.iter().enumerate().map(|(index, consumer)| {
        let state = consumer_state(consumer, sample.status.held_by);
        let alarming = look.has_colors && matches!(state, "dead" | "holding");
        let style = if alarming { Style::new().fg(Color::Yellow) } else { Style::new() };
        let rate = row.rates.as_ref().and_then(|rates| rates.consumers.get(index).copied().flatten());
        TableRow::new([
            Cell::new(format!("#{}", consumer.slot)),
            Cell::new(Line::styled(state, style)),
            right(rate.map_or("-".to_owned(), compact)),
            right(compact(consumer.lag as f64)),
            right(compact(consumer.lost as f64)),
            right(format::count(consumer.consumed)),
        ])
    });
    let headings = ["CONSUMER", "STATE"].map(Cell::new);
    let numbers = ["FRAG/s", "LAG", "LOST", "CONSUMED"].map(|text| right(text.to_owned()));
    let header = TableRow::new(headings.into_iter().chain(numbers));
    let widths = [8, 7, 6, 5, 5, 20].map(Constraint::Length);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Table::new(rows, widths).header(header.style(bold)), area);
}

//! The screen in several sizes, as text.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use rust_tango::{Consumer, Link, Producer};

use super::list::{Column, List};
use super::view::{Look, compact, draw};
use crate::sampling::{Sample, Unreadable};

/// Two links and one that is damaged. In the first, 8 of 16 fragments wait for one of two consumers.
struct Links {
    list: List,
    link: Link,
    tx: Producer<'static>,
    _readers: [Consumer<'static>; 2],
}

impl Links {
    fn new() -> Self {
        let link = Link::builder().depth(16).mtu(100).consumers(2).build().unwrap();
        let (tx, readers) = (link.producer().unwrap(), [link.consumer().unwrap(), link.consumer().unwrap()]);
        Self { list: List::new(), link, tx, _readers: readers }
    }

    fn update(&mut self) {
        let other = Link::builder().depth(4).mtu(64).consumers(1).build().unwrap();
        let damaged = Unreadable { state: "damaged", reason: "the file 'tx' is missing".to_owned() };
        self.list.update(vec![
            ("numbers".to_owned(), Ok(Sample::of_heap(&self.link))),
            ("other".to_owned(), Ok(Sample::of_heap(&other))),
            ("broken".to_owned(), Err(damaged)),
        ]);
    }

    fn publish(&self, count: usize) {
        for _ in 0..count {
            self.tx.publish(b"x", 0, 0, 0).unwrap();
        }
    }
}

fn with_history() -> Links {
    let mut links = Links::new();
    for count in [0, 2, 6, 0] {
        links.publish(count);
        links.update();
    }
    links
}

fn plain() -> Look {
    Look {
        has_colors: false,
        is_unicode: true,
        has_keys: true,
        details: false,
        title: "tango top".to_owned(),
    }
}

/// The lines of the screen, without spaces at their ends.
fn screen(list: &List, look: &Look, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, list, look)).unwrap();
    let buffer = terminal.backend().buffer();
    let colors = buffer.content().iter().flat_map(|cell| [cell.fg, cell.bg]);
    assert!(look.has_colors || colors.into_iter().all(|color| color == Color::Reset));
    let lines = buffer.content().chunks(usize::from(width).max(1));
    let text =
        |line: &[ratatui::buffer::Cell]| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    lines.map(|line| text(line).trim_end().to_owned()).collect()
}

#[test]
fn all_columns_that_matter_fit_80_by_24() {
    let links = with_history();
    let lines = screen(&links.list, &plain(), (80, 24));
    assert_eq!(lines[0], "tango top");
    let headings: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(
        headings,
        [
            "LINK\u{2193}",
            "STATE",
            "FRAG/s",
            "MAX",
            "B/s",
            "RING",
            "LAG",
            "LOST",
            "WAITS/s",
            "CONSUMERS",
            "HISTORY"
        ]
    );
    let cells: Vec<_> = lines[2].split_whitespace().collect();
    assert_eq!(cells, ["broken", "damaged", "-", "-", "-", "-", "-", "-", "-"]);
    let cells: Vec<_> = lines[3].split_whitespace().collect();
    assert_eq!(cells[..2], ["numbers", "alive"]);
    assert_eq!(cells[2..11], ["0", "0", "50%", "8", "0", "0", "2", "of", "2"]);
    assert!(lines[4].starts_with("other"), "{}", lines[4]);
    assert_eq!(lines[22], "the file 'tx' is missing");
    assert!(lines[23].starts_with("q quit   Enter details"), "{}", lines[23]);
    assert!(lines[23].ends_with("r reverse"), "{}", lines[23]);
}

#[test]
fn the_history_ends_at_the_right() {
    let mut links = Links::new();
    links.update();
    links.publish(4);
    links.update();
    let lines = screen(&links.list, &plain(), (80, 24));
    assert!(lines[3].ends_with('\u{2588}') && lines[3].chars().count() == 80, "{:?}", lines[3]);
    let ascii = Look { is_unicode: false, ..plain() };
    let lines = screen(&links.list, &ascii, (80, 24));
    assert!(lines[3].ends_with('#'), "{:?}", lines[3]);
    assert!(lines.iter().all(|line| line.is_ascii()));
}

#[test]
fn wide_screens_show_more_and_narrow_ones_less() {
    let links = with_history();
    let headings = |size| screen(&links.list, &plain(), size).swap_remove(1);
    assert!(headings((120, 40)).contains("CONSUMERS") && headings((120, 40)).contains("HISTORY"));
    let narrow = headings((40, 10));
    assert!(narrow.contains("FRAG/s") && narrow.contains("LAG") && !narrow.contains("WAITS"), "{narrow}");
    // The first lines to go are those around the links.
    let lines = screen(&links.list, &plain(), (80, 3));
    assert!(lines[0].starts_with("LINK") && lines[1].starts_with("broken") && lines[2].starts_with("q quit"));
    let lines = screen(&links.list, &plain(), (20, 5));
    assert_eq!(lines[0], "tango top");
    assert_eq!(lines[4], "q quit");
}

#[test]
fn no_size_is_too_small() {
    let links = with_history();
    let mut details = links.list;
    for look in [plain(), Look { details: true, ..plain() }] {
        for width in [0, 1, 2, 6, 9, 15, 30, 60, 81, 200] {
            for height in [0, 1, 2, 3, 4, 5, 6, 7, 12, 16, 25] {
                for selected in 0..3 {
                    details.select(selected);
                    screen(&details, &look, (width, height));
                }
            }
        }
    }
    assert_eq!(screen(&List::new(), &plain(), (80, 24))[1], "There are no links.");
}

#[test]
fn the_selected_row_is_always_on_the_screen() {
    let mut list = List::new();
    let link = Link::builder().build().unwrap();
    list.update((0..100).map(|number| (format!("link-{number:02}"), Ok(Sample::of_heap(&link)))).collect());
    list.select(70);
    let lines = screen(&list, &plain(), (80, 24));
    assert!(lines.iter().any(|line| line.starts_with("link-70 ")), "{lines:?}");
    assert_eq!(lines[22], "link-70: producer none; 0 of 1 consumers");
}

#[test]
fn details_show_plots_and_consumers() {
    let mut links = with_history();
    links.list.select(1);
    let lines = screen(&links.list, &Look { details: true, ..plain() }, (80, 24));
    assert_eq!(lines[1], "numbers: producer alive");
    assert_eq!(lines[2], "depth 16, MTU 100, credits 16");
    assert_eq!(lines[3], "published 8, waited 0, lost 0, evicted 0, reaped 0");
    assert!(lines[5].starts_with("bytes are not counted: at most 0 a second"), "{}", lines[5]);
    for (label, line) in [("FRAG/s", 6), ("RING %     50", 8), ("WAITS/s     0", 10), ("LAG         8", 12)] {
        assert!(lines.iter().any(|line| line.starts_with(label)), "no {label} at {line} in {lines:#?}");
    }
    let consumers: Vec<_> = lines.iter().filter(|line| line.starts_with('#')).collect();
    assert_eq!(consumers.len(), 2, "{lines:#?}");
    let cells: Vec<_> = consumers[1].split_whitespace().collect();
    assert_eq!(cells, ["#1", "alive", "0", "8", "0", "0"]);
    assert!(lines[23].starts_with("q quit   Esc list"));
    // A damaged link has no more than a reason.
    links.list.select(0);
    let lines = screen(&links.list, &Look { details: true, ..plain() }, (80, 24));
    assert_eq!(lines[1], "the file 'tx' is missing");
}

#[test]
fn the_order_is_marked_where_there_is_room() {
    let mut links = with_history();
    while links.list.order().0 != Column::Lag {
        links.list.sort_by_next(true);
    }
    assert!(screen(&links.list, &plain(), (80, 24))[1].contains("LAG\u{2193}"));
    links.list.reverse();
    assert!(screen(&links.list, &plain(), (80, 24))[1].contains("LAG\u{2191}"));
}

#[test]
fn numbers_have_at_most_five_characters() {
    let texts =
        [0.0, 0.25, 7.0, 12.34, 9999.0, 9999.6, 12_345.0, 999_499.0, 999_500.0, 1.23e6, 45.6e9, 1.8e19];
    let texts = texts.map(compact);
    assert_eq!(
        texts,
        ["0", "0.25", "7", "12", "9999", "10.0k", "12.3k", "999k", "1.00M", "1.23M", "45.6G", ">1E"]
    );
    let mut number = 0.001;
    while number < 1e20 {
        assert!(compact(number).len() <= 5, "{number}: {}", compact(number));
        number *= 1.01;
    }
}

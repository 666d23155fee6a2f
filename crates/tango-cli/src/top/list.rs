//! [`List`]: the links that the screen shows, their order, the one that is selected, and what they did before.

use std::collections::{HashMap, VecDeque};

use crate::report;
use crate::sampling::{Rates, Sample, Samples, Unreadable};

/// Points of a history. Wider screens are rare.
pub(super) const HISTORY: usize = 300;

/// A column by which links can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Link,
    State,
    Rate,
    Bytes,
    Ring,
    Lag,
    Lost,
    Waits,
    Consumers,
}

impl Column {
    /// All of them, in the order of the screen.
    pub(super) const ALL: [Self; 9] = [
        Self::Link,
        Self::State,
        Self::Rate,
        Self::Bytes,
        Self::Ring,
        Self::Lag,
        Self::Lost,
        Self::Waits,
        Self::Consumers,
    ];
}

/// Values of one link over time, the newest last.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Point>);

/// Values at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Fragments published a second.
    pub(super) published: f32,
    /// Percent of the ring.
    pub(super) ring: f32,
    /// Fragments that had to wait, a second.
    pub(super) waits: f32,
    /// Fragments that the slowest consumer is behind.
    pub(super) lag: f32,
}

impl History {
    fn push(&mut self, point: Point) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    /// The last values, up to `count`, the newest last. Fractions over 0 become at least 1.
    pub(super) fn last(&self, count: usize, value: impl Fn(&Point) -> f32) -> Vec<u64> {
        self.0.range(self.0.len().saturating_sub(count)..).map(|point| value(point).ceil() as u64).collect()
    }
}

/// A link.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) found: Result<Sample, Unreadable>,
    /// `None` after the first sample.
    pub(super) rates: Option<Rates>,
    pub(super) history: History,
}

impl Row {
    pub(super) fn state(&self) -> &'static str {
        self.found.as_ref().map_or_else(|unreadable| unreadable.state, |sample| report::state(&sample.status))
    }

    /// The number in a column. `None` if it is not known.
    pub(super) fn number(&self, column: Column) -> Option<f64> {
        let (sample, rates) = (self.found.as_ref().ok()?, self.rates.as_ref());
        match column {
            Column::Link | Column::State => None,
            Column::Rate => Some(rates?.published),
            Column::Bytes => Some(rates?.published * sample.geometry.mtu as f64),
            Column::Ring => Some(sample.occupancy() * 100.0),
            Column::Lag => Some(sample.lag() as f64),
            Column::Lost => Some(sample.lost() as f64),
            Column::Waits => Some(rates?.backpressure),
            Column::Consumers => Some(sample.status.consumers.len() as f64),
        }
    }
}

/// The links.
#[derive(Debug)]
pub(super) struct List {
    rows: Vec<Row>,
    sort: Column,
    reversed: bool,
    /// The name of the selected link. `None` only if there are no links.
    selected: Option<String>,
}

impl List {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), sort: Column::Link, reversed: false, selected: None }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The column by which the rows are sorted, and whether the order is the opposite of the usual one. Names begin with the
    /// first letter, numbers with the largest.
    pub(super) fn order(&self) -> (Column, bool) {
        (self.sort, self.reversed)
    }

    /// The index of the selected row.
    pub(super) fn selected(&self) -> Option<usize> {
        let name = self.selected.as_ref()?;
        self.rows.iter().position(|row| row.name == *name)
    }

    /// Replaces what is known of the links. A link keeps its history as long as it is the same.
    pub(super) fn update(&mut self, samples: Samples) {
        let was_selected = self.selected().unwrap_or(0);
        let mut before: HashMap<String, Row> =
            self.rows.drain(..).map(|row| (row.name.clone(), row)).collect();
        self.rows.extend(samples.into_iter().map(|(name, found)| {
            let before = before.remove(&name);
            let (before, history) =
                before.map_or((None, History::default()), |row| (row.found.ok(), row.history));
            let rates =
                found.as_ref().ok().zip(before.as_ref()).and_then(|(now, before)| now.rates_since(before));
            let mut row = Row { name, found, rates, history };
            match (&row.found, &row.rates) {
                (Ok(sample), Some(rates)) => row.history.push(Point {
                    published: rates.published as f32,
                    ring: (sample.occupancy() * 100.0) as f32,
                    waits: rates.backpressure as f32,
                    lag: sample.lag() as f32,
                }),
                _ => row.history = History::default(),
            }
            row
        }));
        self.sort();
        if self.selected().is_none() {
            self.select(was_selected);
        }
    }

    fn sort(&mut self) {
        let (sort, reversed) = (self.sort, self.reversed);
        self.rows.sort_by(|a, b| {
            let (a_name, b_name) = (&a.name, &b.name);
            let order = match sort {
                Column::Link => a_name.cmp(b_name),
                Column::State => a.state().cmp(b.state()),
                number => match (a.number(number), b.number(number)) {
                    (Some(a), Some(b)) => b.total_cmp(&a),
                    // What is not known comes last.
                    (a, b) => return b.is_some().cmp(&a.is_some()).then_with(|| a_name.cmp(b_name)),
                },
            };
            let order = if reversed { order.reverse() } else { order };
            order.then_with(|| a_name.cmp(b_name))
        });
    }

    /// Selects the row with this index, or the last one.
    pub(super) fn select(&mut self, index: usize) {
        self.selected =
            self.rows.get(index.min(self.rows.len().saturating_sub(1))).map(|row| row.name.clone());
    }

    /// Selects a row further down, or up.
    pub(super) fn move_selection(&mut self, rows: isize) {
        self.select(self.selected().unwrap_or(0).saturating_add_signed(rows));
    }

    /// Sorts by the column to the right or to the left, around the ends.
    pub(super) fn sort_by_next(&mut self, to_the_right: bool) {
        let all = Column::ALL;
        let index = all.iter().position(|column| *column == self.sort).unwrap_or(0);
        self.sort = all[(index + if to_the_right { 1 } else { all.len() - 1 }) % all.len()];
        self.reversed = false;
        self.sort();
    }

    /// Turns the order around.
    pub(super) fn reverse(&mut self) {
        self.reversed = !self.reversed;
        self.sort();
    }
}

#[cfg(test)]
mod tests {
    use rust_tango::Link;

    use super::*;

    fn unreadable() -> Result<Sample, Unreadable> {
        Err(Unreadable { state: "damaged", reason: "a file is missing".to_owned() })
    }

    fn names(list: &List) -> Vec<&str> {
        list.rows().iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn rows_are_sorted_and_the_selection_stays_with_its_link() {
        let with_lag = |lag| {
            let link = Link::builder().depth(8).mtu(64).build().unwrap();
            let _rx = link.consumer().unwrap();
            let mut sample = Sample::of_heap(&link);
            sample.status.consumers[0].lag = lag;
            Ok(sample)
        };
        let samples = || {
            ["a", "b", "c", "d"].map(String::from).into_iter().zip([
                with_lag(5),
                with_lag(1),
                unreadable(),
                with_lag(3),
            ])
        };
        let mut list = List::new();
        list.update(samples().collect());
        assert_eq!((names(&list), list.selected()), (vec!["a", "b", "c", "d"], Some(0)));
        list.move_selection(1);
        while list.order().0 != Column::Lag {
            list.sort_by_next(true);
        }
        assert_eq!((names(&list), list.selected()), (vec!["a", "d", "b", "c"], Some(2)));
        list.reverse();
        assert_eq!((names(&list), list.selected()), (vec!["b", "d", "a", "c"], Some(0)));
        list.move_selection(100);
        assert_eq!(list.selected(), Some(3));
        // The selected link goes: the one in its place is selected.
        list.update(samples().filter(|(name, _)| name != "c").collect());
        assert_eq!(list.selected(), Some(2));
        list.update(Vec::new());
        assert_eq!(list.selected(), None);
        list.move_selection(-1);
        list.update(samples().collect());
        assert_eq!(list.selected(), Some(0));
    }

    #[test]
    fn histories_end_with_their_links() {
        let link = Link::builder().depth(8).mtu(64).build().unwrap();
        let mut list = List::new();
        let points = |list: &List| list.rows()[0].history.last(HISTORY, |point| point.ring).len();
        let update = |list: &mut List, found| list.update(vec![("a".to_owned(), found)]);
        update(&mut list, Ok(Sample::of_heap(&link)));
        assert_eq!(points(&list), 0);
        for _ in 0..HISTORY + 5 {
            update(&mut list, Ok(Sample::of_heap(&link)));
        }
        assert_eq!(points(&list), HISTORY);
        update(&mut list, unreadable());
        assert_eq!(points(&list), 0);
        update(&mut list, Ok(Sample::of_heap(&link)));
        assert_eq!(points(&list), 0);
    }
}

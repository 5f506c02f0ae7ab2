//! Filters of the event log, and the search for what they show.

use std::collections::VecDeque;

use engine::{Index, Operation};

use super::Row;

/// How many found events are kept; a search stops there.
const FOUND: usize = 5_000;

/// How many found lines beyond the visible ones a search is ahead.
const AHEAD: u64 = 100;

/// Which lines are shown. What several parts say must all be true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these operations; none means all.
    pub kinds: Kinds,
    /// Only what this tab submitted.
    pub mine: bool,
    /// Only what somebody with this text in the name submitted, in any case of ASCII letters, `generator` included; empty means
    /// everybody.
    pub author: String,
    /// Only incidents. Nothing else is looked at then.
    pub incidents_only: bool,
}

/// A set of kinds of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Whether it holds the kind of `operation`.
    #[must_use]
    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation.code()) != 0
    }

    /// Adds the kind of `operation`, or takes it out.
    pub fn toggle(&mut self, operation: Operation) {
        self.0 ^= 1 << operation.code();
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Filter {
    /// Whether it shows everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn shows(&self, row: &Row, own: bool) -> bool {
        (self.kinds.is_empty() || self.kinds.has(row.operation))
            && (own || !self.mine)
            && (self.author.is_empty()
                || row.author.name().to_ascii_lowercase().contains(&self.author.to_ascii_lowercase()))
    }
}

/// A search backwards through the log.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) filter: Filter,
    /// Everything above it was searched.
    next: Index,
    /// Newest first.
    found: VecDeque<Row>,
    /// Damage lies before this event, so the next page begins with it.
    skip_to: Option<Index>,
}

impl Search {
    /// A search for what `filter` shows, from `top` on backwards.
    pub(super) fn new(filter: Filter, top: Index) -> Self {
        Self { filter, next: top, found: VecDeque::new(), skip_to: None }
    }

    /// What was found up to `top`, newest first.
    pub(super) fn found(&self, top: Index) -> impl ExactSizeIterator<Item = &Row> {
        self.found.range(self.found.partition_point(|row| row.index > top)..)
    }

    /// Everything above it was searched.
    pub(super) fn searched_to(&self) -> Index {
        self.next
    }

    /// The next event to look at; `None` if all were looked at, or enough was found.
    pub(super) fn next(&self, floor: Index) -> Option<Index> {
        let is_over = self.filter.incidents_only || self.next <= floor || self.found.len() >= FOUND;
        (!is_over).then_some(self.next)
    }

    pub(super) fn wants_more(&self, visible_end: u64) -> bool {
        (self.found.len() as u64) < visible_end.saturating_add(AHEAD)
    }

    /// Where a page begins that is not damaged at its beginning.
    pub(super) fn skip_to(&self) -> Option<Index> {
        self.skip_to
    }

    /// Looks at `row`, if it is the next one.
    pub(super) fn look_at(&mut self, row: &Row, own: bool) {
        if row.index != self.next {
            return;
        }
        self.next = Index(row.index.0 - 1);
        if self.skip_to.is_some_and(|after| after > self.next) {
            // What lies before it is damaged, and was given up.
            self.skip_to = None;
        }
        if self.filter.shows(row, own) && self.found.len() < FOUND {
            self.found.push_back(row.clone());
        }
    }

    /// A page was looked at that ends before `end`.
    pub(super) fn handle_end(&mut self, end: Index) {
        if end <= self.next {
            self.skip_to = Some(end);
        }
    }

    /// A new event was committed.
    pub(super) fn add_newest(&mut self, row: &Row, own: bool) {
        // An older one is found on the way back.
        let is_new = row.index > self.next && self.found.front().is_none_or(|newest| newest.index < row.index);
        if is_new && self.filter.shows(row, own) {
            self.found.push_front(row.clone());
            self.found.truncate(FOUND);
        }
    }

    /// The events from `first` to `last` cannot be read.
    pub(super) fn skip_damage(&mut self, first: Index, last: Index) {
        if last >= self.next {
            self.next = Index(first.0 - 1);
            self.skip_to = None;
        } else {
            self.skip_to = Some(last.next());
        }
    }

    pub(super) fn raise_floor(&mut self, floor: Index) {
        let retained = self.found.partition_point(|row| row.index > floor);
        self.found.truncate(retained);
    }
}

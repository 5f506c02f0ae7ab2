//! The event log: the whole retained history, newest first, of which the page holds what is looked at.
//!
//! A [`History`] is a list of lines: events, and incidents between them. It knows how many lines there are, which of them
//! it holds, and which page to ask the leader for next. A person can pause it, jump to an index, and filter it; a filter
//! searches backwards page by page. What is held is bounded, however long the log is. Calls are made by the owner, and time is
//! an argument.

mod cache;
mod filter;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use engine::{Batch, Event, HistoryPage, Index, LogId, Moment, Operation, Snapshot, Timestamp};
use follower::ReadError;

use super::who::Who;
use cache::{Cache, Held};
use filter::Search;
pub use filter::{Filter, Kinds};

/// How many events are asked for at once, to be shown and to be searched.
const PAGE: u64 = 500;
const SEARCHED_PAGE: u64 = 5_000;

/// How long to wait after a failed call.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many of the tab's own events are remembered by index.
const OWN: usize = 10_000;

/// One event, as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its index.
    pub index: Index,
    /// What was done.
    pub operation: Operation,
    /// The value after it; `None` if the leader does not tell enough to know it.
    pub value: Option<i64>,
    /// Who submitted it.
    pub author: Who,
    /// When it was committed, by the leader's clock, if the leader says so.
    pub committed_at: Option<Timestamp>,
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An event.
    Event {
        /// The event.
        row: Row,
        /// Whether this tab submitted it.
        own: bool,
    },
    /// The incident with this id.
    Incident(u64),
    /// An event that was not read yet.
    Unread(Index),
    /// An event that is damaged in the leader's storage.
    Damaged(Index),
}

/// A call to `ReadEvents` to make. Its answer goes to [`History::handle_page`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The first event.
    pub first: Index,
    /// The most events.
    pub count: u32,
}

/// Why a page was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Show,
    Search,
    /// The answer is of no use any more.
    Nothing,
}

/// The event log.
#[derive(Clone, Debug, Default)]
pub struct History {
    log: Option<LogId>,
    floor: Index,
    tail: Index,
    cache: Cache,
    /// Ordered by index and then by id: an incident comes after the event at its index.
    incidents: Vec<(Index, u64)>,
    /// The tail when the list was paused.
    paused: Option<Index>,
    search: Option<Search>,
    /// The id of this tab as a replica.
    own_id: String,
    /// What this tab's producer committed, in order.
    own: VecDeque<Index>,
    in_flight: Option<(Request, Purpose)>,
    retry_at: Option<Moment>,
    /// How many events were given up at once when the last page was damaged.
    damaged_step: u64,
    /// Whether the leader is older than authors, so that what it does not say is not the generator's.
    has_no_authors: bool,
    wrong: Option<String>,
}

impl History {
    // What happens.

    /// The tab's id as a replica, which its own operations carry.
    pub fn set_own_id(&mut self, id: &str) {
        id.clone_into(&mut self.own_id);
    }

    /// The log's identity, its floor, and the newest event that the page holds. Another log than before drops everything.
    pub fn handle_log(&mut self, log: LogId, floor: Index, tail: Index) {
        let is_new = self.log.is_some_and(|known| known != log);
        if is_new {
            self.drop_all();
        }
        self.log = Some(log);
        self.tail = self.tail.max(tail);
        self.raise_floor(floor);
        if is_new {
            self.search_again();
        }
    }

    /// The replica applied `batch`; `value_before` is the value before its first event.
    pub fn handle_batch(&mut self, batch: &Batch, value_before: i64) {
        self.tail = self.tail.max(batch.last());
        let authors = Who::each(batch.authors(), batch.operations().len());
        for (event, author) in batch.events(value_before).zip(authors) {
            let author = if self.has_no_authors && author == Who::Generator { Who::Unknown } else { author };
            let row = Row {
                index: event.index,
                operation: event.operation,
                value: Some(event.value),
                author,
                committed_at: Some(batch.committed_at()),
            };
            self.notice_live(&row);
            self.cache.put(event.index, Held::Row(row));
        }
    }

    /// The replica took `snapshot`. One from before what is known shows that the log lost its end: everything is dropped.
    /// Returns whether history was replaced, in this way or by another log.
    pub fn handle_snapshot(&mut self, snapshot: Snapshot) -> bool {
        let (log, at) = (snapshot.log(), snapshot.position().index);
        let is_other = self.log.is_some_and(|known| known != log);
        let (is_lower, is_tail) = (at < self.tail, at == self.tail);
        let floor = if is_other { Index::ZERO } else { self.floor };
        if is_lower {
            self.drop_all();
        }
        self.handle_log(log, floor.min(at), at);
        if !is_tail {
            // Events were left out, or replaced.
            self.search_again();
        }
        is_other || is_lower
    }

    /// This tab's producer committed the event at `index`.
    pub fn handle_committed(&mut self, index: Index) {
        if let Err(place) = self.own.binary_search(&index) {
            self.own.insert(place, index);
            self.own.drain(..self.own.len().saturating_sub(OWN));
        }
    }

    /// All incidents that are remembered, each with the event that it comes after.
    pub fn set_incidents(&mut self, incidents: impl IntoIterator<Item = (Index, u64)>) {
        self.incidents.clear();
        // There are few, so this is quick, and needs less code than sorting.
        for incident in incidents {
            let place = self.incidents.partition_point(|other| *other < incident);
            self.incidents.insert(place, incident);
        }
    }

    /// Pauses the list, or lets it go on. A paused list gets no new lines.
    pub fn set_paused(&mut self, pause: bool) {
        if pause != self.is_paused() {
            self.paused = pause.then_some(self.tail);
        }
    }

    /// Shows only what `filter` says; `None` shows everything.
    pub fn set_filter(&mut self, filter: Option<Filter>) {
        if let Some((_, purpose @ Purpose::Search)) = &mut self.in_flight {
            *purpose = Purpose::Nothing;
        }
        let tail = self.tail;
        self.search = filter.filter(|filter| !filter.is_empty()).map(|filter| Search::new(filter, tail));
        self.search_what_is_held();
    }

    /// The next call to make, for the places that are in view. One at a time: another follows when this one is answered.
    /// What is in view comes first, then what is beside it, then the search.
    pub fn request(&mut self, visible: Range<u64>, now: Moment) -> Option<Request> {
        if self.in_flight.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        let (request, purpose) = match &self.search {
            None => {
                self.cache.look_at(self.index_near(visible.start));
                (self.next_to_show(&visible)?, Purpose::Show)
            }
            Some(_) => (self.next_to_search(&visible)?, Purpose::Search),
        };
        self.in_flight = Some((request, purpose));
        Some(request)
    }

    /// The answer to the call that [`request`](Self::request) asked for.
    pub fn handle_page(&mut self, answer: Result<HistoryPage, ReadError>, now: Moment) {
        let Some((request, purpose)) = self.in_flight.take() else { return };
        if purpose == Purpose::Nothing {
            return;
        }
        let page = match answer {
            Ok(page) => page,
            Err(error) => return self.fail(request, purpose, &error, now),
        };
        if page.before.is_some_and(|before| Some(before.log()) != self.log) {
            // The stream brings the news.
            self.retry_at = Some(now.plus(RETRY_AFTER));
            return;
        }
        self.raise_floor(page.floor);
        if page.first != request.first || page.operations.is_empty() {
            self.retry_at = Some(now.plus(RETRY_AFTER));
            return;
        }
        self.damaged_step = 0;
        self.has_no_authors |= page.batches.is_empty();
        let rows = self.rows(&page);
        match purpose {
            Purpose::Show => rows.into_iter().for_each(|row| self.cache.put(row.index, Held::Row(row))),
            Purpose::Search => {
                self.search_rows(&rows);
                if let Some(search) = &mut self.search {
                    // Damage follows a page that ends early.
                    search.handle_end(page.next());
                }
            }
            Purpose::Nothing => {}
        }
    }

    /// The event at `index`, if it was read and its value is known.
    pub(super) fn event(&self, index: Index) -> Option<Event> {
        match self.cache.get(index)? {
            Held::Row(row) => Some(Event { index, operation: row.operation, value: row.value? }),
            _ => None,
        }
    }

    /// Whether the event at `index` was read or applied and is this tab's own.
    pub(super) fn is_own_at(&self, index: Index) -> bool {
        matches!(self.cache.get(index), Some(Held::Row(row)) if self.is_own(row))
    }

    /// The rows of a page, with values as far as they can be trusted.
    fn rows(&mut self, page: &HistoryPage) -> Vec<Row> {
        let mut values = Vec::with_capacity(page.operations.len());
        if let Some(before) = page.before {
            for step in page.replay(before) {
                match step {
                    Ok((event, _)) => values.push(event.value),
                    Err(wrong) => {
                        self.wrong = Some(wrong.to_string());
                        // Some value before the place where it shows is wrong.
                        values.clear();
                        break;
                    }
                }
            }
        }
        let authors = Who::each(&page.authors, page.operations.len());
        let each = (page.first.0..).map(Index).zip(&page.operations).zip(authors).enumerate();
        let row = |(place, ((index, operation), author)): (usize, ((Index, &Operation), Who))| Row {
            index,
            operation: *operation,
            value: values.get(place).copied(),
            author,
            committed_at: page.batch_of(index).map(|batch| batch.committed_at),
        };
        each.map(row).collect()
    }

    fn fail(&mut self, request: Request, purpose: Purpose, error: &ReadError, now: Moment) {
        match error {
            ReadError::Compacted { floor } => self.raise_floor((*floor).max(request.first)),
            ReadError::Damaged(_) => {
                // How far the damage reaches is not said. So this tries further and further on.
                self.damaged_step = (self.damaged_step * 2).clamp(1, 64);
                let last = request.first.plus(self.damaged_step - 1).min(self.tail);
                for index in (request.first.0..=last.0).map(Index) {
                    self.cache.put(index, Held::Damaged);
                }
                if purpose == Purpose::Search
                    && let Some(search) = &mut self.search
                {
                    search.skip_damage(request.first, last);
                }
            }
            ReadError::Unsupported | ReadError::Malformed(_) | ReadError::NotAllowed(_) | ReadError::Failed(_) => {
                self.retry_at = Some(now.plus(RETRY_AFTER));
            }
        }
    }

    fn raise_floor(&mut self, floor: Index) {
        if floor > self.floor {
            self.floor = floor;
            self.cache.raise_floor(floor);
            if let Some(search) = &mut self.search {
                search.raise_floor(floor);
            }
        }
    }

    fn drop_all(&mut self) {
        let in_flight = self.in_flight.map(|(request, _)| (request, Purpose::Nothing));
        let (search, own_id) = (self.search.take(), std::mem::take(&mut self.own_id));
        *self = Self { in_flight, search, own_id, ..Self::default() };
    }

    /// Begins the search anew, from the tail.
    fn search_again(&mut self) {
        let filter = self.search.take().map(|search| search.filter);
        self.set_filter(filter);
    }

    // The search.

    fn notice_live(&mut self, row: &Row) {
        let own = self.is_own(row);
        if let Some(search) = &mut self.search {
            search.add_newest(row, own);
        }
    }

    /// Searches on through rows that are held already.
    fn search_what_is_held(&mut self) {
        let floor = self.floor;
        while let Some(next) = self.search.as_ref().and_then(|search| search.next(floor)) {
            match self.cache.get(next).cloned() {
                Some(Held::Row(row)) => self.search_rows(&[row]),
                Some(Held::Damaged) => self.search.iter_mut().for_each(|search| search.skip_damage(next, next)),
                None => return,
            }
        }
    }

    /// Looks through `rows`, oldest first.
    fn search_rows(&mut self, rows: &[Row]) {
        for row in rows.iter().rev() {
            let own = self.is_own(row);
            if let Some(search) = &mut self.search {
                search.look_at(row, own);
            }
        }
    }

    fn next_to_search(&mut self, visible: &Range<u64>) -> Option<Request> {
        self.search_what_is_held();
        let search = self.search.as_ref()?;
        let next = search.next(self.floor).filter(|_| search.wants_more(visible.end))?;
        let first = Index(next.0.saturating_sub(SEARCHED_PAGE - 1)).max(self.floor.next());
        // Behind damage, the next page begins with what follows it.
        let first = search.skip_to().map_or(first, |after| after.max(first).min(next));
        Some(request(first, next))
    }

    fn next_to_show(&self, visible: &Range<u64>) -> Option<Request> {
        let newest = self.index_near(visible.start);
        let oldest = self.index_near(visible.end);
        let beside = |range: (Index, Index)| {
            let first = range.0.max(self.floor.next());
            let last = range.1.min(self.top());
            (first <= last).then_some((first, last))
        };
        let around = [(oldest, newest), (Index(oldest.0.saturating_sub(PAGE)), oldest), (newest, newest.plus(PAGE))];
        let missing = around.into_iter().filter_map(beside).find_map(|(first, last)| {
            // From the newest on, because that is what is read first.
            self.cache.newest_missing(first, last)
        })?;
        // A whole page of what is missing, as far as it reaches without a gap.
        let mut first = missing;
        let least = Index(missing.0.saturating_sub(PAGE - 1)).max(self.floor.next());
        while first > least && self.cache.get(Index(first.0 - 1)).is_none() {
            first = Index(first.0 - 1);
        }
        Some(request(first, missing))
    }

    // What to show.

    /// How many lines the list has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.search {
            None => self.top().events_since(self.floor) + self.shown_incidents().len() as u64,
            Some(search) if search.filter.incidents_only => self.shown_incidents().len() as u64,
            Some(search) => search.found(self.top()).count() as u64,
        }
    }

    /// Whether the list has no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The line at `place`; the newest is at 0. `None` beyond the end.
    #[must_use]
    pub fn line(&self, place: u64) -> Option<Line> {
        let incidents = self.shown_incidents();
        match &self.search {
            Some(search) if search.filter.incidents_only => {
                let from_oldest = incidents.len().checked_sub(usize::try_from(place).ok()? + 1)?;
                Some(Line::Incident(incidents[from_oldest].1))
            }
            Some(search) => {
                let row = search.found(self.top()).nth(usize::try_from(place).ok()?)?;
                Some(Line::Event { row: row.clone(), own: self.is_own(row) })
            }
            None => match self.place(place)? {
                Place::Incident(_, id) => Some(Line::Incident(id)),
                Place::Event(index) => Some(match self.cache.get(index) {
                    Some(Held::Row(row)) => Line::Event { row: row.clone(), own: self.is_own(row) },
                    Some(Held::Damaged) => Line::Damaged(index),
                    None => Line::Unread(index),
                }),
            },
        }
    }

    /// The place of the event at `index`, to jump to; with a filter, of the newest line at or before it. An index that is not
    /// retained means the nearest one that is.
    #[must_use]
    pub fn place_of(&self, index: Index) -> u64 {
        let index = index.clamp(self.floor.next().min(self.top()), self.top());
        let incidents = self.shown_incidents();
        let newer = (incidents.len() - incidents.partition_point(|(after, _)| *after < index)) as u64;
        match &self.search {
            None => self.top().events_since(index) + newer,
            Some(search) if search.filter.incidents_only => newer,
            Some(search) => search.found(self.top()).take_while(|row| row.index > index).count() as u64,
        }
    }

    /// Whether the list is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// How many events came since the list was paused.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.paused.map_or(0, |paused| self.tail.events_since(paused))
    }

    /// What the list is filtered by.
    #[must_use]
    pub fn filter(&self) -> Option<&Filter> {
        self.search.as_ref().map(|search| &search.filter)
    }

    /// How far back a filter has searched: everything from this event on. `None` if nothing is searched for.
    #[must_use]
    pub fn searched_back_to(&self) -> Option<Index> {
        let search = self.search.as_ref().filter(|search| !search.filter.incidents_only)?;
        Some(search.searched_to().max(self.floor).next())
    }

    /// Whether a filter has searched everything that is retained, or found as much as it keeps.
    #[must_use]
    pub fn has_searched_all(&self) -> bool {
        self.search.as_ref().is_none_or(|search| search.next(self.floor).is_none())
    }

    /// What a page of the leader contradicted itself in, if one did. Never ignore it.
    #[must_use]
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// The oldest and the newest event of the list; the first is greater if there is none.
    #[must_use]
    pub fn range(&self) -> (Index, Index) {
        (self.floor.next(), self.top())
    }

    /// Events at or below it were compacted away.
    #[must_use]
    pub fn floor(&self) -> Index {
        self.floor
    }

    /// The newest event of the list.
    fn top(&self) -> Index {
        self.paused.unwrap_or(self.tail).max(self.floor)
    }

    fn is_own(&self, row: &Row) -> bool {
        row.author.is(&self.own_id) || self.own.binary_search(&row.index).is_ok()
    }

    /// The incidents beside retained events that the list shows, oldest first.
    fn shown_incidents(&self) -> &[(Index, u64)] {
        let (floor, top) = (self.floor, self.top());
        let first = self.incidents.partition_point(|(after, _)| *after < floor);
        let end = self.incidents.partition_point(|(after, _)| *after <= top);
        &self.incidents[first.min(end)..end]
    }

    /// What is at a place of the unfiltered list.
    fn place(&self, place: u64) -> Option<Place> {
        let incidents = self.shown_incidents();
        let count = incidents.len();
        let top = self.top();
        // The newest incident has the number 0, and those with lower places are before it.
        let place_of = |number: usize| top.events_since(incidents[count - 1 - number].0) + number as u64;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if place_of(middle) < place { low = middle + 1 } else { high = middle }
        }
        if low < count && place_of(low) == place {
            let (after, id) = incidents[count - 1 - low];
            return Some(Place::Incident(after, id));
        }
        let index = Index(top.0.checked_sub(place - low as u64)?);
        (index > self.floor).then_some(Place::Event(index))
    }

    /// The event at a place, or the nearest one.
    fn index_near(&self, place: u64) -> Index {
        match self.place(place.min(self.len().saturating_sub(1))) {
            Some(Place::Event(index)) => index,
            Some(Place::Incident(after, _)) => after.max(self.floor.next()),
            None => self.top(),
        }
    }
}

enum Place {
    Event(Index),
    /// The event that it comes after, and its id.
    Incident(Index, u64),
}

fn request(first: Index, last: Index) -> Request {
    Request { first, count: u32::try_from(last.events_since(first) + 1).unwrap_or(u32::MAX) }
}

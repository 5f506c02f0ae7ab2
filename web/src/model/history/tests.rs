use engine::leader::Sequencer;
use engine::{Authors, BatchEnd, Identity, Position, Submission, Term};

use super::*;

const LOG: LogId = LogId(7);
const OWN_ID: &str = "mine";

/// A leader's history, and what it does to its answers.
struct Leader {
    sequencer: Sequencer,
    floor: Index,
    rows: Vec<(Operation, Snapshot)>,
    batches: Vec<Batch>,
    damaged: Range<u64>,
    alter: fn(&mut HistoryPage),
    calls: Vec<Request>,
}

impl Leader {
    /// A log of `events` events in batches of ten. Every hundredth is Anna's and the one after it this tab's.
    fn new(events: u64) -> Self {
        let origin = Snapshot::take(LOG, Position::origin(LOG), 0);
        let sequencer = Sequencer::new(Term(1), origin, []);
        let alter: fn(&mut HistoryPage) = |_| {};
        let (batches, rows, calls) = (Vec::new(), Vec::new(), Vec::new());
        let mut leader = Self { sequencer, floor: Index::ZERO, rows, batches, damaged: 0..0, alter, calls };
        for _ in 0..events / 10 {
            leader.commit();
        }
        leader
    }

    /// Commits a batch of ten events.
    fn commit(&mut self) -> (Batch, i64) {
        let before = self.sequencer.newest().value();
        for _ in 0..10 {
            let index = self.rows.len() as u64 + 1;
            let operation = if index.is_multiple_of(3) { Operation::Subtract(1) } else { Operation::Add(1) };
            let by = |id: &str, name: &str| {
                let author = Some(Identity { id: id.to_owned(), name: name.to_owned(), ..Identity::default() });
                Submission { author, ..operation.into() }
            };
            match index % 100 {
                0 => drop(self.sequencer.submit(&by("a", "Anna")).unwrap()),
                1 => drop(self.sequencer.submit(&by(OWN_ID, "me")).unwrap()),
                _ => drop(self.sequencer.propose(operation).unwrap()),
            }
            self.rows.push((operation, self.sequencer.newest()));
        }
        self.batches.push(self.sequencer.seal(Timestamp(self.rows.len() as u64)).unwrap());
        self.sequencer.commit();
        (self.batches.last().unwrap().clone(), before)
    }

    fn tail(&self) -> Index {
        Index(self.rows.len() as u64)
    }

    fn state(&self, index: Index) -> Snapshot {
        let before = index.0.checked_sub(1).map(|before| self.rows[usize::try_from(before).unwrap()].1);
        before.unwrap_or_else(|| Snapshot::take(LOG, Position::origin(LOG), 0))
    }

    fn page(&self, Request { first, count }: Request) -> Result<HistoryPage, ReadError> {
        if first <= self.floor {
            return Err(ReadError::Compacted { floor: self.floor });
        }
        if self.damaged.contains(&first.0) {
            return Err(ReadError::Damaged("it is damaged".to_owned()));
        }
        let end = if self.damaged.start > first.0 { self.damaged.start } else { u64::MAX };
        let last = Index((first.0 + u64::from(count) - 1).min(self.tail().0).min(end - 1));
        let holding = || self.batches.iter().filter(|batch| batch.last() >= first && batch.first() <= last);
        let batch =
            |batch: &Batch| BatchEnd { end: batch.end(), term: batch.term(), committed_at: batch.committed_at() };
        let skip = usize::try_from((first.0 - 1) % 10).unwrap();
        let authors = holding().flat_map(|batch| batch.authors().each().take(10)).skip(skip);
        let range = usize::try_from(first.0 - 1).unwrap()..usize::try_from(last.0).unwrap();
        let mut page = HistoryPage {
            first,
            operations: self.rows[range.clone()].iter().map(|(operation, _)| *operation).collect(),
            before: (first.0 - 1 < self.damaged.start || first.0 > self.damaged.end)
                .then(|| self.state(Index(first.0 - 1))),
            batches: holding().map(batch).collect(),
            authors: Authors::of(authors.take(range.len())),
            tail: self.tail(),
            floor: self.floor,
        };
        (self.alter)(&mut page);
        Ok(page)
    }

    /// Answers until nothing more is asked for the lines in view.
    fn serve(&mut self, history: &mut History, visible: Range<u64>) {
        for _ in 0..300 {
            let Some(request) = history.request(visible.clone(), at(0)) else { return };
            self.calls.push(request);
            let page = self.page(request);
            history.handle_page(page, at(0));
        }
        panic!("it asks without end");
    }

    fn history(&self) -> History {
        let mut history = History::default();
        history.set_own_id(OWN_ID);
        history.handle_log(LOG, self.floor, self.tail());
        history
    }
}

fn at(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn row(history: &History, place: u64) -> Row {
    match history.line(place) {
        Some(Line::Event { row, .. }) => row,
        line => panic!("at {place}: {line:?}"),
    }
}

fn indexes(history: &History, places: Range<u64>) -> Vec<u64> {
    places.map(|place| row(history, place).index.0).collect()
}

#[test]
fn the_whole_history_is_a_list_of_which_what_is_in_view_is_read() {
    let mut leader = Leader::new(100_000);
    let mut history = leader.history();
    assert_eq!((history.len(), history.line(100_000)), (100_000, None));
    assert_eq!(history.line(0), Some(Line::Unread(Index(100_000))));
    for place in [0, 50, 99_990, 40_000, 70_000, 0] {
        leader.calls.clear();
        let visible = place..(place + 14).min(100_000);
        leader.serve(&mut history, visible.clone());
        assert!(leader.calls.len() <= 6, "{:?}", leader.calls);
        assert!(
            leader.calls.first().is_none_or(|call| call.first.plus(u64::from(call.count)) > Index(100_000 - place))
        );
        for place in visible {
            let row = row(&history, place);
            let index = Index(100_000 - place);
            let expected = leader.state(index);
            assert_eq!((row.index, row.value), (index, Some(expected.value())));
            assert_eq!(row.operation, leader.rows[usize::try_from(index.0 - 1).unwrap()].0);
            assert_eq!(row.committed_at, Some(Timestamp(index.0.next_multiple_of(10))));
        }
        assert!(history.cache.held() <= 21_000);
    }
    assert_eq!(history.request(0..14, at(0)), None, "all of it is there");
    assert_eq!(history.wrong(), None);
}

#[test]
fn what_is_held_is_bounded_while_the_log_grows_and_is_read() {
    let mut leader = Leader::new(50_000);
    let mut history = leader.history();
    history.set_paused(true);
    for step in 0..3_000 {
        let (batch, before) = leader.commit();
        history.handle_batch(&batch, before);
        if step % 10 == 0 {
            let place = step * 15;
            leader.serve(&mut history, place..place + 14);
            assert_eq!(row(&history, place).index, Index(50_000 - place), "what is looked at stays");
        }
        assert!(history.cache.held() <= 20_500, "{}", history.cache.held());
    }
    history.set_paused(false);
    assert_eq!(row(&history, 0).index, leader.tail(), "the newest stay too");
}

#[test]
fn authors_and_own_operations_are_shown() {
    let mut leader = Leader::new(1_000);
    let mut history = leader.history();
    leader.serve(&mut history, 0..1_000);
    let author = |history: &History, index: u64| match history.line(1_000 - index).unwrap() {
        Line::Event { row, own } => (row.author.name().to_owned(), own),
        line => panic!("{line:?}"),
    };
    assert_eq!(author(&history, 500), ("Anna".to_owned(), false));
    assert_eq!(author(&history, 501), ("me".to_owned(), true));
    assert_eq!(author(&history, 502), ("generator".to_owned(), false));
    assert_eq!(row(&history, 1_000 - 502).author, Who::Generator);
    history.handle_committed(Index(502));
    assert_eq!(author(&history, 502), ("generator".to_owned(), true), "this tab's producer knows it");
}

#[test]
fn incidents_stand_after_their_event() {
    let mut leader = Leader::new(100);
    let mut history = leader.history();
    history.set_incidents([(Index(98), 2), (Index(100), 4), (Index(98), 1), (Index(0), 9), (Index(200), 5)]);
    leader.serve(&mut history, 0..104);
    let line = |place| match history.line(place) {
        Some(Line::Event { row, .. }) => i64::try_from(row.index.0).unwrap(),
        Some(Line::Incident(id)) => -i64::try_from(id).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(history.len(), 104);
    assert_eq!((0..7).map(line).collect::<Vec<_>>(), [-4, 100, 99, -2, -1, 98, 97]);
    assert_eq!((line(102), line(103), history.line(104)), (1, -9, None));
    for index in 1..=100 {
        assert_eq!(line(history.place_of(Index(index))), i64::try_from(index).unwrap(), "to jump to {index}");
    }
    assert_eq!((history.place_of(Index(0)), history.place_of(Index(999))), (102, 1), "the nearest that is retained");
}

#[test]
fn a_paused_list_stays_and_counts_what_comes() {
    let mut leader = Leader::new(100);
    let mut history = leader.history();
    leader.serve(&mut history, 0..20);
    history.set_paused(true);
    for _ in 0..3 {
        let (batch, before) = leader.commit();
        history.handle_batch(&batch, before);
    }
    assert_eq!((history.len(), history.missed(), row(&history, 0).index), (100, 30, Index(100)));
    history.set_incidents([(Index(100), 1), (Index(101), 2)]);
    assert_eq!((history.len(), history.line(0)), (101, Some(Line::Incident(1))), "later incidents wait, too");
    history.set_paused(false);
    assert_eq!((history.len(), history.missed(), row(&history, 0).index), (132, 0, Index(130)));
}

#[test]
fn a_filter_searches_backwards_as_far_as_it_must() {
    let mut leader = Leader::new(200_000);
    let mut history = leader.history();
    history.set_filter(Some(Filter { author: "ANN".to_owned(), ..Filter::default() }));
    assert_eq!((history.len(), history.searched_back_to()), (0, Some(Index(200_001))));
    leader.serve(&mut history, 0..14);
    assert_eq!(indexes(&history, 0..3), [200_000, 199_900, 199_800]);
    let back = history.searched_back_to().unwrap();
    assert!(back > Index(180_000) && back < Index(190_000), "{back}: far enough for what is in view");
    assert!(!history.has_searched_all());
    // Somebody scrolls down.
    leader.serve(&mut history, 1_990..2_000);
    assert_eq!((history.len(), history.searched_back_to()), (2_000, Some(Index(1))));
    assert!(history.has_searched_all() && leader.calls.len() <= 42, "{}", leader.calls.len());
    assert_eq!(history.place_of(Index(199_850)), 2, "the newest line at or before it");

    let both = Filter { author: "a".to_owned(), mine: true, ..Filter::default() };
    history.set_filter(Some(both));
    leader.serve(&mut history, 0..14);
    assert_eq!((history.len(), history.has_searched_all()), (0, true), "all parts must be true");
    history.set_filter(Some(Filter { mine: true, ..Filter::default() }));
    leader.serve(&mut history, 0..14);
    assert_eq!(indexes(&history, 0..2), [199_901, 199_801]);
    let mut kinds = Kinds::default();
    kinds.toggle(Operation::Subtract(0));
    history.set_filter(Some(Filter { kinds, ..Filter::default() }));
    leader.serve(&mut history, 0..14);
    assert_eq!(indexes(&history, 0..2), [199_998, 199_995]);
    history.set_filter(Some(Filter { author: "Generator".to_owned(), ..Filter::default() }));
    leader.serve(&mut history, 0..14);
    assert_eq!(indexes(&history, 0..2), [199_999, 199_998], "it is shown under this name");
    history.set_filter(Some(Filter::default()));
    assert_eq!((history.filter(), history.len()), (None, 200_000), "an empty filter shows everything");
}

#[test]
fn new_events_come_to_a_filtered_list_unless_it_is_paused() {
    let mut leader = Leader::new(1_000);
    let mut history = leader.history();
    history.set_filter(Some(Filter { mine: true, ..Filter::default() }));
    leader.serve(&mut history, 0..14);
    assert_eq!(indexes(&history, 0..1), [901]);
    let commit = |leader: &mut Leader, history: &mut History| {
        let (batch, before) = leader.commit();
        history.handle_batch(&batch, before);
    };
    (0..10).for_each(|_| commit(&mut leader, &mut history));
    assert_eq!(indexes(&history, 0..2), [1_001, 901]);
    history.set_paused(true);
    (0..10).for_each(|_| commit(&mut leader, &mut history));
    assert_eq!((history.len(), indexes(&history, 0..1)), (11, vec![1_001]));
    history.set_paused(false);
    assert_eq!(indexes(&history, 0..3), [1_101, 1_001, 901]);
    // Events that a snapshot replaced are searched for.
    (0..30).for_each(|_| drop(leader.commit()));
    history.handle_snapshot(leader.state(leader.tail()));
    leader.serve(&mut history, 0..20);
    assert_eq!(indexes(&history, 0..3), [1_401, 1_301, 1_201]);
}

#[test]
fn incidents_alone_need_no_search() {
    let leader = Leader::new(1_000);
    let mut history = leader.history();
    history.set_incidents([(Index(10), 1), (Index(900), 2)]);
    history.set_filter(Some(Filter { incidents_only: true, ..Filter::default() }));
    assert_eq!((history.len(), history.request(0..14, at(0)), history.searched_back_to()), (2, None, None));
    let lines = [0, 1, 2].map(|place| history.line(place));
    assert_eq!(lines, [Some(Line::Incident(2)), Some(Line::Incident(1)), None]);
    assert_eq!(history.place_of(Index(500)), 1);
}

#[test]
fn the_floor_rises_and_takes_the_oldest_lines() {
    let mut leader = Leader::new(10_000);
    let mut history = leader.history();
    history.set_incidents([(Index(2_000), 1), (Index(5_000), 2)]);
    leader.serve(&mut history, 9_900..9_914);
    leader.floor = Index(5_000);
    history.handle_log(LOG, leader.floor, leader.tail());
    assert_eq!((history.len(), history.range()), (5_001, (Index(5_001), Index(10_000))));
    assert_eq!(history.line(5_000), Some(Line::Incident(2)));
    // A leader may compact before it says so.
    leader.floor = Index(7_000);
    leader.serve(&mut history, 4_000..4_014);
    assert_eq!(history.range().0, Index(7_001));
    history.set_filter(Some(Filter { mine: true, ..Filter::default() }));
    leader.serve(&mut history, 0..100);
    assert_eq!((history.len(), history.has_searched_all()), (30, true));
    leader.floor = Index(9_000);
    history.handle_log(LOG, leader.floor, leader.tail());
    assert_eq!(history.len(), 10);
}

#[test]
fn a_new_log_drops_everything_and_late_answers_with_it() {
    let mut leader = Leader::new(1_000);
    let mut history = leader.history();
    history.set_filter(Some(Filter { mine: true, ..Filter::default() }));
    leader.serve(&mut history, 0..14);
    history.set_filter(None);
    history.set_paused(true);
    let late = history.request(500..510, at(0)).unwrap();
    history.handle_log(LogId(8), Index::ZERO, Index(20));
    assert_eq!((history.len(), history.is_paused(), history.line(0)), (20, false, Some(Line::Unread(Index(20)))));
    assert_eq!(history.request(0..14, at(0)), None, "the old call is under way");
    history.handle_page(leader.page(late), at(0));
    assert_eq!(history.line(0), Some(Line::Unread(Index(20))));
    assert!(history.request(0..14, at(0)).is_some());
    history.handle_page(leader.page(late), at(0));
    assert_eq!(history.line(0), Some(Line::Unread(Index(20))), "a page of another log is not taken");
    // A snapshot from before the tail shows that the log lost its end.
    let mut history = leader.history();
    leader.serve(&mut history, 0..14);
    history.handle_log(LOG, Index(100), leader.tail());
    assert!(!history.handle_snapshot(leader.state(leader.tail())), "it follows");
    assert!(history.handle_snapshot(leader.state(Index(900))));
    assert_eq!((history.len(), history.line(0)), (800, Some(Line::Unread(Index(900)))), "the floor stays");
    assert!(history.handle_snapshot(Snapshot::take(LogId(8), Position::origin(LogId(8)), 0)), "another log");
}

#[test]
fn damage_is_shown_where_it_is_and_passed() {
    let mut leader = Leader { damaged: 400..433, ..Leader::new(1_000) };
    let mut history = leader.history();
    leader.serve(&mut history, 0..1_000);
    let damaged: Vec<u64> = (0..1_000).filter(|place| matches!(history.line(*place), Some(Line::Damaged(_)))).collect();
    let first = 1_000 - damaged.last().unwrap();
    assert_eq!(first, 400);
    assert!((33..=64).contains(&damaged.len()), "{}", damaged.len());
    assert!((0..1_000).all(|place| !matches!(history.line(place), Some(Line::Unread(_)))));
    // A search passes it, too.
    let mut history = leader.history();
    history.set_filter(Some(Filter { author: "anna".to_owned(), ..Filter::default() }));
    leader.serve(&mut history, 0..100);
    assert_eq!(indexes(&history, 0..history.len()), [1_000, 900, 800, 700, 600, 500, 300, 200, 100]);
    assert!(history.has_searched_all());
}

#[test]
fn a_page_that_contradicts_itself_is_said_and_its_values_are_not_shown() {
    let mut leader = Leader::new(1_000);
    leader.alter = |page| page.operations[5] = Operation::Add(50);
    let mut history = leader.history();
    leader.serve(&mut history, 0..14);
    assert!(history.wrong().is_some_and(|what| what.contains("digest")), "{:?}", history.wrong());
    assert_eq!(row(&history, 3).value, None);
}

#[test]
fn an_older_leader_gives_operations_without_values_and_authors() {
    let mut leader = Leader::new(1_000);
    leader.alter = |page| {
        (page.before, page.authors) = (None, Authors::unknown(page.operations.len()));
        page.batches.clear();
    };
    let mut history = leader.history();
    leader.serve(&mut history, 0..14);
    let Row { value, author, committed_at, .. } = row(&history, 3);
    assert_eq!((value, author, committed_at), (None, Who::Unknown, None));
    let (batch, before) = leader.commit();
    let silent = Batch::new(batch.term(), batch.first(), batch.operations().to_vec(), batch.digest(), Timestamp(5));
    history.handle_batch(&silent.unwrap(), before);
    let Row { value, author, .. } = row(&history, 3);
    assert!(value.is_some() && author == Who::Unknown, "it is not the generator's for sure");
    assert_eq!(history.wrong(), None);
}

#[test]
fn a_failed_call_is_made_again_after_a_pause() {
    let leader = Leader::new(1_000);
    let mut history = leader.history();
    let request = history.request(0..14, at(0));
    assert_eq!(history.request(0..14, at(5)), None, "one at a time");
    history.handle_page(Err(ReadError::Failed("gone".to_owned())), at(10));
    assert_eq!(history.request(0..14, at(1_009)), None);
    assert_eq!(history.request(0..14, at(1_010)), request);
}

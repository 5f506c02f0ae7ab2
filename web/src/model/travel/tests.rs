use std::time::Duration;

use engine::leader::Sequencer;
use engine::{Batch, BatchEnd, Identity, Operation, Submission, Term};

use super::*;

const LOG: LogId = LogId(7);

/// A leader's history, and what it does to its answers.
struct Leader {
    floor: Index,
    batches: Vec<Batch>,
    states: Vec<Snapshot>,
    alter: fn(&mut HistoryPage),
    /// How many answers it gave.
    calls: usize,
    /// Between these events it holds no state.
    stateless: (Index, Index),
}

impl Leader {
    /// Two hundred batches of 1 to 17 events. Every fifth event was submitted by Anna.
    fn new() -> Self {
        let mut sequencer = Sequencer::new(Term(1), origin(LOG), []);
        let anna = Identity { id: "a".to_owned(), name: "Anna".to_owned(), ..Identity::default() };
        let (mut batches, mut states) = (Vec::new(), vec![origin(LOG)]);
        for number in 0..200_u64 {
            for event in 0..=number * 7 % 17 {
                let operation = Operation::Add((number + event).cast_signed());
                if states.len() % 5 == 0 {
                    let author = Some(anna.clone());
                    sequencer.submit(&Submission { author, ..operation.into() }).unwrap();
                } else {
                    sequencer.propose(operation).unwrap();
                }
                states.push(sequencer.newest());
            }
            batches.push(sequencer.seal(Timestamp(number)).unwrap());
            sequencer.commit();
        }
        let stateless = (Index(u64::MAX), Index(u64::MAX));
        Self { floor: Index::ZERO, batches, states, alter: |_| {}, calls: 0, stateless }
    }

    fn tail(&self) -> Index {
        self.batches.last().unwrap().last()
    }

    fn snapshot(&self, at: Index) -> Result<Snapshot, ReadError> {
        if at < self.floor {
            return Err(ReadError::Compacted { floor: self.floor });
        }
        let (first, last) = self.stateless;
        let ends = self.batches.iter().map(|batch| batch.last()).take_while(|end| *end <= at);
        let ends = ends.filter(|end| *end < first || *end > last);
        Ok(self.states[usize::try_from(ends.last().unwrap_or_default().max(self.floor).0).unwrap()])
    }

    fn page(&self, first: Index, count: u32) -> Result<HistoryPage, ReadError> {
        if first <= self.floor {
            return Err(ReadError::Compacted { floor: self.floor });
        }
        let last = first.plus(u64::from(count) - 1).min(self.tail());
        let holding = || self.batches.iter().filter(|batch| batch.last() >= first && batch.first() <= last);
        let each = holding().flat_map(|batch| {
            let indexes = (batch.first().0..).map(Index).zip(batch.operations()).zip(batch.authors().each());
            indexes.map(|((index, operation), author)| (index, *operation, author))
        });
        let each: Vec<_> = each.filter(|(index, ..)| (first..=last).contains(index)).collect();
        let end = |batch: &Batch| BatchEnd { end: batch.end(), term: batch.term(), committed_at: batch.committed_at() };
        let mut page = HistoryPage {
            first,
            operations: each.iter().map(|(_, operation, _)| *operation).collect(),
            before: Some(self.states[usize::try_from(first.0 - 1).unwrap()]),
            batches: holding().map(end).collect(),
            authors: engine::Authors::of(each.iter().map(|(.., author)| *author)),
            tail: self.tail(),
            floor: self.floor,
        };
        (self.alter)(&mut page);
        Ok(page)
    }

    fn answer(&mut self, request: Request, travel: &mut Travel, now: Moment) {
        self.calls += 1;
        match request {
            Request::Snapshot(at) => travel.handle_snapshot(self.snapshot(at), now),
            Request::Events { first, count } => travel.handle_events(self.page(first, count), now),
        }
    }

    /// Answers until nothing more is asked.
    fn serve(&mut self, travel: &mut Travel, now: Moment) -> View {
        for _ in 0..100 {
            let Some(request) = travel.request(now) else { return travel.view() };
            self.answer(request, travel, now);
        }
        panic!("it asks without end");
    }

    fn travel(&self) -> Travel {
        let mut travel = Travel::default();
        travel.handle_log(LOG, self.floor, self.tail());
        travel
    }
}

fn at(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn there(view: View) -> Travelled {
    let View::At(there) = view else { panic!("{view:?}") };
    there
}

#[test]
fn every_index_is_reached_with_two_calls_and_proved() {
    let mut leader = Leader::new();
    for index in (0..=leader.tail().0).step_by(13).chain([1, 2, leader.tail().0]).map(Index) {
        let mut travel = leader.travel();
        assert_eq!(travel.view(), View::Live);
        travel.go_to(index);
        assert_eq!(travel.view(), View::Loading(index));
        leader.calls = 0;
        let there = there(leader.serve(&mut travel, at(0)));
        assert!(leader.calls <= 2, "{} calls to {index}", leader.calls);
        let state = leader.states[usize::try_from(index.0).unwrap()];
        assert_eq!((there.index, there.value, there.digest), (index, state.value(), state.position().digest));
        assert!(there.proved, "at {index}");
        assert_eq!(there.event.map(|event| event.index), (index > Index::ZERO).then_some(index));
        let anna = index.0 > 0 && index.0 % 5 == 0;
        let generator = !anna && index.0 > 0;
        let name = if generator { "generator" } else { "" };
        assert_eq!(there.author.name(), if anna { "Anna" } else { name });
        assert_eq!(there.author == Who::Generator, generator);
        let batch = leader.batches.iter().find(|batch| batch.last() >= index).unwrap();
        assert_eq!(there.committed_at, (index.0 > 0).then_some(batch.committed_at()));
    }
}

#[test]
fn a_neighbour_needs_no_call() {
    let mut leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(500));
    leader.serve(&mut travel, at(0));
    for index in [501, 530, 1_200, 500].map(Index) {
        travel.go_to(index);
        assert_eq!(there(travel.view()).index, index);
    }
    travel.back_to_live();
    assert_eq!((travel.view(), travel.request(at(0))), (View::Live, None));
}

#[test]
fn whatever_a_leader_alters_is_found_and_said() {
    type Alter = fn(&mut HistoryPage);
    let alterations: [(&str, Alter); 6] = [
        ("an operation", |page| page.operations[3] = Operation::Add(77)),
        ("an operation that cannot be applied", |page| page.operations[3] = Operation::Divide(0)),
        ("the value before", |page| {
            let before = page.before.unwrap();
            page.before = Some(Snapshot::take(LOG, before.position(), before.value() + 1));
        }),
        ("the digest before", |page| {
            let before = page.before.unwrap();
            let position = Position { digest: Digest(1), ..before.position() };
            page.before = Some(Snapshot::take(LOG, position, before.value()));
        }),
        ("a digest", |page| page.batches[0].end.digest.0 ^= 1),
        ("where batches end", |page| {
            let last = *page.batches.last().unwrap();
            page.batches = vec![BatchEnd { end: Position { digest: Digest(1), ..last.end }, ..last }];
        }),
    ];
    for (what, alter) in alterations {
        let mut leader = Leader { alter, ..Leader::new() };
        let mut travel = leader.travel();
        let target = Index(1_500);
        travel.go_to(target);
        let view = leader.serve(&mut travel, at(0));
        assert!(matches!(&view, View::Cannot(index, Obstacle::Wrong(_)) if *index == target), "{what}: {view:?}");
        // A sound answer is taken when a person tries again.
        leader.alter = |_| {};
        travel.go_to(target);
        assert_eq!(there(leader.serve(&mut travel, at(0))).index, target, "{what}");
    }
}

#[test]
fn an_altered_state_is_found_by_the_events_after_it() {
    let mut leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(700));
    let Some(Request::Snapshot(asked)) = travel.request(at(0)) else { panic!("no request") };
    let state = leader.snapshot(asked).unwrap();
    travel.handle_snapshot(Ok(Snapshot::take(LOG, state.position(), state.value() + 1)), at(0));
    let view = leader.serve(&mut travel, at(0));
    assert!(matches!(view, View::Cannot(_, Obstacle::Wrong(_))), "{view:?}");
    // Also where the page does not say what is before it.
    leader.alter = |page| page.before = None;
    travel.go_to(Index(700));
    assert!(matches!(travel.request(at(0)), Some(Request::Snapshot(_))));
    travel.handle_snapshot(Ok(Snapshot::take(LOG, state.position(), state.value() + 1)), at(0));
    assert!(matches!(leader.serve(&mut travel, at(0)), View::Cannot(_, Obstacle::Wrong(_))));
    // And one from after the target.
    travel.go_to(Index(700));
    assert!(matches!(travel.request(at(0)), Some(Request::Snapshot(_))));
    travel.handle_snapshot(Ok(leader.states[800]), at(0));
    assert!(matches!(travel.view(), View::Cannot(_, Obstacle::Wrong(_))));
}

#[test]
fn nothing_is_shown_before_its_batch_is_proved() {
    let mut leader = Leader::new();
    let batch = leader.batches.iter().find(|batch| batch.operations().len() == 17).unwrap();
    let (first, last) = (batch.first(), batch.last());
    let mut travel = leader.travel();
    travel.go_to(first);
    let request = travel.request(at(0)).unwrap();
    leader.answer(request, &mut travel, at(0));
    let Some(Request::Events { .. }) = travel.request(at(0)) else { panic!("no request") };
    // The page ends in the middle of the batch.
    travel.handle_events(leader.page(first, 5), at(0));
    assert_eq!(travel.view(), View::Loading(first));
    let Some(Request::Events { first: next, .. }) = travel.request(at(0)) else { panic!("no request") };
    assert_eq!(next, first.plus(5));
    travel.handle_events(leader.page(next, 12), at(0));
    assert!(there(travel.view()).proved);
    travel.go_to(last);
    assert!(there(travel.view()).proved);
}

#[test]
fn what_cannot_be_shown_is_said() {
    let mut leader = Leader::new();
    leader.floor = leader.batches[50].last();
    let mut travel = Travel::default();
    travel.handle_log(LOG, Index::ZERO, leader.tail());
    travel.go_to(Index(100));
    assert_eq!(leader.serve(&mut travel, at(0)), View::Cannot(Index(100), Obstacle::Compacted(leader.floor)));
    assert_eq!(travel.range(), (Index(100), leader.tail()));
    travel.go_to(Index(100));
    let there = there(leader.serve(&mut travel, at(0)));
    assert_eq!((there.index, there.event, there.proved), (leader.floor, None, true), "the floor is as far as it goes");
    assert_eq!(travel.range(), (leader.floor, leader.tail()));

    for (error, expected) in [
        (ReadError::Unsupported, Obstacle::OlderLeader),
        (ReadError::Damaged("event 9".to_owned()), Obstacle::Damaged("event 9".to_owned())),
        (ReadError::Malformed("bad".to_owned()), Obstacle::Wrong("bad".to_owned())),
    ] {
        let mut travel = leader.travel();
        travel.go_to(Index(900));
        travel.request(at(0)).unwrap();
        travel.handle_snapshot(Err(error), at(0));
        assert_eq!((travel.view(), travel.request(at(9))), (View::Cannot(Index(900), expected), None));
    }
    // An older leader that knows states, but not where batches end.
    leader.alter = |page| page.batches.clear();
    let mut travel = leader.travel();
    travel.go_to(Index(900));
    assert_eq!(leader.serve(&mut travel, at(0)), View::Cannot(Index(900), Obstacle::OlderLeader));
}

#[test]
fn a_floor_that_passes_the_target_is_said() {
    let mut leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(100));
    leader.floor = leader.batches[50].last();
    travel.handle_log(LOG, leader.floor, leader.tail());
    assert_eq!(leader.serve(&mut travel, at(0)), View::Cannot(Index(100), Obstacle::Compacted(leader.floor)));
    // What is there already stays.
    let target = leader.floor.next();
    travel.go_to(target);
    leader.serve(&mut travel, at(0));
    travel.handle_log(LOG, leader.tail(), leader.tail());
    assert_eq!(there(leader.serve(&mut travel, at(0))).index, target);
}

#[test]
fn a_leader_without_a_state_close_by_is_read_from_further_back() {
    let mut leader = Leader { stateless: (Index(1), Index(1_500)), ..Leader::new() };
    for _ in 0..300 {
        // More than what is usually read on to.
        let last = leader.batches.last().unwrap().clone();
        let before = *leader.states.last().unwrap();
        let (index, digest) = (before.position().index.next(), before.position().digest);
        let values = [before.value(); 10];
        let mut end = Position { index, digest };
        for (offset, value) in (0..).zip(values) {
            let index = index.plus(offset);
            end = Position { index, digest: end.digest.after(index, Operation::Add(0), value) };
            leader.states.push(Snapshot::take(LOG, end, value));
        }
        let operations = vec![Operation::Add(0); 10];
        leader.batches.push(Batch::new(last.term(), index, operations, end.digest, last.committed_at()).unwrap());
    }
    leader.stateless = (Index(1), Index(4_000));
    let mut travel = leader.travel();
    travel.go_to(Index(3_900));
    let there = there(leader.serve(&mut travel, at(0)));
    assert!(there.proved && leader.calls == 2, "{} calls", leader.calls);
}

#[test]
fn a_failed_call_is_made_again_after_a_pause() {
    let leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(900));
    let request = travel.request(at(0));
    travel.handle_snapshot(Err(ReadError::Failed("gone".to_owned())), at(0));
    assert_eq!((travel.view(), travel.request(at(999))), (View::Loading(Index(900)), None));
    assert_eq!(travel.request(at(1_000)), request);
    assert_eq!(travel.request(at(9_000)), None, "one at a time");
}

#[test]
fn the_newest_target_counts() {
    let mut leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(100));
    let late = travel.request(at(0)).unwrap();
    travel.go_to(Index(1_400));
    assert_eq!(travel.request(at(0)), None, "the first call is under way");
    leader.answer(late, &mut travel, at(0));
    assert_eq!(there(leader.serve(&mut travel, at(0))).index, Index(1_400));
}

#[test]
fn a_new_log_ends_the_journey_and_late_answers_of_the_old_one_are_dropped() {
    let mut leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(100));
    let late = travel.request(at(0)).unwrap();
    travel.handle_log(LogId(8), Index::ZERO, Index(50));
    assert_eq!((travel.view(), travel.range()), (View::Live, (Index::ZERO, Index(50))));
    travel.go_to(Index(40));
    assert_eq!(travel.request(at(0)), None, "the old call is under way");
    leader.answer(late, &mut travel, at(0));
    assert_eq!(travel.view(), View::Loading(Index(40)));
    // Before the stream has said so, the answer shows it.
    let request = travel.request(at(0)).unwrap();
    leader.answer(request, &mut travel, at(0));
    assert_eq!(travel.view(), View::Cannot(Index(40), Obstacle::OtherLog));
}

#[test]
fn play_goes_on_at_its_speed_reads_ahead_and_waits_where_it_must() {
    let mut leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(100));
    leader.serve(&mut travel, at(0));
    travel.play(10.0, at(0));
    for (now, index) in [(50, 100), (100, 101), (1_000, 110), (10_050, 200)] {
        let there = there(leader.serve(&mut travel, at(now)));
        assert_eq!((there.index, there.proved), (Index(index), true), "at {now} ms");
    }
    travel.play(1_000.0, at(10_050));
    travel.advance(at(10_150));
    assert_eq!(travel.target(), Some(Index(300)));
    let Some(Request::Events { first, .. }) = travel.request(at(10_150)) else { panic!("it does not read ahead") };
    // The answer takes its time: play waits at the last proved event, and goes on from there.
    travel.advance(at(20_000));
    let waits = travel.target().unwrap();
    assert!(waits > Index(1_000) && waits < leader.tail(), "{waits}");
    travel.handle_events(leader.page(first, 10_000), at(20_000));
    travel.advance(at(20_100));
    assert_eq!(travel.target(), Some(waits.plus(100)));
    travel.pause(at(20_200));
    assert_eq!((travel.target(), travel.speed()), (Some(waits.plus(200)), None));
    travel.play(5_000.0, at(30_000));
    travel.advance(at(60_000));
    assert_eq!(travel.target(), Some(leader.tail()));
    travel.advance(at(60_001));
    assert_eq!(travel.speed(), None, "at the tail it ends");
}

#[test]
fn play_stops_where_the_leader_lies() {
    let mut leader = Leader::new();
    let mut travel = leader.travel();
    travel.go_to(Index(100));
    leader.serve(&mut travel, at(0));
    leader.alter = |page| page.operations[0] = Operation::Add(-1);
    travel.play(1_000.0, at(0));
    for now in (0..5_000).step_by(16) {
        leader.serve(&mut travel, at(now));
    }
    assert!(matches!(travel.obstacle(), Some(Obstacle::Wrong(_))));
    assert_eq!(travel.speed(), None);
    assert!(there(travel.view()).proved, "what was proved before is still shown");
}

//! What an opening finds.

use engine::{Digest, Event, Index, Operation, Position, ProducerChanges, Snapshot, Term};

use super::model::{Model, read, read_all, submitted};
use super::{Setup, open};
use crate::{Store, StoredBatch};

/// The first opening begins the log with term 1, at index 0, with value 0.
pub async fn an_empty_place_opens_at_the_beginning<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let opened = open(&place).await;
    let origin = Position::origin(opened.tail.log());
    assert_eq!((opened.term, opened.tail), (Term(1), Snapshot::take(opened.tail.log(), origin, 0)));
    assert_eq!((opened.snapshot, opened.producers, opened.lost.reason()), (opened.tail, Vec::new(), None));
    assert_eq!((opened.reader.floor(), opened.reader.damage()), (Index::ZERO, Vec::new()));
    assert_eq!(read(&*opened.reader, Index(1), usize::MAX).await, []);
    assert_eq!(opened.reader.digest_at(Index::ZERO).await, Ok(Some(Digest::of_log(opened.tail.log()))));
}

/// Terms grow by one with each opening, whether or not something was committed. The log keeps its id.
pub async fn each_opening_takes_the_next_term<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let first = open(&place).await;
    let log = first.tail.log();
    drop(first);
    for term in 2..=5 {
        let opened = open(&place).await;
        assert_eq!((opened.term, opened.tail.log()), (Term(term), log));
    }
}

/// A later opening finds the tail, its value, and every batch as it was committed.
pub async fn what_was_committed_is_found_when_opened_again<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut opened = open(&place).await;
    let mut model = Model::of(&opened);
    for _ in 0..3 {
        model.fill(&mut opened, [3, 1, 5, 1, 1, 8]).await;
        drop(opened);
        opened = open(&place).await;
        assert_eq!(opened.tail, model.tail());
        assert_eq!(read_all(&*opened.reader).await, model.batches());
    }
}

/// A later opening finds the last submission of each producer, ordered by producer, without those that were forgotten.
pub async fn producers_are_found_as_of_the_tail<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut opened = open(&place).await;
    let mut model = Model::of(&opened);
    let changes = [
        ProducerChanges { written: vec![submitted("a", 1, 1), submitted("b", 9, 2)], forgotten: vec![] },
        ProducerChanges::default(),
        ProducerChanges { written: vec![submitted("a", 2, 5)], forgotten: vec![submitted("b", 9, 2).producer] },
        ProducerChanges { written: vec![submitted("0", 1, 7), submitted("b", 1, 8)], forgotten: vec![] },
    ];
    for producers in changes {
        let mut commit = model.next(opened.term, 2);
        commit.producers = producers;
        model.append(&mut opened, commit).await;
        drop(opened);
        opened = open(&place).await;
        assert_eq!(opened.producers, model.producers());
    }
    assert_eq!(opened.producers, [submitted("0", 1, 7), submitted("a", 2, 5), submitted("b", 1, 8)]);
}

/// The snapshot is the state after a committed batch, at or above the floor, and what follows it can be read.
pub async fn the_snapshot_is_a_committed_state_and_the_rest_can_be_read<S: Store>(make: &impl Fn(Setup) -> S) {
    for setup in [Setup::LONG, Setup::SHORT] {
        let place = make(setup);
        let mut opened = open(&place).await;
        let mut model = Model::of(&opened);
        for _ in 0..12 {
            model.fill(&mut opened, [1, 2, 3]).await;
            drop(opened);
            opened = open(&place).await;
            let snapshot = opened.snapshot.position().index;
            let origin = Snapshot::take(opened.tail.log(), Position::origin(opened.tail.log()), 0);
            let is_committed =
                opened.snapshot == origin || model.commits.iter().any(|commit| commit.tail == opened.snapshot);
            assert!(is_committed, "the state at {snapshot} was never committed");
            assert!(opened.reader.floor() <= snapshot, "the snapshot lies below the floor");
            let mut rest = model.batches();
            rest.retain(|batch| batch.first > snapshot);
            assert_eq!(read(&*opened.reader, snapshot.next(), usize::MAX).await, rest);
        }
    }
}

/// Values, digests, sequences and arguments keep all their bits, and frames all their bytes.
pub async fn numbers_of_every_size_are_kept<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut opened = open(&place).await;
    let mut model = Model::of(&opened);
    let operations = [Operation::Add(i64::MAX), Operation::Multiply(i64::MIN), Operation::SquareRoot];
    let frames = [vec![0xff; 1], (0..=u8::MAX).collect(), vec![0; 64 << 10]];
    for ((number, operation), frame) in [u64::MAX, 1 << 63, 0].into_iter().zip(operations).zip(frames) {
        let mut commit = model.next(opened.term, 1);
        let end = Position { digest: Digest(number), ..commit.batch.end };
        commit.batch = StoredBatch { end, frame: frame.into(), ..commit.batch };
        commit.tail = Snapshot::take(opened.tail.log(), end, number.cast_signed());
        let mut row = submitted(&format!("producer-{number}"), number, end.index.0);
        row.event = Event { operation, value: number.cast_signed(), ..row.event };
        commit.producers.written.push(row);
        model.append(&mut opened, commit).await;
        drop(opened);
        opened = open(&place).await;
        assert_eq!((opened.tail, &opened.producers), (model.tail(), &model.producers()));
        assert_eq!(read_all(&*opened.reader).await, model.batches());
        assert_eq!(opened.reader.digest_at(end.index).await, Ok(Some(end.digest)));
    }
}

//! The digest chain of the newest events, as this page computes it, and a copy of it to tamper with.
//!
//! The leader tells digests at the ends of batches only. Between them, this page computes its own.

use std::collections::VecDeque;

use engine::{Batch, Digest, Event, Index, Operation, Position, Snapshot, apply};

use crate::format;

/// How many events the chain holds: as many as a person can compare.
pub const LENGTH: usize = 12;

/// An event with the digest after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The event.
    pub event: Event,
    /// The digest after it, computed here.
    pub digest: Digest,
    /// Whether the leader said the same digest. Otherwise a later one, which is seeded with it, proves it.
    pub proved: bool,
}

/// The newest [`LENGTH`] events without a hole between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Before the first link.
    start: Option<End>,
    /// Oldest first.
    links: VecDeque<Link>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    position: Position,
    value: i64,
}

impl Chain {
    /// A chain that begins after `held`.
    #[must_use]
    pub fn new(held: Option<Snapshot>) -> Self {
        let start = held.map(|held| End { position: held.position(), value: held.value() });
        Self { start, links: VecDeque::new() }
    }

    /// Appends a batch that was applied. One that does not follow is left out.
    pub(crate) fn append(&mut self, batch: &Batch) {
        let Some(end) = self.end().filter(|end| end.position.index.next() == batch.first()) else {
            return;
        };
        let mut digest = end.position.digest;
        for event in batch.events(end.value) {
            digest = digest.after(event.index, event.operation, event.value);
            let proved = batch.end() == Position { index: event.index, digest };
            if self.links.len() == LENGTH {
                self.start = self.links.pop_front().map(Link::end);
            }
            self.links.push_back(Link { event, digest, proved });
        }
    }

    fn end(&self) -> Option<End> {
        self.links.back().copied().map(Link::end).or(self.start)
    }

    /// The links, oldest first.
    pub fn links(&self) -> impl DoubleEndedIterator<Item = &Link> + ExactSizeIterator {
        self.links.iter()
    }

    /// Where the chain begins: the position before its first link.
    #[must_use]
    pub fn start(&self) -> Option<Position> {
        self.start.map(|start| start.position)
    }

    /// The operation at an index, if it is among the newest.
    #[must_use]
    pub fn operation(&self, index: Index) -> Option<Operation> {
        let first = self.links.front()?.event.index;
        let place = usize::try_from(index.0.checked_sub(first.0)?).ok()?;
        self.links.get(place).map(|link| link.event.operation)
    }

    /// A copy in which the event at `at` is another one. With `hide`, the event after it is changed as well, so that the
    /// value is the same again. `None` if the chain has no event at `at`.
    #[must_use]
    pub fn tamper(&self, at: Index, hide: bool) -> Option<Tampered> {
        let mut end = self.start?;
        let mut goes_on = true;
        let mut tampered = Tampered { at, rows: Vec::new(), met: None, refused: None };
        for &Link { event, digest, proved } in &self.links {
            let mut row = Row { event, operation: event.operation, digest, copy: None, proved };
            if event.index == at {
                row.operation = another(event.operation, end.value);
            } else if hide && event.index == at.next() {
                row.operation = leading_to(event.value, end.value).unwrap_or(event.operation);
            }
            if goes_on {
                match apply(end.value, row.operation) {
                    Ok(value) => {
                        let digest = end.position.digest.after(event.index, row.operation, value);
                        end = End { position: Position { index: event.index, digest }, value };
                        row.copy = Some((value, digest));
                        if event.index > at && value == event.value {
                            tampered.met.get_or_insert(event.index);
                        }
                    }
                    Err(refusal) => {
                        goes_on = false;
                        tampered.refused = Some((event.index, refusal.to_string()));
                    }
                }
            }
            tampered.rows.push(row);
        }
        tampered.rows.iter().any(|row| row.event.index == at).then_some(tampered)
    }
}

impl Link {
    fn end(self) -> End {
        End { position: Position { index: self.event.index, digest: self.digest }, value: self.event.value }
    }
}

/// Another operation that can be applied to `value`: one more in the argument, if possible.
fn another(operation: Operation, value: i64) -> Operation {
    let more = |n: i64| n.saturating_add(1);
    let candidate = match operation {
        Operation::Add(n) => Operation::Add(more(n)),
        Operation::Subtract(n) => Operation::Subtract(more(n)),
        Operation::Multiply(n) => Operation::Multiply(more(n)),
        Operation::Divide(n) => Operation::Divide(more(n)),
        Operation::SquareRoot | Operation::PowerOfTwo => operation,
    };
    let others = [candidate, Operation::Add(1), Operation::Subtract(1), Operation::Subtract(2)];
    let fits = |other: &Operation| *other != operation && apply(value, *other).is_ok();
    others.into_iter().find(fits).unwrap_or(Operation::Divide(1))
}

/// The addition or subtraction that makes `from` to `to`.
fn leading_to(to: i64, from: i64) -> Option<Operation> {
    to.checked_sub(from).map(Operation::Add).or_else(|| from.checked_sub(to).map(Operation::Subtract))
}

/// A copy of a chain in which one event, or two, are not what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampered {
    /// The event that was changed. The digests part here.
    pub at: Index,
    /// The events, oldest first.
    pub rows: Vec<Row>,
    /// From where on the values are equal again, if they ever are.
    pub met: Option<Index>,
    /// Where the copy ends, because an operation cannot be applied to its value, and why.
    pub refused: Option<(Index, String)>,
}

/// An event of a chain and of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The event as it was.
    pub event: Event,
    /// Its operation in the copy.
    pub operation: Operation,
    /// The digest after the event as it was.
    pub digest: Digest,
    /// The value and digest in the copy; `None` where the copy has ended.
    pub copy: Option<(i64, Digest)>,
    /// Whether the leader said the digest itself.
    pub proved: bool,
}

impl Row {
    /// Whether the copy has another operation here.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.operation != self.event.operation
    }

    /// Whether the digests are the same.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.copy.is_some_and(|(_, digest)| digest == self.digest)
    }
}

impl Tampered {
    /// Where the chains part and why nothing later can hide it, in sentences.
    #[must_use]
    pub fn text(&self) -> String {
        let changed: Vec<String> = self
            .rows
            .iter()
            .filter(|row| row.is_changed())
            .map(|row| {
                let (was, is) = (format::operation(row.event.operation), format::operation(row.operation));
                format!("{} was {was} and is {is}", format::index(row.event.index))
            })
            .collect();
        let changed = changed.join("; ");
        let values = match (&self.refused, self.met) {
            (Some((at, why)), _) => {
                format!(" At {} the copy cannot go on: {}.", format::index(*at), format::with_minus(why))
            }
            (None, Some(met)) => {
                format!(" From {} on the values are equal again. The digests are not.", format::index(met))
            }
            (None, None) => String::new(),
        };
        format!(
            "In the copy, {changed}.{values} Each digest is seeded with the one before it, so from {} on all differ, \
             whatever comes later.",
            format::index(self.at)
        )
    }
}

#[cfg(test)]
mod tests {
    use engine::{LogId, Term, Timestamp};

    use super::*;

    const LOG: LogId = LogId(0xabcd);

    /// A batch of `operations` after `held`, as a leader commits it, and what is held after it.
    fn batch(held: Snapshot, operations: &[Operation]) -> (Batch, Snapshot) {
        let first = held.position().index.next();
        let make = |digest| Batch::new(Term(1), first, operations.to_vec(), digest, Timestamp(0)).unwrap();
        let (value, digest) = make(Digest(0)).replay(held.value(), held.position().digest).unwrap();
        let batch = make(digest);
        let after = Snapshot::take(LOG, batch.end(), value);
        (batch, after)
    }

    /// The chain of a page that applied `batches` from the start of the log.
    fn chain(batches: &[&[Operation]]) -> Chain {
        let mut held = Snapshot::take(LOG, Position::origin(LOG), 0);
        let mut chain = Chain::new(Some(held));
        for operations in batches {
            let (batch, after) = batch(held, operations);
            chain.append(&batch);
            held = after;
        }
        chain
    }

    use Operation::{Add, Divide, Multiply, PowerOfTwo, SquareRoot, Subtract};

    #[test]
    fn the_ends_of_batches_are_proved_by_the_leader_and_the_rest_is_computed_here() {
        let chain = chain(&[&[Add(5), Multiply(3)], &[Subtract(1)]]);
        let proved: Vec<(u64, i64, bool)> =
            chain.links().map(|link| (link.event.index.0, link.event.value, link.proved)).collect();
        assert_eq!(proved, [(1, 5, false), (2, 15, true), (3, 14, true)]);
        assert_eq!(chain.start(), Some(Position::origin(LOG)));
    }

    #[test]
    fn only_the_newest_links_stay_and_the_chain_goes_on_across_them() {
        let additions = [Add(1); 2 * LENGTH + 1];
        let chain = chain(&[&additions, &[Add(1)]]);
        let first = chain.links().next().unwrap().event;
        assert_eq!((chain.links().len(), first.index, first.value), (LENGTH, Index(15), 15));
        assert!(chain.links().last().unwrap().proved);
        assert_eq!(chain.start().unwrap().index, Index(14));
        assert_eq!(chain.operation(Index(15)), Some(Add(1)));
        assert_eq!((chain.operation(Index(14)), chain.operation(Index(27))), (None, None));
    }

    #[test]
    fn a_batch_that_does_not_follow_is_left_out() {
        let mut chain = chain(&[&[Add(1)]]);
        let (_, second) = batch(Snapshot::take(LOG, Position::origin(LOG), 0), &[Add(1), Add(1)]);
        let (third, _) = batch(second, &[Add(1)]);
        chain.append(&third);
        assert_eq!(chain.links().len(), 1);
        assert_eq!(Chain::default().tamper(Index(1), false), None);
        assert_eq!(chain.tamper(Index(2), false), None);
    }

    #[test]
    fn every_digest_after_an_altered_event_differs() {
        let chain = chain(&[&[Add(5)], &[Multiply(6)], &[SquareRoot], &[Add(45)]]);
        let tampered = chain.tamper(Index(2), false).unwrap();
        let equal: Vec<bool> = tampered.rows.iter().map(Row::is_equal).collect();
        assert_eq!(equal, [true, false, false, false]);
        let values: Vec<(i64, i64)> = tampered.rows.iter().map(|row| (row.event.value, row.copy.unwrap().0)).collect();
        assert_eq!(values, [(5, 5), (30, 35), (5, 5), (50, 50)], "the root makes the values equal, by chance");
        assert_eq!(
            tampered.text(),
            "In the copy, #2 was × 6 and is × 7. From #3 on the values are equal again. The digests are not. Each digest \
             is seeded with the one before it, so from #2 on all differ, whatever comes later."
        );
    }

    #[test]
    fn a_second_change_brings_the_values_together_and_never_the_digests() {
        let chain = chain(&[&[Add(5), Multiply(6), Subtract(9), PowerOfTwo]]);
        let plain = chain.tamper(Index(2), false).unwrap();
        assert_eq!(plain.met, None);
        assert!(
            plain.text().starts_with("In the copy, #2 was × 6 and is × 7. Each digest is seeded"),
            "{}",
            plain.text()
        );
        let hidden = chain.tamper(Index(2), true).unwrap();
        assert_eq!((hidden.rows[2].operation, hidden.met), (Add(-14), Some(Index(3))));
        for row in &hidden.rows[2..] {
            assert_eq!(row.copy.unwrap().0, row.event.value);
            assert!(!row.is_equal());
        }
        assert!(
            hidden
                .text()
                .starts_with("In the copy, #2 was × 6 and is × 7; #3 was − 9 and is + −14. From #3 on the values"),
            "{}",
            hidden.text()
        );
    }

    #[test]
    fn a_copy_that_cannot_go_on_says_where_and_why() {
        let chain = chain(&[&[Add(5)], &[Subtract(5)], &[SquareRoot], &[Add(1)]]);
        let tampered = chain.tamper(Index(2), false).unwrap();
        let copies: Vec<Option<i64>> = tampered.rows.iter().map(|row| row.copy.map(|(value, _)| value)).collect();
        assert_eq!(copies, [Some(5), Some(-1), None, None]);
        assert!(
            tampered.text().contains("At #3 the copy cannot go on: cannot take the square root of −1"),
            "{}",
            tampered.text()
        );
        assert!(tampered.rows.iter().skip(1).all(|row| !row.is_equal()));
    }

    #[test]
    fn every_operation_is_altered_to_one_that_can_be_applied() {
        for (operation, value) in [
            (Add(i64::MAX), 0),
            (Add(5), i64::MAX - 5),
            (Subtract(i64::MAX), -1),
            (Multiply(1), i64::MAX),
            (Divide(-1), 7),
            (SquareRoot, i64::MAX),
            (PowerOfTwo, 3),
            (Add(1), i64::MAX - 1),
        ] {
            let other = another(operation, value);
            assert_ne!(other, operation);
            assert!(apply(value, other).is_ok(), "{operation} at {value} became {other}");
        }
    }
}

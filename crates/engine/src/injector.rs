//! Faults of a link, on purpose: between the wire and the replica, batches are lost, repeated, exchanged or altered, and
//! the link is cut.

use std::collections::VecDeque;

use crate::{Batch, Frame, Operation};

/// What an [`Injector`] does to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkFault {
    /// The batch does not arrive.
    Lose,
    /// It arrives twice.
    Repeat,
    /// It arrives after the batch that follows it. Other frames do not wait, but the first heartbeat between the two does
    /// not arrive: it would show a gap before the two have changed places.
    Exchange,
    /// Its first operation is another one, which the batch's digest contradicts.
    Alter,
    /// The stream ends before it arrives.
    Cut,
}

/// What an [`Injector`] did. Batches are as the leader sent them, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Struck {
    /// The batch did not arrive.
    Lost(Batch),
    /// The batch arrived twice.
    Repeated(Batch),
    /// The batch waits for the next one, which arrives first.
    HeldBack(Batch),
    /// The next batch came.
    Exchanged {
        /// The batch that was held back.
        held: Batch,
        /// The batch that arrived before it.
        by: Batch,
    },
    /// The batch arrived with another first operation.
    Altered {
        /// What the leader sent.
        sent: Batch,
        /// What arrived.
        arrived: Batch,
    },
    /// The stream ended before the batch arrived.
    Cut(Batch),
    /// The link was taken down.
    TakenDown,
    /// The link was brought up again.
    BroughtUp,
}

/// How many reports wait for [`Injector::poll_struck`] at most. Then the oldest goes: nobody asks.
const REPORTS: usize = 64;

/// Passes the frames of a stream on, and does to batches what it was told to do.
///
/// It acts on batches only, and on one at a time: the first fault strikes the next batch, the second the one after it.
/// Besides, its user can take the whole link down. It draws no random numbers and reads no clock, so its user decides which
/// batch is struck and for how long the link is down.
///
/// ```
/// use engine::injector::{Injector, LinkFault, Struck};
/// use engine::{Batch, Digest, Frame, Index, Operation, Term, Timestamp};
///
/// let batch = Batch::new(Term(1), Index(1), vec![Operation::Add(5)], Digest(0), Timestamp(0))?;
/// let mut injector = Injector::default();
/// injector.inject(LinkFault::Lose);
/// injector.handle_frame(Frame::Batch(batch.clone()));
/// assert_eq!(injector.poll_frame(), None);
/// assert_eq!(injector.poll_struck(), Some(Struck::Lost(batch.clone())));
/// injector.handle_frame(Frame::Batch(batch.clone()));
/// assert_eq!(injector.poll_frame(), Some(Frame::Batch(batch)));
/// # Ok::<(), engine::EmptyBatch>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Injector {
    /// Each for one of the batches that come next, in order.
    faults: VecDeque<LinkFault>,
    /// A batch that lets the next one pass.
    held: Option<Batch>,
    /// Whether a heartbeat was left out since that batch was held back.
    left_out: bool,
    /// Frames that arrive now.
    ready: VecDeque<Frame>,
    /// The present stream is cut.
    cut: bool,
    /// No stream passes frames, and none can be opened.
    down: bool,
    /// What was done, at most [`REPORTS`].
    struck: VecDeque<Struck>,
}

impl Injector {
    /// Lets `fault` strike the first batch to come that no earlier fault is for.
    pub fn inject(&mut self, fault: LinkFault) {
        self.faults.push_back(fault);
    }

    /// Takes the link down: the stream ends at once, and none can be opened until [`bring_up`](Self::bring_up).
    pub fn take_down(&mut self) {
        if !self.down {
            self.down = true;
            self.drop_stream();
            self.report(Struck::TakenDown);
        }
    }

    /// Lets streams be opened again.
    pub fn bring_up(&mut self) {
        if self.down {
            self.down = false;
            // The stream that was cut stays so.
            self.cut = true;
            self.report(Struck::BroughtUp);
        }
    }

    /// Whether the link is down, so that no stream can be opened.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// Whether every fault has struck, no batch is held back and the link is up.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.faults.is_empty() && self.held.is_none() && !self.down
    }

    /// A new stream begins: what an earlier one still held is lost. Faults that have not struck stay.
    pub fn begin_stream(&mut self) {
        self.drop_stream();
        self.cut = false;
    }

    fn drop_stream(&mut self) {
        self.held = None;
        self.ready.clear();
    }

    /// The leader sent `frame`. [`poll_frame`](Self::poll_frame) returns what arrives of it.
    pub fn handle_frame(&mut self, frame: Frame) {
        if self.is_cut() {
            return;
        }
        let Frame::Batch(batch) = frame else {
            if self.held.is_some() && !self.left_out && matches!(frame, Frame::Heartbeat(_)) {
                self.left_out = true;
            } else {
                self.ready.push_back(frame);
            }
            return;
        };
        if let Some(held) = self.held.take() {
            self.ready.extend([Frame::Batch(batch.clone()), Frame::Batch(held.clone())]);
            return self.report(Struck::Exchanged { held, by: batch });
        }
        let Some(fault) = self.faults.pop_front() else {
            self.ready.push_back(Frame::Batch(batch));
            return;
        };
        let struck = match fault {
            LinkFault::Lose => Struck::Lost(batch),
            LinkFault::Repeat => {
                self.ready.extend([Frame::Batch(batch.clone()), Frame::Batch(batch.clone())]);
                Struck::Repeated(batch)
            }
            LinkFault::Exchange => {
                self.held = Some(batch.clone());
                self.left_out = false;
                Struck::HeldBack(batch)
            }
            LinkFault::Alter => {
                let arrived = altered(&batch);
                self.ready.push_back(Frame::Batch(arrived.clone()));
                Struck::Altered { sent: batch, arrived }
            }
            LinkFault::Cut => {
                self.cut = true;
                Struck::Cut(batch)
            }
        };
        self.report(struck);
    }

    /// The next frame that arrives, or `None` until the leader sends more.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// Whether the stream ends once [`poll_frame`](Self::poll_frame) returns `None`.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut || self.down
    }

    /// What was done next, in order; `None` when there is no more. Whoever asks before each frame is handed to the replica
    /// learns of a fault before the replica notices it.
    pub fn poll_struck(&mut self) -> Option<Struck> {
        self.struck.pop_front()
    }

    fn report(&mut self, struck: Struck) {
        if self.struck.len() == REPORTS {
            self.struck.pop_front();
        }
        self.struck.push_back(struck);
    }
}

fn altered(batch: &Batch) -> Batch {
    let mut operations = batch.operations().to_vec();
    if let Some(first) = operations.first_mut() {
        *first = match *first {
            Operation::Add(n) => Operation::Add(n.wrapping_add(1)),
            _ => Operation::Add(1),
        };
    }
    let altered = Batch::new(batch.term(), batch.first(), operations, batch.digest(), batch.committed_at());
    altered.map_or_else(|_| batch.clone(), |altered| altered.with_authors(batch.authors().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Heartbeat, Index, LogId, Position, Term, Timestamp};

    /// The log of this test: event `n` squares the value, which is 0 and stays it.
    fn batch(index: u64) -> Frame {
        let mut digest = Position::origin(LogId(1)).digest;
        for n in 1..=index {
            digest = digest.after(Index(n), Operation::PowerOfTwo, 0);
        }
        let operations = vec![Operation::PowerOfTwo];
        Frame::Batch(Batch::new(Term(1), Index(index), operations, digest, Timestamp(0)).unwrap())
    }

    fn heartbeat() -> Frame {
        let tail = Index(1);
        Frame::Heartbeat(Heartbeat { term: Term(1), tail, floor: Index::ZERO, leader_time: Timestamp(0) })
    }

    /// What arrives of `frames`, and the injector after it.
    fn arrives(faults: &[LinkFault], frames: impl IntoIterator<Item = Frame>) -> (Vec<Frame>, Injector) {
        let mut injector = Injector::default();
        faults.iter().for_each(|fault| injector.inject(*fault));
        let mut arrived = Vec::new();
        for frame in frames {
            injector.handle_frame(frame);
            arrived.extend(std::iter::from_fn(|| injector.poll_frame()));
        }
        (arrived, injector)
    }

    fn struck(injector: &mut Injector) -> Vec<Struck> {
        std::iter::from_fn(|| injector.poll_struck()).collect()
    }

    #[test]
    fn without_a_fault_every_frame_arrives_as_it_is() {
        let (arrived, injector) = arrives(&[], [batch(1), heartbeat(), batch(2)]);
        assert_eq!(arrived, [batch(1), heartbeat(), batch(2)]);
        assert!(injector.is_idle() && !injector.is_cut());
    }

    #[test]
    fn the_next_batch_is_lost_and_no_other_frame() {
        let (arrived, injector) = arrives(&[LinkFault::Lose], [heartbeat(), batch(1), heartbeat(), batch(2)]);
        assert_eq!(arrived, [heartbeat(), heartbeat(), batch(2)]);
        assert!(injector.is_idle());
    }

    #[test]
    fn a_repeated_batch_arrives_twice() {
        let (arrived, _) = arrives(&[LinkFault::Repeat], [batch(1), batch(2)]);
        assert_eq!(arrived, [batch(1), batch(1), batch(2)]);
    }

    #[test]
    fn an_exchanged_batch_arrives_after_the_next_one() {
        let frames = [batch(1), heartbeat(), heartbeat(), batch(2), heartbeat(), batch(3)];
        let (arrived, injector) = arrives(&[LinkFault::Exchange], frames);
        assert_eq!(arrived, [heartbeat(), batch(2), batch(1), heartbeat(), batch(3)]);
        assert!(injector.is_idle());
        let (arrived, injector) = arrives(&[LinkFault::Exchange], [batch(1)]);
        assert!(arrived.is_empty() && !injector.is_idle());
    }

    #[test]
    fn an_altered_batch_contradicts_its_digest() {
        let (arrived, _) = arrives(&[LinkFault::Alter], [batch(1), batch(2)]);
        let [Frame::Batch(altered), next] = &arrived[..] else { panic!("{arrived:?}") };
        let Frame::Batch(sent) = batch(1) else { unreachable!() };
        assert_eq!((altered.first(), altered.digest()), (sent.first(), sent.digest()));
        let origin = Position::origin(LogId(1)).digest;
        assert_eq!(sent.replay(0, origin), Ok((0, sent.digest())));
        assert_ne!(altered.replay(0, origin).map(|(_, digest)| digest), Ok(sent.digest()));
        assert_eq!(*next, batch(2));
    }

    #[test]
    fn a_cut_ends_the_stream_before_the_batch_and_a_new_stream_goes_on() {
        let (arrived, mut injector) = arrives(&[LinkFault::Cut, LinkFault::Repeat], [heartbeat(), batch(1), batch(2)]);
        assert_eq!(arrived, [heartbeat()]);
        assert!(injector.is_cut());
        injector.begin_stream();
        assert!(!injector.is_cut() && !injector.is_idle(), "the second fault is still to come");
        injector.handle_frame(batch(1));
        assert_eq!([injector.poll_frame(), injector.poll_frame()], [Some(batch(1)), Some(batch(1))]);
        assert!(injector.is_idle());
    }

    #[test]
    fn a_link_that_is_down_passes_nothing_until_a_stream_begins_after_it_is_up() {
        let (_, mut injector) = arrives(&[LinkFault::Exchange], [batch(1)]);
        injector.take_down();
        injector.take_down();
        injector.begin_stream();
        injector.handle_frame(batch(1));
        assert_eq!((injector.poll_frame(), injector.is_cut(), injector.is_idle()), (None, true, false));
        injector.bring_up();
        injector.bring_up();
        injector.handle_frame(heartbeat());
        assert_eq!((injector.poll_frame(), injector.is_down(), injector.is_cut()), (None, false, true));
        injector.begin_stream();
        injector.handle_frame(batch(1));
        assert_eq!((injector.poll_frame(), injector.is_cut()), (Some(batch(1)), false));
        assert_eq!(struck(&mut injector)[1..], [Struck::TakenDown, Struck::BroughtUp], "each is reported once");
    }

    #[test]
    fn a_frame_that_was_ready_does_not_arrive_after_the_link_is_down() {
        let mut injector = Injector::default();
        injector.handle_frame(batch(1));
        injector.take_down();
        assert_eq!((injector.poll_frame(), injector.is_cut()), (None, true));
    }

    #[test]
    fn what_was_done_is_reported_with_the_batches() {
        use LinkFault::{Alter, Cut, Exchange, Lose, Repeat};
        let sent = |index| {
            let Frame::Batch(batch) = batch(index) else { unreachable!() };
            batch
        };
        let (arrived, mut injector) = arrives(&[Lose, Repeat, Exchange, Alter, Cut], (1..=6).map(batch));
        let Some(Frame::Batch(altered)) = arrived.last().cloned() else { panic!("{arrived:?}") };
        let expected = [
            Struck::Lost(sent(1)),
            Struck::Repeated(sent(2)),
            Struck::HeldBack(sent(3)),
            Struck::Exchanged { held: sent(3), by: sent(4) },
            Struck::Altered { sent: sent(5), arrived: altered },
            Struck::Cut(sent(6)),
        ];
        assert_eq!(struck(&mut injector), expected);
    }

    #[test]
    fn reports_that_nobody_takes_are_bounded_and_the_newest_stay() {
        let (_, mut injector) = arrives(&[LinkFault::Lose; REPORTS + 1], (1..=REPORTS as u64 + 1).map(batch));
        let struck = struck(&mut injector);
        assert_eq!(struck.len(), REPORTS);
        let Some(Struck::Lost(oldest)) = struck.first() else { panic!("{struck:?}") };
        assert_eq!(oldest.first(), Index(2));
    }

    #[test]
    fn what_an_old_stream_held_does_not_arrive_on_a_new_one() {
        let (_, mut injector) = arrives(&[LinkFault::Exchange], [batch(1)]);
        injector.handle_frame(heartbeat());
        injector.begin_stream();
        injector.handle_frame(batch(2));
        assert_eq!([injector.poll_frame(), injector.poll_frame()], [Some(batch(2)), None]);
    }

    #[test]
    fn every_operation_is_altered() {
        for operation in [Operation::Add(1), Operation::Add(i64::MAX), Operation::Subtract(1), Operation::SquareRoot] {
            let batch = Batch::new(Term(1), Index(1), vec![operation, operation], Digest(7), Timestamp(0)).unwrap();
            let altered = altered(&batch);
            assert_ne!(altered.operations()[0], operation);
            assert_eq!((altered.operations()[1], altered.digest()), (operation, batch.digest()));
        }
    }
}

//! One subscriber's place in the log.

use std::sync::Arc;

use bytes::Bytes;
use engine::Index;
use engine::leader::{Subscription, ToSend};
use store::{Corrupt, ReadError};
use tokio::sync::{OwnedSemaphorePermit, watch};
use wire::frame::encode;

use crate::catch_up::Unsent;
use crate::feed::Shared;

/// The most bytes in one write, except for a single frame that is larger. Loopback TCP moves more than ten times as much in
/// 64 KiB writes as in 512-byte writes; larger writes gain little.
pub const SPAN_BYTES: usize = 64 << 10;

/// One subscriber's cursor. It reads the feed at its own speed, and the feed buffers nothing for it.
pub struct Cursor {
    shared: Arc<Shared>,
    publications: watch::Receiver<u64>,
    /// Decides what comes next from what was delivered.
    place: Subscription,
    /// The delivered bytes that are still in memory.
    unsent: Unsent,
    /// Room for the next batch, which is larger than this stream's share.
    large: Option<OwnedSemaphorePermit>,
    /// The damage in stored history that a snapshot skipped.
    damage: Option<Corrupt>,
}

/// What a cursor delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Encoded frames, concatenated.
    Frames(Bytes),
    /// The encoded goodbye, which ends the stream after everything that was published.
    Goodbye(Bytes),
}

impl Cursor {
    pub(crate) fn new(shared: Arc<Shared>, place: Subscription) -> Self {
        let publications = shared.publications();
        let unsent = Unsent::new(Arc::clone(&shared.bounds));
        Self { shared, publications, place, unsent, large: None, damage: None }
    }

    /// The first event that was not delivered.
    #[must_use]
    pub fn next_index(&self) -> Index {
        self.place.next()
    }

    /// The damage in stored history that the newest snapshot skipped, for subscribers that cannot use a snapshot.
    #[must_use]
    pub fn damage(&self) -> Option<&Corrupt> {
        self.damage.as_ref()
    }

    /// Waits for something to deliver, and until the connection has dropped at least half of its share of earlier bytes.
    /// Cancel safe: a future dropped early loses nothing.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the store cannot be read. Events that were compacted away or are damaged are no error: a snapshot
    /// replaces them.
    pub async fn next(&mut self) -> Result<Delivery, ReadError> {
        loop {
            let room = self.unsent.room().await;
            // Marks publications as seen before looking, so that one in between wakes the wait below.
            self.publications.borrow_and_update();
            match self.look(room) {
                Look::Deliver(delivery) => return Ok(delivery),
                Look::ReadStore(from) => {
                    if let Some(frames) = self.read_store(from, room).await? {
                        return Ok(Delivery::Frames(frames));
                    }
                }
                Look::Wait => {
                    let _ = self.publications.changed().await;
                }
            }
        }
    }

    fn look(&mut self, room: usize) -> Look {
        let state = self.shared.read();
        let goodbye = state.goodbye.as_ref();
        match self.place.poll_send(&state.view(), &state.ring, goodbye.is_some()) {
            ToSend::Ring(frame) => {
                let span = state.ring.span(frame, room);
                // Copies after it releases the lock, so that the writer does not wait for the copy.
                drop(state);
                self.place.sent_frames(span.next, span.after);
                self.shared.metrics.ring.add(span.frames.len(), span.bytes);
                Look::Deliver(Delivery::Frames(self.unsent.count(join(span.frames, span.bytes), None)))
            }
            ToSend::Store(from) => Look::ReadStore(from),
            ToSend::Snapshot => {
                self.place.sent_snapshot(state.tail.position().index);
                Look::Deliver(Delivery::Frames(self.shared.count_snapshot(encode(&state.snapshot_frame()))))
            }
            ToSend::Goodbye => goodbye.map_or(Look::Wait, |goodbye| Look::Deliver(Delivery::Goodbye(goodbye.clone()))),
            ToSend::Wait => Look::Wait,
        }
    }

    /// Reads batches from the store. Returns `None`, and the caller looks again, if the floor has passed `from`, if the store
    /// has nothing new that is published, or if it waited for room for a large batch.
    async fn read_store(&mut self, from: Index, room: usize) -> Result<Option<Bytes>, ReadError> {
        let turn = self.unsent.bounds().turn().await;
        let mut batches = match self.shared.log.read(from, turn.bytes.min(room)).await {
            Ok(batches) => batches,
            Err(ReadError::Compacted(compacted)) => {
                // The feed would learn the new floor only with the next batch.
                self.shared.raise_floor(compacted.floor);
                return Ok(None);
            }
            Err(ReadError::Corrupt(damage)) => {
                // The value does not depend on these events: otherwise the store would stop this leader.
                self.damage = Some(damage);
                let state = self.shared.read();
                self.place.sent_snapshot(state.tail.position().index);
                return Ok(Some(self.shared.count_snapshot(encode(&state.snapshot_frame()))));
            }
            Err(error) => return Err(error),
        };
        // A batch is in the store a moment before it is published. Delivered from here, it would come again from the ring.
        let tail = self.shared.read().tail.position().index;
        batches.retain(|batch| batch.end.index <= tail);
        let Some(last) = batches.last().map(|batch| batch.end.index) else { return Ok(None) };
        let bytes = batches.iter().map(|batch| batch.frame.len()).sum();
        let mut large = None;
        if bytes > room {
            large = self.large.take().or_else(|| self.unsent.bounds().try_large(bytes));
            if large.is_none() {
                // Frees the batch and the turn while it waits.
                drop((batches, turn));
                self.large = self.unsent.bounds().large(bytes).await;
                return Ok(None);
            }
        }
        self.shared.metrics.store.add(batches.len(), bytes);
        let joined = join(batches.into_iter().map(|batch| batch.frame).collect(), bytes);
        drop(turn);
        self.place.sent_batches(last);
        Ok(Some(self.unsent.count(joined, large)))
    }
}

enum Look {
    Deliver(Delivery),
    ReadStore(Index),
    Wait,
}

/// Concatenates frames for one write. Does not copy a single frame.
fn join(mut frames: Vec<Bytes>, bytes: usize) -> Bytes {
    if frames.len() == 1 {
        return frames.swap_remove(0);
    }
    let mut joined = Vec::with_capacity(bytes);
    for frame in frames {
        joined.extend_from_slice(&frame);
    }
    joined.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use engine::leader::{RecentFrames, Sequencer};
    use engine::{
        Batch, Frame, Goodbye, GoodbyeReason, LogId, Operation, ProducerChanges, Resume, Snapshot, SnapshotReason,
        StreamId, Timestamp, Verdict,
    };
    use store::{Commit, LogReader, LogWriter, MemoryStore, Opened, Store, StoredBatch};
    use wire::frame::decode_next;

    use super::*;
    use crate::Feed;

    pub(crate) struct World {
        pub(crate) feed: Feed,
        writer: Box<dyn LogWriter>,
        reader: Arc<dyn LogReader>,
        sequencer: Sequencer,
    }

    impl World {
        pub(crate) async fn new(retain: u64, ring_bytes: usize) -> Self {
            Self::on(MemoryStore::new(LogId(1), retain).open().await.unwrap(), ring_bytes)
        }

        fn on(opened: Opened, ring_bytes: usize) -> Self {
            let feed = Feed::with_bounds(&opened, Duration::from_secs(1), ring_bytes, crate::UNSENT_BYTES);
            let sequencer = Sequencer::new(opened.term, opened.tail, []);
            Self { feed, writer: opened.writer, reader: opened.reader, sequencer }
        }

        pub(crate) async fn commit(&mut self, events: usize) -> Batch {
            let (mut stored, tail) = self.store_only(events).await;
            self.feed.publish(stored.clone(), tail).unwrap();
            let Ok(Some(Frame::Batch(batch))) = decode_next(&mut stored.frame) else { panic!("no batch") };
            batch
        }

        /// Commits without publishing.
        async fn store_only(&mut self, events: usize) -> (StoredBatch, Snapshot) {
            for _ in 0..events {
                self.sequencer.propose(Operation::Add(1)).unwrap();
            }
            let batch = self.sequencer.seal(Timestamp(0)).unwrap();
            let stored = StoredBatch::new(&batch, encode(&Frame::Batch(batch.clone())));
            self.sequencer.commit();
            let tail: Snapshot = self.sequencer.committed();
            let producers = ProducerChanges::default();
            self.writer.append(Commit { batch: stored.clone(), tail, producers }).await.unwrap();
            (stored, tail)
        }
    }

    fn frames(delivery: Delivery) -> Vec<Frame> {
        let (Delivery::Frames(mut bytes) | Delivery::Goodbye(mut bytes)) = delivery;
        std::iter::from_fn(|| decode_next(&mut bytes).unwrap()).collect()
    }

    async fn read_to(cursor: &mut Cursor, tail: Index) -> Vec<Frame> {
        let mut all = Vec::new();
        while cursor.next_index() <= tail {
            all.extend(frames(cursor.next().await.unwrap()));
        }
        all
    }

    fn batches(frames: Vec<Frame>) -> Vec<Batch> {
        let only_batches = frames.into_iter().filter_map(|frame| match frame {
            Frame::Batch(batch) => Some(batch),
            _ => None,
        });
        only_batches.collect()
    }

    #[tokio::test]
    async fn a_cursor_that_fell_out_of_the_ring_reads_the_store_and_returns_without_a_hole() {
        let mut world = World::new(u64::MAX, 2_000).await;
        let mut cursor = world.feed.cursor(Index(1));
        let mut committed = vec![world.commit(1).await];
        let mut seen = batches(frames(cursor.next().await.unwrap()));
        for round in 0..200 {
            committed.push(world.commit(1 + round % 3).await);
            if round % 50 == 0 {
                world.feed.heartbeat(Timestamp(0));
            }
        }
        assert!(cursor.shared.read().ring.first_event().unwrap() > Index(300), "the ring is shorter than the log");
        seen.extend(batches(read_to(&mut cursor, committed.last().unwrap().last()).await));
        assert_eq!(seen, committed);
        let newest = world.commit(2).await;
        assert_eq!(batches(frames(cursor.next().await.unwrap())), [newest]);
    }

    #[tokio::test]
    async fn a_cursor_that_the_floor_passed_gets_a_snapshot() {
        let mut world = World::new(10, 500).await;
        let mut cursor = world.feed.cursor(Index(1));
        for _ in 0..50 {
            world.commit(1).await;
        }
        let first = frames(cursor.next().await.unwrap());
        assert!(matches!(&first[..], [Frame::Snapshot(snapshot)] if snapshot.snapshot == world.sequencer.committed()));
        let newest = world.commit(1).await;
        assert_eq!(batches(frames(cursor.next().await.unwrap())), [newest]);
    }

    #[tokio::test]
    async fn a_lagging_cursor_gets_many_frames_in_one_span_and_an_idle_one_waits() {
        let mut world = World::new(u64::MAX, 1 << 20).await;
        let mut cursor = world.feed.cursor(Index(1));
        for _ in 0..100 {
            world.commit(1).await;
        }
        assert_eq!(frames(cursor.next().await.unwrap()).len(), 100);
        let idle = tokio::time::timeout(Duration::from_millis(20), cursor.next()).await;
        assert!(idle.is_err(), "there is nothing to deliver");
        // The dropped future lost nothing.
        world.feed.heartbeat(Timestamp(7));
        assert!(matches!(frames(cursor.next().await.unwrap())[..], [Frame::Heartbeat(_)]));
    }

    #[tokio::test]
    async fn spans_are_bounded() {
        let mut world = World::new(u64::MAX, 8 << 20).await;
        let mut cursor = world.feed.cursor(Index(1));
        for _ in 0..100 {
            world.commit(1_000).await;
        }
        let mut largest = 0;
        while cursor.next_index() <= Index(100_000) {
            let Delivery::Frames(bytes) = cursor.next().await.unwrap() else { panic!("no goodbye was said") };
            largest = largest.max(bytes.len());
        }
        assert!(largest <= SPAN_BYTES && largest > SPAN_BYTES / 2, "{largest}");
    }

    fn goodbye() -> Goodbye {
        Goodbye { reason: GoodbyeReason::ShuttingDown, retry_after: Duration::from_secs(1) }
    }

    async fn read_to_the_goodbye(cursor: &mut Cursor) -> Vec<Frame> {
        let mut all = Vec::new();
        loop {
            let delivery = cursor.next().await.unwrap();
            let last = matches!(delivery, Delivery::Goodbye(_));
            all.extend(frames(delivery));
            if last {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn the_goodbye_comes_after_everything_that_was_published() {
        // One cursor waits at the end, one is behind in the ring, one must read the store, one needs a snapshot.
        let mut world = World::new(30, 600).await;
        for _ in 0..50 {
            world.commit(1).await;
        }
        let first_in_ring = world.feed.cursor(Index(1)).shared.read().ring.first_event().unwrap();
        assert!(first_in_ring > Index(40) && world.reader.floor() == Index(20));
        let places = [Index(51), first_in_ring, Index(30), Index(1)];
        let mut cursors = places.map(|next| world.feed.cursor(next));
        let feed = world.feed.clone();
        let (waited, ()) = tokio::join!(read_to_the_goodbye(&mut cursors[0]), async {
            tokio::task::yield_now().await;
            feed.close(goodbye());
        });
        assert!(matches!(waited[..], [Frame::Goodbye(_)]));
        for (cursor, next) in cursors.iter_mut().zip(places).skip(1) {
            let mut seen = read_to_the_goodbye(cursor).await;
            assert!(matches!(seen.pop(), Some(Frame::Goodbye(_))));
            if next == Index(1) {
                assert!(
                    matches!(&seen[..], [Frame::Snapshot(snapshot)] if snapshot.snapshot.position().index == Index(50))
                );
            } else {
                let firsts: Vec<_> = batches(seen).iter().map(Batch::first).collect();
                assert_eq!(firsts, (next.0..=50).map(Index).collect::<Vec<_>>());
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_published_after_the_goodbye_and_the_first_one_counts() {
        let mut world = World::new(u64::MAX, 500).await;
        world.commit(1).await;
        let mut cursor = world.feed.cursor(Index(1));
        world.feed.close(goodbye());
        world.feed.close(Goodbye { reason: GoodbyeReason::SteppedDown, ..goodbye() });
        let (stored, tail) = world.store_only(1).await;
        assert_eq!(world.feed.publish(stored, tail), Err(crate::Closed));
        world.feed.heartbeat(Timestamp(1));
        let seen = read_to_the_goodbye(&mut cursor).await;
        let [Frame::Batch(batch), Frame::Goodbye(last)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((batch.last(), *last), (Index(1), goodbye()));
        assert_eq!(world.feed.published().tail.position().index, Index(1));
        assert!(world.feed.is_closed() && world.feed.goodbye().is_some());
    }

    #[tokio::test]
    async fn a_stored_batch_is_delivered_once_and_only_after_it_is_published() {
        let mut world = World::new(u64::MAX, 500).await;
        for _ in 0..50 {
            world.commit(1).await;
        }
        // The moment between the store's answer and the publication.
        let (stored, tail) = world.store_only(1).await;
        let mut cursor = world.feed.cursor(Index(1));
        let seen = batches(read_to(&mut cursor, Index(50)).await);
        assert_eq!(seen.last().unwrap().last(), Index(50));
        world.feed.publish(stored, tail).unwrap();
        let newest = batches(frames(cursor.next().await.unwrap()));
        assert_eq!(newest.iter().map(Batch::first).collect::<Vec<_>>(), [Index(51)]);
    }

    #[tokio::test]
    async fn a_position_compacted_since_the_last_publication_has_not_diverged() {
        let mut world = World::new(5, 1 << 20).await;
        let mut ends = Vec::new();
        for _ in 0..10 {
            ends.push(world.commit(1).await.end());
        }
        let resume = Resume { log: LogId(1), position: ends[7] };
        assert_eq!(world.feed.judge(resume).await.unwrap(), Verdict::Resumed);
        for _ in 0..4 {
            world.store_only(1).await;
        }
        assert_eq!(world.feed.judge(resume).await.unwrap(), Verdict::Snapshot(SnapshotReason::Compacted));
    }

    #[tokio::test]
    async fn a_replica_at_the_tail_resumes_even_if_the_store_compacted_past_it() {
        let mut world = World::new(1, 1 << 20).await;
        let ends = [world.commit(1).await.end(), world.commit(1).await.end()];
        // As if another leader took over the store.
        for _ in 0..5 {
            world.store_only(1).await;
        }
        assert!(world.reader.floor() > ends[1].index);
        let judge = async |position| world.feed.judge(Resume { log: LogId(1), position }).await.unwrap();
        assert_eq!(judge(ends[1]).await, Verdict::Resumed);
        assert_eq!(judge(ends[0]).await, Verdict::Snapshot(SnapshotReason::Compacted));
    }

    #[tokio::test]
    async fn a_subscription_begins_with_a_welcome_and_a_snapshot_if_the_verdict_says_so() {
        let mut world = World::new(u64::MAX, 1 << 20).await;
        let third = [world.commit(1).await, world.commit(1).await, world.commit(1).await][2].clone();
        let fourth = world.commit(1).await;
        let resume = Resume { log: LogId(1), position: third.end() };

        let mut resumed = world.feed.subscribe(Some(resume), StreamId(1), Timestamp(0)).await.unwrap();
        assert_eq!(resumed.verdict, Verdict::Resumed);
        assert!(matches!(frames(Delivery::Frames(resumed.frames))[..], [Frame::Welcome(_)]));
        assert_eq!(batches(frames(resumed.cursor.next().await.unwrap())), [fourth]);

        let fresh = world.feed.subscribe(None, StreamId(2), Timestamp(0)).await.unwrap();
        assert!(matches!(frames(Delivery::Frames(fresh.frames))[..], [Frame::Welcome(_), Frame::Snapshot(_)]));
        assert_eq!(fresh.cursor.next_index(), Index(5));
    }

    /// A log whose stored events are damaged from `at` on.
    struct Damaged {
        inner: Arc<dyn LogReader>,
        at: Index,
    }

    #[async_trait::async_trait]
    impl LogReader for Damaged {
        async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
            if from >= self.at {
                return Err(Corrupt { index: from, what: "it is damaged".to_owned() }.into());
            }
            let mut batches = self.inner.read(from, max_bytes).await?;
            batches.retain(|batch| batch.end.index < self.at);
            Ok(batches)
        }
        async fn digest_at(&self, index: Index) -> Result<Option<engine::Digest>, ReadError> {
            self.inner.digest_at(index).await
        }
        async fn snapshot_at(&self, index: Index) -> Result<Snapshot, ReadError> {
            self.inner.snapshot_at(index).await
        }
        fn floor(&self) -> Index {
            self.inner.floor()
        }
    }

    #[tokio::test]
    async fn a_cursor_that_meets_damage_gets_a_snapshot_and_goes_on() {
        let mut opened = MemoryStore::new(LogId(1), u64::MAX).open().await.unwrap();
        opened.reader = Arc::new(Damaged { inner: opened.reader, at: Index(4) });
        let mut world = World::on(opened, 500);
        for _ in 0..50 {
            world.commit(1).await;
        }
        let mut cursor = world.feed.cursor(Index(1));
        let before = batches(frames(cursor.next().await.unwrap()));
        assert_eq!(before.iter().map(Batch::first).collect::<Vec<_>>(), [Index(1), Index(2), Index(3)]);
        let around = frames(cursor.next().await.unwrap());
        let tail = world.sequencer.committed();
        assert!(matches!(&around[..], [Frame::Snapshot(snapshot)] if snapshot.snapshot == tail), "{around:?}");
        assert_eq!(cursor.damage().unwrap().index, Index(4));
        let newest = world.commit(1).await;
        assert_eq!(batches(frames(cursor.next().await.unwrap())), [newest]);
    }
}

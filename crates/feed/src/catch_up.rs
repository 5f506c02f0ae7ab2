//! Limits for subscribers that are behind: turns at the store, and memory.
//!
//! All subscribers get equal shares. Turns come in the order of asking. A turn is shorter when many wait, so that each gets
//! bytes several times a second. A turn ends before the peer takes the bytes, so a slow peer delays no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::SPAN_BYTES;

/// How many cursors read the store at a time: the store runs one read, and the next ones are ready to start.
const TURNS: usize = 4;

/// Bytes for all waiting cursors in one round, as far as [`SMALLEST_SPAN`] allows: some 0.1 s of work, far less than the
/// three heartbeats after which a replica reconnects.
const ROUND_BYTES: usize = 2 << 20;

/// The smallest turn or share, in bytes: some hundred small batches. For less, the read itself costs more than the copy.
const SMALLEST_SPAN: usize = 4 << 10;

/// Bytes that all streams together may hold before their connections write them, as far as 4 KiB for each allow. Each
/// stream has an equal share, so a stuck stream takes nothing from others.
pub const UNSENT_BYTES: usize = 24 << 20;

/// Bytes for all batches that are larger than their stream's share.
const LARGE_BYTES: u32 = 8 << 20;

/// The limits, shared by all cursors of a feed.
#[derive(Debug)]
pub(crate) struct CatchUp {
    turns: Semaphore,
    /// Counts cursors that wait for a turn or have one.
    waiting: AtomicUsize,
    cursors: AtomicUsize,
    large: Arc<Semaphore>,
    /// Bytes that all streams together may hold.
    budget: usize,
    /// Bytes that they hold.
    unsent: AtomicUsize,
}

/// The right to read the store, up to `bytes`.
pub(crate) struct Turn<'a> {
    pub(crate) bytes: usize,
    _place: Option<SemaphorePermit<'a>>,
    _waiting: Waiting<'a>,
}

/// Counts as waiting until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CatchUp {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            turns: Semaphore::new(TURNS),
            waiting: AtomicUsize::new(0),
            cursors: AtomicUsize::new(0),
            large: Arc::new(Semaphore::new(LARGE_BYTES as usize)),
            budget,
            unsent: AtomicUsize::new(0),
        }
    }

    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        let place = self.turns.acquire().await.ok();
        let bytes = portion(ROUND_BYTES, self.waiting.load(Ordering::Relaxed));
        Turn { bytes, _place: place, _waiting: waiting }
    }

    /// Bytes that one stream may hold before its connection writes them.
    fn share(&self) -> usize {
        portion(self.budget, self.cursors.load(Ordering::Relaxed))
    }

    /// Bytes that all streams hold before their connections write them.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Takes room for a batch of `bytes`, larger than a share, if there is room now.
    pub(crate) fn try_large(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.large).try_acquire_many_owned(Self::places(bytes)).ok()
    }

    /// Waits for room for a batch of `bytes`, larger than a share.
    pub(crate) async fn large(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.large).acquire_many_owned(Self::places(bytes)).await.ok()
    }

    fn places(bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(LARGE_BYTES)
    }
}

fn portion(all: usize, count: usize) -> usize {
    (all / count.max(1)).clamp(SMALLEST_SPAN, SPAN_BYTES)
}

/// The bytes that one stream was handed and its connection has not written.
#[derive(Debug)]
pub(crate) struct Unsent {
    bounds: Arc<CatchUp>,
    bytes: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count {
    bytes: AtomicUsize,
    /// Signals that some bytes were written.
    written: Notify,
}

/// Bytes that count as unsent for as long as they live.
struct Counted {
    bytes: Bytes,
    bounds: Arc<CatchUp>,
    count: Arc<Count>,
    _large: Option<OwnedSemaphorePermit>,
}

impl Unsent {
    pub(crate) fn new(bounds: Arc<CatchUp>) -> Self {
        bounds.cursors.fetch_add(1, Ordering::Relaxed);
        Self { bounds, bytes: Arc::default() }
    }

    pub(crate) fn bounds(&self) -> &CatchUp {
        &self.bounds
    }

    /// Waits until half of the stream's share is free, and returns the free bytes. A connection that keeps up never waits.
    pub(crate) async fn room(&self) -> usize {
        loop {
            let (share, unsent) = (self.bounds.share(), self.bytes.bytes.load(Ordering::Acquire));
            if unsent <= share / 2 {
                return share - unsent;
            }
            self.bytes.written.notified().await;
        }
    }

    /// Counts `bytes` until the connection drops them.
    pub(crate) fn count(&self, bytes: Bytes, large: Option<OwnedSemaphorePermit>) -> Bytes {
        self.bytes.bytes.fetch_add(bytes.len(), Ordering::AcqRel);
        self.bounds.unsent.fetch_add(bytes.len(), Ordering::Relaxed);
        let bounds = Arc::clone(&self.bounds);
        Bytes::from_owner(Counted { bytes, bounds, count: Arc::clone(&self.bytes), _large: large })
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.bounds.cursors.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.bytes.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        self.bounds.unsent.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.count.written.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::Index;
    use engine::leader::MAX_BATCH_EVENTS;

    use super::*;
    use crate::cursor::tests::World;
    use crate::{Cursor, Delivery};

    /// A log whose ring holds only the newest frame.
    async fn world(batches: usize, events: usize) -> World {
        let mut world = World::new(u64::MAX, 1).await;
        for _ in 0..batches {
            world.commit(events).await;
        }
        world
    }

    /// What the cursor delivers until it waits for its reader.
    async fn fill(cursor: &mut Cursor) -> Vec<Bytes> {
        let mut held = Vec::new();
        while let Ok(delivery) = tokio::time::timeout(Duration::from_millis(20), cursor.next()).await {
            let Delivery::Frames(bytes) = delivery.unwrap() else { panic!("no goodbye was said") };
            held.push(bytes);
        }
        held
    }

    fn size(held: &[Bytes]) -> usize {
        held.iter().map(Bytes::len).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn all_stuck_streams_together_hold_a_bounded_number_of_bytes() {
        const STREAMS: usize = 1_000;

        let world = world(2_000, 20).await;
        let mut cursors: Vec<_> = (0..STREAMS).map(|_| world.feed.cursor(Index(1))).collect();
        let mut all = Vec::new();
        for cursor in &mut cursors {
            all.push(fill(cursor).await);
        }
        let held: usize = all.iter().map(|held| size(held)).sum();
        assert!(held <= UNSENT_BYTES && held > UNSENT_BYTES / 3, "{held}");
        let fewest = all.iter().map(|held| size(held)).min().unwrap();
        assert!(fewest > SMALLEST_SPAN, "a stream got less than its share: {fewest}");
        // A stream whose bytes are taken goes on while all others are stuck.
        all.pop();
        let mut cursor = cursors.pop().unwrap();
        while cursor.next_index() <= Index(40_000) {
            tokio::time::timeout(Duration::from_secs(1), cursor.next())
                .await
                .expect("waits for stuck streams")
                .unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn batches_larger_than_a_share_are_bounded_and_all_delivered() {
        const STREAMS: usize = 10_000;

        // As large as a batch may be, and larger than a share.
        let world = world(3, MAX_BATCH_EVENTS).await;
        let mut cursors: Vec<_> = (0..STREAMS).map(|_| world.feed.cursor(Index(1))).collect();
        let mut all = Vec::new();
        for cursor in &mut cursors[..3_000] {
            all.extend(fill(cursor).await);
        }
        let held = size(&all);
        assert!(held <= LARGE_BYTES as usize && held > LARGE_BYTES as usize / 2, "{held}");
        // A waiting cursor gets its batch when there is room.
        let mut waiting = cursors.pop().unwrap();
        let ((), delivered) = tokio::join!(async { all.truncate(10) }, waiting.next());
        assert!(matches!(delivered, Ok(Delivery::Frames(bytes)) if bytes.len() > SMALLEST_SPAN));
        assert_eq!(waiting.next_index(), Index(MAX_BATCH_EVENTS as u64 + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_the_order_of_asking_and_are_shorter_when_many_wait() {
        let bounds = CatchUp::new(UNSENT_BYTES);
        let alone = bounds.turn().await;
        assert_eq!(alone.bytes, SPAN_BYTES);
        let mut others = Vec::new();
        for _ in 1..TURNS {
            others.push(bounds.turn().await);
        }
        let order = std::sync::Mutex::new(Vec::new());
        let wait = async |number: usize| {
            let turn = bounds.turn().await;
            order.lock().unwrap().push(number);
            turn.bytes
        };
        let all = async { tokio::join!(wait(1), wait(2), wait(3)) };
        let ((), spans) = tokio::join!(async { drop((alone, others)) }, all);
        assert_eq!((order.lock().unwrap().as_slice(), spans.0), (&[1, 2, 3][..], SPAN_BYTES));

        let mut many = Vec::new();
        for _ in 0..2_000 {
            many.push(Waiting(&bounds.waiting));
            bounds.waiting.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(bounds.turn().await.bytes, SMALLEST_SPAN);
        drop(many);
        assert_eq!(bounds.turn().await.bytes, SPAN_BYTES, "a dropped waiter still counts");
    }
}

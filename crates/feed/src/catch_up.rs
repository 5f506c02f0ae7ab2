//! What subscribers that are behind may take: turns at the store, and memory.
//!
//! Everybody gets the same. A turn is short when many wait for one, so that each gets bytes several times a second; turns
//! come in the order of asking; and none is held while a peer takes its bytes, so that a slow one holds up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::SPAN_BYTES;

/// How many cursors read the store at a time; the store runs one read, and the next ones are at hand.
const TURNS: usize = 4;

/// What all that wait for a turn get in one round, as far as [`SMALLEST_SPAN`] allows: some 0.1 s of work, far less than
/// the three heartbeats after which a replica gives its leader up.
const ROUND_BYTES: usize = 2 << 20;

/// A turn or a share is at least this much, some hundred small batches: below it, a read costs more than what it reads.
const SMALLEST_SPAN: usize = 4 << 10;

/// What all streams together may hold that their connections have not written, as far as [`SMALLEST_SPAN`] allows. Each
/// has the same share of it, so streams that are stuck take nothing from others.
const UNSENT_BYTES: usize = 24 << 20;

/// What all batches together may take that are larger than the share of the stream that they are read for.
const LARGE_BYTES: u32 = 8 << 20;

/// The bounds, shared by all cursors of a feed.
#[derive(Debug)]
pub(crate) struct CatchUp {
    turns: Semaphore,
    /// Cursors that wait for a turn or have one.
    waiting: AtomicUsize,
    cursors: AtomicUsize,
    large: Arc<Semaphore>,
}

/// The right to read the store, up to `bytes`.
pub(crate) struct Turn<'a> {
    pub(crate) bytes: usize,
    _place: Option<SemaphorePermit<'a>>,
    _waiting: Waiting<'a>,
}

/// Counts one that waits, also if it is dropped while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CatchUp {
    pub(crate) fn new() -> Self {
        Self {
            turns: Semaphore::new(TURNS),
            waiting: AtomicUsize::new(0),
            cursors: AtomicUsize::new(0),
            large: Arc::new(Semaphore::new(LARGE_BYTES as usize)),
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        // The semaphore is never closed.
        let place = self.turns.acquire().await.ok();
        let bytes = portion(ROUND_BYTES, self.waiting.load(Ordering::Relaxed));
        Turn { bytes, _place: place, _waiting: waiting }
    }

    /// What one stream may hold that its connection has not written.
    fn share(&self) -> usize {
        portion(UNSENT_BYTES, self.cursors.load(Ordering::Relaxed))
    }

    /// The room for a batch of `bytes` that is larger than a share, if there is.
    pub(crate) fn try_large(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.large).try_acquire_many_owned(Self::places(bytes)).ok()
    }

    /// Waits for the room for such a batch.
    pub(crate) async fn large(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.large).acquire_many_owned(Self::places(bytes)).await.ok()
    }

    fn places(bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(LARGE_BYTES)
    }
}

fn portion(all: usize, count: usize) -> usize {
    (all / count.max(1)).clamp(SMALLEST_SPAN, SPAN_BYTES)
}

/// What was delivered to one stream and not written by its connection yet.
#[derive(Debug)]
pub(crate) struct Unsent {
    bounds: Arc<CatchUp>,
    bytes: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count {
    bytes: AtomicUsize,
    /// Some of it was written.
    written: Notify,
}

/// Bytes that count as unsent for as long as they live.
struct Counted {
    bytes: Bytes,
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

    /// Waits until half of the stream's share is free, and returns how much is. A connection that keeps up never waits.
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
        Bytes::from_owner(Counted { bytes, count: Arc::clone(&self.bytes), _large: large })
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

    /// A log of which the ring holds next to nothing.
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
    async fn streams_whose_bytes_are_not_taken_hold_a_bounded_amount_together() {
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
        assert!(fewest > SMALLEST_SPAN, "everybody gets a share: {fewest}");
        // Whose bytes are taken goes on, though all others are stuck.
        all.pop();
        let mut cursor = cursors.pop().unwrap();
        while cursor.next_index() <= Index(40_000) {
            tokio::time::timeout(Duration::from_secs(1), cursor.next()).await.expect("it waits for others").unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn batches_larger_than_a_share_are_bounded_too_and_none_is_left_out() {
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
        // One that waits gets its batch when there is room.
        let mut waiting = cursors.pop().unwrap();
        let ((), delivered) = tokio::join!(async { all.truncate(10) }, waiting.next());
        assert!(matches!(delivered, Ok(Delivery::Frames(bytes)) if bytes.len() > SMALLEST_SPAN));
        assert_eq!(waiting.next_index(), Index(MAX_BATCH_EVENTS as u64 + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_the_order_of_asking_and_are_shorter_when_many_wait() {
        let bounds = CatchUp::new();
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
        assert_eq!(bounds.turn().await.bytes, SPAN_BYTES, "who waits no more does not count");
    }
}

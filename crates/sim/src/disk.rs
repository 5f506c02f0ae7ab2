//! A disk that loses unsynced commits in a power cut, and the store on it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::{Digest, Durability, Index, LogId, Position, ProducerId, Snapshot, Submitted, Term};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::testing::Setup;
use store::{
    AppendError, Commit, Compacted, Fenced, LogReader, LogWriter, Lost, LostSender, NotNext, Opened, ReadError, Store,
    StoredBatch,
};
use tokio::time::sleep;

/// How often each leader checks that its term is the newest.
const LOOKS_AT_TERM: Duration = Duration::from_millis(500);

/// A machine's disk. Cheap to clone: all clones are the same disk.
#[derive(Clone)]
pub(crate) struct Disk {
    contents: Arc<Mutex<Contents>>,
}

pub(crate) struct Contents {
    pub(crate) log: LogId,
    pub(crate) durability: Durability,
    retain: u64,
    retain_bytes: u64,
    snapshot_every: u64,
    /// Every written commit, in order. Compaction only hides the oldest from readers.
    pub(crate) commits: Vec<Commit>,
    /// How many of the oldest commits survive a power cut for sure.
    synced: usize,
    pub(crate) term: Term,
    pub(crate) faults: DiskFaults,
    /// The leaders of these terms cannot reach the disk.
    pub(crate) cut_off: Vec<Term>,
    /// The terms of leaders that had a commit of unknown outcome.
    pub(crate) failed: Vec<Term>,
    open: Vec<(Term, LostSender)>,
    random: StdRng,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DiskFaults {
    pub(crate) full: bool,
    /// Every sync takes this much longer.
    pub(crate) slow: Duration,
    /// The next commit fails with an unknown outcome; the flag says whether it is written.
    pub(crate) fails_next: Option<bool>,
    pub(crate) unreadable: bool,
}

impl Disk {
    pub(crate) fn new(seed: u64, log: LogId, durability: Durability, setup: Setup) -> Self {
        let contents = Contents {
            log,
            durability,
            retain: setup.retain,
            retain_bytes: setup.retain_bytes,
            snapshot_every: setup.snapshot_every,
            commits: Vec::new(),
            synced: 0,
            term: Term(0),
            faults: DiskFaults::default(),
            cut_off: Vec::new(),
            failed: Vec::new(),
            open: Vec::new(),
            random: StdRng::seed_from_u64(seed),
        };
        Self { contents: Arc::new(Mutex::new(contents)) }
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the log for writing, with the next term.
    pub(crate) fn open_now(&self) -> Opened {
        let mut contents = self.look();
        let term = Term(contents.term.0 + 1);
        contents.term = term;
        // Syncing the new term syncs everything written before it.
        contents.synced = contents.commits.len();
        let (sender, lost) = Lost::channel();
        contents.open.push((term, sender));
        Opened {
            term,
            tail: contents.tail(),
            producers: contents.producers(),
            durability: contents.durability,
            snapshot: contents.snapshot(),
            writer: Box::new(DiskWriter { disk: self.clone(), term, durability: contents.durability }),
            reader: Arc::new(self.clone()),
            lost,
        }
    }

    /// Notifies replaced leaders, except those that are cut off from the disk. Never returns.
    pub(crate) async fn watch_terms(self) {
        loop {
            sleep(LOOKS_AT_TERM).await;
            let mut contents = self.look();
            let (newest, cut_off) = (contents.term, contents.cut_off.clone());
            contents.open.retain(|(_, lost)| !lost.is_closed());
            for (own, lost) in &contents.open {
                if *own != newest && !cut_off.contains(own) {
                    lost.send(Fenced { own: *own, by: newest });
                }
            }
        }
    }

    /// Loses some or all of the unsynced commits. Returns how many.
    pub(crate) fn lose_power(&self) -> usize {
        let mut contents = self.look();
        let (synced, written) = (contents.synced, contents.commits.len());
        let left = contents.random.random_range(synced..=written);
        contents.commits.truncate(left);
        contents.synced = left;
        written - left
    }

    /// Syncs all written commits, as an operating system does now and then.
    pub(crate) fn sync(&self) {
        let mut contents = self.look();
        contents.synced = contents.commits.len();
    }
}

impl Contents {
    pub(crate) fn tail(&self) -> Snapshot {
        self.commits.last().map_or_else(|| Snapshot::take(self.log, Position::origin(self.log), 0), |last| last.tail)
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot_before(0)
    }

    /// Where history starts: as far back as both bounds allow.
    fn floor(&self) -> Snapshot {
        let (by_events, by_bytes) = (self.snapshot_before(self.retain), self.snapshot_within(self.retain_bytes));
        if by_events.position().index > by_bytes.position().index { by_events } else { by_bytes }
    }

    /// The oldest snapshot after which the frames take at most `bytes`.
    fn snapshot_within(&self, bytes: u64) -> Snapshot {
        let length = |commit: &Commit| commit.batch.frame.len() as u64;
        let mut left: u64 = self.commits.iter().map(length).sum();
        let (mut snapshot, mut after_snapshot) = (Snapshot::take(self.log, Position::origin(self.log), 0), left);
        for commit in &self.commits {
            if after_snapshot <= bytes {
                break;
            }
            left -= length(commit);
            if commit.batch.end.index.events_since(snapshot.position().index) >= self.snapshot_every {
                (snapshot, after_snapshot) = (commit.tail, left);
            }
        }
        snapshot
    }

    /// The newest snapshot with at least `events` after it.
    fn snapshot_before(&self, events: u64) -> Snapshot {
        let tail = self.tail().position().index;
        let mut snapshot = Snapshot::take(self.log, Position::origin(self.log), 0);
        for commit in &self.commits {
            let end = commit.batch.end.index;
            if tail.events_since(end) < events {
                break;
            }
            if end.events_since(snapshot.position().index) >= self.snapshot_every {
                snapshot = commit.tail;
            }
        }
        snapshot
    }

    fn producers(&self) -> Vec<Submitted> {
        let mut producers = std::collections::BTreeMap::<ProducerId, Submitted>::new();
        for commit in &self.commits {
            for forgotten in &commit.producers.forgotten {
                producers.remove(forgotten);
            }
            for written in &commit.producers.written {
                producers.insert(written.producer.clone(), written.clone());
            }
        }
        producers.into_values().collect()
    }

    fn check_readable(&self) -> Result<(), ReadError> {
        if self.faults.unreadable { Err(ReadError::Unavailable("the disk does not answer".to_owned())) } else { Ok(()) }
    }

    fn find(&self, index: Index) -> usize {
        self.commits.partition_point(|commit| commit.batch.end.index < index)
    }

    /// Draws a delay of up to `usual` microseconds, and now and then up to 300 ms more.
    fn draw(&mut self, usual: u64) -> Duration {
        let micros = self.random.random_range(0..=usual);
        let stall = if self.random.random_bool(0.01) { self.random.random_range(0..=300_000) } else { 0 };
        Duration::from_micros(micros + stall)
    }
}

impl Store for Disk {
    type Error = Infallible;

    async fn open(&self) -> Result<Opened, Infallible> {
        Ok(self.open_now())
    }
}

struct DiskWriter {
    disk: Disk,
    term: Term,
    durability: Durability,
}

impl DiskWriter {
    fn check_writable(&self, contents: &Contents) -> Result<(), AppendError> {
        if contents.term != self.term {
            return Err(Fenced { own: self.term, by: contents.term }.into());
        }
        if contents.faults.full {
            return Err(AppendError::Unavailable("the disk is full".to_owned()));
        }
        Ok(())
    }

    fn check(&self, commit: &Commit, contents: &Contents) -> Result<(), AppendError> {
        self.check_writable(contents)?;
        let tail = contents.tail().position().index;
        if commit.batch.first != tail.next() {
            return Err(NotNext { tail, got: commit.batch.first }.into());
        }
        Ok(())
    }
}

#[async_trait]
impl LogWriter for DiskWriter {
    async fn append(&mut self, commit: Commit) -> Result<(), AppendError> {
        let writing = self.disk.look().draw(4_000);
        sleep(writing).await;
        let (written, syncing) = {
            let mut contents = self.disk.look();
            self.check(&commit, &contents)?;
            let fails = contents.faults.fails_next.take();
            if fails != Some(false) {
                contents.commits.push(commit);
            }
            if fails.is_some() {
                contents.failed.push(self.term);
                return Err(AppendError::OutcomeUnknown("the disk failed".to_owned()));
            }
            let syncing = contents.draw(6_000) + contents.faults.slow;
            (contents.commits.len(), syncing)
        };
        if self.durability == Durability::Fsync {
            sleep(syncing).await;
            let mut contents = self.disk.look();
            contents.synced = contents.synced.max(written);
        }
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), AppendError> {
        let writing = self.disk.look().draw(4_000);
        sleep(writing).await;
        self.check_writable(&self.disk.look())
    }
}

#[async_trait]
impl LogReader for Disk {
    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        let reading = self.look().draw(3_000);
        sleep(reading).await;
        let contents = self.look();
        contents.check_readable()?;
        let floor = contents.floor().position().index;
        if from <= floor {
            return Err(Compacted { asked: from, floor }.into());
        }
        let mut bytes = 0;
        let batches = contents.commits[contents.find(from)..].iter().map(|commit| &commit.batch).take_while(|batch| {
            let first = bytes == 0;
            bytes += batch.frame.len();
            first || bytes <= max_bytes
        });
        Ok(batches.cloned().collect())
    }

    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError> {
        let reading = self.look().draw(3_000);
        sleep(reading).await;
        let contents = self.look();
        contents.check_readable()?;
        let floor = contents.floor().position();
        if index <= floor.index {
            return Ok(Some(floor.digest).filter(|_| index == floor.index));
        }
        let batch = contents.commits.get(contents.find(index)).map(|commit| &commit.batch);
        Ok(batch.filter(|batch| batch.end.index == index).map(|batch| batch.end.digest))
    }

    async fn snapshot_at(&self, index: Index) -> Result<Snapshot, ReadError> {
        let reading = self.look().draw(3_000);
        sleep(reading).await;
        let contents = self.look();
        contents.check_readable()?;
        let floor = contents.floor();
        if index < floor.position().index {
            return Err(Compacted { asked: index, floor: floor.position().index }.into());
        }
        let ended = contents.commits.iter().take_while(|commit| commit.batch.end.index <= index);
        Ok(ended.last().map_or(floor, |commit| commit.tail))
    }

    fn floor(&self) -> Index {
        self.look().floor().position().index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(setup: Setup) -> Disk {
        let disk = Disk::new(1, LogId(7), Durability::Fsync, setup);
        tokio::spawn(disk.clone().watch_terms());
        disk
    }

    store::testing::contract!(disk, #[tokio::test(start_paused = true)]);

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_cut_off_does_not_learn_that_it_was_replaced() {
        let disk = disk(Setup { retain: 100, retain_bytes: u64::MAX, snapshot_every: 10 });
        let [mut first, mut second] = [disk.open_now(), disk.open_now()];
        disk.look().cut_off.push(first.term);
        let third = disk.open_now();
        let waited = tokio::time::timeout(Duration::from_secs(60), first.lost.wait()).await;
        assert!(waited.is_err(), "{waited:?}");
        assert_eq!(second.lost.wait().await, Fenced { own: second.term, by: third.term }.into());
    }
}

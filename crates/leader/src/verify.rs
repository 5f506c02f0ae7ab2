//! `calculator-leader verify`: checks every page, row and event of the log in a directory.

use std::io::{self, Write};
use std::path::Path;

use engine::{Snapshot, Term, Timestamp};
use store::sqlite::SqliteReader;
use thiserror::Error;

use crate::export::finish;
use crate::replay::{DirectoryReplay, ReplayError, check_directory};

/// Checks every page, row and event of the log in `directory`, and prints a report to `output`.
///
/// # Errors
///
/// The first damage, or an output that cannot be written. An output whose reader closed it is no error.
pub fn verify(directory: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    finish(examine(directory, output).map(drop))
}

/// What a log holds in which everything is sound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sound {
    pub(crate) term: Term,
    pub(crate) tail: Snapshot,
    /// When the newest event was committed; `None` if there is no history.
    pub(crate) newest: Option<Timestamp>,
}

impl Sound {
    /// Prints where the log ends.
    pub(crate) fn print(&self, output: &mut impl Write) -> io::Result<()> {
        let at = self.tail.position();
        writeln!(output, "log        {}", self.tail.log())?;
        writeln!(output, "term       {}", self.term)?;
        writeln!(output, "index      {}", at.index)?;
        writeln!(output, "value      {} (digest {})", self.tail.value(), at.digest)
    }
}

/// Does what [`verify`] does.
pub(crate) fn examine(directory: &Path, output: &mut impl Write) -> anyhow::Result<Sound> {
    let mut reader = SqliteReader::open(directory)?;
    let (floor, tail) = (reader.floor(), reader.tail());
    writeln!(output, "log        {}", reader.log())?;
    writeln!(output, "term       {}", reader.term())?;
    writeln!(output, "history    events {} to {}", floor.position().index.next(), tail.position().index)?;
    writeln!(output, "value      {} (digest {})", tail.value(), tail.position().digest)?;

    let producers = reader.producers()?.len();
    writeln!(output, "producers  {producers}, sound")?;
    let snapshots = reader.snapshots()?;

    let pages = reader.examine_pages()?;
    match pages.as_slice() {
        [] => writeln!(output, "pages      sound")?,
        pages => pages.iter().try_for_each(|found| writeln!(output, "pages      {found}"))?,
    }

    let term = reader.term();
    let mut replay = DirectoryReplay::new(reader, floor);
    let newest = match replay_all(&mut replay, &snapshots) {
        Ok((batches, newest)) => {
            let events = tail.position().index.events_since(floor.position().index);
            writeln!(output, "events     {events} in {batches} batches, all replayed, sound")?;
            writeln!(output, "snapshots  {}, each matches the replay", snapshots.len())?;
            newest
        }
        Err(error @ ReplayError::CompactedMeanwhile(_)) => return Err(error.into()),
        Err(damage) => {
            let sound = replay.at().position().index;
            writeln!(output, "events     sound up to index {sound}; `export` prints them")?;
            let newest = snapshots.last().copied().unwrap_or(floor);
            let base = newest.position().index;
            let starts = check_directory(SqliteReader::open(directory)?, newest).is_ok();
            if starts {
                writeln!(
                    output,
                    "leader     would start, without the damaged events: its value depends only on the snapshot at index \
                     {base} and the events after it"
                )?;
            } else {
                writeln!(output, "leader     would not start: its value depends on the damaged part")?;
            }
            return Err(damage.into());
        }
    };
    if pages.is_empty() { Ok(Sound { term, tail, newest }) } else { Err(PagesDamaged.into()) }
}

/// Pages are damaged, but every event is sound.
#[derive(Debug, Error)]
#[error(
    "pages of the database are damaged, though every event is sound: copy the directory before you start a leader on it"
)]
struct PagesDamaged;

/// Replays all batches and compares each snapshot with the replay. Returns the number of batches, and when the newest was
/// committed.
fn replay_all(replay: &mut DirectoryReplay, snapshots: &[Snapshot]) -> Result<(u64, Option<Timestamp>), ReplayError> {
    let mut awaited = snapshots.iter().peekable();
    let (mut batches, mut newest) = (0_u64, None);
    while let Some(replayed) = replay.next()? {
        batches += 1;
        newest = Some(replayed.batch.committed_at());
        let at = replay.at().position().index;
        if let Some(snapshot) = awaited.next_if(|snapshot| snapshot.position().index <= at)
            && *snapshot != replay.at()
        {
            return Err(ReplayError::Snapshot { at: snapshot.position().index });
        }
    }
    Ok((batches, newest))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use bytes::Bytes;
    use engine::leader::Sequencer;
    use engine::{Durability, LogId, Operation, ProducerChanges};
    use store::sqlite::Options;
    use store::{Commit, SqliteStore, StoredBatch};
    use wire::frame::encode_batch;

    use super::*;

    const LOG: LogId = LogId(5);

    fn add_one(sequencer: &mut Sequencer) -> Commit {
        sequencer.propose(Operation::Add(1)).unwrap();
        let batch = sequencer.seal(Timestamp(0)).unwrap();
        sequencer.commit();
        let batch = StoredBatch::new(&batch, encode_batch(&batch));
        Commit { batch, tail: sequencer.committed(), producers: ProducerChanges::default() }
    }

    /// Verifies a log of 2,000 events whose page with the event at `index` is zeroed. Returns the report and the error.
    async fn verified_without_the_page_of(index: u64, snapshot_every: u64) -> (String, String) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::new(snapshot_every).unwrap(),
            retain: NonZeroU64::MAX,
            retain_bytes: None,
        };
        let mut opened = SqliteStore::new(options, LOG).open_blocking().unwrap();
        let mut sequencer = Sequencer::new(Term(1), opened.tail, []);
        let mut frame = Bytes::new();
        for event in 1..=2_000 {
            let commit = add_one(&mut sequencer);
            if event == index {
                frame = commit.batch.frame.clone();
            }
            opened.writer.append(commit).await.unwrap();
        }
        drop(opened);
        let path = directory.path().join("log.sqlite");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(frame.len()).position(|window| window == frame).unwrap();
        bytes[at / 4_096 * 4_096..][..4_096].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let mut output = Vec::new();
        let error = verify(directory.path(), &mut output).unwrap_err();
        (String::from_utf8(output).unwrap(), error.to_string())
    }

    #[tokio::test]
    async fn verify_says_up_to_where_the_log_is_sound_despite_damaged_pages() {
        for (snapshot_every, leads) in [(100, true), (1_000_000, false)] {
            let (output, error) = verified_without_the_page_of(1_000, snapshot_every).await;
            let sound = output.lines().find_map(|line| line.strip_prefix("events     sound up to index ")).unwrap();
            let sound: u64 = sound.split(';').next().unwrap().parse().unwrap();
            assert!((900..1_000).contains(&sound), "{output}");
            assert!(error.contains(&format!("at index {}", sound + 1)), "{error}");
            assert!(output.contains("\npages      ") && !output.contains("pages      sound"), "{output}");
            assert_eq!(output.contains("\nleader     would start"), leads, "{output}");
            assert_eq!(output.contains("\nleader     would not start"), !leads, "{output}");
        }
    }
}

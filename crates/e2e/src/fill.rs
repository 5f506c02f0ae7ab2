//! Writes long logs without a leader.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use engine::leader::{ProposeError, Sequencer};
use engine::{Durability, Snapshot, Timestamp};
use leader::generator;
use store::sqlite::{Options, SqliteStore};
use store::{Commit, StoredBatch};
use wire::frame::encode_batch;

use crate::process::{Leader, Program};

/// Events between snapshots, as a leader has by default.
const SNAPSHOT_EVERY: NonZeroU64 = NonZeroU64::new(100_000).expect("not zero");

/// Puts `events` random operations, such as a leader makes up, into a new log in `directory`, `per_batch` of them in each
/// batch, and closes it. Returns its end.
///
/// # Errors
///
/// If the log cannot be written.
pub async fn fill(directory: &Path, events: u64, per_batch: u64) -> anyhow::Result<Snapshot> {
    let options = Options {
        directory: directory.to_owned(),
        // Faster, and a test does not need its log after a power cut.
        durability: Durability::Os,
        snapshot_every: SNAPSHOT_EVERY,
        retain: NonZeroU64::MAX,
        retain_bytes: None,
    };
    let mut opened = SqliteStore::new(options, engine::LogId(rand::random())).open_blocking()?;
    let mut sequencer = Sequencer::new(opened.term, opened.tail, opened.producers);
    let mut source = generator::source(1);
    let mut left = events;
    while left > 0 {
        let count = left.min(per_batch);
        for _ in 0..count {
            // The current value refuses some operations; then the next one is tried.
            while let Err(error) = sequencer.propose(source()) {
                anyhow::ensure!(matches!(error, ProposeError::Rejected(_)), "{error}");
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let batch = sequencer.seal(Timestamp(u64::try_from(now.as_micros())?)).context("an empty batch")?;
        let stored = StoredBatch::new(&batch, encode_batch(&batch));
        let producers = sequencer.producer_changes();
        opened.writer.append(Commit { batch: stored, tail: sequencer.newest(), producers }).await?;
        sequencer.commit();
        left -= count;
    }
    Ok(sequencer.committed())
}

/// A leader that was started on an existing log.
#[derive(Debug)]
pub struct Recovered {
    /// The leader.
    pub leader: Leader,
    /// The time from the start of the process to its first answer.
    pub took: Duration,
    /// The answer.
    pub status: wire::pb::GetStatusResponse,
}

/// Starts a leader with `arguments` and measures how long it takes to answer its first call.
///
/// # Errors
///
/// If it does not answer in time.
pub async fn recover(arguments: &[&str]) -> anyhow::Result<Recovered> {
    let address = crate::process::free_address()?;
    let listen = address.to_string();
    let start = Instant::now();
    let program = Program::start("calculator-leader", &[&["--listen", listen.as_str()], arguments].concat())?;
    let leader = Leader::at(program, address);
    loop {
        // The connection is refused until the process listens; then the call waits until the log is open.
        match leader.status().await {
            Ok(status) => return Ok(Recovered { took: start.elapsed(), leader, status }),
            Err(error) if start.elapsed() > crate::process::START => {
                return Err(error.context(leader.program.lines().join("\n")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

//! Tells the leader regularly where the replica stands.

use std::time::Duration;

use engine::Resume;
use tokio::sync::{mpsc, watch};

use crate::Standing;
use crate::link::Reporter;
use crate::timer::Clock;

/// How often a replica reports. Often enough for a list that people look at; rare enough to cost a leader with ten
/// thousand replicas little.
const INTERVAL: Duration = Duration::from_secs(2);

/// What there is to report: the position and the newest event's lag.
pub(crate) type Progress = Option<(Resume, Option<Duration>)>;

/// Reports until the stream that it belongs to is dropped. A report that fails is not repeated: the next one is newer.
pub(crate) async fn report_regularly(
    mut reporter: impl Reporter,
    clock: Clock,
    progress: watch::Receiver<Progress>,
    standings: mpsc::Sender<(Standing, Resume)>,
) {
    loop {
        // First a short while, so that a new replica shows up at once, then at the interval.
        let latest = *progress.borrow();
        if let Some((at, lag)) = latest
            && let Ok(standing) = reporter.report(at, lag).await
            && standings.send((standing, at)).await.is_err()
        {
            return;
        }
        let wait = if latest.is_some() { INTERVAL } else { INTERVAL / 20 };
        clock.sleep_until(clock.now().plus(wait)).await;
    }
}

//! Reports the replica's position to the leader at regular intervals.

use std::ops::RangeInclusive;
use std::time::Duration;

use engine::Moment;
use tokio::sync::{mpsc, watch};

use crate::link::{Answered, Report, Reporter};
use crate::timer::Clock;

/// How often a replica reports: as long as an answer counts as news of the leader's tail. Ten thousand replicas then cost a
/// leader little.
const INTERVAL: Duration = engine::replica::TAIL_KNOWN_FOR;

/// The shortest and the longest time until the next report that a leader can ask for.
const AGAIN: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

/// How long an answer may take. Then the report is given up, because the next one is newer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A report and its answer, with the times at which they were sent and arrived.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) report: Report,
    pub(crate) answered: Answered,
    pub(crate) asked: Moment,
    pub(crate) came: Moment,
}

/// Reports until the stream that it belongs to is dropped. `progress` is the newest report; it changes with every frame.
pub(crate) async fn report_regularly(
    mut reporter: impl Reporter,
    clock: Clock,
    mut progress: watch::Receiver<Option<Report>>,
    answers: mpsc::Sender<Exchange>,
) {
    loop {
        let latest = *progress.borrow_and_update();
        let Some(report) = latest else {
            if progress.changed().await.is_err() {
                return;
            }
            continue;
        };
        let asked = clock.now();
        let answered = tokio::select! {
            biased;
            answered = reporter.report(report) => answered.ok(),
            () = wait_until(asked.plus(PATIENCE), clock, &mut progress) => None,
        };
        let mut interval = INTERVAL;
        if let Some(answered) = answered {
            interval = answered.report_again.map_or(INTERVAL, |again| again.clamp(*AGAIN.start(), *AGAIN.end()));
            let exchange = Exchange { report, answered, asked, came: clock.now() };
            if answers.send(exchange).await.is_err() {
                return;
            }
        }
        wait_until(asked.plus(interval), clock, &mut progress).await;
    }
}

/// Waits until `moment`. It also looks at the clock with every frame: browsers delay the timers of hidden pages by up to a
/// minute, but frames arrive.
async fn wait_until(moment: Moment, clock: Clock, progress: &mut watch::Receiver<Option<Report>>) {
    while clock.now() < moment {
        tokio::select! {
            biased;
            () = clock.sleep_until(moment) => {}
            changed = progress.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

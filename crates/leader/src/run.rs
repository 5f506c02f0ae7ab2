//! Runs a leader from start to end.

use std::future::Future;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use engine::{GoodbyeReason, LogId};
use feed::Feed;
use store::sqlite::{Cause, OpenError, Options, Problem};
use store::{AppendError, Corrupt, MemoryStore, Opened, ReadError, Replaced, SqliteStore, Store};
use thiserror::Error;
use tracing::{info, warn};

use crate::advice::{about_damage, with_advice};
use crate::config::{Config, Storage};
use crate::generator::{self, Generation};
use crate::http::Serving;
use crate::http::listen;
use crate::http::port::Ports;
use crate::http::readers::Readers;
use crate::metrics::{Metrics, State};
use crate::rate::Rate;
use crate::replay::{self, ReplayError};
use crate::roster::Membership;
use crate::rpc::Calculator;
use crate::rpc::watch_replicas::{RosterMaker, Watchers};
use crate::thread::Thread;
use crate::{clock, http, scrub, service_manager};

const CHECK_STREAMS: Duration = Duration::from_secs(1);

/// How long open connections may take to end: replicas that are behind get the events that they lack, and then the goodbye.
/// With [`sequencer::FLUSH`] it stays below five seconds.
const GRACE: Duration = Duration::from_secs(4);

/// Why a leader did not start, or ended before it was shut down.
#[derive(Debug, Error)]
pub enum RunError {
    /// The log cannot be opened.
    #[error("{}", with_advice(.0))]
    Open(#[from] OpenError),
    /// The end of the log is not what was committed.
    #[error("the end of the log in {} cannot be trusted: {error}. {}", directory.display(), about_damage(directory))]
    Replay {
        /// Where the log is.
        directory: PathBuf,
        /// The first batch that does not replay.
        error: ReplayError,
    },
    /// The operating system refused a thread.
    #[error("cannot start a thread: {0}. Allow this user or container more threads")]
    Thread(std::io::Error),
    /// This leader lost the right to write to the log.
    #[error("this leader stepped down: {0}")]
    SteppedDown(AppendError),
    /// The files of the log were removed or replaced.
    #[error(
        "{replaced}, so the leader stopped: it could no longer make operations durable, and acknowledged none after that. \
         Before the next start, put the files back into {}, or restore the directory from a complete copy: a leader that \
         finds no log there begins a new one", directory.display()
    )]
    Replaced {
        /// Where the log is.
        directory: PathBuf,
        /// The file that was removed or replaced.
        replaced: Replaced,
    },
    /// The stored log is damaged.
    #[error("{damage}. {}", about_damage(directory))]
    Damaged {
        /// Where the log is.
        directory: PathBuf,
        /// The damaged place.
        damage: Corrupt,
    },
}

/// Runs a leader on `ports` until `shutdown` is ready or the leader loses the right to write. Returns at most five seconds
/// after `shutdown`, however many streams are open, unless the disk takes longer to finish a commit.
///
/// # Errors
///
/// [`RunError`] if the leader did not start, or ended before `shutdown`.
pub async fn run(
    config: Config,
    ports: impl Into<Ports>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let ports = ports.into();
    let opened = open(&config).await?;
    let feed = Feed::with_budget(&opened, config.heartbeat_interval, config.limits.send_buffers);
    let (tail, log) = (opened.tail, Arc::clone(&opened.reader));
    let (listen, page) = addresses(&ports);
    let term = opened.term;
    info!(
        %listen,
        page = page.map(tracing::field::display),
        log = %tail.log(),
        %term,
        index = %tail.position().index,
        durability = %opened.durability,
        "leading"
    );

    let (submitter, committer) = sequencer::start(opened, feed.clone(), generator::source(config.seed), clock::now);
    let mut committing = Thread::run("committer", committer.run()).map_err(RunError::Thread)?;
    let ending = submitter.clone();
    let controllable = config.control.unwrap_or(ports.are_local());
    let generation = Generation::new(config.generator, config.max_rate, controllable);
    let generator = tokio::spawn(generation.clone().run(config.count, submitter.clone(), config.seed));
    let heartbeats = tokio::spawn(beat(feed.clone(), config.heartbeat_interval));
    let membership = Membership::new(config.limits.streams.with_heartbeat(config.heartbeat_interval));
    let checking_streams = tokio::spawn(check_streams(membership.clone()));
    let watchers = Watchers::new(config.limits.watchers);
    let maker = RosterMaker {
        feed: feed.clone(),
        membership: membership.clone(),
        generation: generation.clone(),
        watchers: watchers.clone(),
    };
    let making_rosters = tokio::spawn(maker.run());
    let scrubbing = tokio::spawn(scrub::scrub(Arc::clone(&log), tail.position().index));
    let health = submitter.health().clone();
    let metrics = Metrics::new(State {
        feed: feed.clone(),
        log: Arc::clone(&log),
        submitter: submitter.clone(),
        membership: membership.clone(),
        watchers: watchers.clone(),
        lines: config.lines.clone(),
        due: AtomicU64::default(),
    });
    let rate = Rate::new(config.limits.submits, config.limits.submits_of_one);
    let forgetting = tokio::spawn(rate.clone().forget());
    let service = Calculator::new(feed.clone(), log, submitter, membership.clone(), generation, watchers)
        .with_traces(config.traces.clone())
        .with_rate(rate.clone());
    let readers = Readers::start().map_err(RunError::Thread)?;
    let serving =
        Serving { calculator: service, feed, membership, writing: health, metrics, readers: readers.handle() };
    let server = http::start(ports, serving, &config);

    service_manager::ready(&format!("leading in term {term} on {listen}"));
    let alive = tokio::spawn(service_manager::stay_alive());
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        ended = committing.ended() => match ended {
            Some(reason) => Err(stepped_down(&config, reason)),
            None => Ok(()),
        },
    };

    service_manager::stopping();
    generator.abort();
    server.refuse_new_calls();
    ending.end(if ended.is_ok() { GoodbyeReason::ShuttingDown } else { GoodbyeReason::SteppedDown }).await;
    heartbeats.abort();
    scrubbing.abort();
    if !server.stop(GRACE).await {
        warn!("some connections did not end in time and were cut");
    }
    committing.stop().await;
    checking_streams.abort();
    making_rosters.abort();
    forgetting.abort();
    alive.abort();
    config.traces.end().await;
    ended
}

/// The addresses of the ports, and the URL of the page on the first one.
fn addresses(ports: &Ports) -> (String, Option<String>) {
    let listen: Vec<_> = ports.addresses().iter().map(ToString::to_string).collect();
    let first = ports.0.first().and_then(|port| Some((port.scheme(), port.address()?)));
    (listen.join(","), first.map(|(scheme, address)| listen::url(scheme, address)))
}

/// Opens the log and replays the events after its newest snapshot.
async fn open(config: &Config) -> Result<Opened, RunError> {
    let new_log = LogId(rand::random());
    let Storage::Directory { directory, durability, snapshot_every } = config.storage.clone() else {
        let retain_bytes = config.retain_bytes.map_or(u64::MAX, NonZeroU64::get);
        let Ok(opened) = MemoryStore::bounded(new_log, config.retain.get(), retain_bytes).open().await;
        return Ok(opened);
    };
    let options = Options {
        directory: directory.clone(),
        durability,
        snapshot_every,
        retain: config.retain,
        retain_bytes: config.retain_bytes,
    };
    let start = Instant::now();
    let opened = SqliteStore::new(options, new_log).open().await?;
    let replayed = match replay::check(&*opened.reader, opened.snapshot, opened.tail).await {
        Ok(replayed) => replayed,
        Err(ReplayError::Read(ReadError::Unavailable(reason))) => {
            let problem = Problem { cause: Cause::Other, what: reason };
            return Err(OpenError::Database { directory, problem }.into());
        }
        Err(error) => return Err(RunError::Replay { directory, error }),
    };
    info!(directory = %directory.display(), replayed, took_ms = start.elapsed().as_millis(), "opened the log");
    Ok(opened)
}

fn stepped_down(config: &Config, reason: AppendError) -> RunError {
    let directory = match &config.storage {
        Storage::Directory { directory, .. } => directory.clone(),
        Storage::Memory => PathBuf::new(),
    };
    match reason {
        AppendError::Corrupt(damage) => RunError::Damaged { directory, damage },
        AppendError::Replaced(replaced) => RunError::Replaced { directory, replaced },
        reason => RunError::SteppedDown(reason),
    }
}

async fn beat(feed: Feed, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        feed.heartbeat(clock::now());
    }
}

async fn check_streams(membership: Membership) {
    let mut ticks = tokio::time::interval(CHECK_STREAMS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        membership.end_lost();
    }
}

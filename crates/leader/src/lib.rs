//! The leader: owns the number and its log, and streams the log to replicas.
//!
//! [`run`] is the whole leader; `main` only parses flags and passes a signal on. Inside, one [`sequencer`] task is the
//! only writer; the [`generator`] and the [`service`] send it operations through a bounded queue; it commits to the
//! store and publishes to the feed; [`server`] puts everything on one port.

pub mod classic;
pub mod clock;
pub mod config;
pub mod generator;
pub mod page;
pub mod sequencer;
pub mod server;
pub mod service;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use engine::{Goodbye, GoodbyeReason, LogId};
use feed::{Feed, Roster};
use store::{AppendError, MemoryStore, Store};
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::{info, warn};

/// How long what is in the queue may take to be committed at shutdown.
const FLUSH: Duration = Duration::from_millis(500);

/// How long open connections may take to end after the goodbye. With [`FLUSH`] it keeps the promise of five seconds.
const GRACE: Duration = Duration::from_secs(4);

/// When replicas should try again after a shutdown: soon, because a restart is the likeliest reason.
const RETRY_AFTER_SHUTDOWN: Duration = Duration::from_millis(500);

/// Why a leader ended otherwise than by being told to.
#[derive(Debug, Error)]
pub enum RunError {
    /// The log cannot be led any more.
    #[error("this leader stepped down: {0}")]
    SteppedDown(AppendError),
}

/// Runs a leader on `listener` until `shutdown` is ready or the log cannot be led any more. Returns at most five
/// seconds after `shutdown`, however many streams are open.
///
/// # Errors
///
/// [`RunError`] if it ended for another reason than `shutdown`.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(LogId(rand::random()), config.retain.get()));
    let feed = Feed::new(Arc::clone(&store), config.heartbeat_interval);
    let opened_at = store.opened_at();
    info!(
        listen = %listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()),
        log = %opened_at.log(),
        term = %store.term(),
        index = %opened_at.position().index,
        durability = %store.durability(),
        "leading"
    );

    let (submitter, mut sequencer) = sequencer::start(Arc::clone(&store), feed.clone(), config.seed);
    let closing = submitter.clone();
    let generator = tokio::spawn(generator::run(config.generator, config.count, submitter.clone(), config.seed));
    let heartbeats = tokio::spawn(beat(feed.clone(), config.heartbeat_interval));
    let roster = Roster::default();
    let service = service::Calculator::new(feed.clone(), Arc::clone(&store), submitter, roster.clone());
    let server = server::start(listener, service, feed.clone(), roster, config.max_subscribers);

    let ended = tokio::select! {
        () = shutdown => Ok(()),
        ended = &mut sequencer => match ended {
            Ok(Some(error)) => Err(RunError::SteppedDown(error)),
            Ok(None) => Ok(()),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
    };

    // Nobody gets into the queue any more; what is in it is committed, answered and sent before the goodbye.
    generator.abort();
    server.refuse_new_calls();
    if tokio::time::timeout(FLUSH, closing.close()).await.is_err() {
        warn!("the store did not take the last operations in time; who submitted them was not answered");
    }
    feed.close(Goodbye { reason: GoodbyeReason::ShuttingDown, retry_after: RETRY_AFTER_SHUTDOWN });
    heartbeats.abort();
    info!(index = %feed.published().tail.position().index, "saying goodbye");
    if !server.stop(GRACE).await {
        warn!("some connections did not end in time and were cut");
    }
    sequencer.abort();
    ended
}

async fn beat(feed: Feed, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        feed.heartbeat(clock::now());
    }
}

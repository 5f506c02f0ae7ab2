//! Watches the leader's replicas, for as long as the tab is to. It does not depend on the tab's own replication.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use follower::{Calls, NotAllowed};
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Either, abortable, select};
use gloo_timers::future::sleep;
use leptos::task::spawn_local;
use wire::{Identity, Roster};

/// How long a roster may take. One comes every two seconds at least; a browser without a free connection lets a call wait.
const PATIENCE: Duration = Duration::from_secs(8);

/// The first pause before another attempt, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The watch of a tab, which is on or off.
#[derive(Default)]
pub(super) struct Watch {
    watching: RefCell<Option<AbortHandle>>,
}

impl Watch {
    pub(super) fn is_on(&self) -> bool {
        self.watching.borrow().is_some()
    }

    /// Begins to watch as `identity`. `handle` gets each roster, and the bytes in which it came; `end` is called when no more
    /// will come for now, also because the leader does not allow it.
    pub(super) fn start(
        &self,
        calls: Calls,
        identity: Identity,
        handle: impl Fn(Roster, &[u8]) + 'static,
        end: impl Fn(Option<NotAllowed>) + 'static,
    ) {
        let (watching, abort) = abortable(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let (heard, refusal) = watch(&calls, identity.clone(), &handle).await;
                end(refusal);
                pause = if heard { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                sleep(pause).await;
            }
        });
        spawn_local(async move {
            // It ends only when it is aborted.
            let _ = watching.await;
        });
        self.stop();
        self.watching.replace(Some(abort));
    }

    pub(super) fn stop(&self) {
        if let Some(watching) = self.watching.take() {
            watching.abort();
        }
    }
}

/// Hands rosters on until the stream ends or is silent. Returns whether one came, and why none may.
async fn watch(calls: &Calls, identity: Identity, handle: &impl Fn(Roster, &[u8])) -> (bool, Option<NotAllowed>) {
    let mut rosters = match in_time(calls.watch_replicas(identity)).await {
        Some(Ok(rosters)) => rosters,
        Some(Err(error)) => return (false, error.not_allowed()),
        None => return (false, None),
    };
    let mut heard = false;
    while let Some(Some(Ok(roster))) = in_time(rosters.next()).await {
        handle(roster, rosters.encoded());
        heard = true;
    }
    (heard, None)
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Option<T> {
    match select(pin!(answer), pin!(sleep(PATIENCE))).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

//! The one session loop.

use std::convert::Infallible;
use std::pin::pin;

use engine::replica::Action;
use engine::{Replica, Resume, Subscribe};
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};

use crate::report::{Progress, report_regularly};
use crate::timer::{Breather, Clock};
use crate::{Link, Observer};

/// Keeps `replica` in step with the leader behind `link` for as long as the future is polled. Drop it to stop.
pub async fn follow<L: Link>(mut replica: Replica, mut link: L, observer: &mut impl Observer) -> Infallible {
    let clock = Clock::start();
    loop {
        match next_request(&mut replica, observer) {
            Some(request) => {
                let opened = tokio::select! {
                    // In order, so that nothing but its inputs decides what a session does.
                    biased;
                    opened = link.subscribe(request) => Some(opened),
                    () = clock.sleep_until(replica.poll_timeout()) => None,
                };
                match opened {
                    Some(Ok(frames)) => run_stream(&mut replica, &link, frames, clock, observer).await,
                    Some(Err(error)) => {
                        observer.link_failed(&error);
                        replica.handle_closed(clock.now());
                    }
                    None => replica.handle_timeout(clock.now()),
                }
            }
            None => {
                observer.waiting(replica.poll_timeout().since(clock.now()));
                clock.sleep_until(replica.poll_timeout()).await;
                replica.handle_timeout(clock.now());
            }
        }
    }
}

/// Passes notices on and returns what the replica wants to ask, if it wants to connect.
fn next_request(replica: &mut Replica, observer: &mut impl Observer) -> Option<Subscribe> {
    let mut request = None;
    while let Some(action) = replica.poll_action() {
        match action {
            // Every stream is dropped before this is called.
            Action::Disconnect => request = None,
            Action::Connect(subscribe) => request = Some(subscribe),
        }
    }
    tell(replica, observer);
    request
}

fn tell(replica: &mut Replica, observer: &mut impl Observer) {
    while let Some(notice) = replica.poll_notice() {
        observer.notice(notice, replica);
    }
}

/// Feeds one stream's frames to the replica until one of the two gives up.
async fn run_stream<L: Link>(
    replica: &mut Replica,
    link: &L,
    mut frames: L::Frames,
    clock: Clock,
    observer: &mut impl Observer,
) {
    let (progress_sender, progress) = watch::channel(progress_of(replica));
    // One, because a judgement that waits is about to be outdated.
    let (standing_sender, mut standings) = mpsc::channel(1);
    let mut reports = pin!(report_regularly(link.reporter(), clock, progress, standing_sender));
    let mut reporting = true;
    let mut breather = Breather::start();
    loop {
        tokio::select! {
            biased;
            frame = frames.next() => {
                let now = clock.now();
                match frame {
                    Some(Ok(frame)) => replica.handle_frame(frame, now),
                    Some(Err(error)) => {
                        observer.link_failed(&error);
                        replica.handle_closed(now);
                    }
                    None => replica.handle_closed(now),
                }
                breather.rest(now).await;
            }
            Some((standing, at)) = standings.recv() => observer.standing(standing, at),
            () = reports.as_mut(), if reporting => reporting = false,
            () = clock.sleep_until(replica.poll_timeout()) => replica.handle_timeout(clock.now()),
        }
        tell(replica, observer);
        if is_over(replica) {
            return;
        }
        progress_sender.send_replace(progress_of(replica));
    }
}

fn is_over(replica: &Replica) -> bool {
    use engine::replica::State::{CatchingUp, Connecting, Live};
    !matches!(replica.state(), Connecting | CatchingUp | Live)
}

/// What there is to report on this stream: nothing before the welcome, when what is held may be of another log.
fn progress_of(replica: &Replica) -> Progress {
    replica.welcome()?;
    let held = replica.snapshot()?;
    Some((Resume { log: held.log(), position: held.position() }, replica.lag()))
}

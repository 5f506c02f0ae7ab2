//! The one session loop.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::pin;

use engine::replica::{Action, State};
use engine::{Replica, Resume, Standing, Subscribe};
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};

use crate::link::Report;
use crate::report::{Exchange, report_regularly};
use crate::timer::{Breather, Clock};
use crate::{Arrivals, Link, LinkError, Observer};

/// Keeps `replica` in step with the leader behind `link` for as long as the future is polled. It never returns; drop it to
/// stop.
///
/// ```no_run
/// use engine::Replica;
/// use follower::{connect, follow};
/// use wire::Identity;
///
/// # struct Quiet;
/// # impl follower::Observer for Quiet {
/// #     fn notice(&mut self, _: engine::replica::Notice, _: &Replica) {}
/// # }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let link = connect("localhost:8080", Identity::default())?;
/// let mut observer = Quiet;
/// let following = follow(Replica::new(1), link, &mut observer);
/// // Follows for ten seconds.
/// let _ = tokio::time::timeout(std::time::Duration::from_secs(10), following).await;
/// # Ok(())
/// # }
/// ```
pub async fn follow<L: Link>(mut replica: Replica, mut link: L, observer: &mut impl Observer) -> Infallible {
    let clock = Clock::start();
    loop {
        match next_request(&mut replica, observer) {
            Some(request) => {
                let arrivals = Arrivals::default();
                match open(&mut replica, &mut link, request, &arrivals, clock).await {
                    Some(Ok(frames)) => run_stream(&mut replica, &link, frames, &arrivals, clock, observer).await,
                    Some(Err(error)) => {
                        observer.link_failed(&error);
                        replica.handle_closed(clock.now());
                    }
                    None => {}
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

/// Opens a stream; `None` if the replica gave up waiting for it.
async fn open<L: Link>(
    replica: &mut Replica,
    link: &mut L,
    request: Subscribe,
    arrivals: &Arrivals,
    clock: Clock,
) -> Option<Result<L::Frames, LinkError>> {
    let mut opening = pin!(link.subscribe(request, arrivals));
    while replica.state() == State::Connecting {
        tokio::select! {
            // In this order, so that a session depends on nothing but its inputs.
            biased;
            opened = &mut opening => return Some(opened),
            () = arrivals.sign_of_life() => replica.handle_bytes(clock.now()),
            () = clock.sleep_until(replica.poll_timeout()) => replica.handle_timeout(clock.now()),
        }
    }
    None
}

/// Passes notices on and returns the request of a replica that wants to connect.
fn next_request(replica: &mut Replica, observer: &mut impl Observer) -> Option<Subscribe> {
    let mut request = None;
    while let Some(action) = replica.poll_action() {
        match action {
            // Every stream is dropped before this is called.
            Action::Disconnect => request = None,
            Action::Connect(subscribe) => request = Some(subscribe),
        }
    }
    pass_notices(replica, observer);
    request
}

fn pass_notices(replica: &mut Replica, observer: &mut impl Observer) {
    while let Some(notice) = replica.poll_notice() {
        observer.notice(notice, replica);
    }
}

/// Feeds the frames of one stream to the replica until one of the two ends.
async fn run_stream<L: Link>(
    replica: &mut Replica,
    link: &L,
    mut frames: L::Frames,
    arrivals: &Arrivals,
    clock: Clock,
    observer: &mut impl Observer,
) {
    let (progress_sender, progress) = watch::channel(progress_of(replica));
    // One, because an answer that waits is soon outdated.
    let (answer_sender, mut answers) = mpsc::channel(1);
    let mut reports = pin!(report_regularly(link.reporter(), clock, progress, answer_sender));
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
            Some(exchange) = answers.recv() => handle_answer(&exchange, replica, observer),
            () = reports.as_mut(), if reporting => reporting = false,
            () = arrivals.sign_of_life() => replica.handle_bytes(clock.now()),
            () = clock.sleep_until(replica.poll_timeout()) => replica.handle_timeout(clock.now()),
        }
        pass_notices(replica, observer);
        if is_over(replica) {
            return;
        }
        progress_sender.send_replace(progress_of(replica));
    }
}

fn handle_answer(exchange: &Exchange, replica: &mut Replica, observer: &mut impl Observer) {
    if let Some(answer) = exchange.answered.answer {
        replica.handle_report_answer(answer, exchange.asked, exchange.came);
    }
    let standing = exchange.answered.standing;
    if standing != Standing::Unknown {
        observer.standing(standing, exchange.report.at);
    }
}

fn is_over(replica: &Replica) -> bool {
    !matches!(replica.state(), State::Connecting | State::CatchingUp | State::Live)
}

/// What to report on this stream: nothing before the welcome, when the replica may hold a position of another log.
fn progress_of(replica: &Replica) -> Option<Report> {
    let stream = replica.welcome()?.stream;
    let held = replica.snapshot()?;
    let at = Resume { log: held.log(), position: held.position() };
    Some(Report { at, lag: replica.lag(), stream, value: held.value() })
}

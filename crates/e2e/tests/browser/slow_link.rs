//! The page behind a link that is slower than the log.

use std::time::{Duration, Instant};

use e2e::process::Leader;
use e2e::slow_link::SlowLink;
use engine::Operation;

use crate::{in_browser, index, live};

/// How far behind the page may be and still say live: 2 s by its own rule, and the rest for a busy machine.
const TOLERATED: Duration = Duration::from_millis(4_000);

/// Lets calls of `ReportProgress` never be answered.
const LOSE_REPORTS: &str = "\
    const fetch = window.fetch;
    window.fetch = (request, options) =>
      String(request.url ?? request).endsWith('/ReportProgress') ? new Promise(() => {}) : fetch(request, options);";

/// All operations together take some 8 s on this link.
#[tokio::test]
async fn a_page_behind_a_slow_link_says_so_and_converges() {
    const OPERATIONS: u64 = 4_000;
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator", "--heartbeat-interval", "200ms"]).await?;
        let link = SlowLink::start(leader.address).await?;
        browser.open(&leader.url_at(link.address)).await?;
        live(&browser).await?;

        // Its reports are answered so often that it always knows the leader's tail. Without answers it knows a lower bound.
        browser.wait_for_text("in-step", |mark| mark.contains("confirmed")).await?;
        browser.run(LOSE_REPORTS).await?;
        link.set_speed(7_000);
        let client = leader.client().await?;
        // An operation with a long encoding, whose order does not matter.
        let operation = wire::pb::Operation::from(Operation::Divide(1 << 61));
        let calls =
            (0..OPERATIONS).map(|_| {
                let mut client = client.clone();
                async move {
                    client.submit(wire::pb::SubmitRequest { operation: Some(operation), ..Default::default() }).await
                }
            });
        for answer in futures_util::future::join_all(calls).await {
            answer?;
        }
        let submitted = Instant::now();
        let mut saw_at_least = false;
        while index(&browser).await? < OPERATIONS {
            assert!(submitted.elapsed() < Duration::from_secs(30), "the page did not converge");
            // The states are read first, so that the index is not older than they are.
            let state = browser.value("state").await?;
            let in_step = browser.value("in-step").await?;
            let lag = browser.text("lag-events").await?;
            saw_at_least |= lag.contains('≥');
            if submitted.elapsed() > TOLERATED && index(&browser).await? < OPERATIONS {
                assert_ne!(state.as_deref(), Some("live"), "after {:?}", submitted.elapsed());
                assert_ne!(in_step.as_deref(), Some("yes"), "after {:?}", submitted.elapsed());
            }
        }
        assert!(submitted.elapsed() > TOLERATED, "the link was not slower than the log");
        assert!(saw_at_least, "the lag was exact all the time");
        live(&browser).await?;
        assert_eq!(index(&browser).await?, OPERATIONS);
        let streams = leader.program.lines().iter().filter(|line| line.contains("a replica subscribed")).count();
        assert_eq!(streams, 1, "the page subscribed again");
        Ok(())
    })
    .await;
}

//! The page in a real browser, against real programs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod access;
mod axe;
mod break_it;
mod history;
mod loading;
mod pending;
mod slow_link;
mod stage;
mod token;

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use e2e::browser::{Browser, PATIENCE, Tab, policy_violations};
use e2e::process::{Leader, Program, ReplicaProcess};
use e2e::scheme::Scheme;
use engine::Operation;
use futures_util::FutureExt;
use tokio::process::Command;

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// Runs a test, which fails also if a page broke its content security policy. Closes the browser even when the test fails.
async fn in_browser<F: Future<Output = anyhow::Result<()>>>(test: impl FnOnce(Arc<Browser>) -> F) {
    let browser = Arc::new(Browser::start(DESKTOP.0, DESKTOP.1).await.unwrap());
    let outcome = AssertUnwindSafe(test(Arc::clone(&browser))).catch_unwind().await;
    let log = browser.log().await.unwrap();
    if !matches!(outcome, Ok(Ok(()))) {
        println!("the browser's log: {log:#?}");
        if let Ok(picture) = browser.screenshot().await {
            let path = std::env::temp_dir().join("calculator-failed-page.png");
            std::fs::write(&path, picture).unwrap();
            println!("how the page looked: {}", path.display());
        }
    }
    Arc::into_inner(browser).unwrap().close().await.unwrap();
    match outcome {
        Ok(outcome) => outcome.unwrap(),
        Err(panic) => resume_unwind(panic),
    }
    assert_eq!(policy_violations(&log), Vec::<&String>::new(), "the page broke its content security policy");
}

async fn signal(program: &Program, name: &str) -> anyhow::Result<()> {
    let id = program.id()?.to_string();
    let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.context("there is no kill")?;
    anyhow::ensure!(sent.success(), "kill -{name} {id}: {sent}");
    Ok(())
}

/// The index, and the digest and the value there.
fn parse_position(position: &str) -> Option<(u64, (String, String))> {
    let mut parts = position.splitn(3, ':');
    let index = parts.next()?.parse().ok()?;
    Some((index, (parts.next()?.to_owned(), parts.next()?.to_owned())))
}

async fn live(browser: &Browser) -> anyhow::Result<()> {
    browser.wait_for_value("state", |state| state == "live").await?;
    browser.wait_for_value("in-step", |mark| mark == "yes").await?;
    Ok(())
}

async fn index(browser: &Browser) -> anyhow::Result<u64> {
    let position = browser.wait_for_value("position", |position| parse_position(position).is_some()).await?;
    Ok(parse_position(&position).unwrap().0)
}

async fn pages_and_replicas_agree(browser: &Browser, rate: &str, needed: usize) -> anyhow::Result<()> {
    let leader = Leader::start(&["--rate", rate]).await?;
    let replicas = ["a", "b", "c"].map(|name| ReplicaProcess::start(&leader.url(), name).unwrap());
    browser.open(&leader.url()).await?;
    let first = browser.tab().await?;
    let second = browser.open_another(&leader.url(), false).await?;
    let mut seen: Vec<BTreeMap<u64, (String, String)>> = vec![BTreeMap::new(), BTreeMap::new()];
    for (page, tab) in [&first, &second].into_iter().enumerate() {
        browser.switch_to(tab).await?;
        live(browser).await?;
        let deadline = Instant::now() + PATIENCE;
        while seen[page].len() < needed && Instant::now() < deadline {
            seen[page].extend(browser.value("position").await?.as_deref().and_then(parse_position));
        }
    }
    let newest = seen.iter().filter_map(|positions| positions.keys().last()).max().copied().unwrap_or_default();
    for replica in &replicas {
        replica.wait_for_index(newest).await?;
    }
    for (page, positions) in seen.iter().enumerate() {
        assert!(positions.len() >= needed, "page {page} showed only {} positions", positions.len());
        for replica in &replicas {
            let held = replica.held();
            for (index, position) in positions {
                assert_eq!(held.get(index), Some(position), "page {page} and a native replica at index {index}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn two_pages_and_three_native_replicas_hold_the_same_at_ten_events_a_second() {
    in_browser(async |browser| pages_and_replicas_agree(&browser, "10", 8).await).await;
}

#[tokio::test]
async fn two_pages_and_three_native_replicas_hold_the_same_at_a_thousand_events_a_second() {
    in_browser(async |browser| pages_and_replicas_agree(&browser, "1000", 30).await).await;
}

#[tokio::test]
async fn a_thousand_events_a_second_leave_the_page_smooth() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "1000"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let enough = index(&browser).await? + 3_000;
        browser.wait_for_value("index", |index| index.parse().is_ok_and(|index: u64| index >= enough)).await?;
        let update = browser.run("return +document.documentElement.dataset.frameUs").await?.as_f64().unwrap() / 1_000.0;
        println!("a view update takes {update:.2} ms");
        assert!(update < 8.0, "a view update takes {update} ms of the 16.7 that a frame has");
        let rows = browser.run("return document.querySelectorAll('[data-testid=\"event-row\"]').length").await?;
        let rows = rows.as_u64().unwrap();
        assert!((8..=400).contains(&rows), "{rows} rows");
        // Newest first, without a hole.
        let indexes = browser
            .run("return [...document.querySelectorAll('[data-testid=\"event-row\"]')].map(row => +row.dataset.index)")
            .await?;
        let indexes: Vec<u64> = serde_json::from_value(indexes)?;
        assert!(indexes.windows(2).all(|pair| pair[0] == pair[1] + 1), "{indexes:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_reload_resumes_from_the_position_and_says_so() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "100"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        assert_eq!(browser.wait_for_value("resync", |verdict| !verdict.is_empty()).await?, "fresh");
        // The page has saved its position.
        browser.wait_until("return sessionStorage.length > 0").await?;
        let before = index(&browser).await?;
        browser.reload().await?;
        assert_eq!(browser.wait_for_value("resync", |verdict| !verdict.is_empty()).await?, "resumed");
        live(&browser).await?;
        assert!(index(&browser).await? >= before);
        let resync = browser.text("resync").await?;
        println!("after the reload: {resync}");
        assert!(resync.contains("resumed") && resync.contains("ms"), "{resync}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_page_says_when_a_leader_starts_a_new_log() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "100"]).await?;
        let (address, url) = (leader.address.to_string(), leader.url());
        browser.open(&url).await?;
        live(&browser).await?;
        let old = browser.wait_for_value("log-id", |id| id.len() == 32).await?;
        leader.program.kill().await?;
        browser.wait_for_value("state", |state| state != "live").await?;
        // Fast, so that the new log soon has an index above the one that the page holds.
        let _leader = Leader::start_on(&address, &["--rate", "2000"]).await?;
        browser.wait_for_value("log-id", |id| id.len() == 32 && id != old).await?;
        live(&browser).await?;
        browser.wait_for_text("notices", |text| text.to_lowercase().contains("new log")).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn without_a_leader_nothing_of_the_leaders_is_shown_as_known() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "100"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        leader.program.kill().await?;
        browser.wait_for_value("state", |state| state != "live").await?;
        for number in ["tail", "lag-events", "lag-ms"] {
            browser.wait_for_text(number, |text| text.contains("not known") && text.contains("since")).await?;
        }
        assert_eq!(browser.value("in-step").await?.as_deref(), Some("no"));
        let mark = browser.text("in-step").await?;
        assert!(mark.contains("Nothing is known"), "{mark}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_restarts_with_its_log_is_followed_without_a_snapshot() {
    in_browser(async |browser| {
        let directory = tempfile::tempdir()?;
        let durable = ["--rate", "100", "--data-dir", directory.path().to_str().unwrap()];
        let leader = Leader::start(&durable).await?;
        let (address, url) = (leader.address.to_string(), leader.url());
        browser.open(&url).await?;
        live(&browser).await?;
        let log = browser.wait_for_value("log-id", |id| id.len() == 32).await?;
        assert!(browser.text("banner").await?.is_empty());
        leader.program.kill().await?;
        browser.wait_for_value("state", |state| state != "live").await?;
        let before = index(&browser).await?;

        // Submitted while there is no leader: it waits, and is done once.
        browser.type_into("op-arg", "0").await?;
        browser.click("key-multiply").await?;
        browser.wait_for_value("op-result", |result| result == "pending").await?;
        let quiet = ["--no-generator", "--data-dir", directory.path().to_str().unwrap()];
        let _leader = Leader::start_on(&address, &quiet).await?;
        browser.wait_for_value("op-result", |result| result == "ok").await?;
        browser.wait_for_value("value", |value| value == "0").await?;
        live(&browser).await?;
        browser.wait_for_text("notices", |text| text.contains("Reconnected: resumed from #")).await?;
        println!("after the restart: {}", browser.text("notices").await?.replace('\n', " "));
        assert_eq!(browser.wait_for_value("log-id", |_| true).await?, log);
        assert!(index(&browser).await? > before);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn people_submit_operations_and_see_refusals_beside_them() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        for (kind, argument, outcome, value) in [
            ("add", Some("12"), "ok", "12"),
            ("square", None, "ok", "144"),
            ("divide", Some("0"), "refused", "144"),
            ("subtract", Some("-9223372036854775807"), "refused", "144"),
            ("add", Some("twelve"), "refused", "144"),
            ("add", Some("9223372036854775663"), "ok", "9223372036854775807"),
        ] {
            if let Some(argument) = argument {
                browser.type_into("op-arg", argument).await?;
            }
            browser.click(&format!("key-{kind}")).await?;
            browser.wait_for_value("op-result", |result| result == outcome).await?;
            browser.wait_for_value("value", |shown| shown == value).await?;
            println!("{kind} {argument:?}: {}", browser.text("op-result").await?);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn eight_tabs_over_tls_are_all_live() {
    in_browser(async |browser| {
        let leader = Leader::start_over(Scheme::Https, &["--rate", "50"]).await?;
        browser.open(&leader.url()).await?;
        let mut tabs: Vec<Tab> = vec![browser.tab().await?];
        for _ in 2..=8 {
            tabs.push(browser.open_another(&leader.url(), true).await?);
        }
        for tab in &tabs {
            browser.switch_to(tab).await?;
            live(&browser).await?;
            assert_eq!(browser.value("banner").await?.as_deref(), Some(""));
        }
        // Each has a stream, and there is room for calls.
        assert_eq!(leader.status().await?.subscribers, 8);
        browser.type_into("op-arg", "1").await?;
        browser.click("key-add").await?;
        browser.wait_for_value("op-result", |result| result == "ok").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn tabs_beyond_the_fourth_say_what_they_wait_for_and_recover() {
    in_browser(async |browser| {
        let leader = Leader::start_over(Scheme::Http, &["--rate", "50"]).await?;
        browser.open(&leader.url()).await?;
        let mut tabs: Vec<Tab> = vec![browser.tab().await?];
        live(&browser).await?;
        for _ in 2..=8 {
            // The document itself needs a connection, and the streams may hold all six: opening may take long.
            let tab = browser.open_another("about:blank", true).await?;
            browser.run(&format!("setTimeout(() => location.href = '{}', 0)", leader.url())).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            tabs.push(tab);
        }
        let mut waiting = Vec::new();
        for (number, tab) in (1..).zip(&tabs) {
            browser.switch_to(tab).await?;
            let deadline = Instant::now() + Duration::from_secs(8);
            loop {
                let state = browser.value("state").await?;
                let banner = browser.text("banner").await?;
                if state.as_deref() == Some("live") {
                    println!("tab {number} is live");
                    break;
                }
                if banner.contains("six") {
                    println!("tab {number} says: {}", banner.replace('\n', " "));
                    waiting.push(tab.clone());
                    break;
                }
                let body = browser.run("return document.body?.innerText ?? ''").await?;
                assert!(Instant::now() < deadline, "tab {number} shows nothing: {state:?} {body}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        assert!(!waiting.is_empty(), "eight streams cannot fit in six connections");
        // Closing others frees connections for those that wait.
        for tab in tabs.iter().filter(|tab| !waiting.contains(tab)).take(waiting.len()) {
            browser.switch_to(tab).await?;
            browser.close_tab(&waiting[0]).await?;
        }
        for tab in &waiting {
            browser.switch_to(tab).await?;
            live(&browser).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_page_fits_a_phone() {
    in_browser(async |browser| {
        let directory = tempfile::tempdir()?;
        let directory = directory.path().to_str().unwrap();
        let leader = Leader::start(&["--rate", "30", "--count", "120", "--seed", "4", "--data-dir", directory]).await?;
        let _replicas = ["replica-1", "replica-2"].map(|name| ReplicaProcess::start(&leader.url(), name).unwrap());
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        for (width, height) in [(360, 740), PHONE, DESKTOP] {
            browser.resize(width, height).await?;
            browser
                .wait_until(&format!(
                    "return innerWidth === {width} && document.documentElement.scrollWidth <= {width}"
                ))
                .await?;
        }
        let fits = "const value = document.querySelector('[data-testid=\"value\"]'); \
                    return value.scrollWidth <= value.parentElement.clientWidth";
        browser.wait_for_value("index", |index| index == "120").await?;
        browser.type_into("op-arg", "6").await?;
        browser.click("key-multiply").await?;
        browser.wait_for_value("value", |value| value == "223042783950").await?;
        browser.wait_until(fits).await?;
        // The longest value on the narrowest phone.
        let calls = leader.calls()?;
        for operation in [Operation::Multiply(0), Operation::Add(i64::MIN)] {
            calls.submit(operation).await?;
        }
        browser.resize(360, 740).await?;
        browser.wait_for_value("value", |value| value == i64::MIN.to_string()).await?;
        browser.wait_until(fits).await?;
        Ok(())
    })
    .await;
}

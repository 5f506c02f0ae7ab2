//! All of a long history: scrolled, searched and travelled through, and caught up with.

use e2e::browser::Browser;
use e2e::fill::fill;
use e2e::process::{Leader, run_to_end};
use engine::Operation;
use tempfile::TempDir;

use crate::{in_browser, live};

/// The indices of the rows that are in view, from the top.
const IN_VIEW: &str = "\
    const list = document.querySelector('[data-testid=event-log]').getBoundingClientRect();
    const rows = [...document.querySelectorAll('[data-testid=event-row]:not([hidden])')].filter(row => {
      const { top, bottom } = row.getBoundingClientRect();
      return top >= list.top - 1 && bottom <= list.bottom + 1;
    });
    const seen = rows.filter(row => row.querySelector('.operation').textContent !== '…').map(row => +row.dataset.index);
    seen.sort((a, b) => b - a);";

async fn shows_in_view(browser: &Browser, condition: &str) -> anyhow::Result<()> {
    browser.wait_until(&format!("{IN_VIEW} return seen.length > 3 && {condition}")).await
}

#[tokio::test]
async fn a_million_events_are_scrolled_and_searched() {
    const EVENTS: u64 = 1_000_000;
    in_browser(async |browser| {
        let directory = TempDir::new()?;
        let log = directory.path().join("log");
        fill(&log, EVENTS, 100).await?;
        let leader = Leader::start(&["--no-generator", "--data-dir", log.to_str().unwrap()]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        shows_in_view(&browser, &format!("seen[0] === {EVENTS}")).await?;
        browser.run("const list = document.querySelector('[data-testid=event-log]'); list.scrollTop = 1e9").await?;
        shows_in_view(&browser, "seen.at(-1) === 1").await?;
        // From there to the newest, which is where a new filter begins too.
        browser.type_into("log-seek", &EVENTS.to_string()).await?;
        browser.press_enter("log-seek").await?;
        shows_in_view(&browser, &format!("seen[0] === {EVENTS}")).await?;
        // In the middle, far from everything that was read.
        browser.type_into("log-seek", "#400,000").await?;
        browser.press_enter("log-seek").await?;
        shows_in_view(&browser, "seen[0] === 400000 && seen.every((index, place) => index === 400000 - place)").await?;
        // Turned by a person's hand, a little at a time, no row is left out.
        browser.run("document.querySelector('[data-testid=event-log]').scrollTop += 200").await?;
        shows_in_view(&browser, "seen[0] < 400000 && seen.every((index, place) => index === seen[0] - place)").await?;
        let rows = browser.run("return document.querySelectorAll('[data-testid=event-log] .row').length").await?;
        assert!(rows.as_u64().is_some_and(|rows| rows <= 200), "{rows} elements for a million rows");

        // It is paused there: what comes is counted.
        let calls = leader.calls()?;
        for _ in 0..3 {
            calls.submit(Operation::Add(0)).await?;
        }
        browser.wait_for_text("log-jump", |text| text.contains("3 events")).await?;
        browser.click("log-jump").await?;
        shows_in_view(&browser, &format!("seen[0] === {}", EVENTS + 3)).await?;

        // A filter finds the newest of a kind.
        let choose = |kind: &str| {
            format!(
                "const choice = document.querySelector('[data-testid=log-filter]');
                 choice.value = '{kind}'; choice.dispatchEvent(new Event('change', {{ bubbles: true }}))"
            )
        };
        browser.run(&choose("square_root")).await?;
        let only = "seen.length > 3
            && rows.every(row => row.querySelector('.operation').textContent === '√')";
        browser.wait_until(&format!("{IN_VIEW} return {only}")).await?;
        browser.wait_for_text("log-note", |text| text.contains("found")).await?;
        browser.run(&choose("all")).await?;
        shows_in_view(&browser, &format!("seen[0] === {}", EVENTS + 3)).await?;
        Ok(())
    })
    .await;
}

/// Moves the slider as a person does.
fn go_to(index: u64) -> String {
    format!(
        "const slider = document.querySelector('[data-testid=travel-slider]');
         slider.value = {index}; slider.dispatchEvent(new Event('input', {{ bubbles: true }}))"
    )
}

#[tokio::test]
async fn the_past_is_what_the_leader_exports() {
    in_browser(async |browser| {
        let directory = TempDir::new()?;
        let log = directory.path().join("log");
        fill(&log, 250_000, 100).await?;
        let path = log.to_str().unwrap();
        let exported = run_to_end("calculator-leader", &["export", "--data-dir", path]).await?;
        let exported = String::from_utf8(exported.stdout)?;
        let line = |index: u64| -> anyhow::Result<serde_json::Value> {
            let of_index = |line: &&str| line.contains(&format!("\"index\":{index},"));
            let line = exported.lines().find(of_index);
            Ok(serde_json::from_str(line.ok_or_else(|| anyhow::anyhow!("no line for {index}"))?)?)
        };
        let leader = Leader::start(&["--rate", "20", "--data-dir", path]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        for index in [123_456, 1, 250_000, 100_001] {
            browser.run(&go_to(index)).await?;
            browser.wait_for_value("travel", |state| state == "there").await?;
            let truth = line(index)?["value"].as_str().map(str::to_owned);
            let truth = truth.unwrap_or_else(|| panic!("an event without a value: {index}"));
            browser.wait_for_text("past-value", |shown| shown.replace(',', "").replace('−', "-") == truth).await?;
            browser.wait_for_text("there", |text| text.contains("computed here")).await?;
        }

        // It plays from there, while the live replica goes on.
        let live_before = browser.value("index").await?;
        browser.click("travel-play").await?;
        browser.wait_for_text("there", |text| text.contains("#100,00") && !text.contains("#100,001")).await?;
        browser.wait_for_value("index", |index| Some(index) != live_before.as_deref()).await?;
        browser.click("travel-live").await?;
        browser.wait_for_value("travel", |state| state == "live").await?;
        let is_live = "return !document.querySelector('[data-testid=value]').classList.contains('past')";
        browser.wait_until(is_live).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_chart_has_a_line_after_a_reload_although_nothing_comes() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        let calls = leader.calls()?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        for number in 1..=5 {
            calls.submit(Operation::Add(number)).await?;
        }
        browser.wait_for_value("index", |index| index == "5").await?;
        browser.reload().await?;
        live(&browser).await?;
        for (key, shown) in [("ArrowLeft", "#4"), ("ArrowLeft", "#3"), ("End", "#5")] {
            let press = format!(
                "document.querySelector('[data-testid=chart]').dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}' }}))"
            );
            // What was before the reload is read from the leader, which takes a moment.
            browser.wait_until("return document.querySelector('.scale + .scale').textContent === '0'").await?;
            browser.run(&press).await?;
            browser.wait_for_text("chart-reading", |text| text.contains(shown)).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_a_hundred_thousand_events_behind_stays_responsive() {
    in_browser(async |browser| {
        let directory = TempDir::new()?;
        let log = directory.path().join("log");
        fill(&log, 1_000, 10).await?;
        let path = log.to_str().unwrap().to_owned();
        let arguments = ["--no-generator", "--data-dir", &path];
        let leader = Leader::start(&arguments).await?;
        let (address, url) = (leader.address.to_string(), leader.url());
        browser.open(&url).await?;
        live(&browser).await?;
        browser.wait_for_value("index", |index| index == "1000").await?;
        // While the page cannot reach it, the log grows.
        leader.program.kill().await?;
        fill(&log, 100_000, 10).await?;
        // The longest time in which a person's key press would not have been heard.
        browser
            .run(
                "let last = performance.now(); window.longest = 0;
                 const tick = () => { const now = performance.now();
                   window.longest = Math.max(window.longest, now - last); last = now; setTimeout(tick, 0); };
                 tick()",
            )
            .await?;
        let _leader = Leader::start_on(&address, &arguments).await?;
        browser.wait_for_value("index", |index| index == "101000").await?;
        live(&browser).await?;
        browser.wait_for_text("reconnect", |text| text.contains("resumed")).await?;
        let longest = browser.run("return window.longest").await?.as_f64().unwrap_or_default();
        println!("the page was never busy for more than {longest:.0} ms");
        assert!(longest < 250.0, "busy for {longest:.0} ms");
        Ok(())
    })
    .await;
}

//! The accessibility checker axe-core finds nothing wrong with the page, in any of its states.

use std::fmt::Write as _;

use anyhow::Context;
use e2e::browser::Browser;
use e2e::process::Leader;
use serde_json::Value;

use crate::token::{Files, asked};
use crate::{PHONE, in_browser, live};

/// The width from which on the page has all its columns, and the height of a common screen.
const WIDE: (u32, u32) = (1440, 900);

/// Runs the checker. A page that moves could change between two of its looks, so nothing fades or slides meanwhile.
const CHECK: &str = "\
    return axe.run(document, { resultTypes: ['violations'] }).then(({ violations, passes }) => ({
      passed: passes.length,
      violations: violations.flatMap(({ id, impact, help, nodes }) => nodes.map(node => ({
        rule: `${id} (${impact}): ${help}`,
        element: `${node.target.join(' ')}  ${node.html}`,
        why: node.failureSummary,
      }))),
    }))";

/// Loads the checker into the page.
async fn load_checker(browser: &Browser) -> anyhow::Result<()> {
    let advice =
        "AXE must name axe.min.js; `cargo xtask test` sets it, and `cargo xtask test --missing` says how to get it";
    let script = std::fs::read_to_string(std::env::var_os("AXE").context(advice)?).context(advice)?;
    browser.run(&script).await.context("the accessibility checker does not load")?;
    Ok(())
}

/// What the checker finds on the page as it is now, as text; empty if nothing is wrong.
async fn violations(browser: &Browser) -> anyhow::Result<String> {
    let found = browser.run(CHECK).await?;
    let passed = found["passed"].as_u64().unwrap_or_default();
    anyhow::ensure!(passed > 20, "only {passed} rules were checked: {found}");
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', "\n      ");
    let mut report = String::new();
    for violation in found["violations"].as_array().into_iter().flatten() {
        let (rule, element, why) = (text(&violation["rule"]), text(&violation["element"]), text(&violation["why"]));
        writeln!(report, "  {rule}\n    {element}\n      {why}")?;
    }
    Ok(report)
}

/// Checks the page at two widths, light and dark. `reach` brings it into the state before each check.
async fn is_accessible(
    browser: &Browser,
    state: &str,
    reach: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut report = String::new();
    for (width, height) in [PHONE, WIDE] {
        browser.resize(width, height).await?;
        for scheme in ["light", "dark"] {
            browser.set_media(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]).await?;
            reach().await.with_context(|| format!("the page does not get into the state {state}"))?;
            let found = violations(browser).await?;
            if !found.is_empty() {
                writeln!(report, "{state}, {width} pixels wide, {scheme}:\n{found}")?;
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
    Ok(())
}

#[tokio::test]
async fn axe_finds_nothing_while_the_page_is_live() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        load_checker(&browser).await?;
        is_accessible(&browser, "live", async || live(&browser).await).await
    })
    .await;
}

#[tokio::test]
async fn axe_finds_nothing_when_an_operation_is_refused() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        load_checker(&browser).await?;
        browser.type_into("op-arg", "0").await?;
        browser.click("key-divide").await?;
        is_accessible(&browser, "refused", async || {
            browser.wait_for_value("op-result", |result| result == "refused").await?;
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn axe_finds_nothing_when_the_leader_is_gone() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        load_checker(&browser).await?;
        leader.program.kill().await?;
        is_accessible(&browser, "disconnected", async || {
            browser.wait_for_value("state", |state| state != "live").await?;
            browser.wait_for_text("banner", |text| !text.is_empty()).await?;
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn axe_finds_nothing_while_an_incident_is_told() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        load_checker(&browser).await?;
        for (fault, kind) in [("lose", "lost"), ("alter", "altered")] {
            is_accessible(&browser, kind, async || {
                // Nothing else is told before it.
                let skip =
                    "const skip = document.querySelector('[data-testid=skip]'); skip.click(); return skip.hidden";
                browser.wait_until(skip).await?;
                browser.click(&format!("break-{fault}")).await?;
                browser.wait_for_value("telling", |told| told == kind).await?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn axe_finds_nothing_while_the_log_is_paused() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        load_checker(&browser).await?;
        browser.click("log-pause").await?;
        is_accessible(&browser, "paused", async || {
            browser.wait_for_text("log-jump", |text| text.contains("since")).await?;
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn axe_finds_nothing_while_somebody_travels() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        load_checker(&browser).await?;
        browser.wait_for_value("index", |index| index.parse().is_ok_and(|index: u64| index > 30)).await?;
        let slide = "const slider = document.querySelector('[data-testid=travel-slider]');
                     slider.value = 20;
                     slider.dispatchEvent(new Event('input', { bubbles: true }))";
        browser.run(slide).await?;
        is_accessible(&browser, "travelling", async || {
            browser.wait_for_value("travel", |state| state == "there").await?;
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn axe_finds_nothing_while_a_token_is_asked_for() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_writing(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        load_checker(&browser).await?;
        browser.type_into("op-arg", "5").await?;
        browser.click("key-add").await?;
        is_accessible(&browser, "asked", async || asked(&browser, "").await).await?;
        browser.type_into("token-field", "a-token-that-nobody-knows").await?;
        browser.click("token-use").await?;
        browser.click("op-again").await?;
        is_accessible(&browser, "asked again", async || asked(&browser, "does not know").await).await?;
        browser.click("token-later").await?;
        is_accessible(&browser, "refused", async || {
            browser.wait_for_text("token-key", |text| text == "Token !").await?;
            browser.wait_for_text("op-again", |text| text.contains("again")).await?;
            Ok(())
        })
        .await
    })
    .await;
}

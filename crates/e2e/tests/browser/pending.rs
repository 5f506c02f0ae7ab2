//! Operations without an answer are shown as pending, and are done once or shown as unknown.

use std::time::Duration;

use e2e::browser::Browser;
use e2e::process::Leader;

use crate::{in_browser, live, signal};

/// Longer than any timeout of the page's calls.
const LONG: Duration = Duration::from_secs(12);

/// Drops the answers to calls of `Submit`, which still reach the leader, until `loseAnswers(false)` is called.
pub(crate) const LOSE_ANSWERS: &str = "\
    const fetch = window.fetch; let lost = true;
    window.fetch = async (request, options) => {
      const answer = await fetch(request, options);
      const isSubmit = String(request.url ?? request).endsWith('/Submit');
      return lost && isSubmit ? new Promise(() => {}) : answer;
    };
    window.loseAnswers = lose => { lost = lose; };";

async fn submit(browser: &Browser, kind: &str, argument: &str) -> anyhow::Result<()> {
    browser.type_into("op-arg", argument).await?;
    browser.click(&format!("key-{kind}")).await
}

/// Waits until the page shows the outcome `kind` of the operation, and returns its text.
async fn outcome(browser: &Browser, kind: &str) -> anyhow::Result<String> {
    browser.wait_for_value("op-result", |shown| shown == kind).await?;
    browser.text("op-result").await
}

/// The value and its index, after a second in which a repeated operation would change them.
async fn held(browser: &Browser) -> anyhow::Result<(String, String)> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let value = browser.value("value").await?.unwrap_or_default();
    Ok((value, browser.value("index").await?.unwrap_or_default()))
}

#[tokio::test]
async fn a_leader_that_is_stopped_does_an_operation_once() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        signal(&leader.program, "STOP").await?;
        submit(&browser, "add", "7").await?;
        let pending = outcome(&browser, "pending").await?;
        assert!(pending.contains("Pending since") && pending.contains("“+ 7”"), "{pending}");
        tokio::time::sleep(LONG).await;
        assert_eq!(browser.value("op-result").await?.as_deref(), Some("pending"), "it is not known to have failed");
        // Pressing a key again submits no second one.
        browser.click("key-add").await?;
        signal(&leader.program, "CONT").await?;
        let done = outcome(&browser, "ok").await?;
        assert!(done.contains("done once"), "{done}");
        assert_eq!(held(&browser).await?, ("7".to_owned(), "1".to_owned()));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_pending_operation_survives_the_page() {
    in_browser(async |browser| {
        let directory = tempfile::tempdir()?;
        let durable = ["--no-generator", "--data-dir", directory.path().to_str().unwrap()];
        let leader = Leader::start(&durable).await?;
        let (address, url) = (leader.address.to_string(), leader.url());
        browser.open(&url).await?;
        live(&browser).await?;
        browser.run(LOSE_ANSWERS).await?;
        submit(&browser, "add", "5").await?;
        outcome(&browser, "pending").await?;
        leader.program.kill().await?;
        browser.open("about:blank").await?;
        let leader = Leader::start_on(&address, &durable).await?;
        browser.open(&url).await?;
        let done = outcome(&browser, "ok").await?;
        assert!(done.contains("#1: + 5 → 5"), "{done}");
        live(&browser).await?;
        // The next operation is another one, although it looks the same.
        submit(&browser, "add", "5").await?;
        browser.wait_for_value("value", |value| value == "10").await?;
        assert_eq!(held(&browser).await?, ("10".to_owned(), "2".to_owned()));
        drop(leader);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_duplicated_tab_settles_what_is_pending_and_goes_on_by_itself() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.run(LOSE_ANSWERS).await?;
        submit(&browser, "add", "5").await?;
        outcome(&browser, "pending").await?;
        browser.wait_for_value("value", |value| value == "5").await?;

        // A duplicated tab starts with a copy of the session storage.
        let first = browser.tab().await?;
        let copy = browser.duplicate().await?;
        browser.switch_to(&copy).await?;
        let done = outcome(&browser, "ok").await?;
        assert!(done.contains("#1: + 5 → 5"), "{done}");
        live(&browser).await?;
        submit(&browser, "add", "1").await?;
        browser.wait_for_value("value", |value| value == "6").await?;

        // The first tab's next operation looks the same and is another one.
        browser.switch_to(&first).await?;
        browser.run("loseAnswers(false)").await?;
        browser.click("op-try-now").await?;
        outcome(&browser, "ok").await?;
        submit(&browser, "add", "1").await?;
        browser.wait_for_value("value", |value| value == "7").await?;
        assert_eq!(held(&browser).await?, ("7".to_owned(), "3".to_owned()));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn after_waiting_was_stopped_the_next_operation_tells_what_was_done() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.run(LOSE_ANSWERS).await?;
        submit(&browser, "add", "5").await?;
        outcome(&browser, "pending").await?;
        browser.press_enter("op-stop").await?;
        let unknown = outcome(&browser, "unknown").await?;
        assert!(unknown.contains("may be done already, or later"), "{unknown}");
        assert_eq!(browser.focused().await?, "op-arg", "the keyboard's focus must not be lost");
        browser.run("loseAnswers(false)").await?;
        submit(&browser, "multiply", "3").await?;
        outcome(&browser, "ok").await?;
        browser.wait_for_text("notices", |text| text.contains("was done after all: it is #1")).await?;
        assert_eq!(held(&browser).await?, ("15".to_owned(), "2".to_owned()));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_a_new_log_makes_unknown_is_reported_in_plain_words() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        let (address, url) = (leader.address.to_string(), leader.url());
        browser.open(&url).await?;
        live(&browser).await?;
        submit(&browser, "add", "1").await?;
        outcome(&browser, "ok").await?;
        browser.run(LOSE_ANSWERS).await?;
        submit(&browser, "add", "5").await?;
        outcome(&browser, "pending").await?;
        leader.program.kill().await?;
        browser.wait_for_value("state", |state| state != "live").await?;
        browser.run("loseAnswers(false)").await?;
        let _leader = Leader::start_on(&address, &["--no-generator"]).await?;
        let unknown = outcome(&browser, "unknown").await?;
        assert!(unknown.contains("“+ 5”") && unknown.contains("cannot be known any more"), "{unknown}");
        live(&browser).await?;
        let everything = browser.run("return document.body.innerText").await?;
        let everything = everything.as_str().unwrap_or_default();
        for word in ["API", "TypeError", "fetch", "JsValue", "Error:"] {
            assert!(!everything.contains(word), "{word} means nothing to people: {everything}");
        }
        submit(&browser, "add", "2").await?;
        outcome(&browser, "ok").await?;
        Ok(())
    })
    .await;
}

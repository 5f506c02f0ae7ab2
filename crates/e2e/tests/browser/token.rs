//! Leaders that want a token: the page asks for it, keeps it for its tab, and does what was refused once.

use std::time::{Duration, Instant};

use e2e::browser::Browser;
use e2e::process::{Leader, ReplicaProcess};
use tempfile::TempDir;

use crate::{in_browser, live};

const WRITES: &str = "a-token-that-may-write";
const READS: &str = "a-token-that-may-read";
const UNKNOWN: &str = "a-token-that-nobody-knows";

/// How soon after the token a page must be live. Attempts without one are up to 5 s apart.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// Longer than it takes a leader to see a changed file.
const SEEN: Duration = Duration::from_secs(5);

/// Files of tokens for a leader.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let files = Self(tempfile::tempdir()?);
        std::fs::write(files.path("write"), WRITES)?;
        std::fs::write(files.path("read"), READS)?;
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A leader that everybody may read.
    pub(crate) async fn guard_writing(&self, arguments: &[&str]) -> anyhow::Result<Leader> {
        let write = self.path("write");
        Leader::start(&[&["--write-token-file", write.as_str()], arguments].concat()).await
    }

    /// A leader that also gives its log only to those with a token.
    async fn guard_all(&self, arguments: &[&str]) -> anyhow::Result<Leader> {
        let (write, read) = (self.path("write"), self.path("read"));
        let files = ["--write-token-file", write.as_str(), "--read-token-file", read.as_str()];
        Leader::start(&[&files, arguments].concat()).await
    }
}

/// Waits until the page asks for a token, and says `problem` of the one that it has.
pub(crate) async fn asked(browser: &Browser, problem: &str) -> anyhow::Result<()> {
    browser.wait_until("return document.querySelector('[data-testid=token]')?.open === true").await?;
    browser.wait_for_text("token", |text| text.contains("wants a token") && text.contains(problem)).await?;
    Ok(())
}

async fn give(browser: &Browser, token: &str) -> anyhow::Result<()> {
    browser.type_into("token-field", token).await?;
    browser.press_enter("token-field").await?;
    browser.wait_until("return !document.querySelector('[data-testid=token]').open").await
}

async fn add(browser: &Browser, number: &str) -> anyhow::Result<()> {
    browser.type_into("op-arg", number).await?;
    browser.click("key-add").await
}

/// Waits until an operation is done, and returns the value and the index a second later.
async fn done(browser: &Browser) -> anyhow::Result<[Option<String>; 2]> {
    browser.wait_for_value("op-result", |result| result == "ok").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok([browser.value("value").await?, browser.value("index").await?])
}

fn held(value: &str, index: &str) -> [Option<String>; 2] {
    [value, index].map(|text| Some(text.to_owned()))
}

#[tokio::test]
async fn an_operation_without_its_token_asks_for_it_and_is_done_once_with_one_press() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_all(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        asked(&browser, "").await?;
        give(&browser, READS).await?;
        live(&browser).await?;
        add(&browser, "5").await?;
        asked(&browser, "may only read").await?;
        // A token that is none changes nothing.
        browser.type_into("token-field", "two words").await?;
        browser.click("token-use").await?;
        browser.wait_for_text("token", |text| text.contains("This is no token")).await?;
        give(&browser, WRITES).await?;
        browser.wait_for_value("op-result", |result| result == "refused").await?;
        assert_eq!(browser.focused().await?, "op-again", "the next thing to do");
        browser.press_enter("op-again").await?;
        assert_eq!(done(&browser).await?, held("5", "1"));
        browser.wait_until("return document.querySelector('[data-testid=op-again]').hidden").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_token_is_kept_for_the_tab_and_nowhere_else_until_it_is_forgotten() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_writing(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        add(&browser, "1").await?;
        asked(&browser, "").await?;
        give(&browser, UNKNOWN).await?;
        browser.click("op-again").await?;
        asked(&browser, "does not know").await?;
        give(&browser, WRITES).await?;
        browser.click("op-again").await?;
        assert_eq!(done(&browser).await?, held("1", "1"));

        browser.reload().await?;
        live(&browser).await?;
        add(&browser, "2").await?;
        assert_eq!(done(&browser).await?, held("3", "2"));
        let elsewhere = format!(
            "const token = '{WRITES}';
             return [location.href, document.title, document.cookie, document.documentElement.outerHTML,
               JSON.stringify(localStorage), ...performance.getEntries().map(entry => entry.name),
               ...[...document.querySelectorAll('input')].map(field => field.value)]
               .filter(text => text.includes(token))"
        );
        assert_eq!(browser.run(&elsewhere).await?, serde_json::json!([]));
        assert!(leader.program.lines().iter().all(|line| !line.contains(WRITES)), "the leader logs the token");

        // Another tab of the same browser has its own.
        let first = browser.tab().await?;
        browser.open_another(&leader.url(), true).await?;
        live(&browser).await?;
        add(&browser, "4").await?;
        asked(&browser, "").await?;
        browser.close_tab(&first).await?;

        browser.click("token-key").await?;
        browser.wait_for_text("token", |text| text.contains("The token of this tab")).await?;
        browser.click("token-forget").await?;
        browser.wait_until(&format!("return !JSON.stringify(sessionStorage).includes('{WRITES}')")).await?;
        live(&browser).await?;
        add(&browser, "8").await?;
        asked(&browser, "").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_page_that_may_not_read_says_so_and_is_live_at_once_with_a_token() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_all(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        asked(&browser, "").await?;
        browser.click("token-later").await?;
        // Until its attempts are seconds apart.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let state = browser.wait_for_value("state", |_| true).await?;
        let banner = browser.text("banner").await?;
        assert_eq!((state.as_str(), browser.value("banner").await?.as_deref()), ("not_allowed", Some("token")));
        assert!(banner.contains("only to those who have a token") && !banner.contains("not answer"), "{banner}");
        let is_open = browser.run("return document.querySelector('[data-testid=token]').open").await?;
        assert_eq!(is_open, false, "it asked again unasked");
        browser.click("token-give").await?;
        asked(&browser, "").await?;
        let given = Instant::now();
        give(&browser, READS).await?;
        live(&browser).await?;
        println!("live {} ms after the token", given.elapsed().as_millis());
        assert!(given.elapsed() < AT_ONCE, "{:?}", given.elapsed());
        // Its lists and its history come, too.
        browser.wait_for_value("generator", |state| state == "runs").await?;
        browser.wait_until("return document.querySelector('[data-testid=banner]').hidden").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_operation_in_doubt_whose_token_was_taken_away_is_done_once() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_writing(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        add(&browser, "1").await?;
        asked(&browser, "").await?;
        give(&browser, WRITES).await?;
        browser.click("op-again").await?;
        assert_eq!(done(&browser).await?, held("1", "1"));

        // The next operation gets into the log, and its answer is lost.
        browser.run(crate::pending::LOSE_ANSWERS).await?;
        add(&browser, "5").await?;
        browser.wait_for_value("value", |value| value == "6").await?;
        std::fs::write(files.path("write"), "another-token-that-may-write")?;
        tokio::time::sleep(SEEN).await;
        browser.run("loseAnswers(false)").await?;
        // It asks again by itself.
        asked(&browser, "does not know").await?;
        give(&browser, "another-token-that-may-write").await?;
        let unknown = browser.text("op-result").await?;
        assert!(unknown.contains("may still be done"), "{unknown}");
        browser.click("op-again").await?;
        assert_eq!(done(&browser).await?, held("6", "2"), "it was in the log already");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn pausing_the_generator_asks_for_a_token() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_writing(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.wait_for_value("generator", |state| state == "runs").await?;
        browser.click("generator-pause").await?;
        asked(&browser, "").await?;
        give(&browser, WRITES).await?;
        assert_eq!(browser.focused().await?, "generator-pause", "where it was before the question");
        browser.press_enter("generator-pause").await?;
        browser.wait_for_value("generator", |state| state == "paused").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_tab_without_a_token_neither_gets_the_lists_of_another_nor_keeps_it_from_them() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_all(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        asked(&browser, "").await?;
        let first = browser.tab().await?;
        // A window, so that both are visible.
        let second = browser.open_another(&leader.url(), false).await?;
        asked(&browser, "").await?;
        give(&browser, READS).await?;
        live(&browser).await?;
        browser.wait_for_value("generator", |state| state == "runs").await?;
        browser.switch_to(&first).await?;
        let has_none = "return document.querySelector('[data-testid=generator-control]').hidden";
        for _ in 0..10 {
            assert_eq!(browser.run(has_none).await?, true, "a list came without a token");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        browser.switch_to(&second).await?;
        browser.reload().await?;
        live(&browser).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn escape_ends_the_question_and_the_focus_goes_back() {
    in_browser(async |browser| {
        let files = Files::new()?;
        let leader = files.guard_writing(&["--rate", "20"]).await?;
        let _replica = ReplicaProcess::start(&leader.url(), "north")?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.wait_for_value("generator", |state| state == "runs").await?;
        browser.press_enter("generator-pause").await?;
        asked(&browser, "").await?;
        assert_eq!(browser.focused().await?, "token-field");
        browser.press("\u{E00C}", "token-field").await?;
        browser.wait_until("return !document.querySelector('[data-testid=token]').open").await?;
        assert_eq!(browser.focused().await?, "generator-pause");
        // It opens again with the next refusal.
        browser.press_enter("generator-pause").await?;
        asked(&browser, "").await?;
        Ok(())
    })
    .await;
}

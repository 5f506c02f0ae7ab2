//! The page breaks its own stream on purpose, heals for real, and then tells slowly what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use e2e::browser::{Browser, PATIENCE};
use e2e::process::{Leader, ReplicaProcess};
use engine::Operation;
use serde_json::Value;

use crate::{in_browser, index, live, parse_position};

/// Longer than the longest telling: a cut link is down for 5 s, and each of four steps is told for 2.2 s.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// What a button does.
struct Break {
    button: &'static str,
    /// The incident that is told.
    kind: &'static str,
    /// How many steps it has at least.
    steps: u64,
    /// Whether the page asks the leader again.
    asks: bool,
}

/// What the page tells at a moment.
#[derive(Debug)]
struct Told {
    kind: String,
    step: u64,
    steps: u64,
    /// Whether the step that is told now is a good end.
    ends_well: bool,
    text: String,
}

async fn told(browser: &Browser) -> anyhow::Result<Told> {
    let found = browser
        .run(
            "const telling = document.querySelector('[data-testid=telling]');
             const steps = [...telling.querySelectorAll('.steps > li:not([hidden])')];
             const now = telling.querySelector('.steps > li.now');
             return [telling.dataset.value, +telling.dataset.step, steps.length,
               now !== null && now === steps.at(-1) && now.classList.contains('good'),
               steps.map(step => step.textContent).join(' | ')]",
        )
        .await?;
    let text = |at: usize| found[at].as_str().unwrap_or_default().to_owned();
    Ok(Told {
        kind: text(0),
        step: found[1].as_u64().unwrap_or_default(),
        steps: found[2].as_u64().unwrap_or_default(),
        ends_well: found[3] == true,
        text: text(4),
    })
}

/// Follows a telling to its last step, and checks that none was left out.
async fn is_told_to_the_end(browser: &Browser, Break { kind, steps, .. }: &Break) -> anyhow::Result<()> {
    browser.wait_for_value("telling", |told| told == *kind).await?;
    let began = Instant::now();
    let mut seen = BTreeSet::new();
    loop {
        let told = told(browser).await?;
        assert_eq!(told.kind, *kind, "the telling ended before its end; told were the steps {seen:?}");
        seen.insert(told.step);
        if told.ends_well {
            println!("{kind}: {}", told.text);
            assert!(told.steps >= *steps, "{told:?}");
            assert!(seen.iter().copied().eq(1..=told.steps), "told were the steps {seen:?} of {}", told.steps);
            return Ok(());
        }
        assert!(began.elapsed() < TOLD_WITHIN, "{told:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How often pages subscribed.
fn subscriptions(leader: &Leader) -> usize {
    let lines = leader.program.lines();
    lines.iter().filter(|line| line.contains("a replica subscribed") && line.contains("browser-")).count()
}

async fn breaks_and_heals(case: Break) {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "50"]).await?;
        let natives = ["a", "b"].map(|name| ReplicaProcess::start(&leader.url(), name).unwrap());
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let (before, asked_before) = (index(&browser).await?, subscriptions(&leader));

        browser.click(&format!("break-{}", case.button)).await?;
        is_told_to_the_end(&browser, &case).await?;
        live(&browser).await?;
        let asked = subscriptions(&leader) - asked_before;
        assert_eq!(asked > 0, case.asks, "the page asked {asked} times");

        // It is as good as the others, also later.
        let mut positions = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        while positions.len() < 5 && Instant::now() < deadline {
            positions.extend(browser.value("position").await?.as_deref().and_then(parse_position));
        }
        let newest = *positions.keys().last().unwrap();
        assert!(newest > before, "the page stayed at {before}");
        for native in &natives {
            native.wait_for_index(newest).await?;
            let held = native.held();
            for (index, position) in &positions {
                assert_eq!(held.get(index), Some(position), "the page and a native replica at index {index}");
            }
            // Nobody else saw anything of it.
            let lines = native.program.lines();
            let of_type =
                |name: &str| lines.iter().filter(|line| line.contains(&format!("\"type\":\"{name}\""))).count();
            assert_eq!(of_type("welcome"), 1, "a native replica subscribed again");
            for trouble in ["gap", "duplicate", "diverged", "link_lost", "violation", "silent"] {
                assert_eq!(of_type(trouble), 0, "a native replica told of a {trouble}");
            }
        }

        // It can be told again, from the start.
        browser.click("skip").await?;
        browser.wait_for_text("last-incident", |text| text.starts_with("Last: ")).await?;
        browser.click("replay").await?;
        browser.wait_for_value("telling", |told| told == case.kind).await?;
        assert_eq!(told(&browser).await?.step, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_lost_batch_is_a_gap_that_heals_and_is_told() {
    breaks_and_heals(Break { button: "lose", kind: "lost", steps: 4, asks: true }).await;
}

#[tokio::test]
async fn a_repeated_batch_is_ignored_and_told() {
    breaks_and_heals(Break { button: "repeat", kind: "repeated", steps: 2, asks: false }).await;
}

#[tokio::test]
async fn two_exchanged_batches_are_a_gap_that_heals_and_is_told() {
    breaks_and_heals(Break { button: "exchange", kind: "exchanged", steps: 4, asks: true }).await;
}

#[tokio::test]
async fn an_altered_operation_is_a_divergence_that_heals_and_is_told() {
    breaks_and_heals(Break { button: "alter", kind: "altered", steps: 4, asks: true }).await;
}

#[tokio::test]
async fn a_cut_link_comes_back_and_is_told() {
    breaks_and_heals(Break { button: "cut", kind: "cut", steps: 4, asks: true }).await;
}

#[tokio::test]
async fn a_frozen_tab_reads_what_waited_and_tells_it() {
    breaks_and_heals(Break { button: "freeze", kind: "frozen", steps: 3, asks: false }).await;
}

#[tokio::test]
async fn a_page_that_forgets_everything_gets_a_snapshot_and_tells_it() {
    breaks_and_heals(Break { button: "forget", kind: "forgotten", steps: 3, asks: true }).await;
}

/// The rows of the digest chain: class, index, and the two digests.
async fn chain(browser: &Browser) -> anyhow::Result<Vec<[String; 4]>> {
    let rows = browser
        .run(
            "return [...document.querySelectorAll('[data-testid=chain] tr')].map(row =>
               [row.className, row.cells[0].textContent, row.cells[2].textContent, row.cells[4].textContent])",
        )
        .await?;
    Ok(serde_json::from_value(rows)?)
}

#[tokio::test]
async fn no_later_event_hides_that_one_was_altered() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let calls = leader.calls()?;
        for number in 1..=10 {
            calls.submit(Operation::Add(number)).await?;
        }
        browser.wait_for_value("index", |index| index == "10").await?;
        let newest =
            "return document.querySelector('[data-testid=chain] tr:last-child')?.cells[0].textContent === '10'";
        browser.wait_until(newest).await?;
        assert_eq!(browser.value("chain").await?.as_deref(), Some("real"));

        for (button, altered) in [("tamper", 1), ("hide", 2)] {
            browser.click(button).await?;
            browser.wait_for_value("chain", |shown| shown == "copy").await?;
            let is_shown =
                format!("return document.querySelectorAll('[data-testid=chain] .changed').length === {altered}");
            browser.wait_until(&is_shown).await?;
            let rows = chain(&browser).await?;
            let first = rows.iter().position(|[class, ..]| class == "changed").unwrap();
            assert!(first > 0 && first < rows.len() - 1, "there must be events before and after it: {rows:?}");
            for (place, [_, index, real, copy]) in rows.iter().enumerate() {
                assert_eq!(real != copy, place >= first, "{button}, at {index}: {rows:?}");
            }
            let text = browser.text("chain-text").await?;
            println!("{button}: {text}");
            // Two changes can make the value what it was.
            assert_eq!(text.contains("the values are equal again"), button == "hide", "{text}");
        }
        browser.click("tamper").await?;
        browser.wait_for_value("chain", |shown| shown == "real").await?;
        assert!(chain(&browser).await?.iter().all(|[class, ..]| class != "changed"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_marks_the_key_that_caused_it() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let marked = "return [...document.querySelectorAll('.keys .refused')].map(key => key.dataset.testid)";
        for (key, argument, outcome) in [
            ("add", "12", "ok"),
            ("divide", "0", "refused"),
            ("multiply", "9223372036854775807", "refused"),
            ("subtract", "twelve", "refused"),
            ("square", "", "ok"),
        ] {
            if !argument.is_empty() {
                browser.type_into("op-arg", argument).await?;
            }
            browser.click(&format!("key-{key}")).await?;
            browser.wait_for_value("op-result", |result| result == outcome).await?;
            if outcome == "ok" {
                // It was pending, is committed, and is applied here.
                browser.wait_for_value("op-way", |way| way == "3").await?;
                assert_eq!(browser.run(marked).await?, serde_json::json!([]), "{key} {argument}");
            } else {
                // Until then, the page may still show what came before.
                let only_it = format!("return String((() => {{ {marked} }})()) === 'key-{key}'");
                browser.wait_until(&only_it).await?;
                browser.wait_for_value("op-way", |way| way == "0").await?;
            }
        }
        browser.wait_for_value("value", |value| value == "144").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_tabs_title_and_icon_tell_value_and_state() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.type_into("op-arg", "1234").await?;
        browser.click("key-subtract").await?;
        browser.wait_until("return document.title.startsWith('✓ −1,234 ')").await?;
        let icon = "return document.querySelector('link[rel=icon]').href";
        let good = browser.run(icon).await?;
        leader.program.kill().await?;
        browser.wait_for_value("in-step", |mark| mark == "no").await?;
        browser.wait_until("return !document.title.startsWith('✓') && document.title.includes('−1,234')").await?;
        assert_ne!(browser.run(icon).await?, good, "the icon must not say that all is well");
        Ok(())
    })
    .await;
}

/// Waits for a step of the tour.
async fn stop(browser: &Browser, name: &str) -> anyhow::Result<()> {
    browser.wait_for_value("tour", |stop| stop == name).await?;
    Ok(())
}

#[tokio::test]
async fn the_tour_leads_through_real_actions_and_ends_after_a_reload() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "10"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.click("tour-start").await?;
        stop(&browser, "watch").await?;
        // What a step asks for can be done while the tour's panel is there.
        stop(&browser, "break").await?;
        browser.click("break-lose").await?;
        stop(&browser, "heal").await?;
        browser.wait_for_value("telling", |told| told == "lost").await?;
        browser.click("tour-next").await?;
        stop(&browser, "pause").await?;
        browser.click("generator-pause").await?;
        stop(&browser, "write").await?;
        browser.type_into("op-arg", "6").await?;
        browser.click("key-add").await?;
        browser.wait_for_value("op-result", |result| result == "ok").await?;
        stop(&browser, "reload").await?;
        browser.reload().await?;
        stop(&browser, "end").await?;
        live(&browser).await?;
        browser.wait_for_text("tour", |text| text.contains("resumed")).await?;
        browser.click("tour-next").await?;
        let is_gone = "return document.querySelector('[data-testid=tour]').hidden";
        browser.wait_until(is_gone).await?;
        browser.reload().await?;
        live(&browser).await?;
        browser.wait_until(is_gone).await?;
        Ok(())
    })
    .await;
}

/// The elements on which something moves by itself, for a second.
const MOVING: &str = "\
    return new Promise(done => {
      const seen = new Set();
      const look = () => {
        for (const { effect } of document.getAnimations()) seen.add(effect.target?.className ?? 'nothing');
      };
      const timer = setInterval(look, 10);
      setTimeout(() => { clearInterval(timer); done([...seen]); }, 1500);
    })";

#[tokio::test]
async fn nothing_moves_by_itself_for_those_who_want_less_motion() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "10"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let moving = browser.run(MOVING).await?;
        assert!(moving.as_array().is_some_and(|moving| !moving.is_empty()), "usually something moves: {moving}");
        browser.set_media(&[("prefers-reduced-motion", "reduce")]).await?;
        browser.click("break-lose").await?;
        browser.wait_for_value("telling", |told| told == "lost").await?;
        assert_eq!(browser.run(MOVING).await?, Value::Array(Vec::new()));
        Ok(())
    })
    .await;
}

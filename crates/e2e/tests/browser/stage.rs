//! The stage: other replicas are seen as they join, stall and leave, in every tab and while the own link is cut.

use e2e::browser::Browser;
use e2e::process::{Leader, ReplicaProcess};
use wire::sharedcalculator::GetUpdatesRequest;
use wire::sharedcalculator::leader_client::LeaderClient;

use crate::{in_browser, live, signal};

/// A script that finds the lane of another replica by its name, and returns an expression about it.
fn of_lane(name: &str, expression: &str) -> String {
    format!(
        "const lane = [...document.querySelectorAll('[data-testid=other-lane]:not([hidden])')]
           .find(lane => lane.querySelector('.who b').textContent === '{name}');
         const says = lane?.querySelector('.end').textContent ?? '';
         return {expression}"
    )
}

async fn lane_says(browser: &Browser, name: &str, text: &str) -> anyhow::Result<()> {
    browser.wait_until(&of_lane(name, &format!("says.includes('{text}')"))).await
}

#[tokio::test]
async fn native_replicas_are_seen_to_join_stall_go_on_and_leave() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.wait_until(&of_lane("north", "lane === undefined")).await?;
        let replica = ReplicaProcess::start(&leader.url(), "north")?;
        browser.wait_until(&of_lane("north", "lane?.dataset.value === 'good' && says.includes('✓')")).await?;
        let place = of_lane("north", "parseInt(says.replace(/[^0-9,]/g, ' ').trim().split(' ')[0].replace(',', ''))");
        let before = browser.run(&place).await?.as_u64();
        browser.wait_until(&place.replace("return ", &format!("return {} < ", before.unwrap_or(0)))).await?;
        signal(&replica.program, "STOP").await?;
        lane_says(&browser, "north", "stalled at").await?;
        signal(&replica.program, "CONT").await?;
        browser.wait_until(&of_lane("north", "lane?.dataset.value === 'good'")).await?;
        replica.program.kill().await?;
        lane_says(&browser, "north", "left at").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_originals_replicas_have_a_lane_although_they_report_nothing() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let mut original = LeaderClient::new(leader.channel().await?);
        let mut events = original.stream_updates(GetUpdatesRequest { from_index: 0 }).await?.into_inner();
        let reading = tokio::spawn(async move { while let Ok(Some(_)) = events.message().await {} });
        let original = "return [...document.querySelectorAll('[data-testid=other-lane]:not([hidden])')]
            .some(lane => lane.textContent.includes('original protocol') && lane.textContent.includes('sent #'))";
        browser.wait_until(original).await?;
        reading.abort();
        Ok(())
    })
    .await;
}

/// Whether the stage heard of the leader's newest list just now, and shows the replica.
fn is_fresh(name: &str) -> String {
    of_lane(
        name,
        "lane?.dataset.value === 'good'
           && !document.querySelector('[data-testid=audience]').textContent.includes('as of')",
    )
}

#[tokio::test]
async fn one_tab_watches_for_all_and_another_takes_over() {
    in_browser(async |browser| {
        let leader = Leader::start_logging("info,leader=debug", &["--rate", "20"]).await?;
        let replica = ReplicaProcess::start(&leader.url(), "north")?;
        browser.open(&leader.url()).await?;
        let mut tabs = vec![browser.tab().await?];
        for _ in 0..2 {
            // Windows, so that all of them are visible.
            tabs.push(browser.open_another(&leader.url(), false).await?);
        }
        for tab in &tabs {
            browser.switch_to(tab).await?;
            live(&browser).await?;
            browser.wait_until(&is_fresh("north")).await?;
        }
        let calls =
            || leader.program.lines().iter().filter(|line| line.contains("somebody watches the replicas")).count();
        let before = calls();
        assert!((1..=2).contains(&before), "three tabs made {before} calls to watch");

        // Without the tab that watched, the others go on: the oldest one that is visible watches.
        browser.switch_to(&tabs[0]).await?;
        browser.close_tab(&tabs[1]).await?;
        replica.program.kill().await?;
        for tab in &tabs[1..] {
            browser.switch_to(tab).await?;
            lane_says(&browser, "north", "left at").await?;
        }
        assert_eq!(calls(), before + 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_stage_moves_while_the_pages_own_link_is_cut() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        let _replica = ReplicaProcess::start(&leader.url(), "north")?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.wait_until(&is_fresh("north")).await?;
        browser.click("break-cut").await?;
        browser.wait_for_value("in-step", |mark| mark == "no").await?;
        // In the seconds in which the page gets nothing, the leader and the other replica are seen to go on.
        let places = "const place = name => parseInt(document.querySelector(`[data-testid=${name}] .verdict`)
              .textContent.replace(/[^0-9]/g, ''));
            return [place('leader-lane'), place('other-lane'), place('own-lane'),
              document.querySelector('[data-testid=in-step]').dataset.value]";
        let at = |seen: &serde_json::Value, lane: usize| seen[lane].as_u64().unwrap_or_default();
        let first = browser.run(places).await?;
        let moved = loop {
            let seen = browser.run(places).await?;
            assert_eq!(seen[3], "no", "the link came back before anything moved: {first} {seen}");
            if at(&seen, 0) > at(&first, 0) + 20 && at(&seen, 1) > at(&first, 1) + 20 {
                break seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_eq!(at(&moved, 2), at(&first, 2), "the page's own lane stands");
        live(&browser).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_new_name_reaches_the_lanes_of_all_and_survives_a_reload() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let first = browser.tab().await?;
        browser.click("rename").await?;
        browser.type_into("name-field", " ").await?;
        browser.click("name-set").await?;
        browser.wait_for_text("renaming", |text| text.contains("name")).await?;
        browser.type_into("name-field", "Ada").await?;
        browser.press_enter("name-field").await?;
        let own = "return document.querySelector('[data-testid=own-lane] .who b').textContent === 'Ada'";
        browser.wait_until(own).await?;
        live(&browser).await?;
        let second = browser.open_another(&leader.url(), false).await?;
        browser.switch_to(&second).await?;
        lane_says(&browser, "Ada", "✓").await?;
        browser.switch_to(&first).await?;
        browser.reload().await?;
        live(&browser).await?;
        browser.wait_until(own).await?;
        // What it submits from now on is under the new name.
        browser.type_into("op-arg", "6").await?;
        browser.click("key-add").await?;
        browser.wait_for_value("op-result", |result| result == "ok").await?;
        browser.switch_to(&second).await?;
        let authored = "return [...document.querySelectorAll('[data-testid=event-row]')]
            .some(row => row.querySelector('.author').textContent === 'Ada')";
        browser.wait_until(authored).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_generator_is_paused_and_paced_from_the_page() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20", "--max-rate", "100"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.wait_for_value("generator", |state| state == "runs").await?;
        browser.click("generator-pause").await?;
        browser.wait_for_value("generator", |state| state == "paused").await?;
        let tail = leader.status().await?.tail;
        browser.wait_for_value("index", |index| index == tail.to_string()).await?;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(leader.status().await?.tail, tail, "a paused generator draws nothing");
        browser.click("generator-pause").await?;
        browser.wait_for_value("generator", |state| state == "runs").await?;
        for wanted in ["50 a second", "100 a second", "100 a second"] {
            browser.click("generator-faster").await?;
            browser.wait_for_text("generator", |text| text.contains(wanted)).await?;
        }

        // Where the leader forbids it, there is nothing to press.
        let fixed = Leader::start(&["--rate", "20", "--control", "off"]).await?;
        browser.open(&fixed.url()).await?;
        live(&browser).await?;
        browser.wait_for_value("generator", |state| state == "runs").await?;
        browser.wait_until("return document.querySelector('[data-testid=generator-pause]').hidden").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn every_word_with_a_dotted_line_is_explained() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let words = "return [...new Set([...document.querySelectorAll('[data-word]')].map(word => word.dataset.word))]
            .filter(word => word !== '')";
        let words: Vec<String> = serde_json::from_value(browser.run(words).await?)?;
        assert!(words.len() >= 5, "{words:?}");
        for word in &words {
            browser.run(&format!("document.querySelector('[data-word={word}]').click()")).await?;
            let explained = format!(
                "const meaning = document.querySelector('[data-testid=meaning]');
                 return !meaning.hidden && meaning.querySelector('h3').textContent.toLowerCase() === '{word}'
                   && meaning.querySelector('p').textContent.length > 40"
            );
            browser.wait_until(&explained).await?;
        }

        // A gap is explained where it is told.
        browser.click("break-lose").await?;
        browser.wait_until("return document.querySelector('.step.now [data-word=Gap]:not([hidden])') !== null").await?;
        browser.run("document.querySelector('.step.now [data-word=Gap]').click()").await?;
        browser.wait_for_text("meaning", |text| text.contains("did not arrive")).await?;
        Ok(())
    })
    .await;
}

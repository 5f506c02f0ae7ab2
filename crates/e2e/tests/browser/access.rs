//! The page works by keyboard, with a screen reader, with large text, and with forced colours.

use e2e::process::Leader;
use engine::Operation;

use crate::{DESKTOP, PHONE, in_browser, live};

#[tokio::test]
async fn the_keyboards_focus_is_not_lost() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "100"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        for argument in ["1", "no number", "2"] {
            browser.type_into("op-arg", argument).await?;
            browser.press_enter("key-subtract").await?;
            let outcome = if argument == "no number" { "refused" } else { "ok" };
            browser.wait_for_value("op-result", |result| result == outcome).await?;
            assert_eq!(browser.focused().await?, "key-subtract", "after applying {argument:?}");
        }
        browser.run("document.querySelector('[data-testid=\"event-log\"]').scrollTop = 300").await?;
        browser.wait_for_text("log-jump", |text| text.contains("since")).await?;
        browser.press_enter("log-jump").await?;
        assert_eq!(browser.focused().await?, "event-log", "after showing the newest");
        let hidden = browser.run("return document.querySelector('[data-testid=\"log-jump\"]').hidden").await?;
        assert_eq!(hidden, true);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_button_that_hides_itself_hands_the_focus_on() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.click("tour-start").await?;
        browser.wait_for_value("tour", |step| step == "watch").await?;
        browser.press_enter("tour-end").await?;
        browser.wait_until("return document.activeElement.dataset.testid === 'tour-start'").await?;
        browser.click("break-repeat").await?;
        browser.wait_for_value("telling", |told| told == "repeated").await?;
        browser.press_enter("skip").await?;
        browser.wait_until("return document.activeElement.dataset.testid === 'replay'").await?;
        browser
            .run(
                "const word = document.querySelector('[data-word=digest]'); word.focus(); word.click();
                     document.querySelector('[data-testid=meaning] button').focus()",
            )
            .await?;
        browser.wait_for_text("meaning", |text| text.contains("fingerprint")).await?;
        browser.run("document.activeElement.click()").await?;
        browser.wait_until("return document.activeElement.dataset.word === 'digest'").await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn screen_readers_are_not_flooded() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "1000"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        // Changes that assistive technology announces by itself.
        let announced = browser
            .run(
                "const live = '[aria-live]:not([aria-live=off]), [role=status], [role=alert], [role=log], output';
                 let announced = 0;
                 const observer = new MutationObserver(changes => {
                   for (const { target } of changes) {
                     if ((target.closest ? target : target.parentElement)?.closest(live)) announced += 1;
                   }
                 });
                 observer.observe(document.body, { subtree: true, childList: true, characterData: true });
                 return new Promise(done => setTimeout(() => done(announced), 3000));",
            )
            .await?;
        assert!(announced.as_u64().unwrap() <= 2, "{announced} changes in three seconds");
        browser.wait_for_text("announcement", |text| text.contains("in step with the leader")).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn text_of_twice_the_size_is_not_cut_off() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--no-generator"]).await?;
        let calls = leader.calls()?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        // The longest texts that a row can have.
        for operation in [Operation::Add(1), Operation::Multiply(i64::MIN), Operation::Subtract(-1_000_000_000)] {
            calls.submit(operation).await?;
        }
        browser.wait_for_value("index", |index| index == "3").await?;
        for (width, height) in [DESKTOP, PHONE] {
            browser.resize(width, height).await?;
            for size in ["100%", "200%"] {
                browser.run(&format!("document.documentElement.style.fontSize = '{size}'")).await?;
                // The page draws long numbers smaller when it has seen its new width.
                browser.wait_until("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))").await?;
                let cut = browser
                    .run(
                        "const elements = [...document.querySelectorAll('h1, .row, .row .index, .row .number, .value, button')];
                         const rows = [...document.querySelectorAll('.row')].map(row => row.getBoundingClientRect());
                         rows.sort((a, b) => a.top - b.top);
                         return {
                           cut: elements.filter(element => element.offsetParent
                             && (element.scrollHeight > element.clientHeight + 1
                               || element.scrollWidth > element.clientWidth + 1))
                             .map(element => `${element.className}: ${element.innerText}`),
                           overlapping: rows.filter((row, at) => at > 0 && rows[at - 1].bottom > row.top + 1).length,
                           rows: rows.length,
                           page: document.documentElement.scrollWidth,
                         };",
                    )
                    .await?;
                let at = format!("{width} pixels, text at {size}: {cut}");
                assert_eq!(cut["rows"], 3, "{at}");
                assert_eq!(cut["cut"], serde_json::json!([]), "{at}");
                assert_eq!(cut["overlapping"], 0, "{at}");
                assert!(cut["page"].as_u64().unwrap() <= width.into(), "{at}");
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn buttons_have_edges_where_the_system_chooses_the_colours() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "10"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.set_media(&[("forced-colors", "active")]).await?;
        let edgeless = browser
            .run(
                "return [...document.querySelectorAll('button')].filter(button => {
                   const style = getComputedStyle(button);
                   // A word with an explanation is underlined only.
                   const of = what => style[`border${button.className === 'term' ? 'Bottom' : 'Top'}${what}`];
                   return parseFloat(of('Width')) < 1 || of('Style') === 'none'
                     || of('Color') === style.backgroundColor || of('Color') === 'rgba(0, 0, 0, 0)';
                 }).map(button => button.dataset.testid)",
            )
            .await?;
        assert_eq!(edgeless, serde_json::json!([]));
        Ok(())
    })
    .await;
}

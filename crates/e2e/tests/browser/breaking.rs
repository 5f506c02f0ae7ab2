//! What a person breaks heals, and is told step by step.

use e2e::process::{Leader, ReplicaProcess};

use super::{in_browser, live, parse_position};

/// Each button, the kind of the incident, and the title of its last step.
const FAULTS: [(&str, &str, &str); 7] = [
    ("lose", "lost", "Healed"),
    ("repeat", "repeated", "Seen before"),
    ("exchange", "exchanged", "Healed"),
    ("alter", "altered", "Healed"),
    ("cut", "cut", "Healed"),
    ("freeze", "frozen", "Healed"),
    ("forget", "forgotten", "Healed"),
];

#[tokio::test]
async fn what_a_person_breaks_heals_and_is_told() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        let replica = ReplicaProcess::start(&leader.url(), "whole")?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        for (fault, kind, end) in FAULTS {
            browser.click(&format!("break-{fault}")).await?;
            browser.wait_for_value("telling", |told| told == kind).await?;
            let told = browser.wait_for_text("telling", |text| text.contains(end)).await?;
            println!("{}", told.replace('\n', " "));
            live(&browser).await?;
            if fault == "lose" {
                // It healed long before, and is told slowly to its end.
                let step = "return document.querySelector('[data-testid=\"telling\"]').dataset.step";
                assert!(browser.run(step).await? != "4");
                browser.wait_until(&format!("{step} === '4'")).await?;
                let told = browser.text("telling").await?;
                for words in ["never arrived", "Nothing was applied", "The leader agrees: resume", "no snapshot"] {
                    assert!(told.contains(words), "{told}");
                }
            }
            browser.click("skip").await?;
            browser.wait_for_value("telling", str::is_empty).await?;
            assert!(browser.text("last-incident").await?.starts_with("Last: "));
        }
        let position = browser.wait_for_value("position", |position| parse_position(position).is_some()).await?;
        let (index, held) = parse_position(&position).unwrap();
        replica.wait_for_index(index).await?;
        assert_eq!(replica.held().get(&index), Some(&held), "the page and a replica that nobody broke");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_copy_of_the_chain_that_is_tampered_with_parts_and_never_meets() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "20"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        browser.wait_for_value("index", |index| index.parse().is_ok_and(|index: u64| index > 20)).await?;
        browser.click("tamper").await?;
        browser.wait_for_value("chain", |chain| chain == "copy").await?;
        browser.wait_for_text("chain-text", |text| text.contains("on all differ, whatever comes later")).await?;
        browser.click("hide").await?;
        let text = browser.wait_for_text("chain-text", |text| text.contains("the values are equal again")).await?;
        println!("{text}");
        browser.click("tamper").await?;
        browser.wait_for_value("chain", |chain| chain == "real").await?;
        Ok(())
    })
    .await;
}

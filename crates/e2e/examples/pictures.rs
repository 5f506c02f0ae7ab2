//! Draws the pictures of the documents from the real page, with a real leader and real replicas: `cargo xtask pictures`.

#![allow(clippy::print_stdout, reason = "it says what it drew")]

#[path = "pictures/animation.rs"]
mod animation;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::browser::Browser;
use e2e::process::{Leader, ReplicaProcess};

use crate::animation::Animation;

const DESKTOP: (u32, u32) = (1440, 900);
const PHONE: (u32, u32) = (390, 844);

/// The size of the animation: as wide as a README shows it.
const ANIMATED: (u32, u32) = (960, 620);

/// Every run has the same operations, at a pace that can be read.
const LOG: [&str; 4] = ["--rate", "3", "--seed", "13"];

/// How many events there are before something is broken.
const BEFORE: u64 = 24;

/// How long the page gets to finish what moves.
const SETTLED: Duration = Duration::from_millis(700);

/// How many pictures a second the animation has at most.
const PACE: Duration = Duration::from_millis(100);

/// A leader, two native replicas, and the page.
struct Scene {
    browser: Browser,
    leader: Option<Leader>,
    _replicas: [ReplicaProcess; 2],
}

impl Scene {
    async fn open((width, height): (u32, u32), scheme: &str) -> anyhow::Result<Self> {
        let leader = Leader::start(&LOG).await?;
        let url = leader.url();
        let replicas = [ReplicaProcess::start(&url, "replica-1")?, ReplicaProcess::start(&url, "replica-2")?];
        let browser = Browser::start(width, height).await?;
        browser.set_media(&[("prefers-color-scheme", scheme)]).await?;
        browser.open(&url).await?;
        browser.wait_for_value("in-step", |mark| mark == "yes").await?;
        browser.wait_for_value("index", |index| index.parse().is_ok_and(|index: u64| index >= BEFORE)).await?;
        Ok(Self { browser, leader: Some(leader), _replicas: replicas })
    }

    /// Breaks the page's stream, and waits for a step of what is told of it.
    async fn break_it(&self, button: &str, step: &str) -> anyhow::Result<()> {
        self.browser.click(&format!("break-{button}")).await?;
        self.browser.run("document.activeElement.blur()").await?;
        let reached = format!("return document.querySelector('[data-testid=telling]').dataset.step === '{step}'");
        self.browser.wait_until(&reached).await
    }

    async fn draw(&self, name: &str) -> anyhow::Result<()> {
        tokio::time::sleep(SETTLED).await;
        write(name, &self.browser.screenshot().await?)
    }

    async fn close(self) -> anyhow::Result<()> {
        self.browser.close().await
    }
}

fn write(name: &str, picture: &[u8]) -> anyhow::Result<()> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::write(path, picture)?;
    println!("docs/{name}: {} KB", picture.len().div_ceil(1000));
    Ok(())
}

/// A gap that heals, at the step in which the page asks again.
async fn gap(name: &str, size: (u32, u32), scheme: &str) -> anyhow::Result<()> {
    let scene = Scene::open(size, scheme).await?;
    scene.break_it("lose", "3").await?;
    scene.draw(name).await?;
    scene.close().await
}

/// A batch that overtook another one, told to the end.
async fn told() -> anyhow::Result<()> {
    let scene = Scene::open(DESKTOP, "light").await?;
    scene.break_it("exchange", "4").await?;
    scene.draw("page-told.png").await?;
    scene.close().await
}

/// Digests that differ after an operation was altered, and the digest chain with a copy that somebody tampered with.
async fn diverged() -> anyhow::Result<()> {
    let scene = Scene::open(DESKTOP, "dark").await?;
    scene.browser.click("tamper").await?;
    scene.break_it("alter", "2").await?;
    scene.draw("page-diverged.png").await?;
    scene.close().await
}

/// The page after its leader was killed.
async fn leader_lost() -> anyhow::Result<()> {
    let mut scene = Scene::open(DESKTOP, "light").await?;
    if let Some(leader) = scene.leader.take() {
        leader.program.kill().await?;
    }
    scene.browser.wait_for_text("banner", |text| !text.is_empty()).await?;
    scene.draw("page-leader-lost.png").await?;
    scene.close().await
}

/// The value at an earlier index, while the log goes on.
async fn travelling() -> anyhow::Result<()> {
    let scene = Scene::open(DESKTOP, "light").await?;
    let slide = format!(
        "const slider = document.querySelector('[data-testid=travel-slider]');
         slider.value = {};
         slider.dispatchEvent(new Event('input', {{ bubbles: true }}))",
        BEFORE / 2
    );
    scene.browser.run(&slide).await?;
    scene.browser.wait_for_value("travel", |state| state == "there").await?;
    scene.draw("page-travelling.png").await?;
    scene.close().await
}

/// Events come, a batch is lost, and what happened is told step by step.
async fn animation() -> anyhow::Result<()> {
    let scene = Scene::open(ANIMATED, "light").await?;
    let mut animation = Animation::new(ANIMATED)?;
    let began = Instant::now();
    let mut broken = false;
    let mut healed_at = None;
    loop {
        let frame_began = Instant::now();
        animation.add(&scene.browser.screenshot().await?, began.elapsed())?;
        if !broken && began.elapsed() > Duration::from_secs(2) {
            scene.browser.click("break-lose").await?;
            broken = true;
        }
        if healed_at.is_none() && scene.browser.value("telling").await?.as_deref() == Some("lost") {
            let is_last = "const steps = document.querySelectorAll('[data-testid=telling] .steps > li:not([hidden])');
                           return steps.length === 4 && steps[3].classList.contains('now')";
            if scene.browser.run(is_last).await? == true {
                healed_at = Some(Instant::now());
            }
        }
        if healed_at.is_some_and(|at| at.elapsed() > Duration::from_millis(2_500)) {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(20), "the incident was not told to its end");
        tokio::time::sleep(PACE.saturating_sub(frame_began.elapsed())).await;
    }
    write("page.gif", &animation.finish(began.elapsed())?)?;
    scene.close().await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    gap("page.png", DESKTOP, "light").await?;
    gap("page-dark.png", DESKTOP, "dark").await?;
    gap("page-phone.png", PHONE, "light").await?;
    gap("page-phone-dark.png", PHONE, "dark").await?;
    told().await?;
    diverged().await?;
    leader_lost().await?;
    travelling().await?;
    animation().await
}

//! Measures the page in a real browser: how soon it shows a value, and how smooth it stays. `cargo xtask page` runs it.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use e2e::browser::Browser;
use e2e::process::{Leader, bin_dir};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// A link: its name, bytes per second, and milliseconds of latency; 0 means no limit.
const LINKS: [(&str, u32, u32); 3] =
    [("loopback", 0, 0), ("fast 3G (1.6 Mbit/s, 150 ms)", 200_000, 150), ("slow 3G (400 kbit/s, 400 ms)", 50_000, 400)];

/// Native replicas beside the page.
const REPLICAS: usize = 20;

/// Notes when the first value is there, long tasks, the time between frames, and WebAssembly's memory.
const WATCH: &str = "
    window.measured = { first: null, tasks: [], frames: [] };
    new PerformanceObserver(list => list.getEntries().forEach(task => measured.tasks.push(task.duration)))
        .observe({ type: 'longtask', buffered: true });
    const instantiate = WebAssembly.instantiateStreaming;
    WebAssembly.instantiateStreaming = async (...module) => {
        const made = await instantiate(...module);
        measured.memory = made.instance.exports.memory;
        return made;
    };
    let before = null;
    const frame = now => {
        if (measured.first === null && document.querySelector('[data-testid=value]')?.dataset.value) measured.first = now;
        if (before !== null) measured.frames.push(now - before);
        before = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (runs, watched, aged) = if quick { (3, 5, 10) } else { (7, 20, 120) };
    let browser = Browser::start(1_440, 900).await?;
    let outcome = measure(&browser, runs, Duration::from_secs(watched), Duration::from_secs(aged)).await;
    browser.close().await?;
    outcome
}

async fn measure(browser: &Browser, runs: usize, watched: Duration, aged: Duration) -> anyhow::Result<()> {
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH })).await?;
    browser.devtools("Network.enable", json!({})).await?;
    browser.devtools("Network.setCacheDisabled", json!({ "cacheDisabled": true })).await?;

    println!("\ntime to the first value, of {runs} visits with an empty cache, in ms");
    println!("{:32} {:>8} {:>8} {:>8} {:>9}", "link", "median", "least", "most", "requests");
    let leader = Leader::start(&["--rate", "100"]).await?;
    for (name, throughput, latency) in LINKS {
        set_link(browser, throughput, latency).await?;
        let mut times = Vec::new();
        let mut requests = 0;
        for _ in 0..runs {
            browser.open(&leader.url()).await?;
            browser.wait_until("return measured.first !== null").await?;
            times.push(number(&browser.run("return measured.first").await?));
            let files = "return 1 + performance.getEntriesByType('resource').filter(at => !at.name.includes('calculator.v1')).length";
            requests = browser.run(files).await?.as_u64().unwrap_or_default();
        }
        times.sort_by(f64::total_cmp);
        let (median, least, most) = (at(&times, 50), at(&times, 0), at(&times, 100));
        println!("{name:32} {median:>8.0} {least:>8.0} {most:>8.0} {requests:>9}");
    }
    set_link(browser, 0, 0).await?;
    drop(leader);

    println!("\nwith {REPLICAS} native replicas, for {} s", watched.as_secs());
    println!(
        "{:>9} {:>10} {:>12} {:>16} {:>16} {:>8} {:>8}",
        "events/s", "long tasks", "longest, ms", "view update, ms", "frame, ms: median", "p95", "max"
    );
    let mut last = None;
    for rate in ["1000", "10000"] {
        drop(last.take());
        let leader = Leader::start(&["--rate", rate]).await?;
        let replicas: Vec<Child> =
            (0..REPLICAS).map(|number| silent_replica(&leader, number)).collect::<Result<_, _>>()?;
        browser.open(&leader.url()).await?;
        browser.wait_for_value("state", |state| state == "live").await?;
        browser.run("measured.tasks = []; measured.frames = []; return 0").await?;
        tokio::time::sleep(watched).await;
        let tasks = numbers(&browser.run("return measured.tasks").await?);
        let update = number(&browser.run("return +document.documentElement.dataset.frameUs").await?);
        let frames = numbers(&browser.run("return measured.frames").await?);
        println!(
            "{rate:>9} {:>10} {:>12.0} {:>16.1} {:>17.1} {:>8.1} {:>8.1}",
            tasks.len(),
            at(&tasks, 100),
            update / 1_000.0,
            at(&frames, 50),
            at(&frames, 95),
            at(&frames, 100)
        );
        last = Some((leader, replicas));
    }
    tokio::time::sleep(aged.saturating_sub(watched)).await;
    let heap = browser.devtools("Runtime.getHeapUsage", json!({})).await?;
    let wasm = browser.run("return measured.memory?.buffer.byteLength ?? null").await?;
    println!(
        "\nafter {} s at 10,000 events/s: JavaScript's heap {:.1} MB, WebAssembly's memory {:.1} MB",
        aged.as_secs(),
        number(&heap["usedSize"]) / 1e6,
        number(&wasm) / 1e6
    );
    drop(last);
    Ok(())
}

/// A replica whose output nobody reads: reading it would cost more than the replica.
fn silent_replica(leader: &Leader, number: usize) -> anyhow::Result<Child> {
    let mut command = Command::new(bin_dir().join("calculator-replica"));
    command.args(["--leader", &leader.url(), "--name", &format!("replica-{number}")]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().context("a replica cannot be started")
}

async fn set_link(browser: &Browser, throughput: u32, latency: u32) -> anyhow::Result<()> {
    let throughput = if throughput == 0 { -1 } else { i64::from(throughput) };
    let conditions = json!({
        "offline": false, "latency": latency, "downloadThroughput": throughput, "uploadThroughput": throughput,
    });
    browser.devtools("Network.emulateNetworkConditions", conditions).await.context("the link cannot be set")?;
    Ok(())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

/// Sorted.
fn numbers(value: &Value) -> Vec<f64> {
    let mut numbers: Vec<f64> = value.as_array().into_iter().flatten().map(number).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// The value below which `percent` of the sorted ones are; 0 if there are none.
fn at(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len().saturating_sub(1)) * percent / 100;
    sorted.get(place).copied().unwrap_or_default()
}

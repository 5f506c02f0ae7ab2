//! A page that cannot load one of its parts says so.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use e2e::browser::{Browser, PATIENCE, policy_violations};
use e2e::process::Leader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{in_browser, live};

/// What is wrong with a file of the page.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Missing,
    Garbage,
    /// It is requested and never arrives.
    Hangs,
}

/// Serves the page as it was built, but for one file, whose name begins with `broken`. Returns its address.
async fn serve(broken: &'static str, fault: Fault) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                // A browser that goes away is no failure.
                let _ = answer(connection, broken, fault).await;
            });
        }
    });
    Ok(format!("http://{address}/"))
}

async fn answer(mut connection: TcpStream, broken: &str, fault: Fault) -> std::io::Result<()> {
    let mut request = vec![0; 8_192];
    let length = connection.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let name = if path.is_empty() { "index.html" } else { path };
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
    let mut file = std::fs::read(dist.join(format!("{name}.gz"))).ok();
    let mut encoding = "content-encoding: gzip\r\n";
    if name.starts_with(broken) {
        match fault {
            Fault::Missing => file = None,
            Fault::Garbage => {
                encoding = "";
                file = Some(b"this is not a ( script".to_vec());
            }
            Fault::Hangs => tokio::time::sleep(Duration::from_secs(60)).await,
        }
    }
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        _ => "image/svg+xml",
    };
    let status = if file.is_some() { "200 OK" } else { "404 Not Found" };
    let encoding = if file.is_some() { encoding } else { "" };
    let body = file.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{encoding}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&body).await
}

/// Waits until the page shows `text` and no spinner.
async fn wait_for_text(browser: &Browser, wanted: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (text, spins) = seen(browser).await?;
        if text.contains(wanted) && !spins {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "the page says {text:?}, and its spinner is visible: {spins}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The visible text, and whether a spinner is visible.
async fn seen(browser: &Browser) -> anyhow::Result<(String, bool)> {
    let text = browser.run("return document.body.innerText").await?.as_str().unwrap_or_default().to_owned();
    let turns = browser
        .run(
            "const spinner = document.querySelector('.spinner');
             return spinner !== null && spinner.offsetParent !== null && getComputedStyle(spinner).visibility === 'visible'",
        )
        .await?;
    Ok((text, turns == true))
}

#[tokio::test]
async fn a_missing_or_damaged_script_is_reported() {
    in_browser(async |browser| {
        for file in ["app.", "web.", "web_bg."] {
            for fault in [Fault::Missing, Fault::Garbage] {
                browser.open(&serve(file, fault).await?).await?;
                let shown = wait_for_text(&browser, "could not be loaded").await;
                shown.with_context(|| format!("{file}, {fault:?}"))?;
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_part_that_hangs_is_reported_after_a_while() {
    in_browser(async |browser| {
        browser.open(&serve("web_bg.", Fault::Hangs).await?).await?;
        wait_for_text(&browser, "takes longer than it should").await
    })
    .await;
}

#[tokio::test]
async fn before_the_replica_runs_the_page_has_its_shape_and_says_that_it_loads() {
    in_browser(async |browser| {
        browser.open(&serve("web_bg.", Fault::Hangs).await?).await?;
        let (text, turns) = seen(&browser).await?;
        assert!(text.contains("Loading the replica") && turns, "{text:?}, turning: {turns}");
        let empty =
            "return [...document.querySelectorAll('#loading .card')].filter(card => card.offsetHeight < 90).length";
        assert_eq!(browser.run(empty).await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn files_are_named_by_their_contents_and_kept() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "10"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let files = browser
            .run(
                "return performance.getEntriesByType('resource').filter(file => !file.name.includes('calculator.v1'))
                     .map(file => [file.name.split('/').pop(), file.encodedBodySize, file.decodedBodySize])",
            )
            .await?;
        let files = files.as_array().cloned().unwrap_or_default();
        let mut wasm = 0;
        for file in &files {
            let name = file[0].as_str().unwrap_or_default();
            assert_eq!(name.split('.').nth(1).map(str::len), Some(16), "{name} has no hash of its contents");
            assert!(file[1].as_u64() < file[2].as_u64(), "{name} was not compressed");
            wasm += usize::from(name.ends_with(".wasm"));
        }
        // Loaded once, though it is preloaded.
        assert_eq!(wasm, 1, "{files:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_page_that_breaks_its_content_security_policy_is_noticed() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "50"]).await?;
        browser.open(&leader.url()).await?;
        live(&browser).await?;
        let inline = "return document.querySelectorAll('style, script:not([src])').length";
        assert_eq!(browser.run(inline).await?, 0);
        assert_eq!(policy_violations(&browser.log().await?), Vec::<&String>::new());
        browser.run("document.body.setAttribute('style', 'color: red'); return 0").await?;
        // The log keeps it when the page is gone.
        browser.open("about:blank").await?;
        let log = browser.log().await?;
        let violations = policy_violations(&log);
        // The browser says it, and the page's event.
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(violations.iter().all(|violation| violation.contains("style-src")), "{violations:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn without_javascript_the_page_says_what_it_needs() {
    in_browser(async |browser| {
        let leader = Leader::start(&["--rate", "10"]).await?;
        browser.switch_scripts_off().await?;
        browser.open(&leader.url()).await?;
        let (text, turns) = seen(&browser).await?;
        assert!(text.contains("needs JavaScript") && !turns, "{text:?}, turning: {turns}");
        assert!(!text.contains("Loading"), "{text}");
        Ok(())
    })
    .await;
}

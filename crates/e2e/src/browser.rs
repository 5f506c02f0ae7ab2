//! A real browser, steered through its WebDriver server.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::process::installed;
use crate::scheme::key_hash;

/// How long anything on a page may take. Only a failure takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs before the scripts of each page. The invitation to the tour would lie over what tests click. What the page's content
/// security policy forbade goes into the browser's log, which outlives the page.
const BEFORE_EACH_PAGE: &str = "\
    try { localStorage.setItem('calculator.invited', 'yes') } catch {}
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      console.error(`Content Security Policy: ${violatedDirective} forbids ${blockedURI}`));";

/// The lines of a browser's log that say what a content security policy forbade: the browser's own, and those from above.
#[must_use]
pub fn policy_violations(log: &[String]) -> Vec<&String> {
    log.iter().filter(|line| line.contains("Content Security Policy")).collect()
}

/// A headless browser with a profile of its own.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: Client,
    /// Deleted with the browser.
    _profile: TempDir,
}

/// A tab or window of the browser.
pub type Tab = WindowHandle;

impl Browser {
    /// Starts a browser whose window is `width` by `height` CSS pixels.
    ///
    /// # Errors
    ///
    /// If there is no browser, or it does not start.
    pub async fn start(width: u32, height: u32) -> anyhow::Result<Self> {
        let chrome = installed("CHROME", &["chromium", "chromium-browser", "google-chrome", "chrome"])?;
        let chromedriver = installed("CHROMEDRIVER", &["chromedriver"])?;
        let mut driver = Command::new(&chromedriver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", chromedriver.display()))?;
        let port = port_of(&mut driver).await?;

        let profile = tempfile::tempdir().context("cannot create a folder for the browser's profile")?;
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            // With its certificate taken for a good one, everything else is as with any leader that speaks TLS.
            format!("--ignore-certificate-errors-spki-list={}", key_hash()?),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let options = json!({ "binary": chrome, "args": arguments });
        let log = json!({ "browser": "ALL" });
        let capabilities = [("goog:chromeOptions".to_owned(), options), ("goog:loggingPrefs".to_owned(), log)];
        let capabilities = capabilities.into_iter().collect();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("the browser did not start")?;
        let browser = Self { driver, client, _profile: profile };
        browser.resize(width, height).await?;
        browser.prepare_tab().await?;
        Ok(browser)
    }

    /// Lets the tab that is in front run what comes before each page.
    async fn prepare_tab(&self) -> anyhow::Result<()> {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": BEFORE_EACH_PAGE })).await?;
        Ok(())
    }

    /// The lines of the browser's log, of all tabs and pages, since this was last called.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub async fn log(&self) -> anyhow::Result<Vec<String>> {
        let lines = self.client.issue_cmd(Log).await.context("the browser gives no log")?;
        let lines = lines.as_array().context("the browser's log is no list")?;
        Ok(lines.iter().filter_map(|line| line["message"].as_str()).map(str::to_owned).collect())
    }

    /// Sets the page's area to `width` by `height` CSS pixels. Unlike a window, it can be as narrow as a phone.
    ///
    /// # Errors
    ///
    /// If the browser refuses.
    pub async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        Ok(())
    }

    /// Sets what the system's user prefers: names and values of media features, as `("prefers-color-scheme", "dark")`. All
    /// others are as usual again.
    ///
    /// # Errors
    ///
    /// If the browser refuses.
    pub async fn set_media(&self, features: &[(&str, &str)]) -> anyhow::Result<()> {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        Ok(())
    }

    /// Disables JavaScript.
    ///
    /// # Errors
    ///
    /// If the browser refuses.
    pub async fn switch_scripts_off(&self) -> anyhow::Result<()> {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await?;
        Ok(())
    }

    /// Calls a method of the browser's developer tools, and returns its result.
    ///
    /// # Errors
    ///
    /// If the browser refuses.
    pub async fn devtools(&self, method: &str, parameters: Value) -> anyhow::Result<Value> {
        let call = DevTools(json!({ "cmd": method, "params": parameters }));
        self.client.issue_cmd(call).await.with_context(|| format!("the browser refused {method}"))
    }

    /// The tab that is in front.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub async fn tab(&self) -> anyhow::Result<Tab> {
        self.client.window().await.context("no tab")
    }

    /// Opens `url` in the tab that is in front.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.client.goto(url).await.with_context(|| format!("{url} cannot be opened"))
    }

    /// Opens `url` in a new tab, or in a new window, and brings it to the front.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub async fn open_another(&self, url: &str, as_tab: bool) -> anyhow::Result<Tab> {
        let tab = self.client.new_window(as_tab).await.context("no new tab")?.handle;
        self.switch_to(&tab).await?;
        self.prepare_tab().await?;
        self.open(url).await?;
        Ok(tab)
    }

    /// Duplicates the tab that is in front, with its session storage, and brings the copy to the front.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub async fn duplicate(&self) -> anyhow::Result<Tab> {
        let before = self.client.windows().await.context("no tabs")?;
        self.run("window.open(location.href)").await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tabs = self.client.windows().await.context("no tabs")?;
            if let Some(tab) = tabs.into_iter().find(|tab| !before.contains(tab)) {
                self.switch_to(&tab).await?;
                self.prepare_tab().await?;
                return Ok(tab);
            }
            if Instant::now() > deadline {
                bail!("the copy did not open");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Brings a tab to the front.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub async fn switch_to(&self, tab: &Tab) -> anyhow::Result<()> {
        self.client.switch_to_window(tab.clone()).await.context("the tab is gone")
    }

    /// Closes the tab that is in front and brings `next` there.
    ///
    /// # Errors
    ///
    /// If either is gone.
    pub async fn close_tab(&self, next: &Tab) -> anyhow::Result<()> {
        self.client.close_window().await.context("the tab is gone")?;
        self.switch_to(next).await
    }

    /// Reloads the page.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub async fn reload(&self) -> anyhow::Result<()> {
        self.client.refresh().await.context("the page does not load again")
    }

    /// Runs a script's body in the page and returns its result.
    ///
    /// # Errors
    ///
    /// If it throws.
    pub async fn run(&self, script: &str) -> anyhow::Result<Value> {
        self.client.execute(script, Vec::new()).await.with_context(|| format!("this script threw: {script}"))
    }

    /// The `data-value` of the element with a test id, if there is one.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub async fn value(&self, id: &str) -> anyhow::Result<Option<String>> {
        let script = format!("return document.querySelector('[data-testid=\"{id}\"]')?.dataset.value ?? null");
        Ok(self.run(&script).await?.as_str().map(str::to_owned))
    }

    /// The visible text of the element with a test id; empty if it is missing or hidden.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub async fn text(&self, id: &str) -> anyhow::Result<String> {
        let script = format!("return document.querySelector('[data-testid=\"{id}\"]')?.innerText ?? ''");
        Ok(self.run(&script).await?.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the `data-value` of an element satisfies `condition`, and returns it.
    ///
    /// # Errors
    ///
    /// If that takes too long; the error has the last one.
    pub async fn wait_for_value(&self, id: &str, condition: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.value(id).await?;
            match value {
                Some(value) if condition(&value) => return Ok(value),
                other if Instant::now() > deadline => bail!("{id} stayed at {other:?}"),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits until the visible text of an element satisfies `condition`, and returns it.
    ///
    /// # Errors
    ///
    /// If that takes too long; the error has the last one.
    pub async fn wait_for_text(&self, id: &str, condition: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text(id).await?;
            if condition(&text) {
                return Ok(text);
            }
            if Instant::now() > deadline {
                bail!("{id} stayed at {text:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a script's body returns true.
    ///
    /// # Errors
    ///
    /// If that takes too long, or if the script throws.
    pub async fn wait_until(&self, script: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.run(script).await? != true {
            if Instant::now() > deadline {
                bail!("this stayed false: {script}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Clicks the element with a test id.
    ///
    /// # Errors
    ///
    /// If it is missing or covered.
    pub async fn click(&self, id: &str) -> anyhow::Result<()> {
        let element = self.client.find(Locator::Css(&format!("[data-testid=\"{id}\"]"))).await;
        element
            .with_context(|| format!("there is no {id}"))?
            .click()
            .await
            .with_context(|| format!("cannot click {id}"))
    }

    /// Presses Enter while the element with a test id has the keyboard's focus.
    ///
    /// # Errors
    ///
    /// If it is missing or cannot have the focus.
    pub async fn press_enter(&self, id: &str) -> anyhow::Result<()> {
        self.press("\u{E007}", id).await
    }

    /// Presses a key, as WebDriver names it, while the element with a test id has the keyboard's focus.
    ///
    /// # Errors
    ///
    /// If it is missing or cannot have the focus.
    pub async fn press(&self, key: &str, id: &str) -> anyhow::Result<()> {
        let element = self.client.find(Locator::Css(&format!("[data-testid=\"{id}\"]"))).await;
        let element = element.with_context(|| format!("there is no {id}"))?;
        element.send_keys(key).await.with_context(|| format!("{id} takes no keys"))
    }

    /// The test id of the element that has the keyboard's focus, or its name if it has none.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub async fn focused(&self) -> anyhow::Result<String> {
        // Browsers move the focus away from hidden and disabled elements when they draw the next frame.
        let script = "return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => \
                      done(document.activeElement.dataset.testid ?? document.activeElement.tagName))))";
        Ok(self.run(script).await?.as_str().unwrap_or_default().to_owned())
    }

    /// Replaces the content of a field by typing.
    ///
    /// # Errors
    ///
    /// If it is missing or takes no text.
    pub async fn type_into(&self, id: &str, text: &str) -> anyhow::Result<()> {
        let element = self.client.find(Locator::Css(&format!("[data-testid=\"{id}\"]"))).await;
        let element = element.with_context(|| format!("there is no {id}"))?;
        element.clear().await.with_context(|| format!("cannot clear {id}"))?;
        element.send_keys(text).await.with_context(|| format!("cannot type into {id}"))
    }

    /// A picture of the page as PNG.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub async fn screenshot(&self) -> anyhow::Result<Vec<u8>> {
        self.client.screenshot().await.context("no screenshot")
    }

    /// Ends the browser.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn close(mut self) -> anyhow::Result<()> {
        // Closing the session ends the browser; killing the driver alone would leave it running.
        let closed = self.client.close().await.context("the browser did not close");
        self.driver.kill().await.context("the driver could not be killed")?;
        closed
    }
}

/// A DevTools command, sent through the driver.
#[derive(Debug)]
struct DevTools(Value);

impl fantoccini::wd::WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _url: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.0.to_string()))
    }
}

/// Asks for the lines of the browser's log that are new.
#[derive(Debug)]
struct Log;

impl fantoccini::wd::WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _url: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

/// Reads the port from what the driver prints when it is ready.
async fn port_of(driver: &mut Child) -> anyhow::Result<u16> {
    let output = driver.stdout.take().context("the driver has no output")?;
    let mut lines = BufReader::new(output).lines();
    let started = async {
        while let Some(line) = lines.next_line().await? {
            let port = line.rsplit_once("on port ").and_then(|(_, port)| port.trim_end_matches('.').parse().ok());
            if line.contains("started successfully")
                && let Some(port) = port
            {
                return Ok(port);
            }
        }
        bail!("the driver ended at once")
    };
    let port = tokio::time::timeout(PATIENCE, started).await.context("the driver did not start")??;
    // The driver would stop when its pipe is full.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(port)
}

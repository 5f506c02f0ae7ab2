//! The browser that the page is tested in.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::interrupt::Interrupt;
use crate::process;

const CHROME_NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Chromium or Chrome, and the WebDriver server that steers it.
pub(crate) struct Browser {
    pub(crate) chrome: PathBuf,
    pub(crate) chromedriver: PathBuf,
}

impl Browser {
    /// Finds both programs, or installs them from Debian's packages.
    pub(crate) async fn find_or_install(interrupt: &Interrupt) -> Result<Self> {
        if let Some(found) = Self::find()? {
            return Ok(found);
        }
        let packages = PACKAGES.join(" ");
        let advice = format!(
            "the browser tests need Chromium and chromedriver: install them (Debian: `apt-get install {packages}`), \
             or name them in the variables CHROME and CHROMEDRIVER"
        );
        let Some(apt) = Apt::find().await else { bail!(advice) };
        apt.update(interrupt).await?;
        apt.install(&PACKAGES, interrupt).await?;
        Self::find()?.context(advice)
    }

    fn find() -> Result<Option<Self>> {
        let chrome = named_by("CHROME")?.or_else(|| CHROME_NAMES.iter().find_map(|name| process::find(name)));
        let chromedriver = named_by("CHROMEDRIVER")?.or_else(|| process::find("chromedriver"));
        Ok(chrome.zip(chromedriver).map(|(chrome, chromedriver)| Self { chrome, chromedriver }))
    }
}

/// A variable that is set but wrong is an error: another browser than the one asked for would hide the mistake.
fn named_by(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    if !process::is_program(&path) {
        bail!("{variable} names {}, which is not a program", path.display());
    }
    Ok(Some(std::path::absolute(&path).unwrap_or(path)))
}

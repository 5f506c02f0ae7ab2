//! The proxies that the page and native replicas are tested behind.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::interrupt::Interrupt;
use crate::process;

/// Names of the programs, and of Debian's packages.
const PACKAGES: [&str; 2] = ["nginx", "haproxy"];

/// nginx and HAProxy.
pub(crate) struct Proxies {
    pub(crate) nginx: PathBuf,
    pub(crate) haproxy: PathBuf,
}

impl Proxies {
    /// Finds both programs, or installs them from Debian's packages.
    pub(crate) async fn find_or_install(interrupt: &Interrupt) -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        let advice = format!(
            "the tests behind proxies need nginx and HAProxy: install them (Debian: `apt-get install {}`)",
            PACKAGES.join(" ")
        );
        let Some(apt) = Apt::find().await else { bail!(advice) };
        apt.update(interrupt).await?;
        apt.install(&PACKAGES, interrupt).await?;
        Self::find().context(advice)
    }

    fn find() -> Option<Self> {
        let [nginx, haproxy] = PACKAGES.map(find);
        Some(Self { nginx: nginx?, haproxy: haproxy? })
    }
}

/// Debian puts both where only the system's own users look.
fn find(name: &str) -> Option<PathBuf> {
    process::find(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|path| process::is_program(path)))
}

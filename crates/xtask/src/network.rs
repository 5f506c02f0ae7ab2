//! What the tests need that make a network of their own.

use anyhow::{Result, bail};

use crate::apt::Apt;
use crate::interrupt::Interrupt;
use crate::process;

/// The programs, and Debian's package that has both.
const PROGRAMS: [&str; 2] = ["ip", "ss"];
const PACKAGE: &str = "iproute2";

/// Looks for the programs, or installs them.
pub(crate) async fn require(interrupt: &Interrupt) -> Result<()> {
    let missing = || PROGRAMS.iter().any(|name| process::find(name).is_none());
    if missing()
        && let Some(apt) = Apt::find().await
    {
        apt.update(interrupt).await?;
        apt.install(&[PACKAGE], interrupt).await?;
    }
    if missing() {
        bail!("the tests of vanished hosts need `ip` and `ss`: install them (Debian: `apt-get install {PACKAGE}`)");
    }
    Ok(())
}

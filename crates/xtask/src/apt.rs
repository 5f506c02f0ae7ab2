//! Debian's packages, installed where that needs nobody's password.

use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use crate::interrupt::Interrupt;
use crate::process;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A usable `apt-get`.
pub(crate) struct Apt {
    with_sudo: bool,
}

impl Apt {
    /// None without `apt-get`, or when packages could only be installed after typing a password.
    pub(crate) async fn find() -> Option<Self> {
        process::find("apt-get")?;
        if rustix::process::geteuid().is_root() {
            return Some(Self { with_sudo: false });
        }
        let mut sudo = Command::new(process::find("sudo")?);
        sudo.args(["-n", "true"]);
        process::ask(sudo, ANSWER_LIMIT).await?;
        Some(Self { with_sudo: true })
    }

    /// Fetches the lists of packages: a fresh container has none.
    pub(crate) async fn update(&self, interrupt: &Interrupt) -> Result<()> {
        self.run("apt-get update", &["update"], interrupt).await
    }

    /// Never removes a package to make room: a Rust from Debian excludes another one from Debian.
    pub(crate) async fn install(&self, packages: &[&str], interrupt: &Interrupt) -> Result<()> {
        let what = format!("apt-get install {}", packages.join(" "));
        let mut args = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
        args.extend(packages);
        self.run(&what, &args, interrupt).await
    }

    async fn run(&self, what: &str, args: &[&str], interrupt: &Interrupt) -> Result<()> {
        println!("{what}");
        let mut command = Command::new(if self.with_sudo { "sudo" } else { "env" });
        if self.with_sudo {
            command.args(["-n", "env"]);
        }
        // Another apt-get, such as the nightly one, holds the lock for a minute at most.
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=60"]).args(args);
        process::run_on_terminal(what, command, interrupt).await
    }
}

/// The first of these packages that this Debian has.
pub(crate) async fn first_known<'a>(packages: &[&'a str]) -> Option<&'a str> {
    for package in packages {
        let mut show = Command::new("apt-cache");
        show.args(["show", package]);
        if process::ask(show, ANSWER_LIMIT).await.is_some_and(|text| !text.is_empty()) {
            return Some(package);
        }
    }
    None
}

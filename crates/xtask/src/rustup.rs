//! What rustup can add to the Rust that is in use.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::interrupt::{Interrupt, Interrupted};
use crate::process;
use crate::workspace::Workspace;

/// Behind a closed network a download may neither succeed nor fail.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(60);

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Whether a target was added to the active toolchain. Says nothing when it was not: there are other ways.
pub(crate) async fn add_target(target: &str, interrupt: &Interrupt) -> Result<bool> {
    rustup(&["target", "add", target], interrupt).await
}

/// Sees to it that a cargo subcommand, such as `fmt`, is there; rustup calls it by its component's name.
pub(crate) async fn require_component(
    workspace: &Workspace,
    subcommand: &str,
    component: &str,
    interrupt: &Interrupt,
) -> Result<()> {
    if answers(workspace, subcommand).await {
        return Ok(());
    }
    if rustup(&["component", "add", component], interrupt).await? && answers(workspace, subcommand).await {
        return Ok(());
    }
    bail!("`cargo {subcommand}` is missing: install it with `rustup component add {component}`");
}

async fn answers(workspace: &Workspace, subcommand: &str) -> bool {
    let mut command = workspace.cargo(subcommand);
    command.arg("--version");
    process::ask(command, ANSWER_LIMIT).await.is_some()
}

async fn rustup(args: &[&str], interrupt: &Interrupt) -> Result<bool> {
    let Some(program) = process::find("rustup") else {
        return Ok(false);
    };
    println!("rustup {}", args.join(" "));
    let mut command = Command::new(program);
    command.args(args);
    tokio::select! {
        answer = process::ask(command, DOWNLOAD_LIMIT) => Ok(answer.is_some()),
        () = interrupt.requested() => Err(Interrupted.into()),
    }
}

//! `cargo xtask page`: how large the page is, how soon it is there, and how smooth it stays.

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;
use crate::{needs, page, process};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure what is built already.
    #[arg(long)]
    no_build: bool,

    /// Measure for one minute instead of several.
    #[arg(long)]
    quick: bool,
}

pub(crate) async fn run(args: &Args, wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    needs::require(&[needs::CHROME, needs::CHROMEDRIVER], wasm, workspace).await?;
    if !args.no_build {
        page::run_for_release(wasm, workspace, interrupt).await?;
        let mut cargo = workspace.cargo("build");
        cargo.args(["--release", "--package", "leader", "--package", "replica"]);
        process::run("compiling the programs", cargo, interrupt).await?;
    }
    let sizes = page::built(workspace)?;
    let mut cargo = workspace.cargo("run");
    cargo.args(["--release", "--package", "e2e", "--bin", "page", "--"]);
    cargo.args(args.quick.then_some("--quick"));
    cargo.env("CALCULATOR_BIN_DIR", workspace.bin_dir(false));
    process::run("measuring the page", cargo, interrupt).await?;
    page::within_budget(&sizes)
}

//! `cargo xtask pictures`: draws the pictures in `docs/` again, from the real page.

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;
use crate::{needs, page, process};

pub(crate) async fn run(wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    needs::require(&[needs::WASM_TARGET, needs::CHROME, needs::CHROMEDRIVER], wasm, workspace).await?;
    page::build(false, wasm, workspace, interrupt).await?;
    let mut build = workspace.cargo("build");
    build.args(["--release", "--package", "leader", "--package", "replica"]);
    process::run("compiling the programs", build, interrupt).await?;
    let mut draw = workspace.cargo("run");
    draw.args(["--release", "--package", "e2e", "--example", "pictures"]);
    draw.env("CALCULATOR_BIN_DIR", workspace.bin_dir(false));
    process::run("drawing the pictures", draw, interrupt).await
}

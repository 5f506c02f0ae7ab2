//! Builds the page: compiles it for WebAssembly, makes its loader, and adds the files of `static/`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::dist;
use crate::interrupt::Interrupt;
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;
use crate::{needs, process};

const PACKAGE: &str = "web";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compile quickly instead of small.
    #[arg(long)]
    dev: bool,
}

pub(crate) async fn run(args: &Args, wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    needs::add_wasm_target(wasm, workspace, interrupt).await?;
    build(args.dev, wasm, workspace, interrupt).await
}

/// Builds the page into `web/dist`, which stays as it was if the page does not compile.
pub(crate) async fn build(dev: bool, wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    let profile = if dev { "dev" } else { "wasm-release" };
    println!("compiling the page (profile {profile})");
    let mut cargo = wasm.command(workspace, "build");
    cargo.args(["--package", PACKAGE, "--profile", profile]);
    process::run("compiling the page", cargo, interrupt).await?;

    let compiled = wasm.output_dir(workspace, profile).join(format!("{PACKAGE}.wasm"));
    let staged = workspace.target_dir.join("page");
    assemble(&compiled, &workspace.root.join("static"), &staged, dev)?;
    let dist = workspace.root.join("web/dist");
    let outcome = if dist::sync(&staged, &dist)? { "ready" } else { "already up to date" };
    println!("{} is {outcome}: {}", workspace.shown(&dist), sizes(&dist)?);
    Ok(())
}

/// Collects the files of the page in a folder of their own.
fn assemble(wasm: &Path, static_files: &Path, staged: &Path, dev: bool) -> Result<()> {
    if staged.exists() {
        fs::remove_dir_all(staged).with_context(|| format!("cannot empty {}", staged.display()))?;
    }
    fs::create_dir_all(staged).with_context(|| format!("cannot create the folder {}", staged.display()))?;
    bind(wasm, staged, dev).with_context(|| format!("wasm-bindgen cannot make a loader for {}", wasm.display()))?;
    for (relative, from) in dist::files(static_files)? {
        let to = staged.join(&relative);
        if to.exists() {
            bail!("static/{} has the name of a file that the build makes: rename it", relative.display());
        }
        dist::copy(&from, &to)?;
    }
    Ok(())
}

/// Writes `web.js` and `web_bg.wasm`.
fn bind(wasm: &Path, folder: &Path, dev: bool) -> Result<()> {
    Bindgen::new()
        .input_path(wasm)
        .out_name(PACKAGE)
        .web(true)?
        .typescript(false)
        // Function names serve debuggers; readers of the page should not have to download them.
        .remove_name_section(!dev)
        .remove_producers_section(true)
        .generate(folder)
}

fn sizes(dist: &Path) -> Result<String> {
    let mut sizes = Vec::new();
    for name in [format!("{PACKAGE}_bg.wasm"), format!("{PACKAGE}.js")] {
        let size = fs::metadata(dist.join(&name)).with_context(|| format!("the page has no {name}"))?.len();
        sizes.push(format!("{name} {} KB", size.div_ceil(1000)));
    }
    Ok(sizes.join(", "))
}

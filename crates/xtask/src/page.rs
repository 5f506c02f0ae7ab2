//! The page: compiled for WebAssembly, given its loader, and laid beside the files of `static/`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::dist;
use crate::interrupt::Interrupt;
use crate::process;
use crate::wasm_toolchain::{Choice, WasmToolchain};
use crate::workspace::Workspace;

const PACKAGE: &str = "web";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compile quickly instead of small.
    #[arg(long)]
    dev: bool,
}

pub(crate) async fn run(args: &Args, choice: Choice, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    let toolchain = WasmToolchain::find_or_install(choice, workspace, interrupt).await?;
    build(args.dev, &toolchain, workspace, interrupt).await
}

/// Builds the page into `web/dist`, which stays as it was if anything fails.
pub(crate) async fn build(
    dev: bool,
    toolchain: &WasmToolchain,
    workspace: &Workspace,
    interrupt: &Interrupt,
) -> Result<()> {
    let profile = if dev { "dev" } else { "wasm-release" };
    println!("compiling the page with {} (profile {profile})", toolchain.description());
    let mut cargo = toolchain.cargo(workspace, "build");
    cargo.args(["--package", PACKAGE, "--profile", profile]);
    process::run("compiling the page", cargo, interrupt).await?;

    let wasm = toolchain.output_dir(workspace, profile).join(format!("{PACKAGE}.wasm"));
    let staged = workspace.target_dir.join("page");
    assemble(&wasm, &workspace.root.join("static"), &staged, dev)?;
    let dist = workspace.root.join("web/dist");
    let changes = dist::sync(&staged, &dist)?;

    let outcome = if changes.none() { "already up to date" } else { "ready" };
    println!("{} is {outcome}: {}", workspace.shown(&dist), sizes(&dist)?);
    Ok(())
}

/// Puts all that the page consists of into a folder of its own.
fn assemble(wasm: &Path, static_files: &Path, staged: &Path, dev: bool) -> Result<()> {
    if staged.exists() {
        fs::remove_dir_all(staged).with_context(|| format!("cannot empty {}", staged.display()))?;
    }
    fs::create_dir_all(staged).with_context(|| format!("cannot make the folder {}", staged.display()))?;
    bind(wasm, staged, dev).with_context(|| format!("wasm-bindgen can't make a loader for {}", wasm.display()))?;
    for (relative, from) in dist::files(static_files)? {
        let to = staged.join(&relative);
        if to.exists() {
            bail!("static/{} has the name of a compiled file: rename it", relative.display());
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
        }
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
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
        // The names of functions are for stack traces in a debugger; nobody should have to download them.
        .remove_name_section(!dev)
        .remove_producers_section(true)
        .generate(folder)
}

fn sizes(dist: &Path) -> Result<String> {
    let mut sizes = Vec::new();
    for name in [format!("{PACKAGE}_bg.wasm"), format!("{PACKAGE}.js")] {
        let size = fs::metadata(dist.join(&name)).with_context(|| format!("the page has no {name}"))?.len();
        sizes.push(format!("{name} {}", kilobytes(size)));
    }
    Ok(sizes.join(", "))
}

fn kilobytes(bytes: u64) -> String {
    format!("{} KB", bytes.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::kilobytes;

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(kilobytes(1), "1 KB");
        assert_eq!(kilobytes(300_000), "300 KB");
        assert_eq!(kilobytes(300_001), "301 KB");
    }
}

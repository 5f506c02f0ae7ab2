//! Builds the page: compiles it for WebAssembly, makes its loader, and adds the files of `static/`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::dist;
use crate::interrupt::Interrupt;
use crate::pack::{self, Effort, Sizes};
use crate::shorten::{self, Names};
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;
use crate::{needs, process};

const PACKAGE: &str = "web";

/// How large the page may be, in bytes over the network. Browsers accept brotli only from localhost and over TLS.
const BUDGET_BROTLI: usize = 190_000;
const BUDGET_GZIP: usize = 230_000;

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

/// Builds the page small.
pub(crate) async fn run_for_release(wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    run(&Args { dev: false }, wasm, workspace, interrupt).await
}

/// Prints how large the files of the built page are, and returns it.
pub(crate) fn built(workspace: &Workspace) -> Result<Vec<Sizes>> {
    let sizes = pack::sizes(&workspace.root.join("web/dist"))?;
    print_sizes(&sizes);
    Ok(sizes)
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
    let effort = if dev { Effort::Quick } else { Effort::Best };
    let sizes = pack::pack(&staged, effort)?;
    let outcome = if dist::sync(&staged, &dist)? { "ready" } else { "already up to date" };
    println!("{} is {outcome}", workspace.shown(&dist));
    print_sizes(&sizes);
    if dev { Ok(()) } else { within_budget(&sizes) }
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
        if !dev && to.extension().is_some_and(|ending| ending == "css") {
            rewrite(&to, shorten::without_comments)?;
        }
    }
    Ok(())
}

/// Writes `web.js` and `web_bg.wasm`.
fn bind(wasm: &Path, folder: &Path, dev: bool) -> Result<()> {
    let mut bound = Bindgen::new()
        .input_path(wasm)
        .out_name(PACKAGE)
        .web(true)?
        .typescript(false)
        // Function names serve debuggers; readers of the page should not have to download them.
        .remove_name_section(!dev)
        .remove_producers_section(true)
        .generate_output()?;
    if dev {
        return bound.emit(folder);
    }
    let mut names = Names::default();
    let module = bound.wasm_mut();
    let loader = format!("./{PACKAGE}_bg.js");
    for import in module.imports.iter_mut().filter(|import| import.module == loader) {
        import.name = names.shorten(&import.name);
    }
    for export in module.exports.iter_mut() {
        export.name = names.shorten(&export.name);
    }
    bound.emit(folder)?;
    rewrite(&folder.join(format!("{PACKAGE}.js")), |loader| names.apply(&shorten::without_comments(loader)))
}

fn rewrite(path: &Path, change: impl FnOnce(&str) -> String) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(path, change(&text)).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints how large each file is, in bytes.
fn print_sizes(sizes: &[Sizes]) {
    println!("{:32} {:>9} {:>9} {:>9}", "file", "raw", "brotli", "gzip");
    for Sizes { name, raw, brotli, gzip } in sizes.iter().chain([&sum(sizes)]) {
        println!("{name:32} {raw:>9} {brotli:>9} {gzip:>9}");
    }
}

fn sum(sizes: &[Sizes]) -> Sizes {
    let zero = Sizes { name: "all".to_owned(), raw: 0, brotli: 0, gzip: 0 };
    sizes.iter().fold(zero, |sum, file| Sizes {
        raw: sum.raw + file.raw,
        brotli: sum.brotli + file.brotli,
        gzip: sum.gzip + file.gzip,
        ..sum
    })
}

/// Whether the page is as small as it has to be.
pub(crate) fn within_budget(sizes: &[Sizes]) -> Result<()> {
    let Sizes { brotli, gzip, .. } = sum(sizes);
    if brotli > BUDGET_BROTLI || gzip > BUDGET_GZIP {
        bail!(
            "the page is {brotli} bytes with brotli and {gzip} with gzip; it may have {BUDGET_BROTLI} and {BUDGET_GZIP}, \
             because it travels to phones"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_for_all_files_together() {
        let file = |brotli, gzip| Sizes { name: "a".to_owned(), raw: 0, brotli, gzip };
        let half = file(BUDGET_BROTLI / 2, BUDGET_GZIP / 2);
        assert!(within_budget(&[half.clone(), half.clone()]).is_ok());
        assert!(within_budget(&[half.clone(), half.clone(), file(1, 0)]).is_err());
        assert!(within_budget(&[half.clone(), half, file(0, 1)]).is_err());
    }
}

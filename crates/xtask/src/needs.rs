//! What the tasks need beside cargo. xtask prints the commands that install it, and runs none but `rustup target add` for the
//! demo and the page.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::process;
use crate::wasm_cargo::{TARGET, WasmCargo};
use crate::workspace::Workspace;

/// A program or component, and how it is installed.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    found_by: FoundBy,
    /// The command that installs it, without the package.
    installer: &'static str,
    /// Several needs of one installer make one command.
    package: &'static str,
}

#[derive(Clone, Copy)]
enum FoundBy {
    /// `cargo NAME --version` succeeds.
    Subcommand(&'static str),
    /// The same with the cargo that compiles for WebAssembly.
    WasmSubcommand(&'static str),
    /// The active toolchain has the target, or another cargo was named for it.
    WasmTarget,
    /// One of these is on `PATH` or among the system's programs, or the variable names another one.
    Program { names: &'static [&'static str], variable: &'static str },
    /// There is a checker of accessibility, or pip, which brings one.
    AxeOrPip,
    /// There is a checker of accessibility.
    Axe,
}

/// The accessibility checker axe-core, as one script. [`AXE`] unpacks it to here; the folder names its version.
const AXE_SCRIPT: &str = "target/axe-0.1.8/axe_playwright_python/axe.min.js";

/// The environment variable that names another script.
pub(crate) const AXE_VARIABLE: &str = "AXE";

const RUSTUP_COMPONENT: &str = "rustup component add";
const APT: &str = "sudo apt-get install";

pub(crate) const RUSTFMT: Need =
    Need { found_by: FoundBy::Subcommand("fmt"), installer: RUSTUP_COMPONENT, package: "rustfmt" };
pub(crate) const CLIPPY: Need =
    Need { found_by: FoundBy::Subcommand("clippy"), installer: RUSTUP_COMPONENT, package: "clippy" };
pub(crate) const WASM_CLIPPY: Need = Need { found_by: FoundBy::WasmSubcommand("clippy"), ..CLIPPY };
pub(crate) const WASM_TARGET: Need =
    Need { found_by: FoundBy::WasmTarget, installer: "rustup target add", package: TARGET };
pub(crate) const CARGO_DENY: Need =
    Need { found_by: FoundBy::Subcommand("deny"), installer: "cargo install --locked", package: "cargo-deny" };
pub(crate) const CARGO_ABOUT: Need = Need {
    found_by: FoundBy::Subcommand("about"),
    installer: "cargo install --locked --features cli",
    package: "cargo-about",
};
pub(crate) const OBJCOPY: Need = program(&["objcopy"], "", "binutils");
/// Checks the units of services.
pub(crate) const SYSTEMD_ANALYZE: Need = program(&["systemd-analyze"], "", "systemd");
pub(crate) const CHROME: Need =
    program(&["chromium", "chromium-browser", "google-chrome", "chrome"], "CHROME", "chromium");
pub(crate) const CHROMEDRIVER: Need = program(&["chromedriver"], "CHROMEDRIVER", "chromium-driver");
pub(crate) const NGINX: Need = program(&["nginx"], "NGINX", "nginx");
pub(crate) const HAPROXY: Need = program(&["haproxy"], "HAPROXY", "haproxy");
/// axe-core itself is only in npm's registry; this package of Python's has a copy of it, and its dependencies are not needed.
pub(crate) const AXE: Need = Need {
    found_by: FoundBy::Axe,
    installer: "pip install --no-deps --target target/axe-0.1.8",
    package: "axe-playwright-python==0.1.8",
};
pub(crate) const PIP: Need = Need { found_by: FoundBy::AxeOrPip, installer: APT, package: "python3-pip" };
/// Checks what `docker/` gives to Prometheus.
pub(crate) const PROMTOOL: Need = program(&["promtool"], "PROMTOOL", "prometheus");
/// For tests that make a network of their own.
pub(crate) const IP: Need = program(&["ip"], "", "iproute2");
pub(crate) const SS: Need = program(&["ss"], "", "iproute2");

const fn program(names: &'static [&'static str], variable: &'static str, package: &'static str) -> Need {
    Need { found_by: FoundBy::Program { names, variable }, installer: APT, package }
}

/// Returns an error that names a command for everything that is missing.
pub(crate) async fn require(needs: &[Need], wasm: &WasmCargo, workspace: &Workspace) -> Result<()> {
    let commands = commands(needs, wasm, workspace).await;
    if commands.is_empty() {
        return Ok(());
    }
    let advice = if commands.iter().any(|command| command.starts_with(APT)) {
        " (apt-get is Debian's; other systems name the packages differently)"
    } else {
        ""
    };
    bail!("something that this needs is missing; install it with{advice}\n  {}", commands.join("\n  "));
}

/// Adds Rust's target for the page if it is missing, and says so. It belongs to the toolchain, unlike everything else that
/// this module names.
pub(crate) async fn add_wasm_target(wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    if let [command] = &commands(&[WASM_TARGET], wasm, workspace).await[..] {
        println!("the page needs another target of Rust's: {command}");
        let mut rustup = workspace.command("rustup");
        rustup.args(["target", "add", TARGET]);
        process::run("adding the target", rustup, interrupt).await.with_context(|| {
            format!("cannot compile the page; add the target with `{command}`, or name another cargo with --wasm-cargo")
        })?;
    }
    Ok(())
}

/// The script of the accessibility checker, if there is one.
pub(crate) fn axe(workspace: &Workspace) -> Option<PathBuf> {
    let named = env::var_os(AXE_VARIABLE).filter(|name| !name.is_empty());
    let script = workspace.root.join(named.map_or_else(|| PathBuf::from(AXE_SCRIPT), PathBuf::from));
    script.is_file().then_some(script)
}

/// The commands that install what is missing, one for each installer.
pub(crate) async fn commands(needs: &[Need], wasm: &WasmCargo, workspace: &Workspace) -> Vec<String> {
    let mut packages = BTreeMap::<&str, Vec<&str>>::new();
    for need in needs {
        let of_installer = packages.entry(need.installer).or_default();
        if !of_installer.contains(&need.package) && !need.is_met(wasm, workspace).await {
            of_installer.push(need.package);
        }
    }
    packages.retain(|_, packages| !packages.is_empty());
    // The system's packages are first, because they bring other installers.
    let system = packages.remove_entry(APT);
    system
        .into_iter()
        .chain(packages)
        .map(|(installer, packages)| format!("{installer} {}", packages.join(" ")))
        .collect()
}

impl Need {
    async fn is_met(self, wasm: &WasmCargo, workspace: &Workspace) -> bool {
        match self.found_by {
            FoundBy::Subcommand(name) => succeeds(workspace.cargo(name)).await,
            FoundBy::WasmSubcommand(name) => succeeds(wasm.ask(workspace, name)).await,
            FoundBy::WasmTarget => wasm.has_target(workspace).await,
            FoundBy::Program { names, variable } => {
                let named = env::var_os(variable).filter(|name| !name.is_empty());
                named.map_or_else(|| names.iter().any(is_installed), |name| which::which(name).is_ok())
            }
            FoundBy::AxeOrPip => axe(workspace).is_some() || is_installed(&"pip"),
            FoundBy::Axe => axe(workspace).is_some(),
        }
    }
}

async fn succeeds(mut command: tokio::process::Command) -> bool {
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.status().await.is_ok_and(|status| status.success())
}

/// Debian keeps some programs where only root's `PATH` leads.
fn is_installed(name: &&str) -> bool {
    which::which(name).is_ok() || which::which_in(name, Some("/usr/sbin:/usr/local/sbin"), "/").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_missing_is_named_once_for_each_installer() {
        let absent = |installer, package| Need { installer, ..program(&["no-such-program"], "", package) };
        let needs =
            [absent(APT, "nginx"), absent("cargo install", "tool"), absent(APT, "haproxy"), absent(APT, "nginx")];
        let workspace = Workspace::find().unwrap();
        let commands = commands(&needs, &WasmCargo::new(None), &workspace).await;
        assert_eq!(commands, ["sudo apt-get install nginx haproxy", "cargo install tool"]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_is_named_when_nothing_is_missing() {
        let workspace = Workspace::find().unwrap();
        require(&[program(&["no-such-program", "sh"], "", "dash")], &WasmCargo::new(None), &workspace).await.unwrap();
    }
}

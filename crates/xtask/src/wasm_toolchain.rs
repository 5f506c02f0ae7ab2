//! The Rust that compiles for WebAssembly.
//!
//! Rustup's is the ordinary one. Where its servers can't be reached, Debian's serves: it brings the source of the
//! standard library, which cargo then compiles along with the page.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use tokio::process::Command;

use crate::apt::{self, Apt};
use crate::interrupt::Interrupt;
use crate::workspace::{Workspace, names_of_environment};
use crate::{process, rustup};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian's packages put their programs. Named in full, for `PATH` leads to rustup's first.
const DEBIAN_BIN: &str = "/usr/bin";
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_CLIPPY: &str = "rust-web-clippy";
/// Newest first. Releases of Debian have one or two of them.
const DEBIAN_LINKERS: [&str; 5] = ["lld-22", "lld-21", "lld-20", "lld-19", "lld"];
/// An older linker doesn't know all that today's rustc writes into object files.
const OLDEST_LINKER: u32 = 19;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What the user wants.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The active Rust if it has the target, else `rustup target add`, else Debian's packages.
    Auto,
    /// The active Rust, to which rustup adds the target if need be.
    Rustup,
    /// Debian's packages, installed if need be.
    Debian,
}

/// What there is.
pub(crate) enum WasmToolchain {
    /// The Rust that compiles everything else too.
    Active,
    /// Debian's, and the linker to use with it.
    Debian { linker: PathBuf },
}

impl WasmToolchain {
    /// Finds a toolchain, or installs one.
    pub(crate) async fn find_or_install(choice: Choice, workspace: &Workspace, interrupt: &Interrupt) -> Result<Self> {
        if choice == Choice::Debian {
            return debian(interrupt).await;
        }
        if active_rust_has_target(workspace).await {
            return Ok(Self::Active);
        }
        if rustup::add_target(TARGET, interrupt).await? && active_rust_has_target(workspace).await {
            return Ok(Self::Active);
        }
        if choice == Choice::Rustup {
            bail!("the active Rust can't compile for {TARGET}: install it with `rustup target add {TARGET}`");
        }
        println!("rustup can't add the target {TARGET}, so Debian's Rust is tried");
        debian(interrupt).await.with_context(|| {
            format!("nothing here compiles for {TARGET}, which `rustup target add {TARGET}` would mend")
        })
    }

    /// Sees to it that [`Self::cargo`] can be called with `clippy`.
    pub(crate) async fn require_clippy(&self, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
        match self {
            Self::Active => rustup::require_component(workspace, "clippy", "clippy", interrupt).await,
            Self::Debian { .. } if process::is_program(&debian_program("cargo-clippy")) => Ok(()),
            Self::Debian { .. } => install(&[DEBIAN_CLIPPY], interrupt).await,
        }
    }

    /// A cargo call that compiles for WebAssembly; the caller adds what to compile.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Active => workspace.cargo(subcommand),
            Self::Debian { linker } => {
                let mut command = debian_cargo(workspace, subcommand);
                command
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    .arg("-Zbuild-std=std,panic_abort")
                    .arg("--target-dir")
                    .arg(self.target_dir(workspace));
                command
            }
        };
        // Whoever sets these thinks of native code: a choice of linker or processor that means nothing here.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
            command.env_remove(name);
        }
        command.args(["--target", TARGET]);
        command
    }

    /// The folder in which that cargo leaves what it compiled with a profile.
    pub(crate) fn output_dir(&self, workspace: &Workspace, profile: &str) -> PathBuf {
        let folder = if profile == "dev" { "debug" } else { profile };
        self.target_dir(workspace).join(TARGET).join(folder)
    }

    /// In one sentence, for a person.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Active => "the active Rust".to_owned(),
            Self::Debian { linker } => format!("Debian's Rust with {}", linker.display()),
        }
    }

    /// Two compilers that share a folder would undo each other's work.
    fn target_dir(&self, workspace: &Workspace) -> PathBuf {
        match self {
            Self::Active => workspace.target_dir.clone(),
            Self::Debian { .. } => workspace.target_dir.join("wasm"),
        }
    }
}

async fn active_rust_has_target(workspace: &Workspace) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    sysroot(workspace.command(rustc))
        .await
        .is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

async fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    rustc.args(["--print", "sysroot"]);
    Some(PathBuf::from(process::ask(rustc, ANSWER_LIMIT).await?.trim_end()))
}

async fn debian(interrupt: &Interrupt) -> Result<WasmToolchain> {
    let has_rust = debian_has_rust().await;
    if let Some(linker) = find_linker().filter(|_| has_rust) {
        return Ok(WasmToolchain::Debian { linker });
    }
    let mut missing = Vec::new();
    if !has_rust {
        missing.extend(DEBIAN_RUST);
    }
    install_with_linker(missing, interrupt).await?;
    if !debian_has_rust().await {
        bail!("Debian's packages {} are installed, but their Rust is not of use here", DEBIAN_RUST.join(", "));
    }
    let linker = find_linker().context("no wasm-ld on PATH, though Debian's package for it is installed")?;
    Ok(WasmToolchain::Debian { linker })
}

async fn install_with_linker(mut packages: Vec<&str>, interrupt: &Interrupt) -> Result<()> {
    let Some(apt) = Apt::find().await else {
        packages.push(DEBIAN_LINKERS[0]);
        return Err(cannot_install(&packages));
    };
    apt.update(interrupt).await?;
    if find_linker().is_none() {
        packages.push(apt::first_known(&DEBIAN_LINKERS).await.context("this Debian has no package with wasm-ld")?);
    }
    apt.install(&packages, interrupt).await
}

async fn install(packages: &[&str], interrupt: &Interrupt) -> Result<()> {
    let Some(apt) = Apt::find().await else {
        return Err(cannot_install(packages));
    };
    apt.update(interrupt).await?;
    apt.install(packages, interrupt).await
}

fn cannot_install(packages: &[&str]) -> anyhow::Error {
    anyhow::anyhow!(
        "Debian's packages can't be installed from here; on Debian, run as root: apt-get install {}",
        packages.join(" ")
    )
}

/// Whether Debian's Rust is complete, and new enough for this workspace.
async fn debian_has_rust() -> bool {
    if !process::is_program(&debian_program("cargo")) {
        return false;
    }
    let mut rustc = debian_command("rustc");
    rustc.arg("--version");
    let version = process::ask(rustc, ANSWER_LIMIT).await;
    if !version.is_some_and(|text| is_new_enough(&text, env!("CARGO_PKG_RUST_VERSION"))) {
        return false;
    }
    sysroot(debian_command("rustc"))
        .await
        .is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file())
}

/// Compares `rustc 1.96.0 (…)` with the oldest version that will do.
fn is_new_enough(rustc_version: &str, oldest: &str) -> bool {
    let parse = |version: &str| -> Option<(u32, u32)> {
        let mut numbers = version.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let version = rustc_version.split_whitespace().nth(1).and_then(parse);
    version.is_some() && version >= parse(oldest)
}

fn debian_program(name: &str) -> PathBuf {
    Path::new(DEBIAN_BIN).join(name)
}

fn debian_cargo(workspace: &Workspace, subcommand: &str) -> Command {
    // Cargo would look for its subcommands in its home folder too, where rustup's clippy may lie.
    let program = if subcommand == "clippy" { "cargo-clippy" } else { "cargo" };
    let mut command = debian_command(program);
    command
        .arg(subcommand)
        .current_dir(&workspace.root)
        // `-Zbuild-std` is not yet stable, and Debian's cargo is a stable one.
        .env("RUSTC_BOOTSTRAP", "1");
    command
}

/// One of Debian's Rust programs, shielded from the Rust that xtask was started with.
fn debian_command(name: &str) -> Command {
    let mut command = Command::new(debian_program(name));
    for name in names_of_environment().filter(|name| leads_to_another_rust(name)) {
        command.env_remove(name);
    }
    let mut path = OsString::from(DEBIAN_BIN);
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    command.env("PATH", path);
    command
}

fn leads_to_another_rust(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "CARGO",
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTDOC",
        // Cargo adds the folder of the compiler's own libraries to it.
        "LD_LIBRARY_PATH",
        "RUSTC",
        "RUSTDOC",
        "RUST_RECURSION_COUNT",
        "RUSTUP_TOOLCHAIN",
        "RUSTUP_TOOLCHAIN_SOURCE",
    ];
    NAMES.contains(&name)
}

fn find_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let programs = env::split_paths(&path).chain([PathBuf::from(DEBIAN_BIN)]).filter_map(|dir| dir.read_dir().ok());
    let programs = programs.flatten().flatten().map(|entry| entry.path()).filter(|path| process::is_program(path));
    best_linker(programs)
}

/// Several may be installed: the newest of known age, else the one without a number, else whichever there is.
fn best_linker(programs: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let rank = |path: &Path| -> Option<(u8, u32)> {
        let suffix = path.file_name()?.to_str()?.strip_prefix("wasm-ld")?;
        if suffix.is_empty() {
            return Some((1, 0));
        }
        let version = suffix.strip_prefix('-')?.parse().ok()?;
        Some((if version >= OLDEST_LINKER { 2 } else { 0 }, version))
    };
    programs.filter_map(|path| Some((rank(&path)?, path))).max_by_key(|(rank, _)| *rank).map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(names: &[&str]) -> Option<PathBuf> {
        best_linker(names.iter().map(PathBuf::from))
    }

    #[test]
    fn the_newest_linker_is_chosen() {
        assert_eq!(best(&["wasm-ld-19", "wasm-ld-22", "wasm-ld"]), Some("wasm-ld-22".into()));
        assert_eq!(best(&["wasm-ld-9", "wasm-ld-14"]), Some("wasm-ld-14".into()));
    }

    #[test]
    fn a_linker_of_unknown_age_is_better_than_an_old_one() {
        assert_eq!(best(&["wasm-ld-14", "wasm-ld"]), Some("wasm-ld".into()));
    }

    #[test]
    fn other_programs_are_no_linkers() {
        assert_eq!(best(&["ld", "ld.lld-22", "wasm-ldd", "wasm-ld-22.1", "my-wasm-ld"]), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_new_enough("rustc 1.96.0 (30a34c682 2026-05-25)", "1.88"));
        assert!(is_new_enough("rustc 1.100.0", "1.88"));
        assert!(is_new_enough("rustc 1.88.0", "1.88"));
        assert!(!is_new_enough("rustc 1.63.0", "1.88"));
        assert!(!is_new_enough("something else", "1.88"));
    }
}

//! The cargo that compiles for WebAssembly.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::workspace::Workspace;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The cargo that compiles everything else too, or another program that takes the same arguments.
pub(crate) struct WasmCargo {
    program: Option<PathBuf>,
}

impl WasmCargo {
    /// `program` replaces cargo for WebAssembly, if there is one.
    pub(crate) fn new(program: Option<&Path>) -> Self {
        // Programs start in the workspace's root, which may be another folder than the user's.
        Self { program: program.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())) }
    }

    /// Whether it can compile for WebAssembly. A program that was named is believed to.
    pub(crate) async fn has_target(&self, workspace: &Workspace) -> bool {
        if self.program.is_some() {
            return true;
        }
        let mut rustc = workspace.command(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
        rustc.args(["--print", "target-libdir", "--target", TARGET]).kill_on_drop(true);
        rustc.output().await.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim_end()).is_dir())
    }

    /// `cargo SUBCOMMAND`, for questions such as `--version`.
    pub(crate) fn ask(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let Some(program) = &self.program else { return workspace.cargo(subcommand) };
        let mut command = workspace.command(program);
        command.arg(subcommand);
        command
    }

    /// `cargo SUBCOMMAND` for the target; the caller adds what to compile.
    pub(crate) fn command(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = self.ask(workspace, subcommand);
        // A linker or processor that is chosen for native code means nothing here.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
            command.env_remove(name);
        }
        command.args(["--target", TARGET, "--target-dir"]).arg(self.target_dir(workspace));
        command
    }

    /// The folder of what that cargo compiles with a profile.
    pub(crate) fn output_dir(&self, workspace: &Workspace, profile: &str) -> PathBuf {
        let folder = if profile == "dev" { "debug" } else { profile };
        self.target_dir(workspace).join(TARGET).join(folder)
    }

    /// Another compiler gets a folder of its own: in a shared one each would discard the other's work.
    fn target_dir(&self, workspace: &Workspace) -> PathBuf {
        if self.program.is_some() { workspace.target_dir.join("wasm") } else { workspace.target_dir.clone() }
    }
}

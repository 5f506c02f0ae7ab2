//! Where the project is, and how to call cargo on it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

/// The project's folders and the cargo that `cargo xtask` itself was called with.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Absolute, and passed to every cargo that xtask runs, so that each step finds what the others built.
    pub(crate) target_dir: PathBuf,
    cargo: OsString,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets the variable. The path that is compiled in serves a binary that is called directly.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .ancestors()
            .nth(2)
            .filter(|root| root.join("Cargo.toml").is_file())
            .with_context(|| {
                format!("no workspace two folders above {}: run this as `cargo xtask`", package.display())
            })?
            .to_path_buf();
        let target_dir = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => env::current_dir().context("cannot find the current folder")?.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target_dir, cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()) })
    }

    /// A cargo call on this workspace, with the toolchain that xtask was built with.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = self.command(&self.cargo);
        command.arg(subcommand).env("CARGO_TARGET_DIR", &self.target_dir);
        command
    }

    /// Any program, started in the workspace's root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        // `cargo run` describes xtask in these variables. Build scripts that read them would run again whenever a build
        // from here follows one from a shell.
        for name in
            env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| describes_a_package(name))
        {
            command.env_remove(name);
        }
        command
    }

    /// Where cargo puts the binaries of a native profile.
    pub(crate) fn bin_dir(&self, dev: bool) -> PathBuf {
        self.target_dir.join(if dev { "debug" } else { "release" })
    }

    /// A path for the user's eyes: relative if it is inside the project.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

fn describes_a_package(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_LINKS",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
    ];
    NAMES.contains(&name) || name.starts_with("CARGO_PKG_")
}

#[cfg(test)]
mod tests {
    use super::describes_a_package;

    #[test]
    fn only_variables_that_describe_a_package_are_removed() {
        assert!(describes_a_package("CARGO_MANIFEST_DIR"));
        assert!(describes_a_package("CARGO_PKG_NAME"));
        assert!(!describes_a_package("CARGO_HOME"));
        assert!(!describes_a_package("CARGO_TERM_COLOR"));
    }
}

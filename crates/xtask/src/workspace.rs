//! Where the project lies, and how to call cargo on it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

/// The project's folders and the cargo that `cargo xtask` itself was called with.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Always absolute, and told to every cargo that runs here, so that what one step builds another one finds.
    pub(crate) target_dir: PathBuf,
    cargo: OsString,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        // Cargo says where the package is now; the compiled-in place is for a binary that is called directly.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .ancestors()
            .nth(2)
            .filter(|root| root.join("Cargo.toml").is_file())
            .with_context(|| {
                format!("no workspace two folders above {}: call this as `cargo xtask`", package.display())
            })?
            .to_path_buf();
        let target_dir = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => env::current_dir().context("cannot tell the current folder")?.join(dir),
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
        // `cargo run` describes xtask to xtask. Passed on, it would make build scripts that look at these variables
        // run again each time a build is started from here and then from a shell.
        for name in names_of_environment().filter(|name| describes_a_package(name)) {
            command.env_remove(name);
        }
        command
    }

    /// Where cargo puts the binaries of a native profile.
    pub(crate) fn bin_dir(&self, dev: bool) -> PathBuf {
        self.target_dir.join(if dev { "debug" } else { "release" })
    }

    /// The way to name a path to the user: short where it lies inside the project.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// The names of all variables of this process that are text, as every name that matters here is.
pub(crate) fn names_of_environment() -> impl Iterator<Item = String> {
    env::vars_os().filter_map(|(name, _)| name.into_string().ok())
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
    fn only_what_describes_a_package_is_dropped() {
        assert!(describes_a_package("CARGO_MANIFEST_DIR"));
        assert!(describes_a_package("CARGO_PKG_NAME"));
        assert!(!describes_a_package("CARGO_HOME"));
        assert!(!describes_a_package("CARGO_TERM_COLOR"));
    }
}

//! `cargo xtask test-containers`: runs leader and replicas as containers, and breaks them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

use crate::interrupt::Interrupt;
use crate::process;
use crate::workspace::Workspace;

/// What the test changes in `docker-compose.yaml`.
const CHANGES: &str = "crates/e2e/tests/containers/compose.yaml";

/// The images of the test, beside those that users build.
const LEADER_IMAGE: &str = "calculator-test-leader";
const REPLICA_IMAGE: &str = "calculator-test-replica";
/// What binaries of this machine need to run in a container.
const LIBRARIES_IMAGE: &str = "calculator-test-libraries";

/// The line of the Dockerfile after which come the images that users run, and before which they are compiled.
const END_OF_COMPILING: &str =
    "# `cargo xtask test-containers` puts binaries that exist already in the place of all that is above this line.\n";

/// How long an engine may take to answer.
const ENGINE_LIMIT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build the images with the Dockerfile, instead of packing the binaries in target/release into images.
    #[arg(long)]
    build: bool,
}

pub(crate) async fn run(args: &Args, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    let engine = Engine::find(workspace).await?;
    engine.test(args.build, workspace, interrupt).await
}

/// A container engine that answers, and its Compose.
pub(crate) struct Engine {
    compose: &'static [&'static str],
}

impl Engine {
    /// Looks for Docker and Compose. The error says which does not answer.
    pub(crate) async fn find(workspace: &Workspace) -> Result<Self> {
        if !answers(workspace, &["docker", "version"]).await {
            bail!("no container engine answers: `docker version` fails");
        }
        for compose in [&["docker", "compose"][..], &["docker-compose"]] {
            if answers(workspace, &[compose, &["version"]].concat()).await {
                return Ok(Self { compose });
            }
        }
        bail!("Compose is not installed: `docker compose version` and `docker-compose version` fail")
    }

    /// Makes the images, runs the test, and removes everything again, also after a failure or Ctrl-C.
    pub(crate) async fn test(&self, build: bool, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
        let project =
            Project { engine: self, name: format!("calculator-test-{}", std::process::id()), port: free_port()? };
        let start = Instant::now();
        let images =
            if build { build_images(workspace, interrupt).await } else { pack_images(workspace, interrupt).await };
        println!("the images took {}", process::minutes(start.elapsed()));
        let tested = match images {
            Ok(()) => project.test(workspace, interrupt).await,
            Err(error) => Err(error),
        };
        if tested.as_ref().is_err_and(|error| !error.is::<crate::Interrupted>()) {
            project.print_logs(workspace).await;
        }
        project.remove(workspace).await;
        tested
    }
}

/// A project of Compose that only this test uses.
struct Project<'a> {
    engine: &'a Engine,
    name: String,
    port: u16,
}

impl Project<'_> {
    async fn test(&self, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
        let mut cargo = workspace.cargo("test");
        cargo.args(["--release", "--package", "e2e", "--test", "containers", "--", "--nocapture"]);
        self.describe(&mut cargo, workspace);
        process::run("the test of containers", cargo, interrupt).await
    }

    async fn print_logs(&self, workspace: &Workspace) {
        let _ = self.compose(workspace, &["ps"]).status().await;
        let _ = self.compose(workspace, &["logs", "--no-color", "--tail", "15"]).status().await;
    }

    /// Errors are printed by the programs themselves. They mean that there is nothing to remove, or that somebody has to look.
    async fn remove(&self, workspace: &Workspace) {
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "1"];
        let _ = self.compose(workspace, &down).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        let mut images = docker(workspace);
        images.args(["image", "rm", "--force", LEADER_IMAGE, REPLICA_IMAGE, LIBRARIES_IMAGE]);
        let _ = images.stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    }

    /// A call of Compose that Ctrl-C does not reach.
    fn compose(&self, workspace: &Workspace, arguments: &[&str]) -> Command {
        let mut command = workspace.command(self.engine.compose[0]);
        command.args(&self.engine.compose[1..]).args(arguments).stdin(Stdio::null());
        process::own_group(&mut command);
        self.describe(&mut command, workspace);
        command
    }

    /// Tells Compose, and the test, what the project is.
    fn describe(&self, command: &mut Command, workspace: &Workspace) {
        let file = |name: &str| workspace.root.join(name).display().to_string();
        command
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("COMPOSE_FILE", format!("{}:{}", file("docker-compose.yaml"), file(CHANGES)))
            .env("CALCULATOR_COMPOSE", self.engine.compose.join(" "))
            .env("CALCULATOR_PORT", self.port.to_string())
            .env("CALCULATOR_LEADER_IMAGE", LEADER_IMAGE)
            .env("CALCULATOR_REPLICA_IMAGE", REPLICA_IMAGE);
    }
}

async fn build_images(workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    for (target, image) in [("leader", LEADER_IMAGE), ("replica", REPLICA_IMAGE)] {
        let mut build = docker(workspace);
        build.args(["build", "--target", target, "--tag", image, "."]);
        process::run(&format!("building the image {image}"), build, interrupt).await?;
    }
    Ok(())
}

/// Puts the binaries of the step `bins` into the last stages of the Dockerfile.
async fn pack_images(workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    let folder = workspace.target_dir.join("containers");
    // It may have files of an earlier version.
    let _ = fs::remove_dir_all(&folder);
    // The test needs no authorities.
    for empty in ["data", "certs"] {
        fs::create_dir_all(folder.join(empty)).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    // Each once: tar stores a file that it meets again as a link to itself.
    let mut libraries = BTreeSet::new();
    for program in ["calculator-leader", "calculator-replica"] {
        let binary = workspace.bin_dir(false).join(program);
        if !binary.is_file() {
            bail!("no {}: run `cargo xtask test --only web --only bins` first, or add --build", binary.display());
        }
        libraries.extend(libraries_of(&binary, workspace).await?);
        strip(&binary, &folder.join("bin").join(program), workspace, interrupt).await?;
    }
    let archive = folder.join("libraries.tar");
    let mut tar = workspace.command("tar");
    // The names lead to the files through links that the image does not have.
    tar.args(["--create", "--dereference", "--absolute-names", "--file"]).arg(&archive).args(libraries);
    process::run("collecting libraries", tar, interrupt).await?;
    let mut import = docker(workspace);
    import.arg("import").arg(&archive).arg(LIBRARIES_IMAGE).stdout(Stdio::null());
    process::run("importing libraries", import, interrupt).await?;

    let dockerfile = folder.join("Dockerfile");
    let whole = fs::read_to_string(workspace.root.join("Dockerfile")).context("cannot read the Dockerfile")?;
    fs::write(&dockerfile, packed(&whole)?).with_context(|| format!("cannot write {}", dockerfile.display()))?;
    for (target, image) in [("leader", LEADER_IMAGE), ("replica", REPLICA_IMAGE)] {
        let mut build = docker(workspace);
        build.args(["build", "--quiet", "--target", target, "--tag", image, "--build-arg"]);
        build.arg(format!("RUNTIME_IMAGE={LIBRARIES_IMAGE}")).arg(&folder).stdout(Stdio::null());
        process::run(&format!("packing the image {image}"), build, interrupt).await?;
    }
    Ok(())
}

/// The Dockerfile with binaries in the place of all that compiles them.
fn packed(dockerfile: &str) -> Result<String> {
    let (_, images) = dockerfile
        .split_once(END_OF_COMPILING)
        .with_context(|| format!("the Dockerfile has no line {:?}", END_OF_COMPILING.trim_end()))?;
    Ok(format!(
        "ARG RUNTIME_IMAGE\nFROM scratch AS build\nCOPY bin /out/bin\nCOPY data /out/data\nCOPY certs /out/certs\n{images}"
    ))
}

/// Copies a binary without its debug information, which would be most of the image.
async fn strip(from: &Path, to: &Path, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut strip = workspace.command("strip");
    strip.arg("-o").arg(to).arg(from);
    process::run("stripping a binary", strip, interrupt).await
}

/// The shared libraries that a binary is linked to, and the program that loads them.
async fn libraries_of(binary: &Path, workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let output = workspace.command("ldd").arg(binary).output().await.context("cannot start ldd")?;
    Ok(paths_in(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths in what `ldd` prints.
fn paths_in(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

fn docker(workspace: &Workspace) -> Command {
    workspace.command("docker")
}

async fn answers(workspace: &Workspace, command: &[&str]) -> bool {
    let mut asked = workspace.command(command[0]);
    asked.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    timeout(ENGINE_LIMIT, asked.status()).await.is_ok_and(|status| status.is_ok_and(|status| status.success()))
}

/// A port that nobody listens on, below those that the system gives to outgoing connections.
fn free_port() -> Result<u16> {
    let first = u16::try_from(std::process::id() % 12_000)?;
    (0..12_000)
        .map(|step| 20_000 + (first + step) % 12_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no port is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_images_are_those_of_the_dockerfile_without_what_compiles() {
        let workspace = Workspace::find().unwrap();
        let packed = packed(&fs::read_to_string(workspace.root.join("Dockerfile")).unwrap()).unwrap();
        for line in ["FROM ${RUNTIME_IMAGE} AS leader", "FROM ${RUNTIME_IMAGE} AS replica", "USER 65534:65534"] {
            assert!(packed.lines().any(|packed| packed == line), "{packed}");
        }
        assert!(packed.contains("HEALTHCHECK") && !packed.contains("cargo"), "{packed}");
    }

    #[test]
    fn libraries_are_found_in_what_ldd_prints() {
        let ldd = "\tlinux-vdso.so.1 (0x1)\n\tlibm.so.6 => /lib/libm.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(paths_in(ldd), ["/lib/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert_eq!(paths_in("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}

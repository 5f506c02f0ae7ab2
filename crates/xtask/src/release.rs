//! `cargo xtask dist`: one archive with everything that an installation needs, and one with the debug information.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{SHA256, digest};
use tar::{EntryType, Header};

use crate::interrupt::Interrupt;
use crate::needs::{self, Need};
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;
use crate::{dist, page, process};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the archives go.
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
}

const NEEDS: [Need; 2] = [needs::CARGO_ABOUT, needs::OBJCOPY];

const PROGRAMS: [&str; 2] = ["calculator-leader", "calculator-replica"];

/// The subcommands that have a man page of their own.
const SUBCOMMANDS: [&str; 5] = ["backup", "export", "health", "restore", "verify"];

/// Where each shell looks for completions: the shell, the folder, and what comes before and after the program's name.
const COMPLETIONS: [(&str, &str, &str, &str); 3] = [
    ("bash", "share/bash-completion/completions", "", ""),
    ("fish", "share/fish/vendor_completions.d", "", ".fish"),
    ("zsh", "share/zsh/site-functions", "_", ""),
];

/// Files of the project that are in the archive, and the folder that they are in there.
const COPIED: [(&str, &str); 9] = [
    ("README.md", "share/doc/calculator"),
    ("CHANGELOG.md", "share/doc/calculator"),
    ("LICENSE-APACHE", "share/doc/calculator"),
    ("LICENSE-MIT", "share/doc/calculator"),
    ("docs", "share/doc/calculator/docs"),
    ("proto", "share/calculator/proto"),
    ("dist/systemd", "lib/systemd/system"),
    ("docker/prometheus", "share/calculator/prometheus"),
    ("docker/grafana", "share/calculator/grafana"),
];

pub(crate) async fn run(args: &Args, wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    needs::require(&NEEDS, wasm, workspace).await?;
    page::run_for_release(wasm, workspace, interrupt).await?;

    let target = host_target()?;
    let compiled = compile(&target, workspace, interrupt).await?;
    let name = format!("calculator-{}-{target}", env!("CARGO_PKG_VERSION"));
    let staged = workspace.target_dir.join("package").join(&name);
    let debug = workspace.target_dir.join("package").join(format!("{name}-debug"));
    for folder in [&staged, &debug] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
    }
    for program in PROGRAMS {
        split(&compiled.join(program), &staged.join("bin"), &debug)?;
        describe(&staged.join("bin").join(program), program, &staged)?;
    }
    for (from, to) in COPIED {
        copy(&workspace.root.join(from), &staged.join(to))?;
    }
    let licences = staged.join("share/doc/calculator/THIRD-PARTY.txt");
    list_licences(&licences, workspace, interrupt).await?;

    let out = workspace.root.join(&args.out);
    fs::create_dir_all(&out).with_context(|| format!("cannot create the folder {}", out.display()))?;
    let archives = [archive(&staged, &name, &out)?, archive(&debug, &format!("{name}-debug"), &out)?];
    write_checksums(&out.join("SHA256SUMS"), &archives)?;
    for program in PROGRAMS {
        report(&staged.join("bin").join(program), workspace)?;
    }
    for file in archives.iter().chain([&out.join("SHA256SUMS")]) {
        report(file, workspace)?;
    }
    Ok(())
}

/// The target of this machine, such as `x86_64-unknown-linux-gnu`.
fn host_target() -> Result<String> {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output().context("cannot start rustc")?;
    let target = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if target.is_empty() { bail!("rustc does not say for which target it compiles") } else { Ok(target) }
}

/// Compiles the programs so that they need no library of the system, and returns the folder that they are in.
async fn compile(target: &str, workspace: &Workspace, interrupt: &Interrupt) -> Result<PathBuf> {
    println!("compiling the programs (static, {target})");
    let mut cargo = workspace.cargo("build");
    cargo.args(["--locked", "--release", "--package", "leader", "--package", "replica", "--target", target]);
    // With a target that is named, the flags are for the programs only. Procedural macros cannot be linked statically.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    process::run("compiling the programs", cargo, interrupt).await?;
    Ok(workspace.target_dir.join(target).join("release"))
}

/// Copies a program without its debug information, which goes into a file of its own. Debuggers look for it under the name
/// that the program notes.
fn split(program: &Path, to: &Path, debug: &Path) -> Result<()> {
    let name = program.file_name().context("a program has a name")?;
    for folder in [to, debug] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    let symbols = debug.join(format!("{}.debug", name.display()));
    objcopy(&["--only-keep-debug", "--compress-debug-sections"], program, &symbols)?;
    objcopy(&["--strip-all", &format!("--add-gnu-debuglink={}", symbols.display())], program, &to.join(name))
}

fn objcopy(flags: &[&str], from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("objcopy").args(flags).args([from, to]).status().context("cannot start objcopy")?;
    if status.success() { Ok(()) } else { bail!("objcopy {} failed ({status})", flags.join(" ")) }
}

/// Writes the man pages and completions that a program makes.
fn describe(program: &Path, name: &str, staged: &Path) -> Result<()> {
    let pages = staged.join("share/man/man1");
    write(&pages.join(format!("{name}.1")), &generate(program, "man")?)?;
    if name == "calculator-leader" {
        for subcommand in SUBCOMMANDS {
            let page = generate(program, &format!("man:{subcommand}"))?;
            write(&pages.join(format!("{name}-{subcommand}.1")), &page)?;
        }
    }
    for (shell, folder, before, after) in COMPLETIONS {
        write(&staged.join(folder).join(format!("{before}{name}{after}")), &generate(program, shell)?)?;
    }
    Ok(())
}

fn generate(program: &Path, kind: &str) -> Result<Vec<u8>> {
    let output = Command::new(program).args(["--generate", kind]).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    bail!("{} --generate {kind} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim())
}

/// The licence of every crate that is in the programs or the page, with its text.
async fn list_licences(to: &Path, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    let mut cargo = workspace.cargo("about");
    cargo.args(["generate", "--locked", "--workspace", "--config", "dist/about.toml", "--fail", "--output-file"]);
    cargo.arg(to).arg("dist/third-party.hbs");
    process::run("listing licences", cargo, interrupt).await
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        return dist::copy(from, &to.join(from.file_name().context("a file has a name")?));
    }
    for (relative, path) in dist::files(from)? {
        dist::copy(&path, &to.join(relative))?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Packs a folder under `name`. Equal contents give equal archives: no time, owner or order of the disk is in them.
fn archive(folder: &Path, name: &str, out: &Path) -> Result<PathBuf> {
    let path = out.join(format!("{name}.tar.gz"));
    pack(folder, name, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn pack(folder: &Path, name: &str, to: &Path) -> Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(File::create(to)?, Compression::best()));
    for (relative, path) in dist::files(folder)? {
        let bytes = fs::read(&path)?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(if relative.starts_with("bin") { 0o755 } else { 0o644 });
        header.set_mtime(0);
        archive.append_data(&mut header, Path::new(name).join(relative), bytes.as_slice())?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

/// In the form that `sha256sum --check` reads.
fn write_checksums(path: &Path, archives: &[PathBuf]) -> Result<()> {
    let mut lines = String::new();
    for archive in archives {
        let bytes = fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?;
        let sum: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        lines += &format!("{sum}  {}\n", archive.file_name().unwrap_or_default().display());
    }
    write(path, lines.as_bytes())
}

fn report(path: &Path, workspace: &Workspace) -> Result<()> {
    let bytes = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    #[expect(clippy::cast_precision_loss, reason = "no file here is that large")]
    let megabytes = bytes as f64 / 1e6;
    println!("{megabytes:8.1} MB  {}", workspace.shown(path));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_folders_make_equal_archives_that_tar_reads() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = directory.path().join(name);
            // In another order, and at another time.
            let files = [("bin/program", "#!"), ("share/text", "text")];
            let files: Vec<_> = if name == "a" { files.into() } else { files.into_iter().rev().collect() };
            for (file, text) in files {
                write(&folder.join(file), text.as_bytes()).unwrap();
            }
            let out = directory.path().join(format!("out-{name}"));
            fs::create_dir(&out).unwrap();
            archive(&folder, "package", &out).unwrap()
        };
        let (a, b) = (make("a"), make("b"));
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        let listed =
            Command::new("tar").arg("--list").arg("--verbose").arg("--gzip").arg("--file").arg(&a).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(
            listed.lines().any(|line| line.starts_with("-rwxr-xr-x") && line.ends_with("package/bin/program")),
            "{listed}"
        );
        assert!(
            listed.lines().any(|line| line.starts_with("-rw-r--r--") && line.ends_with("package/share/text")),
            "{listed}"
        );

        let sums = a.with_file_name("SHA256SUMS");
        write_checksums(&sums, std::slice::from_ref(&a)).unwrap();
        let checked =
            Command::new("sha256sum").arg("--check").arg(&sums).current_dir(a.parent().unwrap()).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

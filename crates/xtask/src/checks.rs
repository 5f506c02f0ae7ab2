//! `cargo xtask test`: every check, in the order in which they build on each other.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use tokio::process::Command;
use tokio::time::timeout;

use crate::containers::Engine;
use crate::interrupt::Interrupt;
use crate::needs::{self, Need};
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;
use crate::{page, process};

/// Each seed is a world. `cargo run --release -p sim -- --seeds 0..100000` runs more of them.
const SIMULATED_SEEDS: &str = "0..500";

/// How long the database of advisories may take to download. Some networks neither reach it nor refuse it.
const ADVISORIES_LIMIT: Duration = Duration::from_secs(60);

/// Runs one test at a time, because some of them measure.
const ALONE: &[&str] = &["--test-threads=1"];

/// Leaves out the tests of the page that choose by themselves between TLS and cleartext, or have no leader. The others wait most
/// of the time, so two run at once.
const OVER_TLS: &[&str] = &[
    "--test-threads=2",
    "--skip=tabs_beyond_",
    "--skip=_over_tls_",
    "--skip=a_missing_or_",
    "--skip=a_part_that_",
    "--skip=before_the_",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this step, and those of further `--only`; what it needs must be built already.
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,

    /// List the steps, and run none.
    #[arg(long)]
    list: bool,

    /// Print the commands that install what the steps need and is missing, and run no step.
    #[arg(long, conflicts_with = "list")]
    missing: bool,
}

/// Declared in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The code is formatted
    Fmt,
    /// The page compiles, small, into web/dist, from where the leader embeds it
    Web,
    /// Clippy has no warnings for native code
    Clippy,
    /// Clippy has no warnings for the code that runs in browsers
    ClippyWasm,
    /// Dependencies have allowed licences and sources, no surprising duplicates, and no known vulnerabilities
    Deny,
    /// The documentation builds without warnings
    Doc,
    /// Unit and integration tests
    Test,
    /// Five hundred simulated worlds keep every promise
    Sim,
    /// Every state of every small world keeps every promise
    Explore,
    /// The simulation is deterministic, and it and the search of the small worlds catch each deliberate fault
    Faults,
    /// The leader and the replica compile, optimised, for the next steps
    Bins,
    /// Killed leaders and full disks lose nothing
    Durability,
    /// One leader serves many replicas at once
    Load,
    /// The page works in a real browser
    Browser,
    /// The page works in a real browser over TLS, where all its calls share a connection
    BrowserTls,
    /// The page and native replicas work behind nginx and HAProxy
    Proxies,
    /// Leader and replicas agree again after trouble between containers; left out where no container engine answers
    Containers,
}

/// How a step ended that did not fail.
enum Outcome {
    Passed,
    /// Nothing was checked, for this reason.
    LeftOut(String),
}

pub(crate) async fn run(args: &Args, wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(|step| args.only.is_empty() || args.only.contains(step))
        .collect();
    if args.list {
        for step in steps {
            println!("{:12} {}", step.name(), step.purpose());
        }
        return Ok(());
    }
    let needs: Vec<Need> = steps.iter().flat_map(|step| step.needs()).copied().collect();
    if args.missing {
        for command in needs::commands(&needs, wasm, workspace).await {
            println!("{command}");
        }
        return Ok(());
    }
    needs::require(&needs, wasm, workspace).await?;
    let checks = Checks { workspace, interrupt, wasm };
    checks.run_all(&steps).await
}

impl Step {
    fn value(self) -> PossibleValue {
        self.to_possible_value().unwrap_or_default()
    }

    fn name(self) -> String {
        self.value().get_name().to_owned()
    }

    fn purpose(self) -> String {
        self.value().get_help().map(ToString::to_string).unwrap_or_default()
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::Fmt => &[needs::RUSTFMT],
            Self::Web => &[needs::WASM_TARGET],
            Self::Clippy => &[needs::CLIPPY],
            Self::ClippyWasm => &[needs::WASM_TARGET, needs::WASM_CLIPPY],
            Self::Deny => &[needs::CARGO_DENY],
            Self::Test => &[needs::IP, needs::SS, needs::SYSTEMD_ANALYZE, needs::PROMTOOL],
            Self::Browser | Self::BrowserTls => &[needs::CHROME, needs::CHROMEDRIVER, needs::PIP, needs::AXE],
            Self::Proxies => &[needs::CHROME, needs::CHROMEDRIVER, needs::NGINX, needs::HAPROXY],
            Self::Doc
            | Self::Sim
            | Self::Explore
            | Self::Faults
            | Self::Bins
            | Self::Durability
            | Self::Load
            | Self::Containers => &[],
        }
    }
}

struct Checks<'a> {
    workspace: &'a Workspace,
    interrupt: &'a Interrupt,
    wasm: &'a WasmCargo,
}

impl Checks<'_> {
    async fn run_all(&self, steps: &[Step]) -> Result<()> {
        let started = Instant::now();
        let mut summary = Summary::default();
        let mut left_out = 0;
        for (number, step) in (1..).zip(steps) {
            println!("\n[{number}/{}] {}: {}", steps.len(), step.name(), step.purpose());
            let step_started = Instant::now();
            let outcome = self.run(*step).await;
            let took = step_started.elapsed();
            left_out += u32::from(matches!(outcome, Ok(Outcome::LeftOut(_))));
            let verdict = verdict(outcome.as_ref().ok());
            println!("{}: {verdict} after {}", step.name(), process::minutes(took));
            summary.add(&step.name(), took, &verdict);
            if let Err(error) = outcome {
                println!("\n{}", summary.table(steps));
                return Err(error.context(format!("step {} of `cargo xtask test`", step.name())));
            }
        }
        let what = if left_out == 0 { "all passed".to_owned() } else { format!("all passed but {left_out} left out") };
        println!("\n{}\n{what} in {}", summary.table(steps), process::minutes(started.elapsed()));
        Ok(())
    }

    async fn run(&self, step: Step) -> Result<Outcome> {
        let ran = match step {
            Step::Fmt => self.cargo("fmt", &["--all", "--check"]).await,
            Step::Web => page::build(false, self.wasm, self.workspace, self.interrupt).await,
            Step::Clippy => {
                self.cargo("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"]).await?;
                // The faults, and the tests of them, are compiled with this feature only.
                let faults = ["--package", "sim", "--package", "explore", "--features", "faults", "--all-targets"];
                self.cargo("clippy", &[&faults[..], &["--", "-D", "warnings"]].concat()).await
            }
            Step::ClippyWasm => {
                // The page's call covers the crates that it depends on. The engine by itself also compiles without the
                // features that other crates switch on for it.
                self.clippy_for_wasm("web").await?;
                self.clippy_for_wasm("engine").await
            }
            Step::Deny => self.deny().await,
            Step::Doc => {
                let mut cargo = self.workspace.cargo("doc");
                cargo.args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
                self.finish("cargo doc", cargo).await
            }
            Step::Test => self.cargo("test", &["--workspace", "--exclude", "e2e", "--exclude", "bench"]).await,
            Step::Sim => self.cargo("run", &["--package", "sim", "--", "--seeds", SIMULATED_SEEDS]).await,
            Step::Explore => self.cargo("run", &["--release", "--package", "explore"]).await,
            Step::Faults => {
                self.cargo("test", &["--package", "sim", "--package", "explore", "--features", "faults"]).await
            }
            Step::Bins => self.cargo("build", &["--release", "--package", "leader", "--package", "replica"]).await,
            Step::Durability | Step::Load | Step::Browser | Step::Proxies => {
                self.end_to_end(&step.name(), ALONE, &[]).await
            }
            Step::BrowserTls => self.end_to_end("browser", OVER_TLS, &[("CALCULATOR_SCHEME", "https")]).await,
            Step::Containers => return self.containers().await,
        };
        ran.map(|()| Outcome::Passed)
    }

    async fn containers(&self) -> Result<Outcome> {
        match Engine::find(self.workspace).await {
            Ok(engine) => engine.test(false, self.workspace, self.interrupt).await.map(|()| Outcome::Passed),
            Err(none) => Ok(Outcome::LeftOut(none.to_string())),
        }
    }

    async fn cargo(&self, subcommand: &str, args: &[&str]) -> Result<()> {
        let mut cargo = self.workspace.cargo(subcommand);
        cargo.args(args);
        self.finish(&format!("cargo {subcommand}"), cargo).await
    }

    async fn clippy_for_wasm(&self, package: &str) -> Result<()> {
        let mut cargo = self.wasm.command(self.workspace, "clippy");
        cargo.args(["--package", package, "--", "-D", "warnings"]);
        self.finish(&format!("cargo clippy for WebAssembly ({package})"), cargo).await
    }

    async fn deny(&self) -> Result<()> {
        self.cargo("deny", &["check", "bans", "licenses", "sources"]).await?;
        match timeout(ADVISORIES_LIMIT, self.cargo("deny", &["fetch", "db"])).await {
            Ok(Ok(())) => self.cargo("deny", &["check", "--disable-fetch", "advisories"]).await,
            Ok(Err(error)) if error.is::<crate::Interrupted>() => Err(error),
            Ok(Err(_)) | Err(_) => {
                println!("the database of advisories cannot be fetched: known vulnerabilities were not looked for");
                Ok(())
            }
        }
    }

    /// A test of the package `e2e`, which runs the optimised binaries. `flags` are for its runner.
    async fn end_to_end(&self, test: &str, flags: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        let bin_dir = self.workspace.bin_dir(false);
        if !bin_dir.join("calculator-leader").is_file() {
            bail!("no calculator-leader in {}: add `--only web --only bins`", bin_dir.display());
        }
        let mut cargo = self.workspace.cargo("test");
        cargo.args(["--release", "--package", "e2e", "--test", test, "--", "--nocapture"]);
        cargo.args(flags).envs(environment.iter().copied()).env("CALCULATOR_BIN_DIR", bin_dir);
        if let Some(script) = needs::axe(self.workspace) {
            cargo.env(needs::AXE_VARIABLE, script);
        }
        self.finish(&format!("cargo test of {test}"), cargo).await
    }

    async fn finish(&self, what: &str, command: Command) -> Result<()> {
        process::run(what, command, self.interrupt).await
    }
}

/// The steps that ended, and how long each took.
#[derive(Default)]
struct Summary {
    done: Vec<String>,
}

impl Summary {
    fn add(&mut self, name: &str, took: Duration, verdict: &str) {
        self.done.push(format!("{name:12} {:>8.1}  {verdict}", took.as_secs_f64()));
    }

    fn table(&self, steps: &[Step]) -> String {
        let mut lines = vec![format!("{:12} {:>8}  result", "step", "seconds")];
        lines.extend(self.done.iter().cloned());
        lines.extend(steps.iter().skip(self.done.len()).map(|step| format!("{:12} {:>8}  not run", step.name(), "-")));
        lines.join("\n")
    }
}

fn verdict(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Passed) => "ok".to_owned(),
        Some(Outcome::LeftOut(reason)) => format!("LEFT OUT ({reason})"),
        None => "FAILED".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_shows_what_was_not_run() {
        let mut summary = Summary::default();
        summary.add("fmt", Duration::from_millis(1250), &verdict(Some(&Outcome::Passed)));
        summary.add("containers", Duration::ZERO, &verdict(Some(&Outcome::LeftOut("no engine".to_owned()))));
        summary.add("clippy", Duration::from_secs(90), &verdict(None));
        let table = summary.table(&[Step::Fmt, Step::Containers, Step::Clippy, Step::ClippyWasm]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["step", "seconds", "result"]);
        assert_eq!(lines[1], ["fmt", "1.2", "ok"]);
        assert_eq!(lines[2], ["containers", "0.0", "LEFT", "OUT", "(no", "engine)"]);
        assert_eq!(lines[3], ["clippy", "90.0", "FAILED"]);
        assert_eq!(lines[4], ["clippy-wasm", "-", "not", "run"]);
    }

    #[test]
    fn the_page_is_built_before_anything_that_embeds_it() {
        let place = |wanted| Step::value_variants().iter().position(|step| *step == wanted);
        for later in [Step::Clippy, Step::Test, Step::Bins] {
            assert!(place(Step::Web) < place(later));
        }
        for later in [Step::Durability, Step::Load, Step::Browser, Step::BrowserTls, Step::Proxies, Step::Containers] {
            assert!(place(Step::Bins) < place(later));
        }
    }
}

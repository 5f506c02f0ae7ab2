//! `cargo xtask test`: every check, in the order in which they build on each other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use tokio::process::Command;

use crate::browser::Browser;
use crate::interrupt::Interrupt;
use crate::network;
use crate::proxies::Proxies;
use crate::wasm_toolchain::{Choice, WasmToolchain};
use crate::workspace::Workspace;
use crate::{page, process, rustup};

/// Each is a world of its own; more of them are run by hand with `cargo run --release -p sim -- --seeds 0..100000`.
const SIMULATED_SEEDS: &str = "0..500";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this step, and those named by further `--only`; what it needs must be built already.
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,

    /// Say what the steps are, and run none.
    #[arg(long)]
    list: bool,

    /// Let the browser tests draw docs/page.png anew.
    #[arg(long)]
    update_screenshot: bool,
}

/// Declared in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The code is formatted
    Fmt,
    /// The page compiles, small, into web/dist, where the leader takes it from
    Web,
    /// Clippy has nothing to say about native code
    Clippy,
    /// Clippy has nothing to say about what runs in browsers
    ClippyWasm,
    /// The documentation builds without warnings
    Doc,
    /// Unit and integration tests
    Test,
    /// Five hundred simulated worlds keep every promise
    Sim,
    /// The simulation is deterministic, and catches each deliberate fault
    Faults,
    /// The leader and the replica compile, optimised, for the next two steps
    Bins,
    /// Killed leaders and full disks lose nothing
    Durability,
    /// One leader serves many replicas at once
    Load,
    /// The page works in a real browser
    Browser,
    /// The page and native replicas work behind nginx and HAProxy
    Proxies,
}

pub(crate) async fn run(args: &Args, choice: Choice, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
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
    let tools = Tools::find_or_install(&steps, choice, workspace, interrupt).await?;
    let checks = Checks { workspace, interrupt, tools, update_screenshot: args.update_screenshot };
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
}

/// What the chosen steps need beside cargo. All of it is looked for before the first step starts: nobody likes to
/// hear after ten minutes that a browser is missing.
#[derive(Default)]
struct Tools {
    wasm: Option<WasmToolchain>,
    browser: Option<Browser>,
    proxies: Option<Proxies>,
}

impl Tools {
    async fn find_or_install(
        steps: &[Step],
        choice: Choice,
        workspace: &Workspace,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut tools = Self::default();
        if steps.contains(&Step::Fmt) {
            rustup::require_component(workspace, "fmt", "rustfmt", interrupt).await?;
        }
        if steps.contains(&Step::Clippy) {
            rustup::require_component(workspace, "clippy", "clippy", interrupt).await?;
        }
        if steps.contains(&Step::Test) {
            network::require(interrupt).await?;
        }
        if steps.contains(&Step::Web) || steps.contains(&Step::ClippyWasm) {
            let wasm = WasmToolchain::find_or_install(choice, workspace, interrupt).await?;
            println!("for WebAssembly: {}", wasm.description());
            if steps.contains(&Step::ClippyWasm) {
                wasm.require_clippy(workspace, interrupt).await?;
            }
            tools.wasm = Some(wasm);
        }
        if steps.contains(&Step::Browser) || steps.contains(&Step::Proxies) {
            let browser = Browser::find_or_install(interrupt).await?;
            println!("for the page: {} with {}", browser.chrome.display(), browser.chromedriver.display());
            tools.browser = Some(browser);
        }
        if steps.contains(&Step::Proxies) {
            tools.proxies = Some(Proxies::find_or_install(interrupt).await?);
        }
        Ok(tools)
    }

    fn wasm(&self) -> Result<&WasmToolchain> {
        self.wasm.as_ref().context("nobody looked for a Rust for WebAssembly")
    }

    fn browser(&self) -> Result<&Browser> {
        self.browser.as_ref().context("nobody looked for a browser")
    }
}

struct Checks<'a> {
    workspace: &'a Workspace,
    interrupt: &'a Interrupt,
    tools: Tools,
    update_screenshot: bool,
}

impl Checks<'_> {
    async fn run_all(&self, steps: &[Step]) -> Result<()> {
        let started = Instant::now();
        let mut summary = Summary::default();
        for (number, step) in (1..).zip(steps) {
            println!("\n[{number}/{}] {}: {}", steps.len(), step.name(), step.purpose());
            let step_started = Instant::now();
            let outcome = self.run(*step).await;
            let took = step_started.elapsed();
            let passed = outcome.is_ok();
            println!("{}: {} after {}", step.name(), verdict(passed), process::spoken(took));
            summary.add(&step.name(), took, passed);
            if let Err(error) = outcome {
                println!("\n{}", summary.table(steps));
                return Err(error.context(format!("step {} of `cargo xtask test`", step.name())));
            }
        }
        println!("\n{}\nall passed in {}", summary.table(steps), process::spoken(started.elapsed()));
        Ok(())
    }

    async fn run(&self, step: Step) -> Result<()> {
        match step {
            Step::Fmt => self.cargo("fmt", &["--all", "--check"]).await,
            Step::Web => page::build(false, self.tools.wasm()?, self.workspace, self.interrupt).await,
            Step::Clippy => {
                self.cargo("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"]).await?;
                // Some code of the simulation, and of the crates below it, is compiled with its feature only.
                let sim = ["--package", "sim", "--features", "faults", "--all-targets", "--", "-D", "warnings"];
                self.cargo("clippy", &sim).await
            }
            Step::ClippyWasm => {
                // Clippy looks at all of the workspace that the page depends on. The engine by itself is another
                // matter: then no other crate has switched on features for it.
                self.clippy_for_wasm("web").await?;
                self.clippy_for_wasm("engine").await
            }
            Step::Doc => {
                let mut cargo = self.workspace.cargo("doc");
                cargo.args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
                self.finish("cargo doc", cargo).await
            }
            Step::Test => self.cargo("test", &["--workspace", "--exclude", "e2e", "--exclude", "bench"]).await,
            Step::Sim => self.cargo("run", &["--package", "sim", "--", "--seeds", SIMULATED_SEEDS]).await,
            Step::Faults => self.cargo("test", &["--package", "sim", "--features", "faults"]).await,
            Step::Bins => self.cargo("build", &["--release", "--package", "leader", "--package", "replica"]).await,
            Step::Durability => {
                self.finish("the durability tests", self.end_to_end("durability", &["--test-threads=1"])?).await
            }
            Step::Load => self.finish("the load test", self.end_to_end("load", &["--test-threads=1"])?).await,
            Step::Browser => {
                let mut cargo = self.in_browser("browser")?;
                if self.update_screenshot {
                    cargo.env("CALCULATOR_UPDATE_SCREENSHOT", "1");
                }
                self.finish("the browser tests", cargo).await
            }
            Step::Proxies => {
                let proxies = self.tools.proxies.as_ref().context("nobody looked for proxies")?;
                let mut cargo = self.in_browser("proxies")?;
                cargo.env("CALCULATOR_NGINX", &proxies.nginx);
                cargo.env("CALCULATOR_HAPROXY", &proxies.haproxy);
                self.finish("the tests behind proxies", cargo).await
            }
        }
    }

    async fn cargo(&self, subcommand: &str, args: &[&str]) -> Result<()> {
        let mut cargo = self.workspace.cargo(subcommand);
        cargo.args(args);
        self.finish(&format!("cargo {subcommand}"), cargo).await
    }

    async fn clippy_for_wasm(&self, package: &str) -> Result<()> {
        let mut cargo = self.tools.wasm()?.cargo(self.workspace, "clippy");
        cargo.args(["--package", package, "--", "-D", "warnings"]);
        self.finish(&format!("cargo clippy for WebAssembly ({package})"), cargo).await
    }

    /// A test of the package `e2e`, which runs the optimised binaries.
    fn end_to_end(&self, test: &str, test_args: &[&str]) -> Result<Command> {
        let bin_dir = self.workspace.bin_dir(false);
        if !process::is_program(&bin_dir.join("calculator-leader")) {
            bail!("no calculator-leader in {}: add `--only web --only bins`", bin_dir.display());
        }
        let mut cargo = self.workspace.cargo("test");
        cargo.args(["--release", "--package", "e2e", "--test", test, "--", "--nocapture"]).args(test_args);
        cargo.env("CALCULATOR_BIN_DIR", bin_dir);
        Ok(cargo)
    }

    /// A test of the package `e2e` that also starts a browser.
    fn in_browser(&self, test: &str) -> Result<Command> {
        let browser = self.tools.browser()?;
        let mut cargo = self.end_to_end(test, &["--test-threads=1"])?;
        cargo.env("CALCULATOR_CHROME", &browser.chrome);
        cargo.env("CALCULATOR_CHROMEDRIVER", &browser.chromedriver);
        Ok(cargo)
    }

    async fn finish(&self, what: &str, command: Command) -> Result<()> {
        process::run(what, command, self.interrupt).await
    }
}

/// What each step came to.
#[derive(Default)]
struct Summary {
    done: Vec<String>,
}

impl Summary {
    fn add(&mut self, name: &str, took: Duration, passed: bool) {
        self.done.push(format!("{name:12} {:>8.1}  {}", took.as_secs_f64(), verdict(passed)));
    }

    fn table(&self, steps: &[Step]) -> String {
        let mut lines = vec![format!("{:12} {:>8}  result", "step", "seconds")];
        lines.extend(self.done.iter().cloned());
        lines.extend(steps.iter().skip(self.done.len()).map(|step| format!("{:12} {:>8}  not run", step.name(), "-")));
        lines.join("\n")
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_shows_what_was_not_run() {
        let mut summary = Summary::default();
        summary.add("fmt", Duration::from_millis(1250), true);
        summary.add("clippy", Duration::from_secs(90), false);
        let table = summary.table(&[Step::Fmt, Step::Clippy, Step::ClippyWasm]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["step", "seconds", "result"]);
        assert_eq!(lines[1], ["fmt", "1.2", "ok"]);
        assert_eq!(lines[2], ["clippy", "90.0", "FAILED"]);
        assert_eq!(lines[3], ["clippy-wasm", "-", "not", "run"]);
    }

    #[test]
    fn the_page_is_built_before_anything_that_takes_it_in() {
        let place = |wanted| Step::value_variants().iter().position(|step| *step == wanted);
        for later in [Step::Clippy, Step::Test, Step::Bins] {
            assert!(place(Step::Web) < place(later));
        }
        assert!(place(Step::Bins) < place(Step::Durability));
        assert!(place(Step::Bins) < place(Step::Load));
        assert!(place(Step::Bins) < place(Step::Browser));
        assert!(place(Step::Bins) < place(Step::Proxies));
    }
}

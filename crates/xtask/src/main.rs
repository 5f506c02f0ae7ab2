//! `cargo xtask`: builds, runs and checks the project.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user on the terminal")]

mod certificate;
mod checks;
mod containers;
mod demo;
mod demo_child;
mod dist;
mod health;
mod interrupt;
mod measure;
mod needs;
mod pack;
mod page;
mod pictures;
mod process;
mod release;
mod shorten;
mod wasm_cargo;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::interrupt::{Interrupt, Interrupted};
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;

/// Build, run and check the distributed calculator.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,

    /// Call this program instead of cargo to compile for WebAssembly.
    #[arg(long, global = true, value_name = "PROGRAM", env = "CALCULATOR_WASM_CARGO")]
    wasm_cargo: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, then run a leader and some replicas until Ctrl-C.
    Demo(demo::Args),
    /// Run every check that a change has to pass, step by step.
    Test(checks::Args),
    /// Run leader and replicas as containers, kill them, cut them off and fill their volume: the step `containers` of `test`.
    TestContainers(containers::Args),
    /// Build the page and measure it in a browser: bytes, time to the first value, frames, memory.
    Page(measure::Args),
    /// Build the page into web/dist.
    Web(page::Args),
    /// Pack static programs, man pages, completions, units and licences into archives for an installation.
    Dist(release::Args),
    /// Draw the pictures in docs/ again, from the real page.
    Pictures,
}

/// The exit code that shells report for a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Ctrl-C is the ordinary way to end the demo, so it is no failure there.
    let when_interrupted = match cli.task {
        Task::Demo(_) => ExitCode::SUCCESS,
        Task::Dist(_) | Task::Page(_) | Task::Test(_) | Task::TestContainers(_) | Task::Web(_) | Task::Pictures => {
            ExitCode::from(EXIT_INTERRUPTED)
        }
    };
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("interrupted");
            when_interrupted
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let workspace = Workspace::find()?;
    let interrupt = Interrupt::listen()?;
    let wasm = WasmCargo::new(cli.wasm_cargo.as_deref());
    match cli.task {
        Task::Demo(args) => demo::run(&args, &wasm, &workspace, &interrupt).await,
        Task::Dist(args) => release::run(&args, &wasm, &workspace, &interrupt).await,
        Task::Page(args) => measure::run(&args, &wasm, &workspace, &interrupt).await,
        Task::Test(args) => checks::run(&args, &wasm, &workspace, &interrupt).await,
        Task::TestContainers(args) => containers::run(&args, &workspace, &interrupt).await,
        Task::Web(args) => page::run(&args, &wasm, &workspace, &interrupt).await,
        Task::Pictures => pictures::run(&wasm, &workspace, &interrupt).await,
    }
}

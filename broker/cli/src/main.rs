//! The `logmill` binary: the broker, its demo, and the commands that talk to a broker.
//!
//! Results go to standard output, everything else to standard error. Exit status: 0 when all of it was done, 1 when
//! something failed, 2 when the command line or the configuration is wrong.

#![forbid(unsafe_code)]

mod configured;
mod output;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A log broker that speaks Kafka's protocol, with an exactly-once stream processor inside.
#[derive(Debug, Parser)]
#[command(name = "logmill", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker.
    Serve(serve::Serve),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(serve) => serve.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

//! `logmill`: the broker and the tools for it in one binary.
//!
//! Standard output carries results only (JSON is always valid there); progress, warnings and errors go to
//! standard error. Exit status: 0 done, 1 failed, 2 not understood.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod confirm;
mod demo;
mod failure;
mod logging;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::Error::new(error).context("cannot start threads")),
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = arguments.connection;
    let done = |()| ExitCode::SUCCESS;
    match arguments.command {
        Command::Serve(command) => commands::serve::run(command).await.map(done),
        Command::Demo(command) => demo::run(command).await.map(done),
        Command::Config(command) => commands::config::run(&command, connection.output).map(done),
        Command::Storage(command) => commands::storage::run(command, connection.output),
        other => {
            logging::for_tools(connection.verbose);
            match other {
                Command::Topic(command) => commands::topic::run(command, &connection).await,
                Command::Produce(command) => commands::produce::run(command, &connection).await.map(done),
                Command::Consume(command) => commands::consume::run(command, &connection).await.map(done),
                Command::Group(command) => commands::group::run(command, &connection).await.map(done),
                Command::Pipeline(command) => commands::pipeline::run(command, &connection).await.map(done),
                Command::Serve(_) | Command::Demo(_) | Command::Config(_) | Command::Storage(_) => {
                    Ok(ExitCode::SUCCESS)
                }
            }
        }
    }
}

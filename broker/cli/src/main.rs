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
mod security;

use std::pin::Pin;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use arguments::{Arguments, Client, Clients, Command, Shown};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let (name, form) = (name_of(&matches), arguments.command.form());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot start threads");
            return failure::report_as(&error, &name, form);
        }
    };
    // Behind a pointer it is compiled once; as itself, in each part of the program that has to do with its type.
    let running: Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>>>> = Box::pin(run(arguments));
    match runtime.block_on(running) {
        Ok(code) => code,
        Err(error) => failure::report_as(&error, &name, form),
    }
}

/// The command and those below it, as they were called.
fn name_of(matches: &ArgMatches) -> String {
    let all = std::iter::successors(Some(matches), |matches| matches.subcommand().map(|(_, below)| below));
    let names = all.filter_map(ArgMatches::subcommand_name);
    names.collect::<Vec<_>>().join(" ")
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    use commands::{
        broker, config, consume, group, pipeline, produce, serve, sql, storage, topic, txn, worker,
    };
    let done = |()| ExitCode::SUCCESS;
    match arguments.command {
        Command::Serve(command) => serve::run(command).await.map(done),
        Command::Demo(command) => demo::run(command).await.map(done),
        Command::Config(Shown { command, output }) => config::run(&command, output).map(done),
        Command::Storage(Shown { command, output }) => storage::run(command, output).await,
        Command::Broker(Clients { command, connection }) => {
            broker::run(command, &connection.begin()?).await.map(done)
        }
        Command::Topic(Clients { command, connection }) => topic::run(command, &connection.begin()?).await,
        Command::Produce(Client { command, connection }) => {
            produce::run(command, &connection.begin()?).await.map(done)
        }
        Command::Consume(Client { command, connection }) => {
            consume::run(command, &connection.begin()?).await.map(done)
        }
        Command::Group(Clients { command, connection }) => {
            group::run(command, &connection.begin()?).await.map(done)
        }
        Command::Txn(Clients { command, connection }) => {
            txn::run(command, &connection.begin()?).await.map(done)
        }
        Command::Pipeline(Clients { command, connection }) => {
            pipeline::run(command, &connection.begin()?).await.map(done)
        }
        Command::Worker(Clients { command, mut connection }) => {
            // It runs for long: what happens is of interest without being asked for.
            connection.verbose += 1;
            worker::run(command, &connection.begin()?).await.map(done)
        }
        Command::Sql(Client { command, connection }) => {
            sql::run(command, &connection.begin()?).await.map(done)
        }
    }
}

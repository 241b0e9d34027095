//! Writes the events for the oracle, and runs the cases against what the oracle says. `.ci/pipelines/run` has it all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use logmill_pipelines::case::{Case, Folder};
use logmill_pipelines::check::{Checked, RunKind, Ways, check, judge_records};
use logmill_pipelines::compare::compare;
use logmill_pipelines::expected::{Expected, read_rows};
use logmill_pipelines::input::Events;
use logmill_pipelines::{engine, flights, fuzz, golden, nexmark, printed};

#[derive(Debug, Parser)]
#[command(name = "pipelines", about = "Whole pipelines against what another engine computes")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the events of every topic to a folder, a file of JSON lines each
    Events {
        #[command(flatten)]
        data: Data,
        /// As `logmill produce --json` takes them, with partition and key
        #[arg(long)]
        records: bool,
        /// The folder
        out: PathBuf,
    },
    /// Run the cases, each in several ways, and compare what they write with what the oracle says
    Check {
        #[command(flatten)]
        data: Data,
        /// The folder that the oracle wrote to
        #[arg(long)]
        expected: PathBuf,
        /// In which ways to run
        #[arg(long, value_delimiter = ',', default_value = "own,whole,random,two,three,rescale,crashes")]
        runs: Vec<RunKind>,
        /// Only these cases
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Where random cuts and crashes fall
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many seconds one run may take
        #[arg(long, default_value_t = 3_600)]
        limit: u64,
    },
    /// Print the cases that must pass, and the topics they write
    List {
        /// The folder of the cases: nexmark or flights
        cases: String,
    },
    /// Compare what `logmill consume --output json` printed of a case's topics with what the oracle says
    Judge {
        /// The folder of the cases: nexmark or flights
        cases: String,
        /// The case
        case: String,
        /// The folder with `<topic>.records` of each topic
        records: PathBuf,
        /// The folder that the oracle wrote to
        expected: PathBuf,
    },
    /// Compare what the oracle says with what somebody worked out by hand: each table of a folder
    Compare {
        /// The folder of the tables worked out by hand
        by_hand: PathBuf,
        /// The folder that the oracle wrote to
        expected: PathBuf,
    },
    /// Ask random queries of random rows, and print each with what came of it: a JSON object a line
    Fuzz {
        /// The first seed
        seed: u64,
        /// How many queries, each with the next seed
        count: u64,
    },
    /// Keep what the oracle says about a small input in the folder of the cases
    Keep {
        /// The folder that the oracle wrote to
        #[arg(long)]
        expected: PathBuf,
        /// The folder of the cases: nexmark or flights
        cases: String,
    },
}

/// What the pipelines read.
#[derive(Debug, Args)]
struct Data {
    /// The folder of the cases: nexmark or flights
    cases: String,
    /// How many events of Nexmark
    #[arg(long, default_value_t = 1_000_000)]
    count: usize,
    /// The file of flights
    #[arg(long, required_if_eq("cases", "flights"))]
    flights: Option<PathBuf>,
    /// The file of the weather
    #[arg(long)]
    weather: Option<PathBuf>,
    /// In how many partitions the flights lie
    #[arg(long, default_value_t = 4)]
    partitions: i32,
}

impl Data {
    fn events(&self, partitions: Option<i32>) -> Result<Events> {
        match (self.cases.as_str(), &self.flights) {
            ("nexmark", _) => Ok(nexmark::events(self.count)),
            ("flights", Some(flights)) => {
                flights::events(flights, self.weather.as_deref(), partitions.unwrap_or(self.partitions))
            }
            (other, _) => bail!("there is no input for `{other}`"),
        }
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Events { data, records, out } => data.events(None).and_then(|events| match records {
            true => Ok(events.write_records(&out)?),
            false => Ok(events.write(&out)?),
        }),
        Command::Check { data, expected, runs, only, seed, limit } => {
            let ways = Ways { limit: Duration::from_secs(limit), ..Ways::new(&runs, seed) };
            check_all(&data, &expected, &ways, &only)
        }
        Command::List { cases } => list(&Folder::of_this_crate(&cases)),
        Command::Judge { cases, case, records, expected } => {
            judge(&Folder::of_this_crate(&cases), &case, &records, &expected)
        }
        Command::Compare { by_hand, expected } => compare_all(&by_hand, &expected),
        Command::Fuzz { seed, count } => (seed..seed.saturating_add(count))
            .try_for_each(|seed| Ok(writeln!(io::stdout(), "{}", fuzz::Case::new(seed).line())?)),
        Command::Keep { expected, cases } => keep(&expected, &Folder::of_this_crate(&cases)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn keep(expected: &Path, folder: &Folder) -> Result<()> {
    for question in folder.cases()?.iter().flat_map(|case| &case.questions) {
        let answer = Expected::read(expected, &question.name)?;
        golden::write(&folder.path().join("expected"), &question.name, &answer)?;
    }
    Ok(())
}

fn list(folder: &Folder) -> Result<()> {
    for case in folder.cases()? {
        if !folder.awaits(&case) {
            let plan = case.plan()?;
            writeln!(io::stdout(), "{} {}", case.name, engine::outputs(&plan).join(" "))?;
        }
    }
    Ok(())
}

fn judge(folder: &Folder, name: &str, records: &Path, expected: &Path) -> Result<()> {
    let cases = folder.cases()?;
    let case = cases.iter().find(|case| case.name == name);
    let case = case.with_context(|| format!("there is no case {name}"))?;
    let read = |topic: &str| printed::read(&records.join(format!("{topic}.records")));
    let rows = judge_records(case, &read, expected)?;
    Ok(writeln!(io::stdout(), "{name}: {rows} rows, as DuckDB says")?)
}

fn compare_all(by_hand: &Path, expected: &Path) -> Result<()> {
    let mut tables = 0;
    for entry in std::fs::read_dir(by_hand)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let answer = Expected::read(expected, &name)?;
        let differences = compare(&answer.columns, &read_rows(&path)?, &answer.rows);
        ensure!(differences.is_empty(), "{name}: {differences}");
        tables += 1;
    }
    ensure!(tables > 0, "{} is empty", by_hand.display());
    Ok(writeln!(io::stdout(), "{tables} tables are as worked out by hand")?)
}

fn check_all(data: &Data, expected: &Path, ways: &Ways, only: &[String]) -> Result<()> {
    let folder = Folder::of_this_crate(&data.cases);
    let cases = folder.cases()?;
    if let Some(unknown) = only.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        bail!("there is no case {unknown}");
    }
    let wanted = |case: &Case| only.is_empty() || only.contains(&case.name);
    let mut events = (None, data.events(None)?);
    let (mut passed, mut failed, mut awaited) = (0, 0, 0);
    for case in cases.iter().filter(|case| wanted(case)) {
        let partitions = case.partitions()?;
        if events.0 != partitions {
            events = (partitions, data.events(partitions)?);
        }
        let verdict = check(&folder, case, &events.1, expected, ways, &mut io::stdout());
        match verdict {
            Ok(Checked::Passed) => passed += 1,
            Ok(Checked::Awaited) => awaited += 1,
            Err(error) => {
                failed += 1;
                writeln!(io::stdout(), "{}: FAILED: {error:#}", case.name)?;
            }
        }
    }
    writeln!(io::stdout(), "{passed} passed, {failed} failed, {awaited} skipped")?;
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} cases failed"),
    }
}

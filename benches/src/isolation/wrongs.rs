//! The pipelines that go wrong, each in its own way, and how to tell that one does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use logmill_client::{Client, Limiting, NewTopic, Pipeline, PipelineCounters, PipelineState};
use logmill_record::{BatchBuilder, BatchOptions, Codec};
use tokio::runtime::{Builder, Runtime};

use crate::link::{Link, Prepared};
use crate::server::Server;

pub(super) const PIPELINE: &str = "p";
const INPUT: &str = "in";
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);
/// Requests sent before waiting for an answer.
const IN_FLIGHT: usize = 5;
/// The producer's time of all records; their topic keeps them for ever.
const TIMESTAMP: i64 = 1_700_000_000_000;

/// A pipeline that goes wrong.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) name: &'static str,
    /// Of the broker, beside its defaults.
    pub(super) settings: &'static [&'static str],
    script: &'static str,
    input: Input,
    /// Its input is cut behind its back while it is stopped.
    is_overtaken: bool,
    /// Whether it is as bad as it is meant to be.
    is_reached: fn(&Pipeline) -> bool,
    /// Whether it is started again whenever it has failed.
    pub(super) runs_again: bool,
    /// What it does meanwhile, and how much of that it has done; there is nothing to count where it waits or fails.
    pub(super) unit: &'static str,
    done: Option<fn(&PipelineCounters) -> i64>,
}

/// Records in compressed batches: much to read, and little to write before.
#[derive(Debug)]
struct Input {
    record: fn(usize) -> String,
    of_batch: usize,
    /// Different batches, which come in turn.
    different: usize,
    batches: usize,
}

const FEW: usize = 100;
const MANY: usize = 50_000;
/// More than can be read meanwhile, which is looked at afterwards.
const FLOOD: usize = 2_000;

fn numbered(number: usize) -> String {
    format!("{{\"x\":{number}}}")
}

fn few(record: fn(usize) -> String) -> Input {
    Input { record, of_batch: 2 * FEW, different: 1, batches: 1 }
}

const fn flood(record: fn(usize) -> String) -> Input {
    Input { record, of_batch: MANY, different: 1, batches: FLOOD }
}

fn computes(pipeline: &Pipeline) -> bool {
    pipeline.limiting() == Limiting::Computing
}

fn failed(pipeline: &Pipeline) -> bool {
    pipeline.state() == PipelineState::Failed
}

fn counters(pipeline: &Pipeline) -> PipelineCounters {
    pipeline.counters.unwrap_or_default()
}

/// Ends for all numbers but 0: `(loop (br_if 0 (i64.eqz (local.get 0))))`, a module in base64.
const ENDLESS: &str =
    "CREATE FUNCTION spin(a BIGINT) RETURNS BIGINT LANGUAGE wasm WITH ('fuel' = '1000000000')
     AS 'AGFzbQEAAAABBgFgAX4BfgMCAQAHCAEEc3BpbgAACg4BDAADQCAAUA0ACyAACw==';
     CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip');
     CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
     INSERT INTO b SELECT spin(x * 0) FROM a;";
const COPY: &str = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
     CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
     INSERT INTO b SELECT x FROM a;";
const SKIP: &str =
    "CREATE TABLE a (x BIGINT NOT NULL) WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip');
     CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
     INSERT INTO b SELECT x FROM a;";
const DEAD_LETTERS: &str = "CREATE TABLE a (x BIGINT)
     WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'dead');
     CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
     INSERT INTO b SELECT x FROM a;";
const COUNTS: &str = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
     CREATE TABLE b (x BIGINT, n BIGINT, PRIMARY KEY (x) NOT ENFORCED)
     WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
     INSERT INTO b SELECT x, COUNT(*) FROM a GROUP BY x UNBOUNDED;";

/// Who fails again and again says so each time, and that is no news.
const QUIET: &str = "telemetry.level=off";

/// Room for a part of the keys.
const LITTLE_MEMORY: &str = "pipelines.memory=8 MiB";
const LITTLE_MEMORY_BYTES: u64 = 8 << 20;

/// All of them.
pub(super) fn all() -> Vec<Wrong> {
    let plain = |name, script, input| Wrong {
        name,
        settings: &[],
        script,
        input,
        is_overtaken: false,
        is_reached: failed,
        runs_again: false,
        unit: "",
        done: None,
    };
    vec![
        Wrong {
            is_reached: computes,
            unit: "computes",
            ..plain("a function that loops for ever", ENDLESS, few(numbered))
        },
        Wrong {
            settings: &[QUIET],
            runs_again: true,
            unit: "times failed",
            ..plain(
                "a poison record, met again and again",
                COPY,
                few(|number| if number == FEW { "no JSON".to_owned() } else { numbered(number) }),
            )
        },
        Wrong {
            is_reached: |pipeline| counters(pipeline).skipped > 0,
            unit: "skipped",
            done: Some(|counters| counters.skipped),
            ..plain(
                "records without a column, skipped",
                SKIP,
                flood(|number| format!("{{\"y\":{}}}", number % 10)),
            )
        },
        Wrong {
            is_reached: |pipeline| counters(pipeline).dead_lettered > 0,
            unit: "dead letters",
            done: Some(|counters| counters.dead_lettered),
            ..plain(
                "a column of another type, to dead letters",
                DEAD_LETTERS,
                flood(|number| format!("{{\"x\":\"{}\"}}", number % 10)),
            )
        },
        Wrong {
            settings: &[QUIET],
            is_overtaken: true,
            runs_again: true,
            unit: "times failed",
            ..plain("retention that overtook it, again and again", COPY, few(numbered))
        },
        Wrong {
            settings: &[LITTLE_MEMORY, "pipelines.spill=false"],
            is_reached: |pipeline| pipeline.state() == PipelineState::Blocked,
            unit: "waits",
            ..plain(
                "a state over its budget",
                COUNTS,
                Input { record: numbered, of_batch: MANY, different: 4, batches: 4 },
            )
        },
        Wrong {
            settings: &[LITTLE_MEMORY],
            is_reached: |pipeline| {
                pipeline.operators.first().is_some_and(|state| state.bytes > 2 * LITTLE_MEMORY_BYTES)
            },
            unit: "counted",
            done: Some(|counters| counters.records_in),
            ..plain(
                "a state over its budget that spills",
                COUNTS,
                Input { record: numbered, of_batch: MANY, different: 40, batches: 200 },
            )
        },
    ]
}

/// A pipeline that goes wrong on a server.
pub(super) struct Going<'w> {
    wrong: &'w Wrong,
    client: Client,
    before: Pipeline,
}

impl Wrong {
    /// Runs it, and waits until it is as bad as it is meant to be.
    pub(super) fn start(&self, runtime: &Runtime, server: &Server) -> anyhow::Result<Going<'_>> {
        runtime.block_on(async {
            let client = Client::connect(&server.address.to_string()).await?;
            client.admin().create_topic(&NewTopic::new(INPUT).config("retention.ms", "-1")).await?;
            self.input.write(server)?;
            client.pipelines().run(PIPELINE, self.script, None).await?;
            if self.is_overtaken {
                self.overtake(&client, server).await?;
            }
            let before = until(&client, self.is_reached).await?;
            Ok(Going { wrong: self, client, before })
        })
    }

    /// Stops it once it has read everything, and deletes a part of what comes then.
    async fn overtake(&self, client: &Client, server: &Server) -> anyhow::Result<()> {
        let end = i64::try_from(self.input.of_batch * self.input.batches)?;
        until(client, |pipeline| pipeline.sources.first().is_some_and(|source| source.position == end))
            .await?;
        client.pipelines().stop(PIPELINE).await?;
        self.input.write(server)?;
        client.admin().delete_records(INPUT, 0, Some(end + end / 2)).await?;
        client.pipelines().run(PIPELINE, self.script, None).await?;
        Ok(())
    }

    /// Runs it once more, if it has failed, until `stop`. Gives how often that was.
    pub(super) fn run_again(&self, address: SocketAddr, stop: impl Fn() -> bool) -> anyhow::Result<u64> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = Client::connect(&address.to_string()).await?;
            let mut times = 0;
            while !stop() {
                if failed(&client.pipelines().describe(PIPELINE).await?) {
                    client.pipelines().run(PIPELINE, self.script, None).await?;
                    times += 1;
                }
                tokio::time::sleep(LOOK).await;
            }
            Ok(times)
        })
    }
}

impl Going<'_> {
    /// How much it has done since it is as bad as it is meant to be; NaN where there is nothing to count.
    ///
    /// # Errors
    /// It is over, or better.
    pub(super) fn look(&self, runtime: &Runtime) -> anyhow::Result<f64> {
        let now = runtime.block_on(self.client.pipelines().describe(PIPELINE))?;
        if self.wrong.runs_again {
            return Ok(f64::NAN);
        }
        let is_over = now.limiting() == Limiting::WaitingForInput;
        ensure!((self.wrong.is_reached)(&now) && !is_over, "{} is over: {:?}", self.wrong.name, now.state());
        Ok(self
            .wrong
            .done
            .map_or(f64::NAN, |done| (done(&counters(&now)) - done(&counters(&self.before))) as f64))
    }
}

/// Waits until the pipeline is so.
pub(super) async fn until(client: &Client, wanted: impl Fn(&Pipeline) -> bool) -> anyhow::Result<Pipeline> {
    let started = Instant::now();
    loop {
        let pipeline = client.pipelines().describe(PIPELINE).await?;
        if wanted(&pipeline) {
            return Ok(pipeline);
        }
        ensure!(started.elapsed() < PATIENCE, "the pipeline is {:?}: {}", pipeline.state(), pipeline.error);
        tokio::time::sleep(LOOK).await;
    }
}

impl Input {
    fn write(&self, server: &Server) -> anyhow::Result<()> {
        let mut requests: Vec<Prepared> =
            (0..self.different).map(|batch| self.request(batch)).collect::<anyhow::Result<_>>()?;
        let mut link = Link::open(server.address)?;
        link.introduce()?;
        for number in 0..self.batches + IN_FLIGHT {
            if number >= IN_FLIGHT && number - IN_FLIGHT < self.batches {
                link.receive_produced()?;
            }
            if number < self.batches {
                link.send(&mut requests[number % self.different])?;
            }
        }
        Ok(())
    }

    fn request(&self, batch: usize) -> anyhow::Result<Prepared> {
        let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() });
        for number in batch * self.of_batch..(batch + 1) * self.of_batch {
            builder.push(TIMESTAMP, None, Some((self.record)(number).as_bytes()), &[]);
        }
        Prepared::produce_into(INPUT, &builder.build().into_bytes(), 0)
    }
}

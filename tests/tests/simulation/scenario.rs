//! One run: a seed decides everything.
//!
//! Phases: faults; then none: everybody is served again, transactions left open are ended, readers go to the end; then the
//! history is checked.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use logmill_broker::clock::Clock;
use logmill_client::Client;
use logmill_storage::disk::sim::{Failing, Faults};
use logmill_storage::{JournalOptions, SimDisk};
use logmill_tests::history::{Anomaly, Process, check};
use logmill_tests::process::Chance;
use logmill_tests::proxy::Weather;
use logmill_tests::workload::groups::{mover, subscriber};
use logmill_tests::workload::{Settings, World, copier, everything, plain, settle, transactional};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::counts::Counts;
use crate::machine::{Build, Machine};
use crate::network::{ADDRESS, Clients, Network};
use crate::trace::Trace;

/// The longest that anything may take once nothing fails any more, on the simulation's clock.
const PATIENCE: Duration = Duration::from_secs(300);
/// The longest until something of everything is done, between two faults.
const PROGRESS: Duration = Duration::from_secs(90);
/// What time it is when a run begins, ms since the epoch.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// What a run is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whatever the seed says; nothing may be wrong in the end.
    Sound,
    /// The disk does not flush the journal, and says that it did.
    LyingDisk,
    /// Copies of requests come late although `transaction.version` is 1.
    LateAtVersion1,
}

/// What the seed decides.
#[derive(Debug, Clone)]
struct Profile {
    build: Build,
    transaction_version: i16,
    weather: Weather,
    losses: u64,
    latency_ms: u64,
    faults: u64,
    clients: Settings,
    /// Whether records of clients are acknowledged when the page cache has them: then only processes fail.
    page_cache: bool,
    /// Whether `transaction.version` goes up and down.
    switches: bool,
    /// How many share out the input, to copy it, and to read it.
    movers: u64,
    subscribers: u64,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) anomalies: Vec<Anomaly>,
    pub(crate) counts: Counts,
    /// How many events there were, and the digest of them, of the disk and of the history.
    pub(crate) events: u64,
    pub(crate) digest: u64,
    /// The events in words, if that was wanted.
    pub(crate) lines: Vec<String>,
}

impl Profile {
    fn of(kind: Kind, chance: &mut Chance) -> Profile {
        let one_of = |chance: &mut Chance, all: &[u64]| all[chance.below(all.len() as u64) as usize];
        let journal = JournalOptions {
            first_file_bytes: one_of(chance, &[64 << 10, 128 << 10]),
            file_bytes: one_of(chance, &[64 << 10, 256 << 10]),
            max_bytes: one_of(chance, &[512 << 10, 1 << 20, 4 << 20]),
            max_frame_bytes: 200 << 10,
            direct: chance.below(3) > 0,
        };
        let padding_bytes = one_of(chance, &[0, 200, 6_000]);
        // A batch must fit.
        let smallest = if padding_bytes > 200 { 64 << 10 } else { 8 << 10 };
        let build = Build {
            journal,
            tail_bytes: one_of(chance, &[0, 4 << 10, 1 << 20]) as usize,
            shards: 1 + chance.below(2) as usize,
            segment_bytes: one_of(chance, &[smallest, 64 << 10, 1 << 20]) as u32,
            journal_ms: one_of(chance, &[1, 4, 12]),
            applier_ms: one_of(chance, &[5, 50, 300]),
        };
        let switches = kind == Kind::Sound && chance.below(8) == 0;
        let older = switches || kind == Kind::LateAtVersion1 || chance.below(4) == 0;
        let late = kind == Kind::LateAtVersion1 || !older;
        let page_cache = kind == Kind::Sound && chance.below(6) == 0;
        let durability = if page_cache { "page-cache" } else { "disk" };
        let weather = Weather {
            delays: one_of(chance, &[10, 30, 0]),
            delay: Duration::from_millis(one_of(chance, &[30, 100, 600])),
            // Before version 2 nothing can be done about what comes late.
            answers: one_of(chance, &[0, 15, 40]),
            repeats: if late { one_of(chance, &[3, 6, 20]) } else { 0 },
            late: Duration::from_millis(one_of(chance, &[50, 400, 3_000])),
        };
        Profile {
            build,
            transaction_version: if older { 1 } else { 2 },
            weather,
            losses: one_of(chance, &[0, 50, 150]),
            latency_ms: one_of(chance, &[0, 2, 5]),
            faults: 2 + chance.below(5),
            clients: Settings {
                transaction_timeout: Duration::from_millis(one_of(chance, &[60_000, 3_000, 400])),
                padding_bytes,
                compacts: chance.below(3) > 0,
                pause_ms: one_of(chance, &[20, 60, 200]),
                configs: vec![("logmill.durability", durability.to_owned())],
            },
            page_cache,
            switches,
            movers: chance.below(3),
            subscribers: chance.below(3),
        }
    }
}

/// What a seed decides, in words.
pub(crate) fn profile(seed: u64, kind: Kind) -> String {
    format!("{:?}", Profile::of(kind, &mut Chance::of(seed)))
}

/// Runs a seed.
pub(crate) fn run(seed: u64, kind: Kind, in_words: bool) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("no thread is needed");
    runtime.block_on(simulate(seed, kind, in_words))
}

async fn simulate(seed: u64, kind: Kind, in_words: bool) -> Report {
    let mut chance = Chance::of(seed);
    let fork = |chance: &mut Chance| chance.below(1 << 53);
    let profile = Profile::of(kind, &mut chance);
    let trace = Trace::new(in_words);
    let disk = SimDisk::new(fork(&mut chance));
    if kind == Kind::LyingDisk {
        disk.set_faults(Faults { lying_flushes: Some("journal".to_owned()), ..Faults::default() });
    }
    let clock = Clock::of_runtime(BEGIN_MS);
    let network = Network::new(
        Chance::of(fork(&mut chance)),
        profile.latency_ms,
        disk.clone(),
        clock.clone(),
        trace.clone(),
    );
    let machine = Machine::new(
        profile.build.clone(),
        disk,
        Arc::clone(&network),
        clock,
        fork(&mut chance),
        trace.clone(),
    );
    assert!(machine.start().await, "nothing fails yet");
    let client = Client::builder(&format!("{}:{}", ADDRESS.0, ADDRESS.1));
    let client = client.environment(Arc::new(Clients(Arc::clone(&network))));
    let world = World::new(client.request_timeout(Duration::from_secs(10)), profile.clients.clone());
    {
        let client = world.client().await.expect("a connection");
        let version = profile.transaction_version;
        client.admin().update_feature("transaction.version", version, true).await.expect("it may fall");
        world.create_topics(&client).await;
    }
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::<Process>::new());
    let mut own = || Chance::of(fork(&mut chance));
    writers.spawn(plain(Arc::clone(&world), own()));
    writers.spawn(plain(Arc::clone(&world), own()));
    writers.spawn(transactional(Arc::clone(&world), "writer-0".to_owned(), own()));
    writers.spawn(transactional(Arc::clone(&world), "writer-1".to_owned(), own()));
    writers.spawn(copier(Arc::clone(&world), own()));
    for number in 0..profile.movers {
        writers.spawn(mover(Arc::clone(&world), format!("mover-{number}"), own()));
    }
    for _ in 0..profile.subscribers {
        writers.spawn(subscriber(Arc::clone(&world), own()));
    }
    readers.spawn(everything(Arc::clone(&world)));
    readers.spawn(everything(Arc::clone(&world)));
    network.weather(profile.weather, profile.losses);
    let mut counts = Counts::default();
    for _ in 0..profile.faults {
        await_progress(&world, &machine.disk, &mut chance).await;
        if profile.switches && chance.below(2) == 0 {
            switch(&world, &mut chance).await;
        }
        fail(&machine, profile.page_cache, &mut chance, &mut counts).await;
    }
    await_progress(&world, &machine.disk, &mut chance).await;
    network.weather(Weather::CALM, 0);
    world.stop.store(true, Ordering::Relaxed);
    let ending = async {
        join(&mut writers).await;
        settle(&world).await;
        readers.spawn(everything(Arc::clone(&world)));
        join(&mut readers).await;
    };
    timeout(PATIENCE, ending).await.expect("everything is read in time once nothing fails");
    // What was read must be there as well when everything is read from the disk.
    restart(&machine, profile.page_cache).await;
    let again = everything(Arc::clone(&world));
    timeout(PATIENCE, again).await.expect("everything is read in time after another start");
    let history = world.recorder.history();
    counts.count(&history);
    counts.moves = world.progress()[4];
    machine.count(&mut counts);
    network.count(&mut counts);
    let (events, mut digest) = {
        let (events, digest) = trace.sum();
        let mut whole = DefaultHasher::new();
        (digest, machine.disk.trace(), format!("{:?}", history.operations)).hash(&mut whole);
        (events, whole)
    };
    machine.files().hash(&mut digest);
    Report { anomalies: check(&history), counts, events, digest: digest.finish(), lines: trace.lines() }
}

async fn join<T: 'static>(tasks: &mut JoinSet<T>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(ended) = ended {
            std::panic::resume_unwind(ended.into_panic());
        }
    }
}

/// Lets the clients work: until something of everything is done, or for a time that is short.
async fn await_progress(world: &World, disk: &SimDisk, chance: &mut Chance) {
    if chance.below(3) == 0 {
        return sleep(Duration::from_millis(chance.below(1_500))).await;
    }
    let before = world.progress();
    let since = Instant::now();
    let few = |now: [u64; 5]| now.iter().zip(before).take(3).any(|(now, before)| *now < before + 2);
    while few(world.progress()) {
        let (now, down) = (world.progress(), disk.crashed());
        assert!(since.elapsed() < PROGRESS, "{before:?}, and no more than {now:?}; down: {down}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Lets `transaction.version` go up or down; whether it did, only the next producers know.
async fn switch(world: &World, chance: &mut Chance) {
    let version = 1 + chance.below(2) as i16;
    let Some(client) = world.client().await else { return };
    let admin = client.admin();
    let change = admin.update_feature("transaction.version", version, version == 1);
    let _ = timeout(Duration::from_secs(5), change).await;
}

/// Another start after nothing failed: with nothing but what the device holds, if that must be all.
async fn restart(machine: &Arc<Machine>, page_cache: bool) {
    if page_cache {
        machine.kill().await;
    } else {
        machine.power_cut().await;
    }
    assert!(machine.start().await, "nothing fails any more");
}

/// One fault, and what heals it.
async fn fail(machine: &Arc<Machine>, page_cache: bool, chance: &mut Chance, counts: &mut Counts) {
    let disk = &machine.disk;
    let fault = if page_cache { 5 + chance.below(2) + 3 * chance.below(3) } else { chance.below(12) };
    match fault {
        0 | 1 => {
            counts.power_cuts += 1;
            machine.power_cut().await;
        }
        2..=4 => {
            disk.crash_at(disk.calls() + 1 + chance.below(60));
            let inside = machine.goes_down(Duration::from_secs(5)).await;
            counts.inside_calls += u64::from(inside);
            machine.power_cut().await;
        }
        5 | 6 => {
            counts.kills += 1;
            machine.kill().await;
        }
        7 => {
            disk.fail_next(Failing::Flush, "");
            let failed = machine.goes_down(Duration::from_secs(5)).await;
            counts.failed_flushes += u64::from(failed);
            disk.fail_nothing();
            machine.kill().await;
        }
        8 | 9 => {
            counts.slow_disks += 1;
            machine.slow_down(Duration::from_millis(chance.below(4_000)));
            return sleep(Duration::from_millis(chance.below(2_000))).await;
        }
        10 => {
            counts.full_disks += 1;
            let used: u64 = machine.files().values().sum();
            let capacity_bytes = Some(used + chance.below(20 << 10));
            disk.set_faults(Faults { capacity_bytes, ..Faults::default() });
            sleep(Duration::from_millis(chance.below(4_000))).await;
            disk.set_faults(Faults::default());
            // A process that gave up because of it is started again.
            if !machine.goes_down(Duration::from_millis(100)).await {
                return;
            }
            machine.kill().await;
        }
        _ => {
            counts.cuts += 1;
            machine.network.cut(true);
            sleep(Duration::from_millis(chance.below(3_000))).await;
            return machine.network.cut(false);
        }
    }
    sleep(Duration::from_millis(chance.below(500))).await;
    let armed = !page_cache && chance.below(3) == 0;
    if armed {
        disk.crash_at(disk.calls() + 1 + chance.below(40));
    }
    // A crash that was meant for the start may come when that is over.
    let soon = Duration::from_millis(500);
    while !machine.start().await || (armed && machine.goes_down(soon).await) || disk.crashed() {
        counts.inside_calls += 1;
        machine.power_cut().await;
    }
    disk.crash_at(u64::MAX);
}

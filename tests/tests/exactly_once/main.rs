//! Writers, readers, groups of readers and loops that copy, all the time, while the broker is killed and paused and the network fails, again
//! and again: what they saw must be explained by a broker that loses, repeats, tears and leaks nothing.
//!
//! Phases: faults; then none: everybody is served again, transactions left open are ended, readers go to the end; then the
//! history is checked.

mod late;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use logmill_client::Client;
use logmill_tests::history::{Action, Anomaly, History, Outcome, Place, Process, check};
use logmill_tests::process::{self, Broker, Chance, PATIENCE, Scratch, free_address, number};
use logmill_tests::proxy::{Proxy, Tally, Weather};
use logmill_tests::workload::groups::{mover, subscriber};
use logmill_tests::workload::{Settings, World, copier, everything, plain, settle, transactional, up_to_now};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Kills unless `LOGMILL_KILLS` says otherwise.
const KILLS: u64 = 3;

/// The journal is full soon and the cleaner comes often, so that segments are flushed, journal files used again, and topics
/// compacted while all this goes on.
const FLAGS: [&str; 8] = [
    "--set",
    "journal.file_size=1MiB",
    "--set",
    "journal.max_size=4MiB",
    "--set",
    "cleaning.interval=1s",
    "--set",
    "groups.initial_rebalance_delay=10ms",
];

/// A broker at an address, which sends its clients to another one.
fn serve_behind(advertised: &str, scratch: &Scratch, name: &str, address: &str) -> Broker {
    let environment = [("LOGMILL_ADVERTISED", advertised)];
    process::Process::serve_at(scratch, name, "data", address, &FLAGS, &environment)
}

/// Keeps what clients saw when a check fails.
struct Kept<'a>(&'a World);

impl Drop for Kept<'_> {
    #[expect(clippy::print_stderr, reason = "it is looked for when the test has failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.0.recorder.history().keep() {
                Ok(path) => eprintln!("what clients saw is in {}", path.display()),
                Err(error) => eprintln!("what clients saw could not be written: {error}"),
            }
        }
    }
}

/// What a reader from the beginning was not given of a compacted topic, up to its own last record, and others were before.
fn compacted_away(history: &History, topic: &str, reader: Process) -> usize {
    let (mut given, mut others) = (BTreeSet::new(), BTreeSet::new());
    for operation in &history.operations {
        let Outcome::Polled(polled) = operation.outcome() else { continue };
        let places = polled.records.iter().map(|(place, _)| place);
        let of_it = places.filter(|place: &&Place| &*place.partition.topic == topic);
        if operation.process == reader { given.extend(of_it) } else { others.extend(of_it) }
    }
    let end = given.last().copied();
    others.difference(&given).filter(|place| Some(**place) < end).count()
}

/// How often something is in a history.
fn count(history: &History, what: impl Fn(&Action, &Outcome) -> bool) -> usize {
    history.operations.iter().filter(|operation| what(&operation.action, operation.outcome())).count()
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are the point of a long run")]
fn nothing_is_lost_repeated_torn_or_leaked_by_faults() {
    let kills = number("LOGMILL_KILLS").unwrap_or(KILLS);
    let least = Duration::from_secs(60 * number("LOGMILL_MINUTES").unwrap_or(0));
    let mut chance = Chance::seeded();
    let scratch = Scratch::new();
    let address = free_address(&mut chance);
    let proxy = Proxy::start(&address, Chance::of(chance.below(1 << 40)));
    let advertised = proxy.address();
    let serve = |number: u64| serve_behind(&advertised, &scratch, &format!("broker-{number}"), &address);
    let mut broker = serve(0);
    let runtime = Runtime::new().expect("threads");
    let world = World::new(Client::builder(&proxy.address()), Settings::default());
    let _kept = Kept(&world);
    runtime.block_on(async { world.create_topics(&world.client().await.expect("a connection")).await });
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    let started = Instant::now();
    {
        let _entered = runtime.enter();
        let mut own = || Chance::of(chance.below(1 << 40));
        writers.spawn(plain(Arc::clone(&world), own()));
        writers.spawn(plain(Arc::clone(&world), own()));
        writers.spawn(transactional(Arc::clone(&world), "writer-0".to_owned(), own()));
        writers.spawn(transactional(Arc::clone(&world), "writer-1".to_owned(), own()));
        writers.spawn(copier(Arc::clone(&world), own()));
        writers.spawn(mover(Arc::clone(&world), "mover-0".to_owned(), own()));
        writers.spawn(mover(Arc::clone(&world), "mover-1".to_owned(), own()));
        writers.spawn(subscriber(Arc::clone(&world), own()));
        writers.spawn(subscriber(Arc::clone(&world), own()));
        readers.spawn(everything(Arc::clone(&world)));
        readers.spawn(everything(Arc::clone(&world)));
    }
    proxy.weather(Weather::ROUGH);
    let (mut killed, mut paused) = (0, 0);
    while killed < kills || started.elapsed() < least {
        let (before, since) = (world.progress(), Instant::now());
        // Only a broker that has done something of everything since its start is worth killing.
        while world.progress().iter().zip(before).any(|(now, before)| *now < before + 2) {
            let now = world.progress();
            assert!(since.elapsed() < PATIENCE, "after kill {killed}: {before:?}, and no more than {now:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let a_while = |chance: &mut Chance| std::thread::sleep(Duration::from_secs_f64(chance.fraction()));
        if chance.below(2) == 0 {
            proxy.half_open();
        }
        let fault = chance.below(4);
        if fault < 2 {
            broker.process.pause();
            paused += 1;
            a_while(&mut chance);
            // Or it is killed as it stands.
            if fault == 0 {
                broker.process.resume();
            }
        }
        a_while(&mut chance);
        assert!(broker.process.kill().was_killed());
        killed += 1;
        broker = serve(killed);
    }
    proxy.weather(Weather::CALM);
    // Few kills may be over before the cleaner has come to it.
    let compaction = async {
        loop {
            let reader = up_to_now(&world).await;
            if compacted_away(&world.recorder.history(), "latest", reader) > 0 {
                break;
            }
        }
    };
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, compaction).await.expect("something is compacted in time")
    });
    world.stop.store(true, Ordering::Relaxed);
    let last = runtime.block_on(async {
        let ending = async {
            while let Some(ended) = writers.join_next().await {
                ended.expect("no panic of a writer");
            }
            settle(&world).await;
            let last = everything(Arc::clone(&world)).await;
            while let Some(ended) = readers.join_next().await {
                ended.expect("no panic of a reader");
            }
            last
        };
        tokio::time::timeout(PATIENCE, ending).await.expect("everything is read in time")
    });
    let history = world.recorder.history();
    let commits =
        count(&history, |action, outcome| matches!(action, Action::Commit(_)) && *outcome == Outcome::Done);
    let copies = count(&history, |action, outcome| {
        matches!(action, Action::Send(sending) if sending.copy_of.is_some())
            && matches!(outcome, Outcome::Written(_))
    });
    let unknown = count(&history, |_, outcome| *outcome == Outcome::Unknown);
    let moves = count(
        &history,
        |action, _| matches!(action, Action::Send(sending) if &*sending.partition.topic == "moved"),
    );
    let compacted = compacted_away(&history, "latest", last);
    let Tally { delayed, held, repeated, hung } = proxy.tally();
    eprintln!(
        "{killed} kills, {paused} pauses, {hung} half-open connections, {delayed} delayed requests and {held} answers, {repeated} \
         late copies"
    );
    eprintln!(
        "{:?}: {} operations, {commits} commits, {copies} copies, {moves} moves, {compacted} compacted, {unknown} of unknown \
         outcome",
        started.elapsed(),
        history.operations.len()
    );
    assert!(commits > 0 && copies > 0 && moves > 0, "nothing was done");
    assert!(delayed > 0 && held > 0 && repeated > 0, "the network did not fail");
    assert!(compacted > 0, "nothing was compacted");
    let found = check(&history);
    let told: Vec<String> = found.iter().take(20).map(Anomaly::to_string).collect();
    assert!(found.is_empty(), "{} anomalies:\n{}", found.len(), told.join("\n"));
    assert!(lost_one(history).iter().any(|anomaly| anomaly.kind() == "lost write"), "the checker looks away");
    assert!(broker.stop().status.success());
}

/// What is wrong with the history when one acknowledged record was given to nobody.
fn lost_one(mut history: History) -> Vec<Anomaly> {
    let acknowledged = |action: &Action, outcome: &Outcome| match (action, outcome) {
        (Action::Send(sending), Outcome::Written(Some(offset)))
            if sending.transaction.is_none() && sending.key.is_none() =>
        {
            Some(sending.partition.at(*offset))
        }
        _ => None,
    };
    let mut operations = history.operations.iter();
    let lost = operations.find_map(|operation| acknowledged(&operation.action, operation.outcome()));
    let lost = lost.expect("a record was acknowledged");
    for operation in &mut history.operations {
        if let Some((_, Outcome::Polled(polled))) = &mut operation.answer {
            polled.records.retain(|(place, _)| *place != lost);
        }
    }
    check(&history)
}

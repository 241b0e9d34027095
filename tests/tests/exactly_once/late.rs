//! A commit that comes a second time, when the next transaction of its producer is open: before `transaction.version` 2 a
//! broker cannot tell it from that one's own (KIP-890). The checker must see what comes of it; from version 2 on, nothing may.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use logmill_client::{Client, Consumer, Isolation, Transaction as Open};
use logmill_tests::history::{Action, Anomaly, Partition, Process, Sending, Transaction, Value, check};
use logmill_tests::process::{Chance, PATIENCE, Scratch};
use logmill_tests::proxy::{END_TXN, Proxy};
use tokio::runtime::Runtime;

use super::{free_address, serve_behind};
use logmill_tests::workload::{Settings, World, encode, poll, reader};

/// How the second transaction is ended by its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
}

/// What the checker finds.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Whether the broker took the late commit.
    taken: bool,
    kinds: BTreeSet<&'static str>,
}

fn order(number: i32) -> Partition {
    Partition::new("orders", number)
}

/// Writes one record, acknowledged.
async fn write(world: &World, process: Process, open: &mut Open<'_>, of: Transaction, to: i32, value: u64) {
    let (partition, value) = (order(to), Value(value));
    let sending = Sending { transaction: Some(of), partition, key: None, value, copy_of: None };
    let asked = world.ask(process, Action::Send(sending.clone()));
    let ack = open.enqueue(encode(&sending)).await.expect("there is room");
    assert!(world.acknowledge(vec![(asked, ack)]).await, "it is served");
}

/// Reads all that is committed.
async fn read(world: &World, process: Process, client: &Client, input: &mut Consumer) {
    let since = Instant::now();
    for number in [0, 1] {
        let end = client.admin().offsets("orders", number, Isolation::Committed).await.expect("offsets").end;
        while input.position("orders", number) < Some(end) {
            assert!(since.elapsed() < PATIENCE, "orders-{number} is not read up to {end}");
            poll(world, process, None, input, 100).await;
        }
    }
}

/// One producer: a transaction that is committed, another with a record in each of two partitions; between those two the
/// first one's commit comes again, and a reader reads.
fn commit_late(version: i16, end: End) -> Found {
    let scratch = Scratch::new();
    // Tests that run at once must not choose the same.
    let own = u64::from(std::process::id()) * 8 + version as u64 * 2 + u64::from(end == End::Abort);
    let address = free_address(&mut Chance::of(own));
    let proxy = Proxy::start(&address, Chance::of(1));
    let broker = serve_behind(&proxy.address(), &scratch, "broker", &address);
    let runtime = Runtime::new().expect("threads");
    let world: Arc<World> = World::new(Client::builder(&proxy.address()), Settings::default());
    let taken = runtime.block_on(async {
        let client = world.client().await.expect("a connection");
        client.admin().update_feature("transaction.version", version, true).await.expect("it may fall");
        world.create_topics(&client).await;
        let (writing, reading) = (world.recorder.process(), world.recorder.process());
        let starts = vec![(order(0), 0), (order(1), 0)];
        let mut input = reader(&world, reading, &client, starts).await.expect("a reader");
        let mut producer = client.transactional("writer").build().await.expect("a producer");

        let (first, second) = (world.begin(), world.begin());
        let mut open = producer.begin().await.expect("a transaction");
        write(&world, writing, &mut open, first, 0, 1).await;
        proxy.keep_next(END_TXN);
        let asked = world.ask(writing, Action::Commit(first));
        assert!(world.done(&asked, &open.commit().await), "it is served");

        let mut open = producer.begin().await.expect("a transaction");
        write(&world, writing, &mut open, second, 0, 2).await;
        let late = proxy.kept().expect("the first commit");
        let answer = proxy.send_again(&late).await.expect("an answer");
        read(&world, reading, &client, &mut input).await;
        write(&world, writing, &mut open, second, 1, 3).await;
        if end == End::Commit {
            let asked = world.ask(writing, Action::Commit(second));
            assert!(world.done(&asked, &open.commit().await), "it is served");
        } else {
            let asked = world.ask(writing, Action::Abort(second));
            assert!(world.done(&asked, &open.abort().await), "it is served");
        }
        read(&world, reading, &client, &mut input).await;
        // Length, correlation, no tags, throttle time; then the error.
        answer[13..15] == [0, 0]
    });
    let found = check(&world.recorder.history());
    assert!(broker.stop().status.success());
    Found { taken, kinds: found.iter().map(Anomaly::kind).collect() }
}

#[test]
fn the_checker_finds_what_a_late_commit_does_at_version_1() {
    let early = Found { taken: true, kinds: BTreeSet::from(["precommitted read"]) };
    assert_eq!(commit_late(1, End::Commit), early);
    // Half of an aborted transaction is there.
    let torn = Found { taken: true, kinds: BTreeSet::from(["aborted read"]) };
    assert_eq!(commit_late(1, End::Abort), torn);
}

#[test]
fn a_late_commit_does_nothing_at_version_2() {
    for end in [End::Commit, End::Abort] {
        assert_eq!(commit_late(2, end), Found { taken: false, kinds: BTreeSet::new() });
    }
}

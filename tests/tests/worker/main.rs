//! Pipelines outside of a broker: workers that are killed at any time, join and leave, behind a network that fails and over a
//! broker that is killed too, write exactly what the script says.

mod behind;
mod bounds;
mod orders;
mod rig;
mod snapshots;
mod topics;

use std::time::Duration;

use logmill_tests::process::{self, Broker, Chance, PATIENCE, Process, Scratch, free_address, number};
use logmill_tests::proxy::{Proxy, Weather};
use tokio::runtime::Runtime;

use orders::Orders;

/// Kills of a worker unless `LOGMILL_KILLS` says otherwise.
const KILLS: u64 = 5;

const FLAGS: [&str; 4] =
    ["--set", "groups.min_session_timeout=500ms", "--set", "groups.initial_rebalance_delay=10ms"];

/// A worker with epochs so small that whoever kills it hits one, and snapshots in a directory that all of them have.
fn worker(scratch: &Scratch, name: &str, script: &str, address: &str) -> Process {
    let state = scratch.path("state").display().to_string();
    let arguments = [
        "worker",
        "run",
        script,
        "--name",
        "orders",
        "--bounded",
        "--epoch-records",
        "60",
        "--epoch-interval",
        "20ms",
        "--session-timeout",
        "1s",
        "--state-dir",
        &state,
        "--snapshot-interval",
        "4 KiB",
        "--output",
        "json",
        "--bootstrap",
        address,
    ];
    Process::start(scratch, name, &arguments, &[])
}

/// Kills one of the workers now and then, and starts another in its place. The rest run to the end.
fn kill_and_start(
    mut workers: Vec<Process>,
    chance: &mut Chance,
    start: impl Fn(&str) -> Process,
    between: impl Fn(&mut Chance),
) {
    for number in 0..number("LOGMILL_KILLS").unwrap_or(KILLS) {
        std::thread::sleep(Duration::from_millis(200 + chance.below(1500)));
        between(chance);
        let victim = workers.swap_remove(chance.below(workers.len() as u64) as usize);
        let ended = victim.kill();
        assert!(ended.was_killed() || ended.status.success(), "{}", ended.log);
        workers.push(start(&format!("worker-{}", number + 10)));
    }
    for worker in workers {
        let ended = worker.wait(PATIENCE);
        assert!(ended.status.success(), "{}", ended.log);
    }
}

fn broker(scratch: &Scratch) -> Broker {
    Process::serve_with(scratch, "broker", "data", &FLAGS, &[])
}

#[test]
fn a_group_of_workers_writes_each_result_once_whoever_is_killed() {
    let mut chance = Chance::seeded();
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    let runtime = Runtime::new().expect("threads");
    let orders = Orders::new(6000);
    runtime.block_on(orders.write(&broker.address, 3));
    let script = scratch.write("orders.sql", orders::BY_CUSTOMER);
    let start = |name: &str| worker(&scratch, name, &script, &broker.address);
    let workers = vec![start("worker-0"), start("worker-1"), start("worker-2")];
    kill_and_start(workers, &mut chance, start, |_| {});
    runtime.block_on(orders.check(&broker.address, true));
    // Everything is read, and the group says so.
    let group = broker.run(&["group", "describe", "logmill-orders", "--output", "json"]);
    let group: serde_json::Value = serde_json::from_str(&group).expect("JSON");
    let partitions = group["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 6, "{group}");
    assert!(partitions.iter().all(|partition| partition["lag"] == 0), "{group}");
    assert!(broker.stop().status.success());
}

#[test]
fn what_goes_by_another_key_runs_as_one_task_that_a_standby_takes_over() {
    let mut chance = Chance::seeded();
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    let runtime = Runtime::new().expect("threads");
    let orders = Orders::new(3000);
    runtime.block_on(orders.write(&broker.address, 3));
    let script = scratch.write("orders.sql", orders::BY_SHOP);
    let refused = broker.try_run(&["worker", "run", &script, "--partitioned"], "");
    assert_eq!(refused.status.code(), Some(2), "{}", refused.log);
    assert!(
        refused.log.contains("the aggregate of windows by `shop`")
            && refused.log.contains("by the whole key of the records of `orders`, `customer`"),
        "{}",
        refused.log
    );
    let start = |name: &str| worker(&scratch, name, &script, &broker.address);
    let workers = vec![start("worker-0"), start("worker-1")];
    kill_and_start(workers, &mut chance, start, |_| {});
    runtime.block_on(orders.check_shops(&broker.address));
    assert!(broker.stop().status.success());
}

#[test]
fn a_network_that_fails_and_a_broker_that_is_killed_change_nothing() {
    let mut chance = Chance::seeded();
    let scratch = Scratch::new();
    let address = free_address(&mut chance);
    let proxy = Proxy::start(&address, Chance::of(chance.below(1 << 40)));
    let advertised = proxy.address();
    let serve = |name: &str| {
        let environment = [("LOGMILL_ADVERTISED", &*advertised)];
        Process::serve_at(&scratch, name, "data", &address, &FLAGS, &environment)
    };
    let broker = std::cell::RefCell::new(Some(serve("broker-0")));
    let runtime = Runtime::new().expect("threads");
    let orders = Orders::new(4000);
    runtime.block_on(orders.write(&advertised, 2));
    let script = scratch.write("orders.sql", orders::BY_CUSTOMER);
    proxy.weather(Weather::ROUGH);
    let start = |name: &str| worker(&scratch, name, &script, &advertised);
    let workers = vec![start("worker-0"), start("worker-1")];
    kill_and_start(workers, &mut chance, start, |chance| {
        if chance.below(2) == 0 {
            proxy.half_open();
        }
        let running = broker.borrow_mut().take().expect("it runs");
        assert!(running.process.kill().was_killed());
        std::thread::sleep(Duration::from_millis(chance.below(500)));
        *broker.borrow_mut() = Some(serve(&format!("broker-{}", 1 + chance.below(1 << 40))));
    });
    proxy.weather(Weather::CALM);
    runtime.block_on(orders.check(&advertised, false));
    let tally = proxy.tally();
    assert!(tally.delayed > 0 && tally.repeated > 0, "the network did not fail: {tally:?}");
    let broker = broker.into_inner().expect("it runs");
    assert!(broker.stop().status.success());
}

#[test]
fn what_cannot_run_is_refused_with_what_to_do() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    let runtime = Runtime::new().expect("threads");
    let script = scratch.write("orders.sql", orders::BY_CUSTOMER);
    let run = |script: &str, name: &str| {
        broker.try_run(&["worker", "run", script, "--name", name, "--bounded"], "")
    };
    let nothing = run(&script, "orders");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(nothing.log.contains("the source topic \"orders\" does not exist"), "{}", nothing.log);
    let orders = Orders::new(50);
    runtime.block_on(orders.write(&broker.address, 2));
    let named = run(&script, "a b");
    assert_eq!(named.status.code(), Some(2), "{}", named.log);
    assert!(run(&script, "orders").status.success());
    // Of another script it is not the state.
    let other = scratch.write("other.sql", &orders::BY_CUSTOMER.replace("'10' SECOND", "'20' SECOND"));
    let other = run(&other, "orders");
    assert_eq!(other.status.code(), Some(1));
    assert!(other.log.contains("was written by another query"), "{}", other.log);
    // Another topic of the name is not gone on with, however many records it has.
    for topic in ["orders", "payments"] {
        broker.run(&["topic", "delete", topic, "--yes"]);
    }
    runtime.block_on(Orders::new(80).write(&broker.address, 2));
    let anew = run(&script, "orders");
    assert_eq!(anew.status.code(), Some(1), "{}", anew.log);
    assert!(anew.log.contains("is another one than the one that was read"), "{}", anew.log);
    // State is by partition, and keys have moved.
    for topic in ["orders", "payments"] {
        broker.run(&["topic", "alter", topic, "--partitions", "3"]);
    }
    let moved = run(&script, "orders");
    assert!(moved.log.contains("State is kept by task"), "{}", moved.log);
    // A script that does not plan is told with its place.
    let wrong = scratch.write("wrong.sql", "SELECT");
    let wrong = process::run(&["worker", "run", &wrong], &[], "");
    assert_eq!(wrong.status.code(), Some(2), "{}", wrong.log);
    assert!(broker.stop().status.success());
}

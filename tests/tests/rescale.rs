//! A broker that is killed around a rescale: the pipeline has the old number of shards or the new one, and what it writes is
//! whole.

use std::collections::BTreeMap;
use std::time::Duration;

use logmill_tests::process::{Chance, PATIENCE, Process, Scratch, number};
use serde_json::Value;

/// Kills unless `LOGMILL_KILLS` says otherwise.
const KILLS: u64 = 4;
const PER_ROUND: u64 = 4_000;
const KEYS: u64 = 50;

const SCRIPT: &str = "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (k STRING, n BIGINT, x BIGINT, PRIMARY KEY (k) NOT ENFORCED)
    WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
    INSERT INTO b SELECT k, COUNT(*), SUM(x) FROM a GROUP BY k UNBOUNDED;";

fn records(round: u64) -> String {
    let record = |x: u64| format!("{{\"k\":\"{}\",\"x\":{x}}}\n", x % KEYS);
    (round * PER_ROUND..(round + 1) * PER_ROUND).map(record).collect()
}

#[test]
fn a_kill_around_a_rescale_leaves_the_old_number_or_the_new_one_and_whole_output() {
    let scratch = Scratch::new();
    let mut chance = Chance::seeded();
    let script = scratch.write("p.sql", SCRIPT);
    let mut broker = Process::serve(&scratch, "broker", "data");
    broker.run(&["topic", "create", "in", "--partitions", "2"]);
    let mut shards = 1;
    broker.run(&["pipeline", "deploy", &script, "--shards", "1"]);
    let kills = number("LOGMILL_KILLS").unwrap_or(KILLS);
    let mut acknowledged = 0;
    for kill in 0..kills {
        broker.run_with_input(&["produce", "in"], &records(kill));
        let wanted = 1 + (shards + chance.below(3)) % 4;
        let number = wanted.to_string();
        let asked = ["pipeline", "rescale", "p", "--shards", &number, "--bootstrap", &broker.address];
        let rescale = Process::start(&scratch, &format!("rescale-{kill}"), &asked, &[]);
        std::thread::sleep(Duration::from_millis(chance.below(600)));
        assert!(broker.process.kill().was_killed());
        let ended = rescale.wait(PATIENCE);
        broker = Process::serve(&scratch, &format!("broker-{kill}"), "data");
        let described = broker.json(&["pipeline", "describe", "p"]);
        let found = described["shards"].as_u64().expect("a number");
        assert!(
            found == shards || found == wanted,
            "{found} shards; there were {shards}, and {wanted} to be"
        );
        if ended.status.success() {
            assert_eq!(found, wanted, "it was said to be done");
            acknowledged += 1;
        }
        shards = found;
    }
    // Some say that it is done, and what is said at leisure is so.
    let at_leisure = broker.json(&["pipeline", "rescale", "p", "--shards", "7"]);
    assert_eq!(at_leisure["running_shards"], 7, "{at_leisure}, after {acknowledged} of {kills}");
    let finished = broker.json(&["pipeline", "run", &script, "--bounded"]);
    assert_eq!(
        (finished["state"].as_str(), finished["records_in"].as_u64()),
        (Some("finished"), Some(kills * PER_ROUND))
    );
    let mut table = BTreeMap::new();
    for line in broker.run(&["consume", "out", "--exit"]).lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let number = |field: &str| row[field].as_u64().expect("a number");
        table.insert(row["k"].as_str().expect("a key").to_owned(), (number("n"), number("x")));
    }
    let mut expected: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for x in 0..kills * PER_ROUND {
        let (n, sum) = expected.entry((x % KEYS).to_string()).or_default();
        *n += 1;
        *sum += x;
    }
    assert_eq!(table, expected);
    assert!(broker.stop().status.success());
}

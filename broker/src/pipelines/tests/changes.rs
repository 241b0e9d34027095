//! Changes of several steps that are refused, cut short, or given up: what they leave.

use std::time::Duration;

use logmill_stream::{EpochLimits, SnapshotReader, StateChanges, merge_snapshot};
use tempfile::TempDir;

use super::super::taking_up::tests::{counts, files, script};
use super::super::{PipelineError, PipelineState};
use super::{COPY, Parts};

const ROWS: [(&str, i64); 4] = [("a", 1), ("b", 2), ("a", 3), ("c", 4)];

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_was_to_begin_at_a_damaged_savepoint_is_not_there() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    let path = directory.path().join("pipelines").join("p").join("savepoint-s.lms");
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() - 20;
    damaged[middle] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let fork = counts().replace("'out'", "'fork'");
    let refused = pipelines.restore_savepoint("p", "s", Some("q"), Some(&fork)).await;
    assert!(matches!(refused, Err(PipelineError::Files(_))), "{refused:?}");
    // It would begin at the beginning, in the sinks it was to go on with.
    let begun = pipelines.view("q");
    assert!(matches!(begun, Err(PipelineError::Unknown(_))), "{begun:?}");
    assert!(pipelines.0.topics.owned_by("q").is_empty());
    std::fs::write(&path, whole).unwrap();
    pipelines.restore_savepoint("p", "s", Some("q"), Some(&fork)).await.unwrap();
    assert_eq!(pipelines.0.topics.owned_by("q"), ["fork"]);
    pipelines.run("q", &fork, None).await.unwrap();
    parts.produce("in", &[("a", 5)]).await;
    parts.caught_up("q").await;
    assert_eq!(parts.read("fork"), [r#"{"k":"a","n":3}"#]);
    parts.close().await;
    // After a restart it is there, with its sink.
    let parts = Parts::open(&directory, Vec::new()).await;
    assert_eq!(parts.pipelines.0.topics.owned_by("q"), ["fork"]);
    assert_eq!(parts.pipelines.view("q").unwrap().script, fork);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_stays_what_it_is_while_it_is_restored() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = parts.pipelines.clone();
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    let fork = counts().replace("'out'", "'fork'");
    // Whoever restores it to another name waits for who changes the one it is of, and the other way round.
    let held = pipelines.hold("p").await;
    let restore = pipelines.restore_savepoint("p", "s", Some("q"), Some(&fork));
    let mut restore = std::pin::pin!(restore);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut restore).await;
    assert!(early.is_err(), "it did not wait");
    drop(held);
    restore.await.unwrap();
    parts.close().await;
}

/// As when another release, or another version of a function, plans the script otherwise: the state is of operators that the
/// plan does not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_of_another_plan_takes_nothing_away() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    pipelines.stop("p").await.unwrap();
    let file = directory.path().join("pipelines").join("p").join("savepoint-s.lms");
    let mut reader = SnapshotReader::open(std::fs::File::open(&file).unwrap()).unwrap();
    let mut header = reader.header().clone();
    header.progress.plan ^= 1;
    let none = StateChanges::default();
    let (other, _) = merge_snapshot(&header, Some(&mut reader), &none, |_| true, Vec::new()).unwrap();
    std::fs::write(&file, other).unwrap();
    for to in [None, Some("q")] {
        let refused = pipelines.restore_savepoint("p", "s", to, None).await.unwrap_err().to_string();
        assert!(refused.contains("its state is of plan"), "{refused}");
    }
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 5)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":3}"#);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_a_savepoint_is_restored_with_sets_memory_and_shards() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    pipelines.set_memory("p", 1 << 27).await.unwrap();
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    let of = |name: &str| {
        let view = pipelines.view(name).unwrap();
        (view.memory, view.shards)
    };
    let set = "SET 'pipeline.memory' = '64 MiB'; SET 'pipeline.shards' = '2';";
    let fork = format!("{set} {}", counts().replace("'out'", "'fork'"));
    pipelines.restore_savepoint("p", "s", Some("q"), Some(&fork)).await.unwrap();
    assert_eq!(of("q"), (64 << 20, 2));
    pipelines.run("q", &fork, None).await.unwrap();
    assert_eq!(of("q"), (64 << 20, 2));
    // Where it sets nothing, it has what the other one has.
    let plain = counts().replace("'out'", "'plain'");
    pipelines.restore_savepoint("p", "s", Some("r"), Some(&plain)).await.unwrap();
    assert_eq!(of("r"), (1 << 27, 1));
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_with_the_pipeline_that_writes_them() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    // An upgrade that is refused has taken nothing.
    let strict = counts().replace("x BIGINT", "z BIGINT NOT NULL").replace("COUNT(*)", "COUNT(z)");
    let refused = pipelines.upgrade("p", &strict.replace("'out'", "'unwritten'"), false).await;
    assert!(matches!(refused, Err(PipelineError::Upgrade { .. })), "{refused:?}");
    assert_eq!(pipelines.0.topics.owned_by("p"), ["out"]);
    assert!(pipelines.0.topics.get("unwritten").is_none(), "nor has it made any");
    // One that is done has given back what is not written any more.
    let moved = counts().replace("'out'", "'elsewhere'");
    pipelines.upgrade("p", &moved, false).await.unwrap();
    assert_eq!(pipelines.0.topics.owned_by("p"), ["elsewhere"]);
    pipelines.run("other", COPY, None).await.unwrap();
    assert_eq!(pipelines.0.topics.owned_by("other"), ["out"]);
    parts.produce("in", &[("a", 5)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("elsewhere"), [r#"{"k":"a","n":3}"#]);
    parts.close().await;
    let parts = Parts::open(&directory, Vec::new()).await;
    assert_eq!(parts.pipelines.0.topics.owned_by("p"), ["elsewhere"]);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_makes_no_more_state_than_the_pipeline_may_have() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    let keys: Vec<String> = (0..600).map(|key| format!("key-{key:06}")).collect();
    parts.produce("in", &keys.iter().map(|key| (&**key, 1)).collect::<Vec<_>>()).await;
    parts.caught_up("p").await;
    let held: u64 = pipelines.view("p").unwrap().operators.iter().map(|size| size.bytes).sum();
    // Its own state has room; the other one beside what has led there has not.
    pipelines.set_memory("p", held + held / 2).await.unwrap();
    let summed = script(", s BIGINT", ", SUM(x)", "");
    let refused = pipelines.upgrade("p", &summed, false).await.unwrap_err().to_string();
    assert!(refused.contains("--memory") && refused.contains("GroupAggregate"), "{refused}");
    assert_eq!(pipelines.view("p").unwrap().script, counts());
    pipelines.set_memory("p", 16 * held).await.unwrap();
    pipelines.upgrade("p", &summed, false).await.unwrap();
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_pipeline_gives_its_upgrade_up() {
    let directory = TempDir::new().unwrap();
    // A replay of very many turns.
    let limits = EpochLimits { input_records: 1, ..EpochLimits::default() };
    let parts = Parts::open_limited(&directory, Vec::new(), 1 << 30, limits).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    let rows: Vec<(&str, i64)> = (0..1_500).map(|x| ("a", x)).collect();
    parts.produce("in", &rows).await;
    parts.caught_up("p").await;
    let summed = script(", s BIGINT", ", SUM(x)", "");
    let upgrade = pipelines.upgrade("p", &summed, false);
    let stop = async {
        while pipelines.0.replays.is_empty() {
            tokio::task::yield_now().await;
        }
        pipelines.stop("p").await
    };
    let (upgraded, stopped) = tokio::join!(upgrade, stop);
    let refused = upgraded.unwrap_err().to_string();
    assert!(refused.contains("given up"), "{refused}");
    assert_eq!(stopped.unwrap().state, PipelineState::Stopped);
    assert_eq!(pipelines.view("p").unwrap().script, counts());
    assert!(pipelines.0.replays.is_empty());
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_refused_gives_no_upgrade_up() {
    let directory = TempDir::new().unwrap();
    // A replay of very many turns.
    let limits = EpochLimits { input_records: 1, ..EpochLimits::default() };
    let parts = Parts::open_limited(&directory, Vec::new(), 1 << 30, limits).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    let rows: Vec<(&str, i64)> = (0..1_500).map(|x| ("a", x)).collect();
    parts.produce("in", &rows).await;
    parts.caught_up("p").await;
    let refused_delete = async {
        while pipelines.0.replays.is_empty() {
            tokio::task::yield_now().await;
        }
        pipelines.delete("p", false).await
    };
    let summed = script(", s BIGINT", ", SUM(x)", "");
    let (upgraded, running) = tokio::join!(pipelines.upgrade("p", &summed, false), refused_delete);
    assert!(running.unwrap_err().to_string().contains("stop it first"));
    assert_eq!(upgraded.unwrap().0.script, summed);
    // Nor does one that would take savepoints with it, of a pipeline that does not run.
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    pipelines.stop("p").await.unwrap();
    let other = script(", m BIGINT", ", MAX(x)", "");
    let refused_delete = async {
        while pipelines.0.replays.is_empty() {
            tokio::task::yield_now().await;
        }
        pipelines.delete("p", false).await
    };
    let (upgraded, kept) = tokio::join!(pipelines.upgrade("p", &other, false), refused_delete);
    assert!(matches!(kept, Err(PipelineError::HasSavepoints { .. })), "{kept:?}");
    assert_eq!(upgraded.unwrap().0.script, other);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_the_broker_has_not_come_to_yet_can_be_upgraded() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    parts.close().await;
    // Those before it are started first.
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    assert_eq!(pipelines.view("p").unwrap().state, PipelineState::Starting);
    let summed = script(", s BIGINT", ", SUM(x)", "");
    let (view, _) = pipelines.upgrade("p", &summed, false).await.unwrap();
    pipelines.resume().await;
    let resumed = pipelines.view("p").unwrap();
    assert_eq!((resumed.script, resumed.generation), (summed, view.generation), "it is started once");
    parts.produce("in", &[("a", 5)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":3,"s":9}"#);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_can_be_changed_while_state_is_made_for_its_next_script() {
    let directory = TempDir::new().unwrap();
    // A replay of very many turns.
    let limits = EpochLimits { input_records: 1, ..EpochLimits::default() };
    let parts = Parts::open_limited(&directory, Vec::new(), 1 << 30, limits).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    let rows: Vec<(&str, i64)> = (0..1_500).map(|x| ("a", x)).collect();
    parts.produce("in", &rows).await;
    parts.caught_up("p").await;
    let summed = script(", s BIGINT", ", SUM(x)", "");
    let other = script(", m BIGINT", ", MAX(x)", "");
    let change = async {
        while pipelines.0.replays.is_empty() {
            tokio::task::yield_now().await;
        }
        pipelines.set_memory("p", 1 << 27).await.unwrap();
        assert_eq!(pipelines.view("p").unwrap().script, counts(), "the change has waited for the upgrade");
        let second = pipelines.upgrade("p", &other, false).await;
        pipelines.make_savepoint("p", Some("meanwhile")).await.unwrap();
        second.unwrap_err().to_string()
    };
    let (upgraded, second) = tokio::join!(pipelines.upgrade("p", &summed, false), change);
    assert!(second.contains("on its way") && second.contains("pipeline stop p"), "{second}");
    let (view, _) = upgraded.unwrap();
    assert_eq!((view.script, view.memory), (summed, 1 << 27));
    assert_eq!(pipelines.savepoints("p").await.unwrap()[0].header.script, counts());
    parts.produce("in", &[("a", 7)]).await;
    parts.caught_up("p").await;
    let sum: i64 = (0..1_500).sum::<i64>() + 7;
    assert_eq!(parts.read("out").last().unwrap(), &format!(r#"{{"k":"a","n":1501,"s":{sum}}}"#));
    // One that is gone when its state is made is not upgraded, nor is another one of its name.
    pipelines.stop("p").await.unwrap();
    let delete = async {
        while pipelines.0.replays.is_empty() {
            tokio::task::yield_now().await;
        }
        pipelines.delete("p", true).await.unwrap();
    };
    let (upgraded, ()) = tokio::join!(pipelines.upgrade("p", &other, false), delete);
    let refused = upgraded.unwrap_err().to_string();
    assert!(refused.contains("given up"), "{refused}");
    assert!(matches!(pipelines.view("p"), Err(PipelineError::Unknown(_))));
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_pipeline_that_is_gone_go_with_the_next_start() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    parts.pipelines.make_savepoint("p", Some("s")).await.unwrap();
    parts.close().await;
    // As if the process had ended between a pipeline's record and its files.
    let left = directory.path().join("pipelines").join("gone");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("snapshot-00000000000000000001.lms"), "x").unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    assert!(!left.exists());
    assert_eq!(files(&directory, "p").len(), 1, "those of one that is there stay");
    parts.close().await;
}

/// How many threads answer queries.
#[cfg(target_os = "linux")]
fn querying() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "query").count()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn queries_whose_askers_hang_up_are_counted_and_end() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    // An epoch that is on its way for long: queries wait for it.
    pipelines.output_ends("p").begin();
    for _ in 0..8 {
        let query = pipelines.query("SELECT * FROM b", None);
        let answered = tokio::time::timeout(Duration::from_millis(20), query).await;
        assert!(answered.is_err(), "{answered:?}");
        assert!(querying() <= super::super::query::AT_A_TIME, "{}", querying());
    }
    for _ in 0..200 {
        if querying() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(querying(), 0, "nobody waits for them");
    pipelines.output_ends("p").refused();
    assert_eq!(pipelines.query("SELECT * FROM b", None).await.unwrap().rows.rows.len(), 3);
    parts.close().await;
}

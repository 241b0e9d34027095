//! What pipelines leave to those who produce: time of the device, and room on it.

use std::time::{Duration, Instant};

use logmill_storage::RealDisk;
use logmill_stream::EpochLimits;
use tempfile::TempDir;

use super::super::{EventKind, PipelineState};
use super::counting_disk::CountingDisk;
use super::{COPY, Parts, RESERVE};

const EPOCHS: u64 = 80;
/// Frames of this device take a time that counts.
const SMALL: EpochLimits = EpochLimits {
    input_bytes: 1,
    input_records: 3,
    unpacked_bytes: 1 << 20,
    output_bytes: 1 << 20,
    steady_bytes: 1 << 20,
    emit_rows: 1_000,
};
/// What comes out of a record is a frame of some 200 KiB: 4 ms by the first guess, of which it may take a hundredth.
const LARGE: &str = "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (s STRING) WITH ('topic' = 'out', 'format' = 'raw');
    INSERT INTO b SELECT REPEAT(k, 200000) FROM a;";

impl Parts {
    async fn with_a_backlog() -> (TempDir, Parts) {
        let directory = TempDir::new().unwrap();
        let parts = Parts::open_sharing(RealDisk, &directory, Vec::new(), 1 << 30, SMALL, 1).await;
        let rows: Vec<_> = (0..EPOCHS * 3).map(|x| ("k", x.cast_signed())).collect();
        parts.produce("in", &rows).await;
        (directory, parts)
    }

    fn epoch(&self) -> u64 {
        self.pipelines.view("p").unwrap().progress.map_or(0, |progress| progress.epoch)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_with_a_backlog_rests_while_others_produce_and_only_then() {
    let (_directory, parts) = Parts::with_a_backlog().await;
    parts.pipelines.run("p", LARGE, None).await.unwrap();
    let mut second: Option<Instant> = None;
    // By the first guess the rests behind 80 epochs of a record or more take half a minute. Should each of its frames take the device
    // no time at all, the guess falls by an eighth each time, and it is still three seconds.
    while second.is_none_or(|began| began.elapsed() < Duration::from_secs(1)) {
        parts.produce("other-in", &[("k", 1)]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if parts.epoch() > 0 {
            second.get_or_insert_with(Instant::now);
        }
    }
    let done = parts.epoch();
    assert!(done < EPOCHS, "all {done} epochs without a rest");
    // It is no less obedient while it rests.
    assert_eq!(parts.pipelines.stop("p").await.unwrap().state, PipelineState::Stopped);
    // Nobody produces any more.
    parts.pipelines.run("p", LARGE, None).await.unwrap();
    parts.caught_up("p").await;
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_leaves_room_on_the_disk_and_goes_on_when_there_is_more() {
    let directory = TempDir::new().unwrap();
    let disk = CountingDisk::default();
    let parts = Parts::open_on(disk.clone(), &directory, Vec::new(), 1 << 30, EpochLimits::default()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", COPY, None).await.unwrap();
    parts.produce("in", &[("a", 1)]).await;
    parts.caught_up("p").await;
    disk.set_free_bytes(RESERVE - 1);
    // With nothing to do it waits for nothing but input.
    pipelines.set_memory("p", 1 << 20).await.unwrap();
    assert_eq!(pipelines.view("p").unwrap().state, PipelineState::Running);
    // Whoever produces is served. What comes between its look at the disk and its look at the input is still taken.
    let mut end = 1;
    let blocked = loop {
        end += 1;
        assert!(end < 100, "it reads on");
        parts.produce("in", &[("a", end)]).await;
        if let Some(blocked) = parts.blocked_before(end).await {
            break blocked;
        }
    };
    assert!(blocked.what.contains("the disk is nearly full"), "{blocked}");
    assert!(blocked.what.contains("1 MiB"), "{blocked}");
    assert!(blocked.remedy.contains("pipelines.disk_reserve"), "{blocked}");
    end += 1;
    parts.produce("in", &[("a", end)]).await;
    // It can be stopped and started all the same.
    assert_eq!(pipelines.stop("p").await.unwrap().state, PipelineState::Stopped);
    pipelines.run("p", COPY, None).await.unwrap();
    assert!(parts.blocked_before(end).await.is_some(), "it read all");
    // Some more than that, so that it does not wait again at once.
    disk.set_free_bytes(RESERVE + RESERVE / 8);
    parts.caught_up("p").await;
    assert_eq!(parts.position(), end);
    assert_eq!(pipelines.view("p").unwrap().state, PipelineState::Running);
    let told = |kind| pipelines.events("p", 0).unwrap().iter().filter(|event| event.kind == kind).count();
    assert_eq!((told(EventKind::Blocked), told(EventKind::Unblocked)), (2, 1));
    parts.close().await;
}

impl Parts {
    fn position(&self) -> i64 {
        self.pipelines.view("p").unwrap().sources[0].position
    }

    /// Why it is blocked; `None` when it has read up to `end` instead.
    async fn blocked_before(&self, end: i64) -> Option<super::super::Failure> {
        for _ in 0..3_000 {
            if let PipelineState::Blocked(failure) = self.pipelines.view("p").unwrap().state {
                assert!(self.position() < end);
                return Some(failure);
            }
            if self.position() == end {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.pipelines.view("p"));
    }
}

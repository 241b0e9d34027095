//! Pipelines that are behind and may leave records out: they catch up, and account for each.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use logmill_client::{Pipeline, PipelineCounters, ProducerRecord};

use crate::rig::Rig;

fn script(shed: &str) -> String {
    format!(
        "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json') {shed};
         CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO b SELECT x FROM a;"
    )
}

fn rows(numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|x| format!("{{\"x\":{x}}}")).collect()
}

fn counters(pipeline: &Pipeline) -> PipelineCounters {
    pipeline.counters.unwrap_or_default()
}

/// That so many records are read, and each is in one topic or the other.
async fn accounted(rig: &Rig, counters: &PipelineCounters, count: i64) {
    let (kept, shed) = (rig.values("out").await, rig.values("shed").await);
    assert_eq!((counters.records_out, counters.shed), (kept.len() as i64, shed.len() as i64));
    let mut all: Vec<String> = kept.into_iter().chain(shed).collect();
    all.sort_unstable();
    let mut expected = rows(0..count);
    expected.sort_unstable();
    assert!(all == expected, "{} records of {count}", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_is_behind_sheds_catches_up_and_accounts_for_each_record() {
    let rig = Rig::start().await;
    rig.topic("in", 2).await;
    rig.produce("in", 0, rows(0..10_000)).await;
    rig.produce("in", 1, rows(10_000..20_000)).await;
    let shed = "SHED WHEN lag > 4000 RECORDS UNTIL lag < 1000 RECORDS USING random TO 'shed'";
    rig.run("p", &script(shed)).await;
    let caught_up = |pipeline: &Pipeline| counters(pipeline).records_in == 20_000;
    let behind = counters(&rig.until("p", caught_up).await);
    assert!(behind.shed > 1_000, "{behind:?}");
    accounted(&rig, &behind, 20_000).await;
    assert!(rig.events("p").await.contains(&"shedding".to_owned()));

    // What comes now is less than the bound, and none of it goes: not before a restart, nor behind it.
    rig.produce("in", 0, rows(20_000..20_500)).await;
    let pipeline = rig.until("p", |pipeline| counters(pipeline).records_in == 20_500).await;
    assert_eq!(counters(&pipeline).shed, behind.shed);
    let [table] = &pipeline.shedding[..] else { panic!("{:?}", pipeline.shedding) };
    assert_eq!((table.table.as_str(), table.level), ("a", 0));
    assert_eq!(table.declared, "random lag>4000 records until<1000 records to=shed");
    let rig = rig.restart_with(|_| {}).await;
    rig.produce("in", 1, rows(20_500..21_000)).await;
    rig.until("p", |pipeline| counters(pipeline).records_in == 21_000).await;
    let done = counters(&rig.finish("p").await);
    assert_eq!(done.shed, behind.shed);
    accounted(&rig, &done, 21_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_passed_over_through_the_time_index() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let producer = rig.client.producer().build().await.expect("a producer");
    // Whoever reads it stops there.
    let old = (0..200).map(|_| ("no JSON".to_owned(), now - 7_200_000));
    let new = (200..300).map(|x| (format!("{{\"x\":{x}}}"), now));
    let sent = old.chain(new).map(|(value, time)| {
        producer.send(ProducerRecord::to("in").partition(0).timestamp(time).value(Bytes::from(value)))
    });
    futures::future::try_join_all(sent).await.expect("they are taken");
    producer.close().await.expect("it is done");
    rig.run("p", &script("SHED WHEN lag > INTERVAL '1' HOUR USING oldest")).await;
    let pipeline = rig.until("p", |pipeline| counters(pipeline).records_out == 100).await;
    assert_eq!((counters(&pipeline).records_in, counters(&pipeline).shed), (300, 200));
    assert_eq!(rig.values("out").await, rows(200..300));
}

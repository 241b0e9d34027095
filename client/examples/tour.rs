//! A tour of the client against any Kafka cluster: `cargo run -p logmill-client --example tour -- HOST:PORT`.
//!
//! It makes topics with names of its own, checks what it reads, and deletes them at the end.

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use logmill_client::{
    Client, Codec, Consumer, Isolation, NewTopic, ProducerRecord, Result, StartAt, TransactionalProducer,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let client = Client::connect_within(&bootstrap, PATIENCE).await?;
    println!("connected to cluster {}", client.cluster_id().unwrap_or_default());
    let admin = client.admin();

    let nonce =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    let [source, target] = ["source", "target"].map(|name| format!("tour-{nonce}-{name}"));
    for topic in [&source, &target] {
        admin.create_topic(&NewTopic::new(topic).partitions(3).replication(1)).await?;
        assert_eq!(admin.describe_topic(topic).await?.partitions.len(), 3);
    }

    produce(&client, &source).await?;
    read(&client, &source).await?;
    transactions(&client, &target).await?;
    group_of_two(&client, &source).await?;
    exactly_once(&client, &source).await?;

    for topic in [&source, &target] {
        admin.delete_topic(topic).await?;
    }
    println!("done");
    Ok(())
}

const RECORDS: usize = 20_000;

async fn produce(client: &Client, topic: &str) -> Result<()> {
    let begun = Instant::now();
    for (codec, share) in
        [(Codec::None, 0), (Codec::Gzip, 1), (Codec::Snappy, 2), (Codec::Lz4, 3), (Codec::Zstd, 4)]
    {
        let producer = client.producer().compression(codec).build().await?;
        for n in (share..RECORDS).step_by(5) {
            let record = ProducerRecord::to(topic)
                .key(n.to_string())
                .value(format!("value {n}"))
                .header("n", n.to_string());
            drop(producer.enqueue(record).await?);
        }
        producer.close().await?;
    }
    println!("produced {RECORDS} records with five codecs in {:?}", begun.elapsed());
    let producer = client.producer().build().await?;
    let begun = Instant::now();
    for _ in 0..100 {
        producer.send(ProducerRecord::to(topic).key("single").value("x")).await?;
    }
    println!("one at a time: {:?} each", begun.elapsed() / 100);
    producer.close().await
}

async fn take(consumer: &mut Consumer, count: usize) -> Result<Vec<String>> {
    let mut values = Vec::new();
    let all = async {
        while values.len() < count {
            for record in consumer.next_batch(1000).await? {
                values.push(String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned());
            }
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(result) => result.map(|()| values),
        Err(_) => panic!("only {} of {count} records came", values.len()),
    }
}

async fn read(client: &Client, topic: &str) -> Result<()> {
    let begun = Instant::now();
    let mut reader = client.reader().topic(topic, StartAt::Earliest).build().await?;
    let values = take(&mut reader, RECORDS + 100).await?;
    let different: BTreeSet<&String> = values.iter().collect();
    assert_eq!(different.len(), RECORDS + 1);
    println!("read them in {:?}", begun.elapsed());
    reader.seek(topic, 1, StartAt::Offset(7))?;
    assert_eq!(reader.next().await?.offset, 7);
    reader.close().await;
    Ok(())
}

async fn write(
    producer: &mut TransactionalProducer,
    topic: &str,
    values: &[&str],
    commit: bool,
) -> Result<()> {
    let mut transaction = producer.begin().await?;
    for value in values {
        let record = ProducerRecord::to(topic).key(value.to_string()).value(value.to_string());
        if commit {
            drop(transaction.enqueue(record).await?);
        } else {
            // What is only enqueued when a transaction is aborted need never be sent.
            transaction.send(record).await?;
        }
    }
    if commit { transaction.commit().await } else { transaction.abort().await }
}

async fn transactions(client: &Client, topic: &str) -> Result<()> {
    let id = format!("{topic}-id");
    let mut producer = client.transactional(&id).build().await?;
    write(&mut producer, topic, &["a", "b", "c"], true).await?;
    write(&mut producer, topic, &["lost-1", "lost-2"], false).await?;
    write(&mut producer, topic, &["d", "e"], true).await?;
    // Left open: the successor aborts it.
    let mut transaction = producer.begin().await?;
    transaction.send(ProducerRecord::to(topic).value("lost-3")).await?;
    drop(transaction);
    let mut successor = client.transactional(&id).build().await?;
    let fenced =
        write(&mut producer, topic, &["lost-4"], true).await.expect_err("the older producer is fenced");
    println!("the older producer is told: {fenced}");
    assert!(producer.begin().await.is_err());
    write(&mut successor, topic, &["f"], true).await?;
    successor.close().await;

    let mut reader = client.reader().topic(topic, StartAt::Earliest).build().await?;
    let mut values = take(&mut reader, 6).await?;
    values.sort();
    assert_eq!(values, ["a", "b", "c", "d", "e", "f"]);
    let mut dirty =
        client.reader().isolation(Isolation::Uncommitted).topic(topic, StartAt::Earliest).build().await?;
    let everything = take(&mut dirty, 9).await?;
    assert!(everything.iter().any(|value| value == "lost-3"));
    println!("transactions: 6 records committed, {} aborted", everything.len() - 6);
    Ok(())
}

async fn group_of_two(client: &Client, topic: &str) -> Result<()> {
    let group = format!("{topic}-group");
    let member = || {
        client
            .consumer(&group)
            .topic(topic)
            .heartbeat_interval(Duration::from_millis(200))
            .manual_commit()
            .build()
    };
    let mut first = member()?;
    take(&mut first, 1).await?;
    assert_eq!(first.assignment().len(), 3);
    let mut second = member()?;
    let begun = Instant::now();
    let (mut seen, mut total) = (BTreeSet::new(), 0);
    while begun.elapsed() < PATIENCE && (seen.len() < RECORDS + 1 || first.assignment().len() == 3) {
        for consumer in [&mut first, &mut second] {
            if let Ok(batch) = tokio::time::timeout(Duration::from_millis(50), consumer.next_batch(500)).await
            {
                for record in batch? {
                    seen.insert(record.value.unwrap_or_default());
                    total += 1;
                }
            }
        }
    }
    let shares = (first.assignment().len(), second.assignment().len());
    println!(
        "two members have {shares:?} partitions and saw {} values, {total} records, in {:?}",
        seen.len(),
        begun.elapsed()
    );
    assert_eq!(shares.0 + shares.1, 3);
    assert_eq!(seen.len(), RECORDS + 1);
    first.commit().await?;
    second.commit().await?;
    second.close().await;
    first.close().await;
    let committed: i64 = client.admin().group_offsets(&group).await?.iter().map(|offset| offset.offset).sum();
    assert_eq!(committed, RECORDS as i64 + 100);
    let described = client.admin().describe_group(&group).await?;
    println!("the group is {}; listed: {}", described.state, client.admin().list_groups().await?.len());
    Ok(())
}

async fn exactly_once(client: &Client, source: &str) -> Result<()> {
    let target = format!("{source}-copy");
    client.admin().create_topic(&NewTopic::new(&target).partitions(2).replication(1)).await?;
    let begun = Instant::now();
    let mut consumer = client.consumer(format!("{source}-copier")).topic(source).manual_commit().build()?;
    let mut producer = client.transactional(format!("{source}-copier")).build().await?;
    let mut copied = 0;
    let mut failures = 0;
    let copying = producer.process(&mut consumer, 700, async |records, transaction| {
        for record in records {
            let mut copy = ProducerRecord::to(&target);
            if let Some(value) = record.value.clone() {
                copy = copy.value(value);
            }
            drop(transaction.enqueue(copy).await?);
        }
        // Every seventh batch fails once, after it was written.
        if failures < copied / 5000 {
            failures += 1;
            let source = Box::new(logmill_client::Error::InvalidArgument("on purpose".to_owned()));
            return Err(logmill_client::Error::AbortRequired { source });
        }
        copied += records.len();
        if copied == RECORDS + 100 { Err(logmill_client::Error::Closed) } else { Ok(()) }
    });
    let ended = tokio::time::timeout(PATIENCE, copying).await.expect("copied in time");
    assert!(matches!(ended, Err(logmill_client::Error::Closed)), "{ended:?}");
    // The last batch was given up on purpose: the next run does it.
    let mut rest = 0;
    let before = copied;
    let _ = tokio::time::timeout(
        Duration::from_secs(3),
        producer.process(&mut consumer, 700, async |records, transaction| {
            for record in records {
                drop(
                    transaction
                        .enqueue(ProducerRecord::to(&target).value(record.value.clone().unwrap_or_default()))
                        .await?,
                );
            }
            rest += records.len();
            Ok(())
        }),
    )
    .await;
    println!(
        "copied {before}, failed {failures} times on purpose, then {rest} again, in {:?}",
        begun.elapsed()
    );
    producer.close().await;
    consumer.close().await;
    client.admin().delete_topic(&target).await
}

//! Logmill's client library: produce, consume, transactions, groups, administration, and stream pipelines.
//!
//! It speaks plain Kafka protocol and works with Apache Kafka as well as with Logmill; only
//! [`Client::pipelines`] needs a Logmill broker.
//!
//! ```no_run
//! # async fn example() -> logmill_client::Result<()> {
//! use logmill_client::{Client, NewTopic, ProducerRecord};
//!
//! let client = Client::connect("127.0.0.1:9092").await?;
//! client.admin().create_topic(&NewTopic::new("greetings").partitions(3)).await?;
//!
//! let producer = client.producer().build().await?;
//! producer.send(ProducerRecord::to("greetings").key("en").value("hello")).await?;
//! producer.close().await?;
//!
//! let mut consumer = client.consumer("readers").topic("greetings").build()?;
//! let record = consumer.next().await?;
//! println!("{}: {:?}", record.offset, record.value);
//! consumer.close().await;
//! # Ok(()) }
//! ```
//!
//! # Rooms
//! - `transport`: sockets, TLS and SASL, and the clock. A connection sends in the order it is asked and is answered in that order.
//! - `cluster`: who leads what, who coordinates what; asking with retries and a deadline.
//! - `producer`, `transaction`, `consumer`, `admin`, `pipelines`: what a program uses. Queues, assignment,
//!   decoding and partitioning are pure; one or two tasks per producer or consumer do the rest.
//!
//! # Conventions
//! Futures that are dropped say in *Cancel safety* what may have happened. Producers and consumers are closed with
//! an async `close()`; dropping them never blocks. Every operation has a bound on its time.

#![forbid(unsafe_code)]

mod admin;
mod client;
mod cluster;
mod consumer;
mod error;
mod pipeline_changes;
mod pipelines;
mod producer;
mod transaction;
mod transport;

pub use admin::{
    Admin, BrokerDescription, ClusterDescription, ConfigChange, ConfigEntry, ConfigResource, ConfigSource,
    Feature, GroupDescription, GroupListing, GroupOffset, Isolation, LogDir, LogDirPartition,
    MemberDescription, NewTopic, OffsetSpec, Offsets, PartitionDescription, ProducerDescription,
    TopicDescription, TransactionDescription, TransactionListing,
};
pub use client::{Client, ClientBuilder};
pub use consumer::{
    AbortedTransaction, Assignments, Assignor, BatchReader, BatchReaderBuilder, Consumer, ConsumerBuilder,
    ConsumerRecord, FetchedBatches, GroupMember, GroupMembership, ReaderBuilder, Reset, StartAt, ToldEnd,
};
pub use error::{Error, Result, RpcCode};
pub use logmill_record::{Codec, RecordHeader};
/// Pipelines as a broker describes them.
/// What a broker measures, as it tells it.
pub mod metrics {
    pub use logmill_rpc::v1::sample::Value as SampleValue;
    pub use logmill_rpc::v1::{Bucket, Distribution, Label, Metric, Sample};
}
pub use logmill_rpc::v1::{
    EpochTimes, HeldBack, InputGap, Limiting, NodeStatusResponse as NodeStatus, OperatorChange,
    OperatorState, PartitionOffset, Pipeline, PipelineCounters, PipelineEvent, PipelineFailure,
    PipelineState, QueryColumn, QueryResponse, QueryRow, QueryValue, RejectedRecord, Savepoint,
    SourcePosition, TimeShares, UpgradePlan, query_value,
};
pub use logmill_wire::ErrorCode;
pub use pipelines::{InputEnd, Pipelines, RunOptions};
pub use producer::partitioner::{murmur2, partition_of_key};
pub use producer::{Ack, Acks, Producer, ProducerBuilder, ProducerRecord, RecordPlace};
pub use transaction::{Transaction, TransactionalBuilder, TransactionalProducer};
pub use transport::environment::{Environment, Incoming, Outgoing};
pub use transport::security::properties::parse_properties;
pub use transport::security::{Mechanism, Security, Tls};

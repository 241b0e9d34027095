//! Transactions: who may write under a transactional id, and what its open transaction includes.

mod add_offsets;
mod add_partitions;
mod command;
mod describe;
mod durable;
mod end_transaction;
mod epoch;
mod expire;
mod init_producer;
mod list;
mod machine;
mod membership;
mod record;
mod reply;
mod settings;
mod turn;

pub use command::{
    AddMode, AddOffsets, AddPartitions, Command, Describe, EndTransaction, InitProducer, List, TopicPartition,
};
pub use machine::TransactionMachine;
pub use record::{Marker, Record, Transaction, TransactionState};
pub use reply::{Description, Listed, Listing, ProducerGrant, Reply};
pub use settings::Settings;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

//! Transactions: who may write under a transactional id, and what its open transaction includes.

mod command;
mod record;
mod reply;
mod settings;

pub use command::{
    AddMode, AddOffsets, AddPartitions, Command, Describe, EndTransaction, InitProducer, List, TopicPartition,
};
pub use record::{Marker, Record, Transaction, TransactionState};
pub use reply::{Description, Listed, Listing, ProducerGrant, Reply};
pub use settings::Settings;

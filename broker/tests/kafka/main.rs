//! The broker's Kafka side, asked over a socket in Kafka's own words: one running node for each test, and
//! a client that knows nothing but the wire.

mod administration;
mod cleaning;
mod client;
mod configs;
mod consumer_groups;
mod defects_elsewhere;
mod defects_of_others;
mod defects_over_time;
mod every_admin_version;
mod every_version;
mod fetching;
mod group_configs;
mod groups;
mod lifetime;
mod markers;
mod metrics;
mod negotiation;
mod producing;
mod topics;
mod transaction_frames;
mod transactions;

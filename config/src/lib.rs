//! Logmill's configuration: one struct for one file.
//!
//! [`Config`] is declared once, in [`settings`]: every key with its type, its default and its line of
//! meaning. The shipped `config/logmill.toml` is that declaration printed ([`Config::to_toml`]); a test
//! keeps the two equal.
//!
//! A value comes from the first of these that names its key (see [`load`]):
//!
//! 1. a flag of the command,
//! 2. the environment (`LOGMILL_SECTION__KEY`, or `LOGMILL_KEY` for the keys above the first section),
//! 3. the configuration file,
//! 4. the default built in.
//!
//! Where each value came from stays known ([`Loaded::origin`]). A key that does not exist is an error that
//! names the place and suggests the key that was meant; so is a value of the wrong kind.
//!
//! This crate knows no other crate of the workspace. It is the only place that reads a configuration file.

#![forbid(unsafe_code)]

mod error;
mod load;
mod schema;
pub mod settings;
mod value;

pub use error::{ConfigError, Origin};
pub use load::{Loaded, MAX_SHARDS, Sources, load};
pub use schema::Key;
pub use settings::Config;
pub use value::{
    Assignor, Assignors, ByteSize, DirectIo, Durability, GroupMigration, HostPort, LogFormat, parse_duration,
    parse_size,
};

/// The shipped configuration file: every key with its default and one line of meaning.
pub const DEFAULT_FILE: &str = include_str!("../logmill.toml");

//! The do-nothing server: the floor under every ratio.
//!
//! It speaks just enough of Kafka's protocol and does nearly nothing with it: one partition; it reads the request, checks
//! the batch's CRC-32C, sets the base offset, writes the bytes, answers. No index files, no producer state, no groups, no
//! metadata, no retention. Whatever a broker costs beyond it is the price of being a broker.

mod log;
mod requests;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

/// How the floor stores what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Storage {
    /// Written to a new file before the answer; the page cache has it.
    PageCache,
    /// One thread writes all that waits over a zero-written file, flushes once (`fdatasync`), then all are answered.
    Fdatasync,
    /// The same with one aligned write past the page cache (`O_DIRECT|O_DSYNC`).
    Direct,
}

/// Where and how to serve.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub(crate) listen: SocketAddr,
    /// Where the file goes.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// What an answer promises.
    #[arg(long, value_enum, default_value_t = Storage::PageCache)]
    pub(crate) storage: Storage,
    /// How much a zero-written file has room for.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) capacity: u64,
}

/// Serves until the process is ended.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let log = log::Log::open(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve::serve(settings.listen, log))
}

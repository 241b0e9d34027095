//! The door to the logs: appends with a promise to wait for, reads, and waiting for data.
//!
//! ```text
//! handler ──submit──► Store::commit (sequencer) ──► journal thread ──► Pending resolves
//! handler ──read────► Partition::read (immutable view)
//! handler ──wait────► woken by the publication itself, never by a timer
//! ```
//!
//! `submit` is synchronous and returns at once: the order in which a connection calls it is the order
//! in which its batches get their offsets. Waiting happens on the returned [`Pending`].

mod append;
mod cleaning;
mod partition;
mod threads;
mod traffic;
mod trusted_clock;
mod waits;

pub use append::{Acknowledge, AppendError, Partitions, Pending};
pub(crate) use cleaning::Cleaner;
pub use cleaning::CleaningSettings;
pub use partition::Partition;
pub use threads::LogThreads;
pub(crate) use traffic::Traffic;
pub use waits::DataWait;

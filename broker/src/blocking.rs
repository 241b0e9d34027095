//! Work that may wait for a file, or takes long, in the middle of an async task.
//!
//! A runtime of one thread, which only tests and simulations have, does it there and then: where no other thread is, nothing
//! comes in another order the next time.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Runs `work` without holding up the worker's other tasks: they go elsewhere first.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    if is_multi_threaded() { tokio::task::block_in_place(work) } else { work() }
}

/// Runs `work` beside the runtime's workers.
///
/// # Errors
/// When it panicked, or the runtime ended before it began.
pub(crate) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if is_multi_threaded() { tokio::task::spawn_blocking(work).await } else { Ok(work()) }
}

fn is_multi_threaded() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

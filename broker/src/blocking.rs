//! Work that may wait for a file, or takes long, in the middle of an async task.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` without holding up the worker's other tasks: they go elsewhere first.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

//! What the whole-system tests share: a view of the source tree and of the dependency graph, for the guards that read the
//! project itself; the built binary as processes and a network that fails, for the tests that run it; and a checker of what
//! their clients saw.

pub mod crates;
pub mod history;
pub mod licence;
pub mod process;
pub mod proxy;
pub mod source;
pub mod workload;

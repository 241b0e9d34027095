//! Pipelines of a broker: what is asked of them, and what goes wrong with one and not with others.

mod functions;
mod limits;
mod lives;
mod rig;
mod shards;
mod shedding;
mod spilled;
mod wrongs;

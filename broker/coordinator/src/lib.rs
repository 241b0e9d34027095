//! Groups and transactions as pure state machines.

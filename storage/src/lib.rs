//! Bytes on disk.

#![deny(unsafe_code)]

pub mod disk;
pub mod log;

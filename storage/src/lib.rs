//! Bytes on disk.

#![deny(unsafe_code)]

pub mod disk;

//! The stream engine.

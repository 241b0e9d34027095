//! Cargo asks for a file; there is nothing to build here.

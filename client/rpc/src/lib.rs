//! The gRPC language.

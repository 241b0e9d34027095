//! Who may do what.
//!
//! Every request has a [`Principal`], and one exhaustive table ([`requirements`]) says for each API what
//! must be allowed, another ([`needed_by`]) for each call of our own language over gRPC. Until there is authentication everybody is the same anonymous user and
//! [`Access::allows`] always says yes; the questions are asked all the same, in the place where they
//! will be answered.

mod access;
mod calls;
mod principal;
mod requirements;

pub use access::Access;
pub use calls::{Call, needed_by};
pub use principal::Principal;
pub use requirements::{Operation, Requirement, Resource, requirements};

//! Who may do what.
//!
//! Every request has a [`Principal`], and one exhaustive table ([`requirements`]) says for each API what
//! must be allowed. Until there is authentication everybody is the same anonymous user and
//! [`Access::allows`] always says yes; the questions are asked all the same, in the place where they
//! will be answered.

mod access;
mod principal;
mod requirements;

pub use access::Access;
pub use principal::Principal;
pub use requirements::{Operation, Requirement, Resource, requirements};

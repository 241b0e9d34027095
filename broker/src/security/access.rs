//! The one who answers whether something is allowed.

use logmill_wire::ApiKey;

use super::requirements::is_admitted;
use super::{Call, Operation, Principal, Requirement, Resource, needed_by};

/// Kafka's value for "authorised operations" that were not asked for.
const NOT_ASKED: i32 = i32::MIN;

/// Answers authorisation questions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Access;

impl Access {
    /// Whether `principal` may do this. Everybody may do everything until there is authentication.
    #[must_use]
    pub fn allows(&self, _principal: &Principal, _requirement: Requirement) -> bool {
        true
    }

    /// Whether `principal` may call `api` at all: everything its row of the table asks for is allowed.
    #[must_use]
    pub fn admits(&self, principal: &Principal, api: ApiKey) -> bool {
        is_admitted(api, |requirement| self.allows(principal, requirement))
    }

    /// Whether `principal` may make a call of our own language.
    #[must_use]
    pub fn admits_call(&self, principal: &Principal, call: Call) -> bool {
        needed_by(call).iter().all(|&requirement| self.allows(principal, requirement))
    }

    /// What `principal` may do to a resource, as the bit field of Kafka's responses; `asked` false gives
    /// the value that stands for "not asked".
    #[must_use]
    pub fn operations(&self, principal: &Principal, resource: Resource, asked: bool) -> i32 {
        if !asked {
            return NOT_ASKED;
        }
        resource
            .operations()
            .iter()
            .filter(|&&operation| self.allows(principal, (operation, resource)))
            .fold(0, |bits, &operation: &Operation| bits | 1 << operation as i8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_kafkas_bits() {
        let (access, principal) = (Access, Principal::anonymous());
        assert_eq!(access.operations(&principal, Resource::Topic, true), 0b1101_1111_1000);
        assert_eq!(access.operations(&principal, Resource::Cluster, true), 0b1_1111_1010_0000);
        assert_eq!(access.operations(&principal, Resource::Topic, false), i32::MIN);
        assert!(ApiKey::ALL.iter().all(|&api| access.admits(&principal, api)));
    }
}

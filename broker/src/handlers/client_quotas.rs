//! DescribeClientQuotas, AlterClientQuotas: nobody has a quota, and none can be set because none would be
//! kept to.

use std::collections::BTreeSet;

use logmill_wire::ErrorCode;
use logmill_wire::messages::alter_client_quotas::{AlterQuotasEntry, AlterQuotasResult};
use logmill_wire::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};

use super::{Call, told};

const ENTITIES: [&str; 3] = ["user", "client-id", "ip"];
const KEYS: [&str; 5] = [
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
    "connection_creation_rate",
];

type Refused = (ErrorCode, String);

pub(crate) async fn describe(
    _call: Call<'_>,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let types = request.components.iter().map(|component| component.entity_type.as_str());
    match check_entity(types) {
        Ok(()) => {
            DescribeClientQuotasResponse { error_message: None, ..DescribeClientQuotasResponse::default() }
        }
        Err((error_code, why)) => DescribeClientQuotasResponse {
            error_code,
            error_message: Some(told(&why)),
            entries: None,
            ..DescribeClientQuotasResponse::default()
        },
    }
}

pub(crate) async fn alter(_call: Call<'_>, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let answer = |entry: AlterQuotasEntry| {
        let (error_code, error_message) = match judge(&entry) {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, why)) => (code, Some(told(&why))),
        };
        AlterQuotasResult { error_code, error_message, entity: entry.entity }
    };
    let entries = request.entries.into_iter().map(answer).collect();
    AlterClientQuotasResponse { entries, ..AlterClientQuotasResponse::default() }
}

/// What is not there can be removed; nothing can be set.
fn judge(entry: &AlterQuotasEntry) -> Result<(), Refused> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
    check_entity(entry.entity.iter().map(|part| part.entity_type.as_str()))?;
    if entry.entity.is_empty() {
        return invalid("Invalid empty client quota entity".to_owned());
    }
    for op in &entry.ops {
        if !KEYS.contains(&op.key.as_str()) {
            return invalid(format!("Invalid configuration key {}", op.key.as_str()));
        }
        if !op.remove {
            return invalid("this broker keeps to no quotas, so none can be set".to_owned());
        }
    }
    Ok(())
}

fn check_entity<'a>(types: impl Iterator<Item = &'a str>) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for kind in types {
        if !ENTITIES.contains(&kind) {
            return Err((ErrorCode::UNSUPPORTED_VERSION, format!("Unsupported entity type {kind}")));
        }
        if !seen.insert(kind) {
            let why = format!("Entity type {kind} must not be specified more than once");
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
    }
    if seen.contains("ip") && seen.len() > 1 {
        let why = "Invalid entity filter component combination. IP filter component should not be used with \
                   user or clientId filter component.";
        return Err((ErrorCode::INVALID_REQUEST, why.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use logmill_wire::Str;
    use logmill_wire::messages::alter_client_quotas::{EntityData, OpData};

    use super::*;

    #[test]
    fn quotas_can_be_removed_and_not_set() {
        let entry = |kinds: &[&str], key: &str, remove| AlterQuotasEntry {
            entity: kinds
                .iter()
                .map(|kind| EntityData { entity_type: Str::from(*kind), ..EntityData::default() })
                .collect(),
            ops: vec![OpData { key: Str::from(key), value: 1.0, remove }],
        };
        let code = |entry: AlterQuotasEntry| judge(&entry).err().map(|(code, _)| code);
        assert_eq!(code(entry(&["user"], "producer_byte_rate", true)), None);
        let invalid = Some(ErrorCode::INVALID_REQUEST);
        assert_eq!(code(entry(&["user"], "producer_byte_rate", false)), invalid);
        assert_eq!(code(entry(&["user"], "bogus", true)), invalid);
        assert_eq!(code(entry(&[], "producer_byte_rate", true)), invalid);
        assert_eq!(code(entry(&["user", "ip"], "producer_byte_rate", true)), invalid);
        assert_eq!(code(entry(&["user", "user"], "producer_byte_rate", true)), invalid);
        let unsupported = Some(ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(code(entry(&["group"], "producer_byte_rate", true)), unsupported);
    }
}

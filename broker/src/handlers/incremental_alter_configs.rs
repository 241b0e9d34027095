//! IncrementalAlterConfigs: single configs of topics, of groups, of the broker and of its loggers.

use std::collections::BTreeSet;

use logmill_wire::ErrorCode;
use logmill_wire::messages::incremental_alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse};
use logmill_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::Call;
use super::config_resources::{Answered, Asked, Refused, alter_all};
use crate::configs::{Change, ConfigError};
use crate::topics::ConfigUpdate;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    call: Call<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked = request.resources.into_iter().map(|asked| Asked {
        kind: asked.resource_type,
        update: changes(&asked).map(ConfigUpdate::Change),
        name: asked.resource_name,
    });
    let answers = alter_all(call.context, asked.collect(), request.validate_only).await;
    let responses = answers.into_iter().map(|Answered { kind, name, error_code, error_message }| {
        AlterConfigsResourceResponse { error_code, error_message, resource_type: kind, resource_name: name }
    });
    IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..IncrementalAlterConfigsResponse::default()
    }
}

fn changes(asked: &AlterConfigsResource) -> Result<Vec<(String, Change)>, Refused> {
    let invalid = |why: String| (ErrorCode::INVALID_REQUEST, why);
    let mut seen = BTreeSet::new();
    let mut changes = Vec::with_capacity(asked.configs.len());
    for config in &asked.configs {
        let name = config.name.to_string();
        if !seen.insert(&config.name) {
            return Err(invalid(format!("Error due to duplicate config keys: {name}")));
        }
        let value = || {
            let missing = || invalid(ConfigError::NoValue { name: name.clone() }.to_string());
            config.value.as_deref().map(str::to_owned).ok_or_else(missing)
        };
        let change = match config.config_operation {
            SET => Change::Set(value()?),
            DELETE => Change::Delete,
            APPEND => Change::Append(value()?),
            SUBTRACT => Change::Subtract(value()?),
            other => return Err(invalid(format!("Unknown operation type {other}"))),
        };
        changes.push((name, change));
    }
    Ok(changes)
}

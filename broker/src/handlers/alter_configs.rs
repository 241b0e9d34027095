//! AlterConfigs: the older way, which replaces everything that was set for a topic or the broker.

use logmill_wire::ErrorCode;
use logmill_wire::messages::alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse};
use logmill_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::Call;
use super::config_resources::{Answered, Asked, Refused, alter_all};
use crate::configs::{ConfigError, ConfigSet};
use crate::topics::ConfigUpdate;

pub(crate) async fn handle(call: Call<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let asked = request.resources.into_iter().map(|asked| Asked {
        kind: asked.resource_type,
        update: replacement(&asked),
        name: asked.resource_name,
    });
    let answers = alter_all(call.context, asked.collect(), request.validate_only).await;
    let responses = answers.into_iter().map(|Answered { kind, name, error_code, error_message }| {
        AlterConfigsResourceResponse { error_code, error_message, resource_type: kind, resource_name: name }
    });
    AlterConfigsResponse { responses: responses.collect(), ..AlterConfigsResponse::default() }
}

fn replacement(asked: &AlterConfigsResource) -> Result<ConfigUpdate, Refused> {
    let mut set = ConfigSet::new();
    for config in &asked.configs {
        let name = config.name.to_string();
        let Some(value) = config.value.as_deref() else {
            return Err((ErrorCode::INVALID_REQUEST, ConfigError::NoValue { name }.to_string()));
        };
        set.insert(name, value.to_owned());
    }
    Ok(ConfigUpdate::Replace(set))
}

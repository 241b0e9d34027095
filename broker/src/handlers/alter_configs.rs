//! AlterConfigs: the older way, which replaces everything that was set for a topic or the broker.

use std::collections::BTreeSet;

use logmill_wire::messages::alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse};
use logmill_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::config_resources::{Refused, Resource, alter_error, resource};
use crate::configs::{ConfigError, ConfigSet};
use crate::context::Context;
use crate::topics::ConfigUpdate;

pub(crate) async fn handle(call: Call<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> =
        request.resources.iter().map(key).filter(|key| !seen.insert(key.clone())).collect();
    let mut responses = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let altered = if repeated.contains(&key(&asked)) {
            Err((ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.".to_owned()))
        } else {
            alter(call.context, &asked, request.validate_only).await
        };
        let (error_code, error_message) = match altered {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, message)) => (code, Some(Str::from(message))),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
        });
    }
    AlterConfigsResponse { responses, ..AlterConfigsResponse::default() }
}

fn key(asked: &AlterConfigsResource) -> (i8, Str) {
    (asked.resource_type, asked.resource_name.clone())
}

async fn alter(context: &Context, asked: &AlterConfigsResource, validate_only: bool) -> Result<(), Refused> {
    let resource = resource(context, asked.resource_type, &asked.resource_name)?;
    let mut set = ConfigSet::new();
    for config in &asked.configs {
        let name = config.name.to_string();
        let Some(value) = config.value.as_deref() else {
            return Err((ErrorCode::INVALID_REQUEST, ConfigError::NoValue { name }.to_string()));
        };
        set.insert(name, value.to_owned());
    }
    let update = ConfigUpdate::Replace(set);
    let altered = match &resource {
        Resource::Topic(name) => context.topics.alter_topic(name, &update, validate_only).await,
        Resource::Group(name) => context.topics.alter_group(name, &update, validate_only).await,
        Resource::Broker(scope) => context.topics.alter_broker(*scope, &update, validate_only).await,
        // Kafka has no older way for these either.
        Resource::Loggers => {
            let why = "AlterConfigs does not change loggers; IncrementalAlterConfigs does".to_owned();
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
    };
    altered.map_err(|error| alter_error(&resource, &error))
}

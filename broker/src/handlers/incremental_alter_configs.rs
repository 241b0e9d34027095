//! IncrementalAlterConfigs: single configs of topics, of the broker and of its loggers.

use std::collections::BTreeSet;

use logmill_wire::messages::incremental_alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse};
use logmill_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::config_resources::{Refused, Resource, alter_error, resource};
use crate::configs::{Change, ConfigError};
use crate::context::Context;
use crate::topics::ConfigUpdate;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    call: Call<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

fn key(asked: &AlterConfigsResource) -> (i8, Str) {
    (asked.resource_type, asked.resource_name.clone())
}

async fn alter(context: &Context, asked: &AlterConfigsResource, validate_only: bool) -> Result<(), Refused> {
    let resource = resource(context, asked.resource_type, &asked.resource_name)?;
    let update = ConfigUpdate::Change(changes(asked)?);
    let altered = match &resource {
        Resource::Topic(name) => context.topics.alter_topic(name, &update, validate_only).await,
        Resource::Group(name) => context.topics.alter_group(name, &update, validate_only).await,
        Resource::Broker(scope) => context.topics.alter_broker(*scope, &update, validate_only).await,
        Resource::Loggers => {
            let ConfigUpdate::Change(changes) = update else { return Ok(()) };
            return context
                .loggers
                .change(&changes, validate_only)
                .map_err(|error| (error.code(), error.to_string()));
        }
    };
    altered.map_err(|error| alter_error(&resource, &error))
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

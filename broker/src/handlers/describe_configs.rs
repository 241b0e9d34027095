//! DescribeConfigs: every config of topics and of the broker, with defaults, because tools read them all.

use std::collections::BTreeSet;

use logmill_wire::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use logmill_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::broker_configs::broker_configs;
use crate::context::Context;
use crate::topics::{ConfigEntry, ConfigSource, check_name};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub(crate) async fn handle(call: Call<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let show = Show { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results =
        request.resources.into_iter().map(|resource| describe(call.context, resource, show)).collect();
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

/// What the client wants to see beside names and values.
#[derive(Clone, Copy)]
struct Show {
    synonyms: bool,
    documentation: bool,
}

fn describe(context: &Context, resource: DescribeConfigsResource, show: Show) -> DescribeConfigsResult {
    let entries = match resource.resource_type {
        TOPIC => topic_configs(context, &resource.resource_name),
        BROKER => own_configs(context, &resource.resource_name),
        other => Err((ErrorCode::INVALID_REQUEST, format!("resources of type {other} have no configs here"))),
    };
    let (error_code, error_message, entries) = match entries {
        Ok(entries) => (ErrorCode::NONE, None, entries),
        Err((code, message)) => (code, Some(Str::from(message)), Vec::new()),
    };
    // No list of names, or an empty one, asks for everything.
    let wanted: Option<BTreeSet<Str>> =
        resource.configuration_keys.filter(|keys| !keys.is_empty()).map(|keys| keys.into_iter().collect());
    let is_wanted = |entry: &ConfigEntry| wanted.as_ref().is_none_or(|wanted| wanted.contains(entry.name));
    let broker = resource.resource_type == BROKER;
    DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs: entries.into_iter().filter(is_wanted).map(|entry| shown(entry, broker, show)).collect(),
    }
}

type Entries = Result<Vec<ConfigEntry>, (ErrorCode, String)>;

fn topic_configs(context: &Context, name: &str) -> Entries {
    if let Err(error) = check_name(name) {
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()));
    }
    match context.topics.get(name) {
        Some(topic) => Ok(context.topics.configs(&topic)),
        None => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no topic of this name".to_owned())),
    }
}

/// The empty name stands for what holds for all brokers together, which is nothing: one node has its own.
fn own_configs(context: &Context, name: &str) -> Entries {
    match name {
        "" => Ok(Vec::new()),
        _ if name.parse() == Ok(context.node.node_id) => Ok(broker_configs(context)),
        _ => Err((ErrorCode::INVALID_REQUEST, format!("this is broker {}", context.node.node_id))),
    }
}

fn shown(entry: ConfigEntry, read_only: bool, show: Show) -> DescribeConfigsResourceResult {
    let value = Some(Str::from(entry.value));
    let source = entry.source as i8;
    let own = DescribeConfigsSynonym { name: Str::from_static(entry.name), value: value.clone(), source };
    DescribeConfigsResourceResult {
        name: Str::from_static(entry.name),
        value,
        read_only,
        config_source: source,
        is_sensitive: false,
        synonyms: if show.synonyms && entry.source != ConfigSource::Default { vec![own] } else { Vec::new() },
        config_type: entry.kind as i8,
        documentation: show.documentation.then(|| Str::from_static(entry.doc)),
    }
}

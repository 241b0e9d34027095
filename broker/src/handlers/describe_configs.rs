//! DescribeConfigs: every config of topics and of the broker, with defaults, because tools read them all.

use std::collections::BTreeSet;

use logmill_wire::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use logmill_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::config_resources::{Refused, Resource, resource};
use crate::configs::{ConfigEntry, ConfigSource, Synonym};
use crate::context::{Context, NodeInfo};
use crate::topics::ConfigScope;

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

fn describe(context: &Context, asked: DescribeConfigsResource, show: Show) -> DescribeConfigsResult {
    // No list of names, or an empty one, asks for everything.
    let wanted: Option<BTreeSet<Str>> =
        asked.configuration_keys.filter(|keys| !keys.is_empty()).map(|keys| keys.into_iter().collect());
    let is_wanted = |config: &DescribeConfigsResourceResult| {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&config.name))
    };
    let found = resource(context, asked.resource_type, &asked.resource_name)
        .and_then(|resource| configs_of(context, &resource, show));
    let (error_code, error_message, configs) = match found {
        Ok(configs) => (ErrorCode::NONE, None, configs),
        Err((code, message)) => (code, Some(Str::from(message)), Vec::new()),
    };
    DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: asked.resource_type,
        resource_name: asked.resource_name,
        configs: configs.into_iter().filter(is_wanted).collect(),
    }
}

fn configs_of(
    context: &Context,
    resource: &Resource<'_>,
    show: Show,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let broker = context.topics.broker_configs();
    let entries = match resource {
        Resource::Topic(name) => match context.topics.get(name) {
            Some(topic) => broker.describe_topic(&topic.configs),
            None => {
                let why = "This server does not host this topic-partition.".to_owned();
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why));
            }
        },
        Resource::Broker(ConfigScope::Cluster) => broker.describe_cluster(),
        Resource::Broker(ConfigScope::Node) => {
            let mut entries = broker.describe_broker();
            entries.iter_mut().for_each(|entry| with_address(entry, &context.node));
            entries
        }
        Resource::Group(name) => broker.describe_group(&context.topics.group_configs(name)),
        Resource::Loggers => return Ok(loggers(context)),
    };
    Ok(entries.into_iter().map(|entry| shown(entry, show)).collect())
}

/// The addresses are known since the port was opened.
fn with_address(entry: &mut ConfigEntry, node: &NodeInfo) {
    let name = entry.definition.name;
    if matches!(name, "advertised.listeners" | "listeners") {
        let value = format!("PLAINTEXT://{}:{}", node.advertised.0, node.advertised.1);
        let source = ConfigSource::StaticBroker;
        entry.value = Some(value.clone());
        entry.source = source;
        entry.synonyms.insert(0, Synonym { name, value, source });
    }
}

fn shown(entry: ConfigEntry, show: Show) -> DescribeConfigsResourceResult {
    let ConfigEntry { definition, value, source, synonyms } = entry;
    let is_sensitive = definition.is_sensitive();
    let visible = |value: String| (!is_sensitive).then(|| Str::from(value));
    let synonym = |synonym: Synonym| DescribeConfigsSynonym {
        name: Str::from_static(synonym.name),
        value: visible(synonym.value),
        source: synonym.source as i8,
    };
    DescribeConfigsResourceResult {
        name: Str::from_static(definition.name),
        value: value.and_then(visible),
        read_only: !definition.role.is_dynamic(),
        config_source: source as i8,
        is_sensitive,
        synonyms: if show.synonyms { synonyms.into_iter().map(synonym).collect() } else { Vec::new() },
        config_type: definition.kind as i8,
        documentation: show.documentation.then(|| Str::from(&*definition.documentation())),
    }
}

fn loggers(context: &Context) -> Vec<DescribeConfigsResourceResult> {
    let shown = |(name, level): (String, String)| DescribeConfigsResourceResult {
        name: Str::from(name),
        value: Some(Str::from(level)),
        config_source: ConfigSource::Logger as i8,
        documentation: None,
        ..DescribeConfigsResourceResult::default()
    };
    context.loggers.levels().into_iter().map(shown).collect()
}

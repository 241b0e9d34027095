//! `logmill broker`: a running broker, asked over the wire. (What a broker *would be* started with is
//! `logmill config`.)

use clap::Subcommand;
use logmill_client::{Admin, ConfigEntry, ConfigResource, ConfigSource};
use serde_json::{Value, json};

use super::changes::Changes;
use super::metrics;
use crate::arguments::{Connection, Output};
use crate::failure::Usage;
use crate::output::{self, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum Broker {
    /// Show the cluster, its brokers and their features.
    Describe,
    /// Show configs of a broker under Kafka's names: those that were set, or all.
    Configs(Configs),
    /// Change configs of all brokers or of one while they run; topics that set nothing themselves follow.
    Alter(Alter),
    /// Show or change the levels of a broker's log lines. They are forgotten when it stops.
    Loggers(Loggers),
    /// Show the directories of the brokers, with the bytes of each partition.
    LogDirs,
    /// Show what a Logmill broker counts: requests, journal, disk, groups, pipelines.
    Metrics(Metrics),
    /// Give a feature of the protocol another level, such as transaction.version 1.
    Feature(Feature),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Configs {
    /// Id of the broker; the first one if not given.
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// Show what is set for all brokers together.
    #[arg(long, conflicts_with = "broker")]
    all_brokers: bool,
    /// Show defaults too, with their meaning.
    #[arg(short, long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Alter {
    /// Id of the broker; all brokers if not given.
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Loggers {
    /// Id of the broker; the first one if not given.
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Metrics {
    /// What the names begin with, such as journal or logmill_journal; all metrics if not given.
    prefix: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Feature {
    /// Name of the feature.
    name: String,
    /// The level it is to have; 0 for none.
    level: i16,
    /// Allow a level below the one that holds.
    #[arg(long)]
    downgrade: bool,
}

pub(crate) async fn run(command: Broker, connection: &Connection) -> anyhow::Result<()> {
    let admin = connection.admin().await?;
    let form = connection.output;
    match command {
        Broker::Describe => describe(&admin, "broker describe", form).await,
        Broker::Configs(command) => configs(&admin, &command, form).await,
        Broker::Alter(command) => alter(&admin, &command, form).await,
        Broker::Loggers(command) => loggers(&admin, &command, form).await,
        Broker::LogDirs => log_dirs(&admin, form).await,
        Broker::Metrics(command) => {
            let pipelines = connection.pipelines()?;
            metrics::show(&pipelines, command.prefix.as_deref(), form).await
        }
        Broker::Feature(command) => feature(&admin, &command, form).await,
    }
}

async fn first_broker(admin: &Admin) -> anyhow::Result<i32> {
    let cluster = admin.describe_cluster().await?;
    cluster
        .brokers
        .first()
        .map(|broker| broker.id)
        .ok_or_else(|| anyhow::anyhow!("the cluster has no broker"))
}

async fn describe(admin: &Admin, command: &str, form: Output) -> anyhow::Result<()> {
    let cluster = admin.describe_cluster().await?;
    let features = admin.features().await?;
    match form {
        Output::Json => {
            let brokers: Vec<Value> = cluster
                .brokers
                .iter()
                .map(|b| json!({ "broker": b.id, "host": b.host, "port": b.port, "rack": b.rack }))
                .collect();
            let features: Vec<Value> = features
                .iter()
                .map(|f| {
                    json!({ "feature": f.name, "level": f.level, "lowest": f.lowest, "highest": f.highest })
                })
                .collect();
            let body = json!({
                "cluster": cluster.cluster_id,
                "controller": cluster.controller,
                "brokers": brokers,
                "features": features,
            });
            output::json(command, body)?;
        }
        Output::Table => {
            let controller = or_dash(cluster.controller);
            output::lines([
                format!("cluster {}  controller {controller}", cluster.cluster_id),
                String::new(),
            ])?;
            let row = |b: &logmill_client::BrokerDescription| {
                vec![b.id.to_string(), format!("{}:{}", b.host, b.port), or_dash(b.rack.clone())]
            };
            let rows: Vec<Vec<String>> = cluster.brokers.iter().map(row).collect();
            output::table(&["broker", "address", "rack"], &rows)?;
            output::lines([""])?;
            let row = |f: &logmill_client::Feature| {
                vec![f.name.clone(), or_dash(f.level), format!("{}-{}", f.lowest, f.highest)]
            };
            let rows: Vec<Vec<String>> = features.iter().map(row).collect();
            output::table(&["feature", "level", "levels"], &rows)?;
        }
    }
    Ok(())
}

async fn configs(admin: &Admin, command: &Configs, form: Output) -> anyhow::Result<()> {
    let resource = match command.broker {
        _ if command.all_brokers => ConfigResource::Brokers,
        Some(id) => ConfigResource::Broker(id),
        None => ConfigResource::Broker(first_broker(admin).await?),
    };
    let mut configs = admin.describe_configs(&resource).await?;
    configs.retain(|config| command.all || config.source != ConfigSource::Default);
    show("broker configs", &resource, &configs, command.all, form)
}

async fn alter(admin: &Admin, command: &Alter, form: Output) -> anyhow::Result<()> {
    let resource = command.broker.map_or(ConfigResource::Brokers, ConfigResource::Broker);
    if command.changes.is_empty() {
        return Err(nothing_to_change().into());
    }
    admin.alter_configs(&resource, &command.changes.list(), command.changes.dry_run).await?;
    let mut configs = admin.describe_configs(&resource).await?;
    configs.retain(|config| matches!(config.source, ConfigSource::Broker | ConfigSource::Brokers));
    show("broker alter", &resource, &configs, false, form)
}

async fn loggers(admin: &Admin, command: &Loggers, form: Output) -> anyhow::Result<()> {
    let id = match command.broker {
        Some(id) => id,
        None => first_broker(admin).await?,
    };
    let resource = ConfigResource::Loggers(id);
    if !command.changes.is_empty() {
        admin.alter_configs(&resource, &command.changes.list(), command.changes.dry_run).await?;
    }
    let levels = admin.describe_configs(&resource).await?;
    show("broker loggers", &resource, &levels, false, form)
}

fn nothing_to_change() -> Usage {
    Usage("say what to change: --config, --unset, --append or --subtract".to_owned())
}

fn show(
    command: &str,
    resource: &ConfigResource,
    configs: &[ConfigEntry],
    with_meaning: bool,
    form: Output,
) -> anyhow::Result<()> {
    match form {
        Output::Json => {
            let configs: Vec<Value> = configs
                .iter()
                .map(|config| {
                    json!({
                        "key": config.name,
                        "value": config.value,
                        "from": config.source.name(),
                        "read_only": config.read_only,
                        "sensitive": config.is_sensitive,
                        "meaning": config.documentation,
                    })
                })
                .collect();
            output::json(command, json!({ "of": resource.to_string(), "configs": configs }))?;
        }
        Output::Table => {
            let row = |config: &ConfigEntry| {
                let value = or_dash(config.value.clone().filter(|value| !value.is_empty()));
                let mut row = vec![config.name.clone(), value, config.source.name().to_owned()];
                if with_meaning {
                    row.push(config.documentation.clone().unwrap_or_default());
                }
                row
            };
            let rows: Vec<Vec<String>> = configs.iter().map(row).collect();
            let headings = ["config", "value", "from", "meaning"];
            output::table(&headings[..if with_meaning { 4 } else { 3 }], &rows)?;
        }
    }
    Ok(())
}

async fn log_dirs(admin: &Admin, form: Output) -> anyhow::Result<()> {
    let dirs = admin.log_dirs().await?;
    match form {
        Output::Json => {
            let dirs: Vec<Value> = dirs
                .iter()
                .map(|dir| {
                    let partitions: Vec<Value> = dir
                        .partitions
                        .iter()
                        .map(|p| json!({ "topic": p.topic, "partition": p.partition, "bytes": p.bytes }))
                        .collect();
                    json!({
                        "broker": dir.broker,
                        "path": dir.path,
                        "total_bytes": dir.total_bytes,
                        "usable_bytes": dir.usable_bytes,
                        "partitions": partitions,
                    })
                })
                .collect();
            output::json("broker log-dirs", json!({ "log_dirs": dirs }))?;
        }
        Output::Table => {
            let total = |dir: &logmill_client::LogDir| {
                dir.partitions.iter().map(|partition| partition.bytes).sum::<u64>().to_string()
            };
            let rows: Vec<Vec<String>> = dirs
                .iter()
                .map(|dir| {
                    let sizes = [or_dash(dir.usable_bytes), or_dash(dir.total_bytes)];
                    let [usable, all] = sizes;
                    vec![dir.broker.to_string(), dir.path.clone(), total(dir), usable, all]
                })
                .collect();
            output::table(&["broker", "directory", "bytes", "usable", "total"], &rows)?;
            output::lines([""])?;
            let partitions = dirs.iter().flat_map(|dir| dir.partitions.iter().map(move |p| (dir.broker, p)));
            let rows: Vec<Vec<String>> = partitions
                .map(|(broker, p)| {
                    vec![p.topic.clone(), p.partition.to_string(), broker.to_string(), p.bytes.to_string()]
                })
                .collect();
            output::table(&["topic", "partition", "broker", "bytes"], &rows)?;
        }
    }
    Ok(())
}

async fn feature(admin: &Admin, command: &Feature, form: Output) -> anyhow::Result<()> {
    admin.update_feature(&command.name, command.level, command.downgrade).await?;
    describe(admin, "broker feature", form).await
}

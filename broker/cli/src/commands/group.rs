//! `logmill group`.

use std::collections::BTreeMap;

use clap::Subcommand;
use logmill_client::{Admin, GroupDescription, Isolation};
use serde_json::{Value, json};

use crate::arguments::{Connection, Output};
use crate::output::{self, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List groups.
    List,
    /// Show members of a group, what it has committed, and how far it lags behind.
    Describe(Describe),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// Id of the group.
    group: String,
}

pub(crate) async fn run(command: Group, connection: &Connection) -> anyhow::Result<()> {
    let admin = connection.admin().await?;
    match command {
        Group::List => list(&admin, connection.output).await,
        Group::Describe(Describe { group }) => describe(&admin, &group, connection.output).await,
    }
}

async fn list(admin: &Admin, form: Output) -> anyhow::Result<()> {
    let groups = admin.list_groups().await?;
    match form {
        Output::Json => {
            let groups: Vec<Value> = groups
                .iter()
                .map(|g| json!({ "group": g.group, "state": g.state, "protocol_type": g.protocol_type }))
                .collect();
            output::json("group list", json!({ "groups": groups }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> =
                groups.into_iter().map(|group| vec![group.group, group.state, group.protocol_type]).collect();
            output::table(&["group", "state", "type"], &rows)?;
        }
    }
    Ok(())
}

/// One partition a group reads or has committed.
#[derive(Debug, Default)]
struct Place {
    committed: Option<i64>,
    end: Option<i64>,
    member: Option<String>,
    client: Option<String>,
    host: Option<String>,
}

impl Place {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

async fn describe(admin: &Admin, group: &str, form: Output) -> anyhow::Result<()> {
    let description = admin.describe_group(group).await?;
    let offsets = admin.group_offsets(group).await?;
    if description.state == "Dead" && offsets.is_empty() {
        anyhow::bail!("there is no group {group}; `logmill group list` shows the groups");
    }
    let mut places: BTreeMap<(String, i32), Place> = BTreeMap::new();
    for offset in offsets {
        places.entry((offset.topic, offset.partition)).or_default().committed = Some(offset.offset);
    }
    for member in &description.members {
        for key in &member.assignment {
            let place = places.entry(key.clone()).or_default();
            place.member = Some(member.member_id.clone());
            place.client = Some(member.client_id.clone());
            place.host = Some(member.client_host.clone());
        }
    }
    for ((topic, partition), place) in &mut places {
        // A topic may have been deleted since.
        place.end =
            admin.offsets(topic, *partition, Isolation::Uncommitted).await.ok().map(|offsets| offsets.end);
    }
    match form {
        Output::Json => output::json("group describe", as_json(&description, &places))?,
        Output::Table => {
            let lag: i64 = places.values().filter_map(Place::lag).sum();
            output::lines([
                format!(
                    "group {}  state {}  protocol {}  members {}  lag {lag}",
                    description.group,
                    description.state,
                    if description.protocol.is_empty() { "-" } else { &description.protocol },
                    description.members.len(),
                ),
                String::new(),
            ])?;
            let rows: Vec<Vec<String>> = places
                .iter()
                .map(|((topic, partition), place)| {
                    vec![
                        topic.clone(),
                        partition.to_string(),
                        or_dash(place.committed),
                        or_dash(place.end),
                        or_dash(place.lag()),
                        or_dash(place.member.clone()),
                        or_dash(place.client.clone()),
                        or_dash(place.host.clone()),
                    ]
                })
                .collect();
            let headings = ["topic", "partition", "committed", "end", "lag", "member", "client", "host"];
            output::table(&headings, &rows)?;
        }
    }
    Ok(())
}

fn as_json(description: &GroupDescription, places: &BTreeMap<(String, i32), Place>) -> Value {
    let members: Vec<Value> = description
        .members
        .iter()
        .map(|member| {
            json!({
                "member": member.member_id,
                "instance": member.instance_id,
                "client": member.client_id,
                "host": member.client_host,
                "assignment": member.assignment.iter().map(|(topic, partition)| json!({ "topic": topic, "partition": partition })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let partitions: Vec<Value> = places
        .iter()
        .map(|((topic, partition), place)| {
            json!({
                "topic": topic,
                "partition": partition,
                "committed": place.committed,
                "end": place.end,
                "lag": place.lag(),
                "member": place.member,
            })
        })
        .collect();
    json!({
        "group": description.group,
        "state": description.state,
        "protocol_type": description.protocol_type,
        "protocol": description.protocol,
        "members": members,
        "partitions": partitions,
    })
}

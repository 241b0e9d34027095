//! DescribeLogDirs: the one directory there is, what lies in it, and how much room is left.

use std::collections::{BTreeMap, BTreeSet};

use logmill_wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use logmill_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::blocking::blocking;

pub(crate) async fn handle(call: Call<'_>, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted: Option<BTreeMap<Str, BTreeSet<i32>>> = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.topic, topic.partitions.into_iter().collect())).collect()
    });
    let mut topics = Vec::new();
    for topic in call.context.topics.image().iter() {
        let asked = wanted.as_ref().map(|wanted| wanted.get(&*topic.name));
        let is_asked = |index: i32| match asked {
            None => true,
            Some(asked) => asked.is_some_and(|asked| asked.contains(&index)),
        };
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .filter(|partition| is_asked(partition.index()))
            .map(|partition| DescribeLogDirsPartition {
                partition_index: partition.index(),
                partition_size: i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX),
                offset_lag: 0,
                is_future_key: false,
            })
            .collect();
        if !partitions.is_empty() {
            topics.push(DescribeLogDirsTopic { name: Str::from(&*topic.name), partitions });
        }
    }
    let data_dir = &call.context.node.data_dir;
    // Asking the file system may wait for a disk.
    let space = blocking(|| rustix::fs::statvfs(data_dir));
    let bytes = |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX);
    let (total_bytes, usable_bytes) = match &space {
        Ok(space) => (bytes(space.f_blocks, space.f_frsize), bytes(space.f_bavail, space.f_frsize)),
        Err(error) => {
            tracing::warn!(directory = %data_dir.display(), %error, "the file system does not tell its size");
            (-1, -1)
        }
    };
    DescribeLogDirsResponse {
        error_code: ErrorCode::NONE,
        results: vec![DescribeLogDirsResult {
            error_code: ErrorCode::NONE,
            log_dir: Str::from(data_dir.display().to_string()),
            topics,
            total_bytes,
            usable_bytes,
            is_cordoned: false,
        }],
        ..DescribeLogDirsResponse::default()
    }
}

//! Kafka's requests in numbers: how many of each API, how long they took, what went wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use logmill_wire::{ApiKey, ErrorCode, Response};
use parking_lot::Mutex;

use super::histogram::{Distribution, Histogram, TIMES};
use crate::net::CloseReason;

/// Counts of all requests since the start.
#[derive(Debug)]
pub(crate) struct RequestCounts {
    /// By the API's number.
    apis: Vec<ApiCounts>,
    /// Rare, so one lock does.
    errors: Mutex<BTreeMap<(ApiKey, ErrorCode), u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug)]
struct ApiCounts {
    api: ApiKey,
    requests: AtomicU64,
    durations: Histogram,
}

/// One API's numbers.
#[derive(Clone, Debug)]
pub(crate) struct ApiView {
    pub(crate) api: ApiKey,
    pub(crate) requests: u64,
    pub(crate) durations: Distribution,
}

impl Default for RequestCounts {
    fn default() -> Self {
        let counts = |api: &ApiKey| ApiCounts {
            api: *api,
            requests: AtomicU64::new(0),
            durations: Histogram::new(TIMES),
        };
        Self {
            apis: ApiKey::ALL.iter().map(counts).collect(),
            errors: Mutex::default(),
            refused: Mutex::default(),
        }
    }
}

impl RequestCounts {
    fn of(&self, api: ApiKey) -> Option<&ApiCounts> {
        let at = self.apis.binary_search_by_key(&api, |counts| counts.api).ok()?;
        self.apis.get(at)
    }

    /// A request that is served has come.
    pub(crate) fn begun(&self, api: ApiKey) {
        if let Some(counts) = self.of(api) {
            counts.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request is answered, after this time.
    pub(crate) fn answered<R: Response>(&self, response: &R, after: Duration) {
        if let Some(counts) = self.of(R::KEY) {
            counts.durations.add_time(after);
        }
        response.each_error(&mut |code| self.failed(R::KEY, code));
    }

    /// A request that gets no answer is done, after this time.
    pub(crate) fn unanswered(&self, api: ApiKey, after: Duration) {
        if let Some(counts) = self.of(api) {
            counts.durations.add_time(after);
        }
    }

    fn failed(&self, api: ApiKey, code: ErrorCode) {
        // Numbers that are no error of Kafka's are never answered; they would be labels without end.
        if code.name().is_some() {
            *self.errors.lock().entry((api, code)).or_default() += 1;
        }
    }

    /// A request cost its sender the connection.
    pub(crate) fn refused(&self, reason: &CloseReason) {
        let reason = match reason {
            CloseReason::Malformed(_) => "malformed",
            CloseReason::Unsupported { .. } => "unsupported",
            CloseReason::Forbidden { .. } => "forbidden",
            CloseReason::UnacknowledgedFailure(_) => "unacknowledged_failure",
            CloseReason::Unanswerable(_) => "unanswerable",
        };
        *self.refused.lock().entry(reason).or_default() += 1;
    }

    /// The APIs that were called.
    pub(crate) fn apis(&self) -> Vec<ApiView> {
        let called = self.apis.iter().filter_map(|counts| {
            let requests = counts.requests.load(Ordering::Relaxed);
            let view = || ApiView { api: counts.api, requests, durations: counts.durations.seconds() };
            (requests > 0).then(view)
        });
        called.collect()
    }

    /// Errors in answers, by API and code.
    pub(crate) fn errors(&self) -> Vec<((ApiKey, ErrorCode), u64)> {
        self.errors.lock().iter().map(|(key, count)| (*key, *count)).collect()
    }

    /// Requests that cost their senders the connection, by reason.
    pub(crate) fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refused.lock().iter().map(|(reason, count)| (*reason, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use logmill_wire::messages::MetadataResponse;
    use logmill_wire::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};

    use super::*;

    #[test]
    fn errors_are_found_wherever_they_stand_in_an_answer() {
        let counts = RequestCounts::default();
        let partition = |error_code| MetadataResponsePartition { error_code, ..Default::default() };
        let topic =
            |error_code, partitions| MetadataResponseTopic { error_code, partitions, ..Default::default() };
        let response = MetadataResponse {
            topics: vec![
                topic(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Vec::new()),
                topic(
                    ErrorCode::NONE,
                    vec![partition(ErrorCode::NONE), partition(ErrorCode::LEADER_NOT_AVAILABLE)],
                ),
                topic(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Vec::new()),
            ],
            ..MetadataResponse::default()
        };
        counts.begun(ApiKey::Metadata);
        counts.answered(&response, Duration::from_millis(2));
        assert_eq!(
            counts.errors(),
            [
                ((ApiKey::Metadata, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), 2),
                ((ApiKey::Metadata, ErrorCode::LEADER_NOT_AVAILABLE), 1),
            ]
        );
        let apis = counts.apis();
        assert_eq!((apis.len(), apis[0].api, apis[0].requests), (1, ApiKey::Metadata, 1));
        assert_eq!((apis[0].durations.count, apis[0].durations.sum), (1, 0.002));
    }

    #[test]
    fn a_number_that_is_no_error_of_kafkas_makes_no_label() {
        let counts = RequestCounts::default();
        counts.failed(ApiKey::Fetch, ErrorCode(9999));
        counts.failed(ApiKey::Fetch, ErrorCode::CORRUPT_MESSAGE);
        assert_eq!(counts.errors(), [((ApiKey::Fetch, ErrorCode::CORRUPT_MESSAGE), 1)]);
    }
}

//! Clients: connections, requests, memory.

use super::{Scraper, label, number};
use crate::telemetry::{Family, Value};

impl Scraper {
    pub(super) fn serving(&self) -> Vec<Family> {
        let uptime = (self.clock.now_ms() - self.started_ms).max(0) as f64 / 1000.0;
        let version = label("version", env!("CARGO_PKG_VERSION"));
        let mut families = vec![
            Family::gauge("logmill_build_info", "The running version.").with(version, 1.0),
            Family::gauge("logmill_uptime_seconds", "Time since the broker started.")
                .with(Vec::new(), uptime),
            Family::gauge("logmill_connections", "Connections open, Kafka's and gRPC's.")
                .of(self.connections.count() as u64),
            Family::gauge("logmill_connections_limit", "The most connections there may be.")
                .of(self.limits.connections),
            Family::counter("logmill_connections_accepted_total", "Connections accepted.")
                .of(self.connections.accepted()),
            Family::counter(
                "logmill_connections_refused_total",
                "Connections closed at once: the limit was reached.",
            )
            .of(self.connections.refused()),
            Family::gauge("logmill_request_memory_bytes", "Memory held by requests under way.")
                .of(self.request_memory.held() as u64),
            Family::gauge("logmill_request_memory_limit_bytes", "The most memory requests may hold.")
                .of(self.request_memory.total() as u64),
            Family::gauge("logmill_response_memory_bytes", "Memory held by records in responses.")
                .of(self.response_memory.held() as u64),
            Family::gauge(
                "logmill_response_memory_limit_bytes",
                "The most memory records in responses may hold.",
            )
            .of(self.response_memory.total() as u64),
            Family::counter(
                "logmill_produce_throttled_total",
                "Produces that waited because the log was behind.",
            )
            .of(self.partitions.waits()),
        ];
        families.extend(self.requests());
        families
    }

    fn requests(&self) -> [Family; 4] {
        let counts = &self.telemetry.requests;
        let mut requests = Family::counter("logmill_requests_total", "Requests served, by API.");
        let mut durations = Family::histogram(
            "logmill_request_duration_seconds",
            "Time from a request's beginning to its answer. Waiting for data, members or the disk is part of it.",
        );
        for view in counts.apis() {
            let api = || label("api", view.api.name());
            requests.push(api(), number(view.requests));
            durations.push(api(), Value::Distribution(view.durations));
        }
        let mut errors =
            Family::counter("logmill_request_errors_total", "Error codes in answers, by API and code.");
        for ((api, code), count) in counts.errors() {
            let labels = vec![("api", api.name().to_owned()), ("error", code.to_string())];
            errors.push(labels, number(count));
        }
        let mut refused = Family::counter(
            "logmill_requests_refused_total",
            "Requests that cost their senders the connection, by reason.",
        );
        for (reason, count) in counts.refusals() {
            refused.push(label("reason", reason), number(count));
        }
        [requests, durations, errors, refused]
    }
}

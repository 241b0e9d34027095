//! Idempotent producers that write no more are forgotten, so that what is known of producers stays bounded.

use std::sync::Arc;
use std::time::Duration;

use logmill_storage::Store;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// How often to look (Kafka's `producer.id.expiration.check.interval.ms`), unless producers are forgotten sooner.
const LOOK: Duration = Duration::from_secs(600);
/// The least time between two looks.
const REST: Duration = Duration::from_secs(1);

/// Forgets, until it is stopped, every producer whose last batch is older than `after`, by its timestamp, and that has no
/// open transaction. One that writes again later begins anew.
pub async fn forget_idle_producers(
    store: Arc<Store>,
    clock: Clock,
    after: Duration,
    stop: CancellationToken,
) {
    let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let pause = after.clamp(REST, LOOK);
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let (store, now) = (Arc::clone(&store), clock.now_ms());
        // A partition's state is locked while its segment is written.
        let forgetting = tokio::task::spawn_blocking(move || store.expire_producers(now, after_ms));
        match forgetting.await {
            Ok(0) => {}
            Ok(forgotten) => tracing::debug!(forgotten, "idle producers were forgotten"),
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        }
    }
}

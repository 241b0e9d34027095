//! A broker without threads and sockets, whose owner drives it: for simulations.
//!
//! Everything between a connection's bytes and the disk is as in [`Node`](crate::node::Node), but for pipelines and gRPC. The
//! owner opens the store, on whatever disk; calls its rounds; and brings connections, as streams. On a tokio runtime of one
//! thread, with paused time, [`Clock::of_runtime`](crate::clock::Clock::of_runtime), seeded [`Entropy`] and a simulated disk,
//! nothing is left to chance.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use logmill_config::Config;
use logmill_storage::{Fatal, Store};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::assembly::Assembly;
use crate::clock::Clock;
use crate::context::NodeInfo;
use crate::coordinators::{Coordinators, Loading};
use crate::dispatch::Dispatch;
use crate::entropy::Entropy;
use crate::loggers::Loggers;
use crate::net::{NetSettings, Peer, RequestMemory, serve_stream};
use crate::node::{self, NODE_ID, StartError};
use crate::partitions::Cleaner;
use crate::telemetry::Telemetry;

/// A broker that is driven by its owner.
pub struct Driven {
    dispatch: Arc<Dispatch>,
    coordinators: Coordinators,
    loading: Option<Loading>,
    cleaner: Option<Cleaner>,
    settings: Arc<NetSettings>,
    memory: RequestMemory,
    stop: CancellationToken,
}

impl Driven {
    /// Puts a broker on a store. The store's rounds must be called meanwhile, and `progress` notified after each: a new data
    /// directory is given its first record. `advertised` is where clients are sent.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and where.
    pub async fn open(
        store: &Arc<Store>,
        progress: Arc<Notify>,
        config: &Config,
        advertised: (String, u16),
        clock: &Clock,
        entropy: &Entropy,
    ) -> Result<Self, StartError> {
        let telemetry = Arc::new(Telemetry::default());
        let assembly = Assembly::open(store, progress, config, clock, entropy).await?;
        let loading = assembly.coordinators.begin_loading();
        let node = NodeInfo {
            node_id: NODE_ID,
            cluster_id: assembly.cluster_id.clone(),
            advertised,
            data_dir: config.data_dir.clone(),
        };
        let context = assembly.context(Arc::new(node), Loggers::fixed(&config.telemetry.level));
        let settings = node::net_settings(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let memory = RequestMemory::new(settings.request_memory_bytes, settings.max_request_bytes);
        let response_memory = config.limits.response_memory.in_memory();
        let cleaner = Cleaner::new(
            Arc::clone(store),
            node::cleaning_settings(config),
            clock.clone(),
            Arc::clone(&telemetry),
        );
        Ok(Self {
            dispatch: Arc::new(Dispatch::new(context, telemetry, response_memory)),
            coordinators: assembly.coordinators,
            loading: Some(loading),
            cleaner: Some(cleaner),
            settings: Arc::new(settings),
            memory,
            stop: CancellationToken::new(),
        })
    }

    /// Loads the coordinators that have a log, when it is called; once. Before, who asks for one of them waits, and after a
    /// while is told to ask again.
    pub fn loading(&mut self) -> Option<impl FnOnce() + Send + use<>> {
        let (loading, stop) = (self.loading.take()?, self.stop.clone());
        Some(move || loading.run(&stop, 1))
    }

    /// The cleaner, whose rounds remove what need not be kept; once.
    pub fn cleaner(&mut self) -> Option<impl FnMut() -> Result<(), Fatal> + Send + use<>> {
        let mut cleaner = self.cleaner.take()?;
        Some(move || cleaner.round())
    }

    /// Meets the deadlines of groups and transactions until it is dropped.
    pub fn deadlines(&self) -> impl Future<Output = ()> + Send + use<> {
        self.coordinators.clone().run_deadlines()
    }

    /// Serves one connection until it ends, or this is dropped.
    pub fn serve<I: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        peer: Peer,
        io: I,
    ) -> impl Future<Output = ()> + Send + use<I> {
        let (dispatch, settings) = (Arc::clone(&self.dispatch), Arc::clone(&self.settings));
        let (memory, stop) = (self.memory.clone(), self.stop.clone());
        async move { serve_stream(dispatch, peer, io, settings, &memory, &stop).await }
    }
}

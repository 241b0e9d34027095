//! The one handle from which everything else is made.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::consumer::{BatchReaderBuilder, ConsumerBuilder, ReaderBuilder};
use crate::error::{Error, Result};
use crate::pipelines::Pipelines;
use crate::producer::ProducerBuilder;
use crate::transaction::TransactionalBuilder;
use crate::transport::backoff::Deadline;
use crate::transport::connection::Identity;
use crate::transport::environment::{Environment, System};
use crate::transport::security::Security;

/// A cluster that can be reached. Cheap to clone; clones share connections and what is known of the cluster.
#[derive(Debug, Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
    bootstrap: Vec<String>,
    is_secured: bool,
}

/// Builds a [`Client`] with other than the usual settings.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    bootstrap: Vec<String>,
    client_id: String,
    connect_timeout: Duration,
    request_timeout: Duration,
    security: Security,
    environment: Arc<dyn Environment>,
}

impl ClientBuilder {
    /// The name brokers see in logs and group descriptions. Default: `logmill/` and the version.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// How long opening a connection may take, with everything until it can be used. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a broker may take for one answer, on top of the time it was asked to wait. A connection whose
    /// broker takes longer is given up. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How connections are protected, and who we are on them. Default: plain TCP, and nobody. Certificates and keys are read when
    /// the client connects. Pipelines, over gRPC, have no protection, and are refused where one is asked for.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// The machine to be on, for simulations. Default: this one. Pipelines, over gRPC, do not heed it.
    pub fn environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = environment;
        self
    }

    /// Stream pipelines of a Logmill broker, over gRPC. Connects when it is used.
    #[must_use]
    pub fn pipelines(self) -> Pipelines {
        Pipelines::new(self.bootstrap, !self.security.is_none())
    }

    /// Connects to one of the given addresses and learns about the cluster.
    ///
    /// # Errors
    /// When no address can be reached within the connect timeout, none speaks Kafka's protocol, or the protection that was asked for
    /// is not to be had: [`Error::Security`], and [`Error::Broker`] with `SASL_AUTHENTICATION_FAILED` for a wrong password.
    pub async fn connect(self) -> Result<Client> {
        if self.bootstrap.is_empty() {
            return Err(Error::InvalidArgument("give at least one bootstrap address, HOST:PORT".to_owned()));
        }
        let identity = Identity {
            client_id: self.client_id,
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
            security: self.security.prepare()?,
        };
        let cluster = Arc::new(Cluster::new(self.bootstrap.clone(), identity, self.environment));
        cluster.refresh(Some(&[]), false).await?;
        Ok(Client { cluster, bootstrap: self.bootstrap, is_secured: !self.security.is_none() })
    }

    /// As [`connect`](Self::connect), but waits up to `patience` for a cluster that is still starting.
    ///
    /// # Errors
    /// When none of the addresses can be reached in that time.
    pub async fn connect_within(self, patience: Duration) -> Result<Client> {
        let mut deadline = Deadline::new(format!("connecting to {}", self.bootstrap.join(",")), patience);
        loop {
            match tokio::time::timeout_at(deadline.end(), self.clone().connect()).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(error)) => deadline.retry(error, self.environment.chance()).await?,
                Err(_) => return Err(deadline.timed_out()),
            }
        }
    }
}

impl Client {
    /// Connects to a cluster through the given addresses, `HOST:PORT` with commas between.
    ///
    /// # Errors
    /// When no address can be reached within 10 s, or none speaks Kafka's protocol.
    pub async fn connect(bootstrap: &str) -> Result<Self> {
        Self::builder(bootstrap).connect().await
    }

    /// As [`connect`](Self::connect), but waits up to `patience` for a cluster that is still starting.
    ///
    /// # Errors
    /// When none of the addresses can be reached in that time.
    pub async fn connect_within(bootstrap: &str, patience: Duration) -> Result<Self> {
        Self::builder(bootstrap).connect_within(patience).await
    }

    /// A client with other than the usual settings.
    pub fn builder(bootstrap: &str) -> ClientBuilder {
        let bootstrap = bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty());
        ClientBuilder {
            bootstrap: bootstrap.map(str::to_owned).collect(),
            client_id: concat!("logmill/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            security: Security::default(),
            environment: Arc::new(System),
        }
    }

    /// The cluster's id, when its brokers tell one.
    pub fn cluster_id(&self) -> Option<String> {
        self.cluster.cluster_id()
    }

    /// Topics, groups, offsets, configuration.
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.cluster))
    }

    /// An idempotent producer.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.cluster))
    }

    /// A producer whose records of several partitions, and consumed offsets, become visible together. Starting it
    /// fences an older producer with the same id and aborts its open transaction.
    pub fn transactional(&self, transactional_id: impl Into<String>) -> TransactionalBuilder {
        TransactionalBuilder::new(Arc::clone(&self.cluster), transactional_id.into())
    }

    /// A consumer that shares its topics' partitions with the other members of a group.
    pub fn consumer(&self, group: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::clone(&self.cluster), group.into())
    }

    /// A consumer of partitions that are named, without a group.
    pub fn reader(&self) -> ReaderBuilder {
        ReaderBuilder::new(Arc::clone(&self.cluster))
    }

    /// A reader of whole batches of partitions that are named, for programs that take batches apart themselves.
    pub fn batches(&self) -> BatchReaderBuilder {
        BatchReaderBuilder::new(Arc::clone(&self.cluster))
    }

    /// Stream pipelines of a Logmill broker, over gRPC on the same port.
    pub fn pipelines(&self) -> Pipelines {
        Pipelines::new(self.bootstrap.clone(), self.is_secured)
    }
}

//! A network that fails, between clients and a broker that advertises the proxy's address: requests and answers wait, copies of
//! requests come late on other connections, connections stay open and carry nothing.
//!
//! By chance ([`Weather`]) from a seed, or where a test wants it: [`Proxy::half_open`], [`Proxy::keep_next`] and
//! [`Proxy::send_again`].

mod connection;
mod request;
#[cfg(test)]
mod tests;
mod weather;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::process::Chance;

pub use request::{END_TXN, Request, read_frame};
pub use weather::Weather;

/// A proxy that runs, on threads of its own, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    runtime: Option<Runtime>,
    address: SocketAddr,
    shared: Arc<Shared>,
    rounds: watch::Sender<u64>,
}

/// What connections share.
#[derive(Debug)]
struct Shared {
    broker: String,
    weather: Mutex<Weather>,
    chance: Mutex<Chance>,
    keeping: Mutex<Keeping>,
    delayed: AtomicU64,
    held: AtomicU64,
    repeated: AtomicU64,
    hung: AtomicU64,
}

/// The request that a test wants a copy of.
#[derive(Debug, Default)]
struct Keeping {
    wanted: Option<i16>,
    kept: Option<Request>,
}

/// What a proxy has done so far.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    /// Requests that waited.
    pub delayed: u64,
    /// Answers that waited.
    pub held: u64,
    /// Copies of requests that were answered.
    pub repeated: u64,
    /// Connections that were left half-open.
    pub hung: u64,
}

impl Proxy {
    /// Between clients and the broker at an address, which need not be there yet. Calm at first.
    pub fn start(broker: &str, chance: Chance) -> Proxy {
        let shared = Arc::new(Shared {
            broker: broker.to_owned(),
            weather: Mutex::new(Weather::CALM),
            chance: Mutex::new(chance),
            keeping: Mutex::default(),
            delayed: AtomicU64::new(0),
            held: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            hung: AtomicU64::new(0),
        });
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a thread");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = listener.local_addr().expect("an address");
        let rounds = watch::Sender::new(0);
        let (connections, for_each) = (Arc::clone(&shared), rounds.subscribe());
        runtime.spawn(async move {
            loop {
                // Where too many files are open, the next attempt is as good.
                let Ok((client, _)) = listener.accept().await else { continue };
                let mut rounds = for_each.clone();
                rounds.mark_unchanged();
                tokio::spawn(connection::carry(Arc::clone(&connections), client, rounds));
            }
        });
        Proxy { runtime: Some(runtime), address, shared, rounds }
    }

    /// Where clients connect, and what the broker must advertise.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What happens by chance from now on. Copies that are on their way still come.
    pub fn weather(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
    }

    /// Leaves about half of the connections there are half-open: they take what comes and answer nothing, neither what was
    /// asked before, and are reset some time later.
    pub fn half_open(&self) {
        self.rounds.send_modify(|round| *round += 1);
    }

    /// Keeps a copy of the next request of a kind, which goes on as well.
    pub fn keep_next(&self, api: i16) {
        *lock(&self.shared.keeping) = Keeping { wanted: Some(api), kept: None };
    }

    /// The copy that was to be kept.
    pub fn kept(&self) -> Option<Request> {
        lock(&self.shared.keeping).kept.clone()
    }

    /// Sends a request on a connection of its own; the answer, its length in front.
    ///
    /// # Errors
    /// When the broker is not there, or does not answer in time.
    pub async fn send_again(&self, request: &Request) -> io::Result<Vec<u8>> {
        connection::send_alone(&self.shared.broker, request).await
    }

    /// What it has done so far.
    pub fn tally(&self) -> Tally {
        Tally {
            delayed: self.shared.delayed.load(Ordering::Relaxed),
            held: self.shared.held.load(Ordering::Relaxed),
            repeated: self.shared.repeated.load(Ordering::Relaxed),
            hung: self.shared.hung.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    /// Lets an answer wait, if the weather is so.
    async fn hold(&self) {
        let weather = *lock(&self.weather);
        let delay = weather.answer(&mut lock(&self.chance));
        if let Some(delay) = delay {
            self.held.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
        }
    }

    /// Lets a request wait, if the weather is so.
    async fn delay(&self) {
        let weather = *lock(&self.weather);
        let delay = weather.delay(&mut lock(&self.chance));
        if let Some(delay) = delay {
            self.delayed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
        }
    }

    /// Of a request that went on: keeps what is wanted, and lets a copy follow if the weather is so.
    fn passed(self: &Arc<Self>, request: Request) {
        let mut keeping = lock(&self.keeping);
        if keeping.wanted == Some(request.api()) {
            *keeping = Keeping { wanted: None, kept: Some(request.clone()) };
        }
        drop(keeping);
        let weather = *lock(&self.weather);
        let Some(late) = weather.repeat(&request, &mut lock(&self.chance)) else { return };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            // Nobody waits for it: a broker that is not there has lost it.
            let answered = connection::send_alone(&shared.broker, &request).await.is_ok();
            shared.repeated.fetch_add(u64::from(answered), Ordering::Relaxed);
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while it was held")
}

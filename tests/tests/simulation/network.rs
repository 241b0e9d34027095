//! A network in memory: connections are pairs of streams, and between them somebody reads whole requests and answers, and
//! lets them wait, come twice, or be lost with their connection.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use logmill_broker::clock::Clock;
use logmill_broker::driven::Driven;
use logmill_broker::net::Peer;
use logmill_client::{Environment, Incoming, Outgoing};
use logmill_storage::SimDisk;
use logmill_tests::process::Chance;
use logmill_tests::proxy::{Request, Weather, read_frame};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::counts::Counts;
use crate::trace::Trace;

/// What clients connect to.
pub(crate) const ADDRESS: (&str, u16) = ("broker", 9092);
/// What a stream takes before its writer waits.
const STREAM_BYTES: usize = 64 << 10;
/// The longest that a half-open connection stays so, ms.
const HALF_OPEN_MS: u64 = 2_000;
/// How long the answer to a copy may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Everything between the clients and the broker's machine.
pub(crate) struct Network {
    state: Mutex<State>,
    /// Rung for connections to hang. Those who wait are told in the order in which they came, which `watch` leaves to chance.
    hang: Notify,
    trace: Trace,
    disk: SimDisk,
    clock: Clock,
}

struct State {
    chance: Chance,
    weather: Weather,
    /// One in so many requests takes its connection with it, before it arrives or before its answer does; 0: none.
    losses: u64,
    /// The longest way of a request or an answer, ms.
    latency_ms: u64,
    broker: Option<Broker>,
    /// Nothing passes.
    cut: bool,
    connections: u64,
    copies: JoinSet<()>,
    counts: Counts,
}

/// The broker that serves at the moment.
#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) driven: Arc<Driven>,
    /// Its tasks; they end with it.
    pub(crate) tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Network {
    pub(crate) fn new(
        chance: Chance,
        latency_ms: u64,
        disk: SimDisk,
        clock: Clock,
        trace: Trace,
    ) -> Arc<Network> {
        let state = State {
            chance,
            weather: Weather::CALM,
            losses: 0,
            latency_ms,
            broker: None,
            cut: false,
            connections: 0,
            copies: JoinSet::new(),
            counts: Counts::default(),
        };
        Arc::new(Network { state: Mutex::new(state), hang: Notify::new(), trace, disk, clock })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it was held")
    }

    /// What happens by chance from now on. Copies that are on their way still come.
    pub(crate) fn weather(&self, weather: Weather, losses: u64) {
        let mut state = self.lock();
        (state.weather, state.losses) = (weather, losses);
    }

    /// Who serves connections from now on; those of before have ended with their broker.
    pub(crate) fn attach(&self, broker: Option<Broker>) {
        self.lock().broker = broker;
    }

    /// Whether nothing passes from now on.
    pub(crate) fn cut(&self, cut: bool) {
        self.lock().cut = cut;
        if cut {
            self.half_open();
        }
    }

    /// Leaves about half of the connections there are half-open, and all of them while the network is cut.
    pub(crate) fn half_open(&self) {
        self.hang.notify_waiters();
    }

    /// Adds what it did.
    pub(crate) fn count(&self, counts: &mut Counts) {
        counts.add(&self.lock().counts);
    }

    /// A connection of somebody to the broker: the outer end, or nothing where no broker is.
    fn open(self: &Arc<Self>) -> Option<(u64, DuplexStream, Broker)> {
        let mut state = self.lock();
        let broker = state.broker.clone().filter(|_| !state.cut)?;
        state.connections += 1;
        let number = state.connections;
        drop(state);
        let (outer, inner) = duplex(STREAM_BYTES);
        let port = 1024 + (number % 60_000) as u16;
        let peer = Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        let serving = broker.driven.serve(peer, inner);
        broker.tasks.lock().expect("no panic while it was held").spawn(serving);
        Some((number, outer, broker))
    }

    async fn travel(&self) {
        let ms = {
            let mut state = self.lock();
            let longest = state.latency_ms;
            state.chance.below(longest + 1)
        };
        if ms > 0 {
            sleep(Duration::from_millis(ms)).await;
        }
    }

    /// Carries requests and answers until either side ends, or the connection fails.
    async fn carry(self: Arc<Self>, number: u64, client: DuplexStream, broker: DuplexStream) {
        let (mut from_client, mut to_client) = split(client);
        let (mut from_broker, mut to_broker) = split(broker);
        let requests = async {
            while let Ok(request) = Request::read(&mut from_client).await {
                let (before, after) = self.fate();
                self.delay().await;
                if before {
                    return;
                }
                self.trace.note("request", number, request.bytes());
                if to_broker.write_all(request.bytes()).await.is_err() {
                    return;
                }
                self.passed(request);
                if after {
                    // Its effect happens; its answer is lost.
                    sleep(Duration::from_millis(1)).await;
                    return;
                }
            }
        };
        let answers = async {
            while let Ok(answer) = read_frame(&mut from_broker).await {
                self.hold().await;
                // A machine that is down has sent nothing any more.
                if self.disk.crashed() {
                    return;
                }
                self.trace.note("answer", number, &answer);
                if to_client.write_all(&answer).await.is_err() {
                    return;
                }
            }
        };
        tokio::pin!(requests, answers);
        loop {
            tokio::select! {
                biased;
                () = &mut requests => return,
                () = &mut answers => return,
                () = self.hang.notified() => {
                    let mut state = self.lock();
                    if state.cut || state.chance.below(2) == 0 {
                        state.counts.hung += 1;
                        break;
                    }
                }
            }
        }
        self.trace.note("hangs", number, &[]);
        let pause = self.lock().chance.below(HALF_OPEN_MS);
        sleep(Duration::from_millis(pause)).await;
    }

    /// Whether a request is lost on its way, or its answer.
    fn fate(&self) -> (bool, bool) {
        let mut state = self.lock();
        state.counts.requests += 1;
        let losses = state.losses;
        let lost = losses > 0 && state.chance.below(losses) == 0;
        state.counts.lost += u64::from(lost);
        let before = lost && state.chance.below(2) == 0;
        (before, lost && !before)
    }

    /// The way of an answer, longer if the weather is so.
    async fn hold(&self) {
        self.travel().await;
        let delay = {
            let state = &mut *self.lock();
            let delay = state.weather.answer(&mut state.chance);
            state.counts.held += u64::from(delay.is_some());
            delay
        };
        if let Some(delay) = delay {
            sleep(delay).await;
        }
    }

    /// The way of a request, longer if the weather is so.
    async fn delay(&self) {
        self.travel().await;
        let delay = {
            let state = &mut *self.lock();
            let delay = state.weather.delay(&mut state.chance);
            state.counts.delayed += u64::from(delay.is_some());
            delay
        };
        if let Some(delay) = delay {
            sleep(delay).await;
        }
    }

    /// Of a request that arrived: lets a copy follow on a connection of its own, if the weather is so.
    fn passed(self: &Arc<Self>, request: Request) {
        let state = &mut *self.lock();
        let Some(late) = state.weather.repeat(&request, &mut state.chance) else { return };
        let network = Arc::clone(self);
        state.copies.spawn(async move {
            sleep(late).await;
            // A broker that is not there has lost it.
            let Some((number, outer, _broker)) = network.open() else { return };
            network.trace.note("copy", number, request.bytes());
            let (mut from_broker, mut to_broker) = split(outer);
            let exchange = async {
                to_broker.write_all(request.bytes()).await?;
                read_frame(&mut from_broker).await
            };
            if let Ok(Ok(answer)) = timeout(ANSWER, exchange).await {
                network.trace.note("answer to a copy", number, &answer);
                network.lock().counts.repeated += 1;
            }
        });
    }
}

/// The machine that clients are on.
#[derive(Clone)]
pub(crate) struct Clients(pub(crate) Arc<Network>);

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("clients of the simulation")
    }
}

impl Environment for Clients {
    fn connect<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<(Incoming, Outgoing)>> {
        Box::pin(async move {
            let network = &self.0;
            network.travel().await;
            let Some((number, outer, broker)) = network.open() else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            network.trace.note("connects", number, &[]);
            let (near, far) = duplex(STREAM_BYTES);
            let carrying = Arc::clone(network).carry(number, far, outer);
            broker.tasks.lock().expect("no panic while it was held").spawn(carrying);
            let (incoming, outgoing) = split(near);
            Ok((Box::new(incoming) as Incoming, Box::new(outgoing) as Outgoing))
        })
    }

    fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    fn chance(&self) -> u32 {
        self.0.lock().chance.below(1 << 32) as u32
    }
}

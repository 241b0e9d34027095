//! Connections over loopback, with a service that does what the request's first byte says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// `o`: overlaps and is answered when released; `a`: answered at once, alone; `p`: parks until released;
/// `q`: silent; `!`: panics; anything else closes the connection. The answer is the request itself.
#[derive(Default)]
struct Scripted {
    begun: Mutex<Vec<Bytes>>,
    held: Mutex<Vec<oneshot::Sender<()>>>,
    parked: Notify,
    progress: Notify,
}

impl Scripted {
    async fn begun(&self, count: usize) {
        timeout(SOON, async {
            loop {
                let progress = self.progress.notified();
                if self.begun.lock().len() >= count {
                    return;
                }
                progress.await;
            }
        })
        .await
        .expect("requests are begun");
    }
}

fn answer(request: &Bytes) -> Reply {
    let length = i32::try_from(request.len()).unwrap().to_be_bytes();
    Reply::Answer(vec![Bytes::copy_from_slice(&length), request.clone()].into())
}

impl Service for Scripted {
    type Session = ();

    fn open(&self, _peer: Peer) {}

    fn turn(&self, request: &[u8]) -> Turn {
        match request.first() {
            Some(b'o' | b'q') => Turn::Overlaps,
            Some(b'p') => Turn::Parks,
            _ => Turn::Alone,
        }
    }

    async fn serve<'a>(&'a self, _session: &'a mut (), request: Bytes) -> Served {
        self.begun.lock().push(request.clone());
        self.progress.notify_waiters();
        match request.first() {
            Some(b'o') => {
                let (release, released) = oneshot::channel();
                self.held.lock().push(release);
                Served::Later(Box::pin(async move {
                    let _ = released.await;
                    answer(&request)
                }))
            }
            Some(b'a') => Served::Now(answer(&request)),
            Some(b'q') => Served::Now(Reply::Silence),
            Some(b'!') => panic!("the script says so"),
            Some(b'p') => {
                self.parked.notified().await;
                Served::Now(answer(&request))
            }
            _ => Served::Now(Reply::Close(CloseReason::Malformed("not in the script".into()))),
        }
    }
}

struct Rig {
    service: Arc<Scripted>,
    address: SocketAddr,
    memory: RequestMemory,
    grpc: mpsc::Receiver<HandedOver>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

fn rig(change: impl FnOnce(&mut NetSettings)) -> Rig {
    let mut settings = NetSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        max_request_bytes: 1 << 20,
        request_memory_bytes: 1 << 20,
        drain_timeout: Duration::from_secs(2),
        ..NetSettings::default()
    };
    change(&mut settings);
    let listener = Listener::bind(settings).unwrap();
    let address = listener.local_addr().unwrap();
    let memory = listener.memory();
    let service = Arc::new(Scripted::default());
    let (sender, grpc) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(listener.serve(Arc::clone(&service), sender, stop.clone()));
    Rig { service, address, memory, grpc, stop, serving }
}

struct Client(TcpStream);

impl Client {
    async fn connect(rig: &Rig) -> Self {
        Self(TcpStream::connect(rig.address).await.unwrap())
    }

    async fn send(&mut self, request: &[u8]) {
        let mut frame = i32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(request);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn receive(&mut self) -> Vec<u8> {
        let receive = async {
            let length = self.0.read_i32().await.unwrap();
            let mut response = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut response).await.unwrap();
            response
        };
        timeout(SOON, receive).await.expect("a response")
    }

    async fn closed(&mut self) {
        let mut rest = Vec::new();
        let read = timeout(SOON, self.0.read_to_end(&mut rest)).await.expect("the connection ends");
        assert!(read.is_err() || rest.is_empty(), "no answer before the end: {rest:?}");
    }
}

#[tokio::test]
async fn overlapping_requests_are_answered_in_the_order_they_came() {
    let rig = rig(|_| {});
    let mut client = Client::connect(&rig).await;
    for request in [b"o1", b"o2", b"o3"] {
        client.send(request).await;
    }
    rig.service.begun(3).await;
    // Released in reverse: the answers still come in order.
    let held: Vec<_> = rig.service.held.lock().drain(..).rev().collect();
    for release in held {
        release.send(()).unwrap();
    }
    for expected in [b"o1", b"o2", b"o3"] {
        assert_eq!(client.receive().await, expected);
    }
}

#[tokio::test]
async fn a_request_that_stands_alone_waits_for_those_before_it() {
    let rig = rig(|_| {});
    let mut client = Client::connect(&rig).await;
    for request in [&b"o1"[..], b"q-", b"a2", b"o3"] {
        client.send(request).await;
    }
    rig.service.begun(2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.service.begun.lock().len(), 2, "a2 is not begun while o1 is unanswered");
    rig.service.held.lock().remove(0).send(()).unwrap();
    assert_eq!(client.receive().await, b"o1");
    assert_eq!(client.receive().await, b"a2");
    rig.service.begun(4).await;
    rig.service.held.lock().remove(0).send(()).unwrap();
    assert_eq!(client.receive().await, b"o3");
}

#[tokio::test]
async fn the_number_in_flight_is_bounded() {
    let rig = rig(|_| {});
    let mut client = Client::connect(&rig).await;
    for index in 0..40_u8 {
        client.send(&[b'o', index]).await;
    }
    let bound = super::settings::MAX_IN_FLIGHT;
    rig.service.begun(bound).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.service.begun.lock().len(), bound);
    for index in 0..40_u8 {
        rig.service.begun(usize::from(index) + 1).await;
        rig.service.held.lock().remove(0).send(()).unwrap();
        assert_eq!(client.receive().await, [b'o', index]);
    }
}

#[tokio::test]
async fn a_parked_request_delays_only_its_own_connection() {
    let rig = rig(|_| {});
    let mut parked = Client::connect(&rig).await;
    parked.send(b"p1").await;
    parked.send(b"a2").await;
    rig.service.begun(1).await;
    let mut other = Client::connect(&rig).await;
    other.send(b"a3").await;
    assert_eq!(other.receive().await, b"a3");
    rig.service.parked.notify_one();
    assert_eq!(parked.receive().await, b"p1");
    assert_eq!(parked.receive().await, b"a2");
}

#[tokio::test]
async fn a_parked_request_ends_with_its_peer() {
    let rig = rig(|_| {});
    let mut client = Client::connect(&rig).await;
    client.send(b"p1").await;
    rig.service.begun(1).await;
    assert!(rig.memory.held() > 0);
    drop(client);
    timeout(SOON, async {
        while rig.memory.held() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the parked request's memory is given back");
}

#[tokio::test]
async fn hostile_openings_end_quietly_and_the_broker_serves_on() {
    let rig = rig(|_| {});
    for opening in [
        &b"\x7f\xff\xff\xff"[..],
        b"\xff\xff\xff\xff",
        b"\x80\x00\x00\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x00\x10\x00\x01",
        b"\x00\x00\x00\x02zz",
        b"\x00\x00\x00\x00",
    ] {
        let mut client = Client::connect(&rig).await;
        client.0.write_all(opening).await.unwrap();
        client.closed().await;
    }
    assert_eq!(rig.memory.held(), 0);
    let mut client = Client::connect(&rig).await;
    client.send(b"a1").await;
    assert_eq!(client.receive().await, b"a1");
}

#[tokio::test]
async fn a_request_may_be_large_also_the_first_one_of_a_connection() {
    let rig = rig(|settings| settings.first_request_timeout = Duration::from_millis(100));
    let mut large = vec![b'a'; 700_000];
    let mut client = Client::connect(&rig).await;
    client.send(b"a1").await;
    assert_eq!(client.receive().await, b"a1");
    client.send(&large).await;
    assert_eq!(client.receive().await, large);
    large.resize((1 << 20) + 1, b'a');
    let length = i32::try_from(large.len()).unwrap();
    client.0.write_all(&length.to_be_bytes()).await.unwrap();
    client.closed().await;

    // It takes longer to arrive than a connection may be silent in the beginning.
    large.truncate(700_000);
    let mut client = Client::connect(&rig).await;
    client.0.write_all(&700_000_i32.to_be_bytes()).await.unwrap();
    let (begin, rest) = large.split_at(100_000);
    client.0.write_all(begin).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.0.write_all(rest).await.unwrap();
    assert_eq!(client.receive().await, large);
}

#[tokio::test]
async fn memory_bounds_what_all_connections_hold_together() {
    let rig = rig(|_| {});
    let mut first = Client::connect(&rig).await;
    let mut second = Client::connect(&rig).await;
    let large = vec![b'o'; 700_000];
    first.send(&large).await;
    rig.service.begun(1).await;
    let sending = large.clone();
    let second = tokio::spawn(async move {
        second.send(&sending).await;
        second
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.service.begun.lock().len(), 1, "the second body is not read yet");
    rig.service.held.lock().remove(0).send(()).unwrap();
    assert_eq!(first.receive().await, large);
    rig.service.begun(2).await;
    rig.service.held.lock().remove(0).send(()).unwrap();
    assert_eq!(second.await.unwrap().receive().await, large);
}

#[tokio::test]
async fn http2_is_handed_over_with_its_first_bytes() {
    let mut rig = rig(|_| {});
    let mut client = Client::connect(&rig).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    client.0.write_all(preface).await.unwrap();
    let mut stream = timeout(SOON, rig.grpc.recv()).await.unwrap().unwrap();
    let mut read = [0; 24];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, preface);
    stream.write_all(b"settings").await.unwrap();
    let mut answer = [0; 8];
    client.0.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"settings");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_place_is_free_again() {
    let rig = rig(|settings| settings.max_connections = 1);
    let mut first = Client::connect(&rig).await;
    first.send(b"a1").await;
    assert_eq!(first.receive().await, b"a1");
    Client::connect(&rig).await.closed().await;
    drop(first);
    timeout(SOON, async {
        loop {
            let mut next = Client::connect(&rig).await;
            next.send(b"a2").await;
            if next.0.read_i32().await.is_ok() {
                return;
            }
        }
    })
    .await
    .expect("the place is free");
}

#[tokio::test]
async fn silent_and_slow_peers_are_closed() {
    let rig = rig(|settings| {
        settings.first_request_timeout = Duration::from_millis(50);
        settings.idle_timeout = Duration::from_millis(200);
    });
    Client::connect(&rig).await.closed().await;
    let mut slow = Client::connect(&rig).await;
    slow.0.write_all(b"\x00\x00\x00\x05a").await.unwrap();
    slow.closed().await;
    let mut idle = Client::connect(&rig).await;
    idle.send(b"a1").await;
    assert_eq!(idle.receive().await, b"a1");
    idle.closed().await;
}

#[tokio::test]
async fn stopping_answers_what_was_begun_and_gives_up_what_is_parked() {
    let rig = rig(|_| {});
    let mut producing = Client::connect(&rig).await;
    let mut parked = Client::connect(&rig).await;
    let mut idle = Client::connect(&rig).await;
    producing.send(b"o1").await;
    parked.send(b"p2").await;
    idle.send(b"a3").await;
    assert_eq!(idle.receive().await, b"a3");
    rig.service.begun(3).await;
    rig.stop.cancel();
    parked.closed().await;
    idle.closed().await;
    rig.service.held.lock().remove(0).send(()).unwrap();
    assert_eq!(producing.receive().await, b"o1");
    timeout(SOON, rig.serving).await.expect("the listener ends").unwrap();
    assert!(TcpStream::connect(rig.address).await.is_err());
}

#[tokio::test]
async fn a_drain_does_not_last_for_ever() {
    let rig = rig(|settings| settings.drain_timeout = Duration::from_millis(100));
    let mut client = Client::connect(&rig).await;
    client.send(b"o1").await;
    rig.service.begun(1).await;
    rig.stop.cancel();
    timeout(SOON, rig.serving).await.expect("the listener ends").unwrap();
    client.closed().await;
    assert_eq!(rig.memory.held(), 0);
}

#[tokio::test]
async fn a_handler_that_panics_costs_its_connection_and_nothing_else() {
    let rig = rig(|settings| settings.max_connections = 2);
    let mut other = Client::connect(&rig).await;
    for _ in 0..3 {
        let mut client = Client::connect(&rig).await;
        client.send(b"!").await;
        client.closed().await;
        other.send(b"a1").await;
        assert_eq!(other.receive().await, b"a1");
    }
    assert_eq!(rig.memory.held(), 0, "its memory and its place are free again");
}

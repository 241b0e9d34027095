//! One connection of a client, and the one to the broker that belongs to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::request::{Request, read_frame};
use super::{Shared, lock};

/// The longest that a half-open connection stays so.
const HALF_OPEN: Duration = Duration::from_secs(2);
/// How long the answer to a copy may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Carries requests and answers until either side ends, or the connection is left half-open.
pub(super) async fn carry(shared: Arc<Shared>, mut client: TcpStream, rounds: watch::Receiver<u64>) {
    let Ok(mut broker) = TcpStream::connect(&shared.broker).await else {
        return reset(client);
    };
    let nodelay = [&client, &broker].map(|stream| stream.set_nodelay(true).is_ok());
    if nodelay == [true; 2] && relay(&shared, &mut client, &mut broker, rounds).await == Left::HalfOpen {
        shared.hung.fetch_add(1, Ordering::Relaxed);
        let pause = HALF_OPEN.mul_f64(lock(&shared.chance).fraction());
        let mut swallowed = Vec::new();
        // Ends before the pause only when the client gives up.
        let _ = tokio::time::timeout(pause, client.read_to_end(&mut swallowed)).await;
    }
    reset(client);
    reset(broker);
}

/// How a connection was left.
#[derive(PartialEq, Eq)]
enum Left {
    /// One of its sides has ended.
    Ended,
    /// Both are there, and nothing goes on.
    HalfOpen,
}

async fn relay(
    shared: &Arc<Shared>,
    client: &mut TcpStream,
    broker: &mut TcpStream,
    mut rounds: watch::Receiver<u64>,
) -> Left {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_broker, mut to_broker) = broker.split();
    let requests = async {
        while let Ok(request) = Request::read(&mut from_client).await {
            shared.delay().await;
            let sent = to_broker.write_all(request.bytes()).await;
            shared.passed(request);
            if sent.is_err() {
                return;
            }
        }
    };
    let answers = async {
        while let Ok(answer) = read_frame(&mut from_broker).await {
            shared.hold().await;
            if to_client.write_all(&answer).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(requests, answers);
    loop {
        tokio::select! {
            () = &mut requests => return Left::Ended,
            () = &mut answers => return Left::Ended,
            round = rounds.changed() => match round {
                Ok(()) if lock(&shared.chance).below(2) == 0 => return Left::HalfOpen,
                Ok(()) => {}
                Err(_) => return Left::Ended,
            },
        }
    }
}

/// Sends a request on a connection of its own; the answer, its length in front.
pub(super) async fn send_alone(broker: &str, request: &Request) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut broker = TcpStream::connect(broker).await?;
        broker.write_all(request.bytes()).await?;
        read_frame(&mut broker).await
    };
    tokio::time::timeout(ANSWER, exchange).await?
}

/// Closes without a goodbye.
fn reset(stream: TcpStream) {
    // Where it is refused, the other side is gone.
    let _ = stream.set_zero_linger();
}

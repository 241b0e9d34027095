use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::request::PRODUCE;
use super::{END_TXN, Proxy, Weather};
use crate::process::Chance;

/// A request: its kind, and a byte to know it by.
fn request(api: i16, mark: u8) -> Vec<u8> {
    let mut frame = 3_u32.to_be_bytes().to_vec();
    frame.extend(api.to_be_bytes());
    frame.push(mark);
    frame
}

fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 7];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// A server that sends back what it is sent, and tells of it with the number of the connection it came on.
fn echo() -> (String, mpsc::Receiver<(usize, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (seen, sees) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (seen, mut stream) = (seen.clone(), stream.expect("a connection"));
            std::thread::spawn(move || {
                while let Ok(frame) = receive(&mut stream) {
                    seen.send((number, frame.clone())).expect("the test goes on");
                    stream.write_all(&frame).expect("the proxy goes on");
                }
            });
        }
    });
    (address, sees)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("the proxy is there");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

fn ask(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(frame)?;
    receive(stream)
}

#[test]
fn what_was_kept_is_sent_again_on_another_connection() {
    let (address, sees) = echo();
    let proxy = Proxy::start(&address, Chance::of(1));
    let mut client = connect(&proxy);
    proxy.keep_next(END_TXN);
    for frame in [request(PRODUCE, 1), request(END_TXN, 2), request(END_TXN, 3)] {
        assert_eq!(ask(&mut client, &frame).expect("an answer"), frame);
        assert_eq!(sees.recv().expect("it came"), (0, frame));
    }
    let kept = proxy.kept().expect("the first of its kind");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let answer = runtime.block_on(proxy.send_again(&kept)).expect("an answer");
    assert_eq!(answer, request(END_TXN, 2));
    assert_eq!(sees.recv().expect("it came"), (1, request(END_TXN, 2)));
}

#[test]
fn copies_of_what_can_be_repeated_come_late() {
    const FETCH: i16 = 1;
    let (address, sees) = echo();
    let proxy = Proxy::start(&address, Chance::of(2));
    proxy.weather(Weather { repeats: 1, ..Weather::ROUGH });
    let mut client = connect(&proxy);
    for frame in [request(FETCH, 1), request(PRODUCE, 2)] {
        assert_eq!(ask(&mut client, &frame).expect("an answer"), frame);
        assert_eq!(sees.recv().expect("it came"), (0, frame));
    }
    assert_eq!(sees.recv().expect("its copy"), (1, request(PRODUCE, 2)));
}

#[test]
fn answers_wait_when_what_was_asked_for_has_happened() {
    let (address, sees) = echo();
    let proxy = Proxy::start(&address, Chance::of(4));
    // The chance decides how much of a minute.
    proxy.weather(Weather { answers: 1, delay: Duration::from_secs(60), ..Weather::CALM });
    let mut client = connect(&proxy);
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    client.write_all(&request(PRODUCE, 1)).expect("it is taken");
    assert_eq!(sees.recv().expect("it came at once"), (0, request(PRODUCE, 1)));
    assert!(receive(&mut client).is_err(), "the answer waits");
    let tally = proxy.tally();
    assert_eq!((tally.delayed, tally.held), (0, 1));
}

#[test]
fn half_open_connections_swallow_and_are_reset() {
    let (address, sees) = echo();
    let proxy = Proxy::start(&address, Chance::of(3));
    let mut clients: Vec<TcpStream> = (0..8).map(|_| connect(&proxy)).collect();
    for client in &mut clients {
        ask(client, &request(PRODUCE, 1)).expect("an answer");
    }
    assert_eq!(sees.iter().take(8).count(), 8);
    proxy.half_open();
    // Connections learn of it one after the other.
    std::thread::sleep(Duration::from_millis(100));
    let answered = clients.iter_mut().filter_map(|client| ask(client, &request(PRODUCE, 2)).ok()).count();
    let hung = proxy.tally().hung as usize;
    assert!(hung > 0 && answered == 8 - hung, "{answered} of 8 answered, {hung} half-open");
    assert_eq!(sees.try_iter().count(), answered);
    ask(&mut connect(&proxy), &request(PRODUCE, 3)).expect("new ones are as before");
}

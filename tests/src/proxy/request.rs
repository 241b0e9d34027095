//! A request as it is on the wire.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Kafka's number of EndTxn.
pub const END_TXN: i16 = 26;
/// Those of the others.
pub(super) const PRODUCE: i16 = 0;
const ADD_PARTITIONS_TO_TXN: i16 = 24;
const ADD_OFFSETS_TO_TXN: i16 = 25;
const TXN_OFFSET_COMMIT: i16 = 28;

/// What says something of a transaction, or of a producer's sequence: a broker must know it again when it comes late.
const REPEATABLE: &[i16] = &[PRODUCE, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT];
/// No test sends more at once.
const LONGEST: usize = 16 << 20;

/// One request, with its length in front.
#[derive(Debug, Clone)]
pub struct Request(Vec<u8>);

impl Request {
    /// The next one of a connection.
    ///
    /// # Errors
    /// When the connection ends before, or what comes is no request.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
        read_frame(from).await.map(Request)
    }

    /// What it asks for, by Kafka's number.
    pub fn api(&self) -> i16 {
        self.0.get(4..6).map_or(-1, |key| i16::from_be_bytes([key[0], key[1]]))
    }

    /// Whether a copy of it may come late.
    pub(super) fn is_repeatable(&self) -> bool {
        REPEATABLE.contains(&self.api())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A length and as many bytes.
///
/// # Errors
/// As [`Request::read`].
pub async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let behind = u32::from_be_bytes(length) as usize;
    if behind > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {behind} bytes")));
    }
    let mut frame = length.to_vec();
    frame.resize(4 + behind, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

//! Whole requests and responses: headers, and the length in front.
//!
//! A frame on the wire is a 32-bit length and that many bytes. The functions that write give the length
//! too; the functions that read are given the bytes behind it, since whoever reads from a socket has to
//! look at the length first (and refuse a large one).

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::decoder::Decoder;
use crate::encoder::{Encoder, Segments};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
use crate::schema::{Request, Response};
use crate::text::Str;

/// What stands in front of every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API, see [`ApiKey::from_code`].
    pub api_key: i16,
    /// Version of request and response.
    pub api_version: i16,
    /// The client's number for this request, sent back with the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads the header; the decoder then stands at the request. The version may be one we do not have:
    /// its header can be read nevertheless (an ApiVersions request needs that, KIP-511). Of an API key
    /// nobody knows it cannot, which is an error.
    pub fn decode(decoder: &mut Decoder) -> Result<RequestHeader, DecodeError> {
        decoder.at("RequestHeader.api_key");
        let api_key = decoder.i16()?;
        let api_version = decoder.i16()?;
        let correlation_id = decoder.i32()?;
        let Some(api) = ApiKey::from_code(api_key) else {
            return Err(decoder.error(DecodeErrorKind::UnknownApiKey(api_key)));
        };
        decoder.at("RequestHeader.client_id");
        let client_id = decoder.classic_string()?;
        if api.request_header_version(api_version) >= 2 {
            decoder.at("RequestHeader's tagged fields");
            decoder.tagged_fields(&mut |_, _| Ok(false))?;
        }
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
    }

    /// Writes the header.
    pub fn encode(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        encoder.put_i16(self.api_key);
        encoder.put_i16(self.api_version);
        encoder.put_i32(self.correlation_id);
        encoder.at("RequestHeader.client_id");
        encoder.put_classic_string(self.client_id.as_deref())?;
        let header_version =
            ApiKey::from_code(self.api_key).map_or(1, |api| api.request_header_version(self.api_version));
        if header_version >= 2 {
            encoder.put_unsigned_varint(0);
        }
        Ok(())
    }
}

/// Reads a whole request body: the message and nothing behind it.
pub fn decode_request<R: Request>(mut decoder: Decoder, version: i16) -> Result<R, DecodeError> {
    let request = R::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok(request)
}

/// A request as it goes out, length, header and all.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
    version: i16,
) -> Result<Segments, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: version,
        correlation_id,
        client_id: client_id.map(Str::from),
    };
    framed(|encoder| {
        header.encode(encoder)?;
        request.encode(encoder, version)
    })
}

/// A response as it goes out, length, header and all.
pub fn encode_response<R: Response>(
    correlation_id: i32,
    response: &R,
    version: i16,
) -> Result<Segments, EncodeError> {
    framed(|encoder| {
        encoder.put_i32(correlation_id);
        if R::KEY.response_header_version(version) >= 1 {
            encoder.put_unsigned_varint(0);
        }
        response.encode(encoder, version)
    })
}

/// The correlation id in front of a response. It stands first in every version, so that a client can
/// find out which request is answered before it reads on with [`decode_response`].
pub fn response_correlation_id(frame: &Bytes) -> Result<i32, DecodeError> {
    let mut decoder = Decoder::new(frame.clone());
    decoder.at("ResponseHeader.correlation_id");
    decoder.i32()
}

/// Reads a whole response: its correlation id, the message, and nothing behind it. `version` is the
/// one that was asked in.
pub fn decode_response<R: Response>(frame: Bytes, version: i16) -> Result<(i32, R), DecodeError> {
    let mut decoder = Decoder::new(frame);
    decoder.at("ResponseHeader.correlation_id");
    let correlation_id = decoder.i32()?;
    if R::KEY.response_header_version(version) >= 1 {
        decoder.at("ResponseHeader's tagged fields");
        decoder.tagged_fields(&mut |_, _| Ok(false))?;
    }
    let response = R::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok((correlation_id, response))
}

/// Puts the length in front of what `write` writes.
fn framed(write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>) -> Result<Segments, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.put_i32(0);
    write(&mut encoder)?;
    let length = encoder.len() - 4;
    match i32::try_from(length) {
        Ok(length) => encoder.set_i32(0, length),
        Err(_) => return Err(encoder.error(EncodeErrorKind::TooLong(length))),
    }
    Ok(encoder.into_segments())
}

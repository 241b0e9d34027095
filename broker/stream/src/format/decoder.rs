//! One format's bytes into cells.

use super::avro::AvroDecoder;
use super::cell::{Cell, Slot};
use super::csv::CsvDecoder;
use super::error::FormatError;
use super::json::JsonDecoder;
use super::protobuf::ProtobufDecoder;
use super::raw::RawDecoder;
use crate::plan::Format;

/// Decodes values, or keys.
#[derive(Debug, Clone)]
pub(crate) enum Decoder {
    Json(JsonDecoder),
    Csv(CsvDecoder),
    Avro(AvroDecoder),
    Protobuf(ProtobufDecoder),
    Raw(RawDecoder),
}

impl Decoder {
    /// For fields by name, each with the slot it fills.
    pub(crate) fn new<'a>(
        format: &Format,
        fields: impl IntoIterator<Item = (usize, &'a str)>,
        slots: &[Slot],
    ) -> Result<Self, FormatError> {
        Ok(match format {
            Format::Json(json) => Decoder::Json(JsonDecoder::new(fields, json.nested)),
            Format::Csv(csv) => Decoder::Csv(CsvDecoder::new(csv, fields)?),
            Format::Avro(avro) => Decoder::Avro(AvroDecoder::new(avro, fields, slots)?),
            Format::Protobuf(protobuf) => Decoder::Protobuf(ProtobufDecoder::new(protobuf, fields, slots)?),
            Format::Raw => Decoder::Raw(RawDecoder::new(fields)?),
            Format::Debezium(_) => {
                return Err(FormatError::new(
                    "a change is a whole value, and no key",
                    "use 'raw', 'json', 'csv', 'avro' or 'protobuf'",
                ));
            }
        })
    }

    /// Fills the cells of the wanted fields; all are `NULL` before. An error says which field, and what was found.
    pub(crate) fn decode<'r>(
        &mut self,
        input: &'r [u8],
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<(), String> {
        match self {
            Decoder::Json(decoder) => decoder.decode(input, slots, cells),
            Decoder::Csv(decoder) => decoder.decode(input, slots, cells),
            Decoder::Avro(decoder) => decoder.decode(input, slots, cells),
            Decoder::Protobuf(decoder) => decoder.decode(input, slots, cells),
            Decoder::Raw(decoder) => decoder.decode(input, slots, cells),
        }
    }
}

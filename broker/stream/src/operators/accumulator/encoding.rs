//! An aggregate's state as bytes in the changelog.

use arrow_buffer::i256;

use super::Accumulator;
use super::distinct_sketch::DistinctSketch;
use super::exact_sum::ExactSum;
use super::joined::Joined;
use super::moments::{ChangingMoments, ExactMoments, Moments};
use super::quantile_sketch::QuantileSketch;
use crate::functions::UserState;
use crate::plan::Aggregate;
use crate::state::decode_key;

impl Accumulator {
    /// Appends the state as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Accumulator::Count(count) => out.extend_from_slice(&count.to_be_bytes()),
            Accumulator::SumInteger { sum, count } => {
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            Accumulator::SumDouble { sum, count } => {
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            Accumulator::SumChangingDouble { sum, count, not_finite } => {
                sum.encode(out);
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&not_finite.to_be_bytes());
            }
            Accumulator::ExtremeInteger { best, .. } => encode_option(out, best.map(i64::to_be_bytes)),
            Accumulator::ExtremeDouble { best, .. } => encode_option(out, best.map(f64::to_be_bytes)),
            Accumulator::ExtremeText { best, .. } => match best {
                None => out.push(0),
                Some(best) => {
                    out.push(1);
                    encode_bytes(out, best.as_bytes());
                }
            },
            Accumulator::ExtremeKey { best: value, .. } | Accumulator::Edge { value, .. } => match value {
                None => out.push(0),
                Some(value) => {
                    out.push(1);
                    encode_bytes(out, value);
                }
            },
            Accumulator::SumDecimal { sum, count } => {
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            Accumulator::Joined(joined) => match joined {
                Joined::Nothing => out.push(0),
                Joined::Text(text) => {
                    out.push(1);
                    encode_bytes(out, text.as_bytes());
                }
                Joined::TooLong => out.push(2),
            },
            Accumulator::Truth { yes, no } => {
                out.extend_from_slice(&yes.to_be_bytes());
                out.extend_from_slice(&no.to_be_bytes());
            }
            Accumulator::ExactMoments(moments) => {
                let ExactMoments { count, sum, squares } = &**moments;
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&squares.to_be_bytes());
            }
            Accumulator::Moments(Moments { count, mean, spread }) => {
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&mean.to_be_bytes());
                out.extend_from_slice(&spread.to_be_bytes());
            }
            Accumulator::ChangingMoments(moments) => {
                let ChangingMoments { count, sum, squares, not_finite } = &**moments;
                out.extend_from_slice(&count.to_be_bytes());
                sum.encode(out);
                squares.encode(out);
                out.extend_from_slice(&not_finite.to_be_bytes());
            }
            Accumulator::Distinct(sketch) => sketch.encode(out),
            Accumulator::Quantiles(sketch) => sketch.encode(out),
            // Each value has an entry of its own.
            Accumulator::Values(values) if values.is_apart() => {}
            Accumulator::Values(values) => {
                let counts = values.counts();
                out.extend_from_slice(&(counts.len() as u32).to_be_bytes());
                for (key, count) in counts {
                    encode_bytes(out, key);
                    out.extend_from_slice(&count.to_be_bytes());
                }
            }
            Accumulator::User(state) => {
                let (sound, bytes) = state.parts();
                out.push(u8::from(sound));
                encode_bytes(out, bytes);
            }
        }
    }

    /// Reads the state back, over the empty state of the same aggregate; `None` if the bytes are damaged.
    pub(crate) fn decode(mut self, aggregate: &Aggregate, bytes: &mut &[u8]) -> Option<Accumulator> {
        let is_value = |key: &[u8]| decode_key(key, &[aggregate.argument_type]).is_some();
        match &mut self {
            Accumulator::Count(count) => *count = i64::from_be_bytes(take(bytes)?),
            Accumulator::SumInteger { sum, count } => {
                *sum = i128::from_be_bytes(take(bytes)?);
                *count = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::SumDouble { sum, count } => {
                *sum = f64::from_be_bytes(take(bytes)?);
                *count = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::SumChangingDouble { sum, count, not_finite } => {
                **sum = ExactSum::decode(bytes)?;
                *count = i64::from_be_bytes(take(bytes)?);
                *not_finite = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::ExtremeInteger { best, .. } => *best = take_option(bytes)?.map(i64::from_be_bytes),
            Accumulator::ExtremeDouble { best, .. } => *best = take_option(bytes)?.map(f64::from_be_bytes),
            Accumulator::ExtremeText { best, .. } => {
                *best = match take(bytes)? {
                    [0] => None,
                    [1] => Some(std::str::from_utf8(take_bytes(bytes)?).ok()?.into()),
                    _ => return None,
                };
            }
            Accumulator::ExtremeKey { best: value, .. } | Accumulator::Edge { value, .. } => {
                *value = match take(bytes)? {
                    [0] => None,
                    [1] => Some(take_bytes(bytes).filter(|key| is_value(key))?.into()),
                    _ => return None,
                };
            }
            Accumulator::SumDecimal { sum, count } => {
                *sum = i256::from_be_bytes(take(bytes)?);
                *count = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::Joined(joined) => {
                *joined = match take(bytes)? {
                    [0] => Joined::Nothing,
                    [1] => Joined::Text(std::str::from_utf8(take_bytes(bytes)?).ok()?.to_owned()),
                    [2] => Joined::TooLong,
                    _ => return None,
                };
            }
            Accumulator::Truth { yes, no } => {
                *yes = i64::from_be_bytes(take(bytes)?);
                *no = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::ExactMoments(moments) => {
                moments.count = i64::from_be_bytes(take(bytes)?);
                moments.sum = i128::from_be_bytes(take(bytes)?);
                moments.squares = i256::from_be_bytes(take(bytes)?);
            }
            Accumulator::Moments(moments) => {
                moments.count = i64::from_be_bytes(take(bytes)?);
                moments.mean = f64::from_be_bytes(take(bytes)?);
                moments.spread = f64::from_be_bytes(take(bytes)?);
            }
            Accumulator::ChangingMoments(moments) => {
                moments.count = i64::from_be_bytes(take(bytes)?);
                moments.sum = ExactSum::decode(bytes)?;
                moments.squares = ExactSum::decode(bytes)?;
                moments.not_finite = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::Distinct(sketch) => *sketch = DistinctSketch::decode(bytes)?,
            Accumulator::Quantiles(sketch) => *sketch = QuantileSketch::decode(bytes)?,
            Accumulator::Values(values) if values.is_apart() => {}
            Accumulator::Values(values) => {
                for _ in 0..u32::from_be_bytes(take(bytes)?) {
                    let key = take_bytes(bytes).filter(|key| is_value(key))?;
                    values.count(aggregate, key, i64::from_be_bytes(take(bytes)?));
                }
            }
            Accumulator::User(state) => {
                let [sound] = take(bytes)?;
                *state = UserState::of_parts(sound != 0, take_bytes(bytes)?)?;
            }
        }
        Some(self)
    }
}

fn encode_option<const N: usize>(out: &mut Vec<u8>, value: Option<[u8; N]>) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            out.extend_from_slice(&value);
        }
    }
}

fn encode_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*value)
}

fn take_option<const N: usize>(bytes: &mut &[u8]) -> Option<Option<[u8; N]>> {
    match take(bytes)? {
        [0] => Some(None),
        [1] => take(bytes).map(Some),
        _ => None,
    }
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = u32::from_be_bytes(take(bytes)?) as usize;
    let (found, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(found)
}

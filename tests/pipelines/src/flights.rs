//! Real data: the flights that left New York City in 2013, and the weather there.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde_json::{Map, Value};

use crate::input::{Event, Events};

const FLIGHTS: &str = "flights";
const WEATHER: &str = "weather";
/// How many flights in a row go to one partition before the next one has its turn.
const STRETCH: usize = 50;
const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];

/// The flights in the file's order, each with its number as `row`, in so many partitions; and, if there is a file, the
/// weather by hour, in a partition for each origin. The weather comes first in the order of events: how the two topics
/// are read beside each other decides nothing, event time does.
pub fn events(flights: &Path, weather: Option<&Path>, partitions: i32) -> Result<Events> {
    let mut events = Vec::new();
    if let Some(weather) = weather {
        let mut rows = rows(weather)?;
        // The file has one origin after the other. Hours are texts of one length: their order is that of time.
        rows.sort_by(|left, right| text(left, "time_hour").cmp(text(right, "time_hour")));
        for row in rows {
            let origin = text(&row, "origin").to_owned();
            let partition = ORIGINS.iter().position(|known| *known == origin);
            let partition = partition.with_context(|| format!("the weather of {origin}"))? as i32;
            events.push(Event { topic: WEATHER, partition, key: Some(origin), value: Some(json(row)) });
        }
    }
    for (number, mut row) in rows(flights)?.into_iter().enumerate() {
        row.insert("row".to_owned(), number.into());
        let partition = (number / STRETCH) as i32 % partitions;
        events.push(Event { topic: FLIGHTS, partition, key: None, value: Some(json(row)) });
    }
    let topics = [(FLIGHTS, partitions), (WEATHER, ORIGINS.len() as i32)];
    Ok(Events { events, partitions: topics.into_iter().collect() })
}

fn json(row: Map<String, Value>) -> String {
    Value::Object(row).to_string()
}

fn text<'a>(row: &'a Map<String, Value>, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The rows of a CSV file, compressed or not: numbers as numbers, `NA` as null.
fn rows(path: &Path) -> Result<Vec<Map<String, Value>>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let compressed = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> = match compressed {
        true => Box::new(GzDecoder::new(file)),
        false => Box::new(io::BufReader::new(file)),
    };
    let mut reader = csv::Reader::from_reader(bytes);
    let names = reader.headers()?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let fields = names.iter().zip(record.iter()).map(|(name, text)| (name.to_owned(), value(text)));
        rows.push(fields.collect());
    }
    Ok(rows)
}

fn value(text: &str) -> Value {
    if text == "NA" {
        return Value::Null;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => number.into(),
        _ => text.into(),
    }
}

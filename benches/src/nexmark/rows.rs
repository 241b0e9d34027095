//! What is looked at in a row of an output: its moments.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::nexmark::queries::{Moment, WATERMARK_DELAY_MS};

/// The moment that a row stands for, and the moment from which on it could be given, in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moments {
    pub(crate) of: i64,
    pub(crate) due: i64,
}

/// `None` for a row without the fields that say it.
pub(crate) fn moments(row: &[u8], moment: Moment) -> Option<Moments> {
    match moment {
        Moment::Event(fields) => {
            let newest = fields.iter().filter_map(|field| time(row, field)).max()?;
            Some(Moments { of: newest, due: newest })
        }
        Moment::Close => {
            let end = time(row, "window_end")?;
            Some(Moments { of: end, due: end + WATERMARK_DELAY_MS })
        }
    }
}

/// A field of a flat JSON object that is a time: milliseconds, or `2026-07-14T17:50:00.123Z` in the styles of ISO and SQL.
fn time(row: &[u8], field: &str) -> Option<i64> {
    let value = value(row, field)?;
    match value.strip_prefix(b"\"") {
        None => {
            let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
            std::str::from_utf8(&value[..end]).ok()?.parse().ok()
        }
        Some(text) => {
            let end = text.iter().position(|byte| matches!(byte, b'"' | b'Z')).unwrap_or(text.len());
            let time: DateTime = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
            Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
        }
    }
}

/// What stands behind `"field":`, with all that follows.
fn value<'r>(row: &'r [u8], field: &str) -> Option<&'r [u8]> {
    let mut rest = row;
    loop {
        let quote = rest.iter().position(|byte| *byte == b'"')?;
        rest = &rest[quote + 1..];
        let behind = rest.strip_prefix(field.as_bytes()).and_then(|rest| rest.strip_prefix(b"\":"));
        if let Some(value) = behind {
            return Some(value.trim_ascii_start());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Moment = Moment::Event(&["bid_date_time", "date_time"]);

    #[test]
    fn every_style_of_time_is_read() {
        let times = [
            "1784051400123",
            r#""2026-07-14T17:50:00.123Z""#,
            r#""2026-07-14 17:50:00.123Z""#,
            r#""2026-07-14 17:50:00.123""#,
        ];
        for time in times {
            let row = format!(r#"{{"a":"date_time","date_time":{time},"b":1}}"#);
            let expected = Moments { of: 1_784_051_400_123, due: 1_784_051_400_123 };
            assert_eq!(moments(row.as_bytes(), EVENT), Some(expected), "{row}");
        }
        assert_eq!(moments(br#"{"date_time":"soon"}"#, EVENT), None);
        assert_eq!(moments(br#"{"b":1}"#, EVENT), None);
    }

    #[test]
    fn the_newest_of_several_counts() {
        let row = br#"{"bid_date_time":5,"date_time":7}"#;
        assert_eq!(moments(row, EVENT), Some(Moments { of: 7, due: 7 }));
    }

    #[test]
    fn windows_wait_for_the_watermark() {
        let row = br#"{"num":3,"window_end":"1970-01-01T00:00:10Z"}"#;
        assert_eq!(moments(row, Moment::Close), Some(Moments { of: 10_000, due: 14_000 }));
    }
}

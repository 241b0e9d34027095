//! Instants as text: ISO-8601 in and out, on the proleptic Gregorian calendar, without a time zone table.

use std::fmt;

use crate::plan::TimeUnit;

/// The first instant a `TIMESTAMP` can hold: the beginning of year 1.
pub const MIN_TIMESTAMP: i64 = -62_135_596_800_000;
/// The last instant a `TIMESTAMP` can hold: the last millisecond of year 9999.
pub const MAX_TIMESTAMP: i64 = 253_402_300_799_999;

/// The length of a day in milliseconds.
pub const DAY_MS: i64 = 86_400_000;
/// The first day a `DATE` can hold, in days since the epoch.
pub const MIN_DATE: i32 = (MIN_TIMESTAMP / DAY_MS) as i32;
/// The last day a `DATE` can hold.
pub const MAX_DATE: i32 = (MAX_TIMESTAMP / DAY_MS) as i32;

/// Whether `ms` is an instant a `TIMESTAMP` can hold.
pub fn in_range(ms: i64) -> bool {
    (MIN_TIMESTAMP..=MAX_TIMESTAMP).contains(&ms)
}

/// A calendar date and the time of day, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year, 1 to 9999 for an instant in range.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// Milliseconds since midnight.
    pub ms_of_day: u32,
}

impl Civil {
    /// The calendar reading of an instant.
    pub fn from_millis(ms: i64) -> Civil {
        let days = ms.div_euclid(DAY_MS);
        let ms_of_day = ms.rem_euclid(DAY_MS) as u32;
        // Years are counted from March, so that the leap day is the last day of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * march_month + 2) / 5 + 1) as u32;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil { year, month, day, ms_of_day }
    }

    /// The beginning of the unit the reading lies in, as an instant.
    pub fn floor(self, unit: TimeUnit) -> i64 {
        let midnight = |month, day| days_from_civil(self.year, month, day) * DAY_MS;
        let first_of = |year| days_from_civil(year, 1, 1) * DAY_MS;
        let ms_of_day = i64::from(self.ms_of_day);
        match unit {
            TimeUnit::Millennium => first_of((self.year - 1).div_euclid(1_000) * 1_000 + 1),
            TimeUnit::Century => first_of((self.year - 1).div_euclid(100) * 100 + 1),
            // The first decade began before there was a year.
            TimeUnit::Decade => first_of((self.year.div_euclid(10) * 10).max(1)),
            TimeUnit::Year => first_of(self.year),
            TimeUnit::Quarter => midnight((self.month - 1) / 3 * 3 + 1, 1),
            TimeUnit::Month => midnight(self.month, 1),
            TimeUnit::Week => {
                let day = days_from_civil(self.year, self.month, self.day);
                (day - (day + 3).rem_euclid(7)) * DAY_MS
            }
            TimeUnit::Day => midnight(self.month, self.day),
            TimeUnit::Hour => midnight(self.month, self.day) + ms_of_day / 3_600_000 * 3_600_000,
            TimeUnit::Minute => midnight(self.month, self.day) + ms_of_day / 60_000 * 60_000,
            TimeUnit::Second => midnight(self.month, self.day) + ms_of_day / 1_000 * 1_000,
            TimeUnit::Millisecond => midnight(self.month, self.day) + ms_of_day,
        }
    }
}

/// Days from the epoch to a date; the date must exist.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * march_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Reads `2013-01-01T10:00:00Z` and its relatives: a space for the `T`, a fraction of up to nine digits (cut to
/// milliseconds), a `Z` or an offset such as `+01:00`; without either it is UTC. A date alone is its midnight.
///
/// `None` when the text is not an instant or lies outside years 1 to 9999.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10)?;
    let midnight = calendar_day(date)? * DAY_MS;
    if rest.is_empty() {
        return Some(midnight);
    }
    let (clock, rest) = rest.split_at_checked(9)?;
    if !matches!(clock[0], b'T' | b't' | b' ') || clock[3] != b':' || clock[6] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(&clock[1..3])?, digits(&clock[4..6])?, digits(&clock[7..9])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (millis, rest) = fraction(rest)?;
    let offset_minutes = zone(rest)?;
    let seconds = i64::from(hour * 3600 + minute * 60 + second) - offset_minutes * 60;
    let ms = midnight + seconds * 1000 + i64::from(millis);
    in_range(ms).then_some(ms)
}

/// Reads `2013-01-31` as days since the epoch; `None` when it is no day of the years 1 to 9999.
pub fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    (bytes.len() == 10).then(|| calendar_day(bytes)).flatten().map(|day| day as i32)
}

fn calendar_day(date: &[u8]) -> Option<i64> {
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    date_from_parts(i64::from(digits(&date[..4])?), digits(&date[5..7])?, digits(&date[8..10])?)
}

/// Days since the epoch; `None` when the calendar has no such day in the years 1 to 9999.
pub fn date_from_parts(year: i64, month: u32, day: u32) -> Option<i64> {
    let exists = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day);
    exists.then(|| days_from_civil(year, month, day))
}

fn digits(bytes: &[u8]) -> Option<u32> {
    let mut value = 0;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u32::from(byte - b'0');
    }
    Some(value)
}

/// The milliseconds of an optional fraction, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.' | b',', after)) = bytes.split_first() else { return Some((0, bytes)) };
    let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let kept = length.min(3);
    let millis = digits(&after[..kept])? * 10_u32.pow(3 - kept as u32);
    Some((millis, &after[length..]))
}

/// The offset from UTC in minutes.
fn zone(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), hour @ .., b':', m1, m2] if hour.len() == 2 => {
            let (hours, minutes) = (digits(hour)?, digits(&[*m1, *m2])?);
            if hours > 18 || minutes > 59 {
                return None;
            }
            let minutes = i64::from(hours * 60 + minutes);
            Some(if *sign == b'-' { -minutes } else { minutes })
        }
        _ => None,
    }
}

/// Writes an instant as `2013-01-01T10:00:00Z`, with milliseconds only where there are some.
#[derive(Debug, Clone, Copy)]
pub struct Iso(pub i64);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = Civil::from_millis(self.0);
        // Filled in place: this is written for every row of every window.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let seconds = civil.ms_of_day / 1000;
        // Outside the years of a TIMESTAMP only a message could have such an instant; four digits are enough of it.
        put_digits(&mut text[..4], civil.year.unsigned_abs() as u32);
        put_digits(&mut text[5..7], civil.month);
        put_digits(&mut text[8..10], civil.day);
        put_digits(&mut text[11..13], seconds / 3600);
        put_digits(&mut text[14..16], seconds / 60 % 60);
        put_digits(&mut text[17..19], seconds % 60);
        let length = match civil.ms_of_day % 1000 {
            0 => {
                text[19] = b'Z';
                20
            }
            millis => {
                put_digits(&mut text[20..23], millis);
                24
            }
        };
        f.write_str(std::str::from_utf8(&text[..length]).expect("digits and signs are ASCII"))
    }
}

/// Writes a day as `2013-01-01`.
#[derive(Debug, Clone, Copy)]
pub struct IsoDate(pub i32);

impl fmt::Display for IsoDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = Civil::from_millis(i64::from(self.0) * DAY_MS);
        let mut text = *b"0000-00-00";
        put_digits(&mut text[..4], civil.year.unsigned_abs() as u32);
        put_digits(&mut text[5..7], civil.month);
        put_digits(&mut text[8..10], civil.day);
        f.write_str(std::str::from_utf8(&text).expect("digits and signs are ASCII"))
    }
}

/// Writes an instant as SQL does: `2013-01-01 10:00:00`, with milliseconds only where there are some.
#[derive(Debug, Clone, Copy)]
pub struct SqlTime(pub i64);

impl fmt::Display for SqlTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = Iso(self.0).to_string();
        write!(f, "{} {}", &iso[..10], &iso[11..iso.len() - 1])
    }
}

fn put_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_usual_spellings() {
        let ten = 1_357_034_400_000;
        for text in [
            "2013-01-01T10:00:00Z",
            "2013-01-01 10:00:00",
            "2013-01-01T10:00:00.000Z",
            "2013-01-01T11:30:00+01:30",
            "2013-01-01t05:00:00-05:00",
        ] {
            assert_eq!(parse_timestamp(text), Some(ten), "{text}");
        }
        assert_eq!(parse_timestamp("2013-01-01T10:00:00.1239Z"), Some(ten + 123));
        assert_eq!(parse_timestamp("2013-01-01"), Some(ten - 36_000_000));
        assert_eq!(parse_timestamp("0001-01-01T00:00:00Z"), Some(MIN_TIMESTAMP));
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999Z"), Some(MAX_TIMESTAMP));
    }

    #[test]
    fn refuses_what_is_not_an_instant() {
        for text in [
            "",
            "2013",
            "2013-1-1",
            "2013-02-29T00:00:00Z",
            "2013-13-01",
            "0000-01-01",
            "2013-01-01T24:00:00Z",
            "2013-01-01T10:00",
            "2013-01-01T10:00:00.Z",
            "2013-01-01T10:00:00.1234567890Z",
            "2013-01-01T10:00:00+1:00",
            "2013-01-01T10:00:00 Z",
            "9999-12-31T23:59:59-01:00",
            "2013-01-0é",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_instant_agree_with_an_independent_calendar(ms in MIN_TIMESTAMP..=MAX_TIMESTAMP) {
            let text = Iso(ms).to_string();
            prop_assert_eq!(parse_timestamp(&text), Some(ms));
            let oracle: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(oracle.as_millisecond(), ms);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
            let _ = parse_timestamp(&text);
        }
    }
}

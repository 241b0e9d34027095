//! Functions of instants and days, in UTC.

use std::borrow::Cow;

use arrow_array::{Int64Array, TimestampMillisecondArray};

use super::Evaluator;
use super::call::Call;
use super::date_pattern::DatePattern;
use crate::column::Column;
use crate::plan::{Function, PatternStyle, TimeField, TimeUnit};
use crate::time::{self, Civil, DAY_MS, Iso};

pub(super) fn extract(instants: &TimestampMillisecondArray, field: TimeField) -> Int64Array {
    instants.unary(|ms| part(ms, field))
}

pub(super) fn floor(instants: &TimestampMillisecondArray, unit: TimeUnit) -> TimestampMillisecondArray {
    match fixed_length(unit) {
        Some(length) => instants.unary(|ms| ms - (ms - monday_offset(unit)).rem_euclid(length)),
        None => instants.unary(|ms| Civil::from_millis(ms).floor(unit)),
    }
}

/// The length of a unit that is always the same, in milliseconds.
fn fixed_length(unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Week => Some(7 * DAY_MS),
        TimeUnit::Day => Some(DAY_MS),
        TimeUnit::Hour => Some(3_600_000),
        TimeUnit::Minute => Some(60_000),
        TimeUnit::Second => Some(1_000),
        TimeUnit::Millisecond => Some(1),
        _ => None,
    }
}

/// The months in a unit that is counted by the calendar.
fn months(unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Millennium => Some(12_000),
        TimeUnit::Century => Some(1_200),
        TimeUnit::Decade => Some(120),
        TimeUnit::Year => Some(12),
        TimeUnit::Quarter => Some(3),
        TimeUnit::Month => Some(1),
        _ => None,
    }
}

/// Weeks begin with Monday; the first day of 1970 was a Thursday.
fn monday_offset(unit: TimeUnit) -> i64 {
    if unit == TimeUnit::Week { 4 * DAY_MS } else { 0 }
}

fn part(ms: i64, field: TimeField) -> i64 {
    let day = ms.div_euclid(DAY_MS);
    let ms_of_day = ms.rem_euclid(DAY_MS);
    match field {
        TimeField::Epoch => ms.div_euclid(1_000),
        TimeField::DayOfWeek => (day + 4).rem_euclid(7),
        TimeField::DayOfWeekFromOne => (day + 4).rem_euclid(7) + 1,
        TimeField::IsoDayOfWeek => (day + 3).rem_euclid(7) + 1,
        TimeField::Microsecond => ms_of_day % 60_000 * 1_000,
        TimeField::DayOfYear => {
            let year = Civil::from_millis(ms).year;
            day - first_of_year(year) + 1
        }
        TimeField::IsoYear => iso_week(day).0,
        TimeField::Unit(unit) => match unit {
            TimeUnit::Hour => ms_of_day / 3_600_000,
            TimeUnit::Minute => ms_of_day / 60_000 % 60,
            TimeUnit::Second => ms_of_day / 1_000 % 60,
            TimeUnit::Millisecond => ms_of_day % 60_000,
            TimeUnit::Week => iso_week(day).1,
            _ => {
                let civil = Civil::from_millis(ms);
                let month = i64::from(civil.month);
                match unit {
                    TimeUnit::Millennium => (civil.year + 999).div_euclid(1_000),
                    TimeUnit::Century => (civil.year + 99).div_euclid(100),
                    TimeUnit::Decade => civil.year.div_euclid(10),
                    TimeUnit::Year => civil.year,
                    TimeUnit::Quarter => (month + 2) / 3,
                    TimeUnit::Month => month,
                    _ => i64::from(civil.day),
                }
            }
        },
    }
}

fn first_of_year(year: i64) -> i64 {
    time::days_from_civil(year, 1, 1)
}

/// The ISO year and week of a day: the week belongs to the year that has its Thursday.
pub(super) fn iso_week(day: i64) -> (i64, i64) {
    let thursday = day - (day + 3).rem_euclid(7) + 3;
    let year = Civil::from_millis(thursday * DAY_MS).year;
    (year, (thursday - first_of_year(year)) / 7 + 1)
}

pub(super) fn day_of_year(ms: i64) -> i64 {
    part(ms, TimeField::DayOfYear)
}

fn outside(ms: i64, what: impl std::fmt::Display) -> String {
    format!("{} {what} leaves the years 1 to 9999", Iso(ms))
}

/// By the calendar: a day that the month lacks is its last.
fn add(unit: TimeUnit, count: i64, ms: i64) -> Result<i64, String> {
    let moved = match (fixed_length(unit), months(unit)) {
        (Some(length), _) => count.checked_mul(length).and_then(|by| ms.checked_add(by)),
        (None, Some(months)) => count.checked_mul(months).and_then(|by| add_months(ms, by)),
        (None, None) => None,
    };
    let fits = moved.filter(|moved| time::in_range(*moved));
    fits.ok_or_else(|| outside(ms, format_args!("moved by {count} {}", unit.name())))
}

/// `None` outside of the years 1 to 9999.
fn add_months(ms: i64, months: i64) -> Option<i64> {
    let civil = Civil::from_millis(ms);
    let month = (civil.year * 12 + i64::from(civil.month) - 1).checked_add(months)?;
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) as u32 + 1);
    if !(1..=9999).contains(&year) {
        return None;
    }
    let day = civil.day.min(time::days_in_month(year, month));
    Some(time::days_from_civil(year, month, day) * DAY_MS + i64::from(civil.ms_of_day))
}

/// Whole units from one instant to another.
fn difference(unit: TimeUnit, from: i64, to: i64) -> i64 {
    if let Some(length) = fixed_length(unit) {
        return (to - from) / length;
    }
    let [first, second] = [from, to].map(Civil::from_millis);
    let month = |civil: Civil| civil.year * 12 + i64::from(civil.month);
    let mut between = month(second) - month(first);
    // The last month counts only when it is over.
    let rest = |civil: Civil| (civil.day, civil.ms_of_day);
    if between > 0 && rest(second) < rest(first) {
        between -= 1;
    } else if between < 0 && rest(second) > rest(first) {
        between += 1;
    }
    between / months(unit).unwrap_or(1)
}

fn ceil(unit: TimeUnit, ms: i64) -> Result<i64, String> {
    let start = match fixed_length(unit) {
        Some(length) => ms - (ms - monday_offset(unit)).rem_euclid(length),
        None => Civil::from_millis(ms).floor(unit),
    };
    if start == ms { Ok(ms) } else { add(unit, 1, start) }
}

fn bin(length: i64, ms: i64, origin: i64) -> Result<i64, String> {
    if length <= 0 {
        return Err(format!("bins of {length} ms"));
    }
    let start = ms - (ms - origin).rem_euclid(length);
    if time::in_range(start) { Ok(start) } else { Err(outside(ms, "in its bin")) }
}

fn make_date(year: i64, month: i64, day: i64) -> Result<i32, String> {
    let part = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    let date = time::date_from_parts(year, part(month), part(day));
    date.map(|day| day as i32).ok_or_else(|| format!("there is no day {year}-{month}-{day}"))
}

fn make_timestamp(day: i32, hour: i64, minute: i64, second: f64) -> Result<i64, String> {
    let exists = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..60.0).contains(&second);
    if !exists {
        return Err(format!("there is no time of day {hour}:{minute}:{second:?}"));
    }
    let ms = (second * 1_000.0).round().min(59_999.0) as i64;
    Ok(i64::from(day) * DAY_MS + hour * 3_600_000 + minute * 60_000 + ms)
}

fn from_seconds(seconds: f64) -> Result<i64, String> {
    let ms = (seconds * 1_000.0).round();
    let fits = (time::MIN_TIMESTAMP as f64..=time::MAX_TIMESTAMP as f64).contains(&ms);
    if fits { Ok(ms as i64) } else { Err(format!("{seconds:?} s is outside the years 1 to 9999")) }
}

/// The pattern last used, so that a constant one is read once.
struct LastPattern<'t>(Option<(&'t str, DatePattern)>);

impl<'t> LastPattern<'t> {
    fn read(&mut self, text: &'t str, style: PatternStyle) -> Result<&DatePattern, String> {
        if self.0.as_ref().is_none_or(|(last, _)| *last != text) {
            self.0 = Some((text, DatePattern::read(text, style)?));
        }
        match &self.0 {
            Some((_, pattern)) => Ok(pattern),
            None => unreachable!("it was read above"),
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn call_date(&mut self, call: &Call<'_>) -> Column {
        let arguments = call.arguments;
        let integer = |at: usize, row: usize| arguments[at].integer(row);
        let instant = |at: usize, row: usize| arguments[at].instant(row);
        match call.function {
            Function::Now => Column::Timestamp(TimestampMillisecondArray::from_value(self.now, self.rows)),
            Function::CeilTime(unit) => self.instants(call, |row| ceil(unit, instant(0, row)).map(Some)),
            Function::AddTime(unit) => {
                self.instants(call, |row| add(unit, integer(0, row), instant(1, row)).map(Some))
            }
            Function::DiffTime(unit) => {
                self.integers(call, |row| Ok(Some(difference(unit, instant(0, row), instant(1, row)))))
            }
            Function::DateBin => {
                self.instants(call, |row| bin(integer(0, row), instant(1, row), instant(2, row)).map(Some))
            }
            Function::MakeDate => Column::Date(
                self.each(call, |row| make_date(integer(0, row), integer(1, row), integer(2, row)).map(Some)),
            ),
            Function::MakeTimestamp => self.instants(call, |row| {
                let day = make_date(integer(0, row), integer(1, row), integer(2, row))?;
                make_timestamp(day, integer(3, row), integer(4, row), arguments[5].double(row)).map(Some)
            }),
            Function::FormatTime(style) => {
                let mut last = LastPattern(None);
                self.texts(call, |row| {
                    let pattern = last.read(arguments[1].text(row), style)?;
                    Ok(Some(Cow::Owned(pattern.write(instant(0, row)))))
                })
            }
            Function::ParseTime(style) => {
                let mut last = LastPattern(None);
                self.instants(call, |row| {
                    let pattern = last.read(arguments[1].text(row), style)?;
                    pattern.parse(arguments[0].text(row)).map(Some)
                })
            }
            Function::FromSeconds => {
                self.instants(call, |row| from_seconds(arguments[0].double(row)).map(Some))
            }
            Function::ToSeconds => self.integers(call, |row| Ok(Some(instant(0, row).div_euclid(1_000)))),
            other => unreachable!("{} is not a function of instants", other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{MAX_TIMESTAMP, MIN_TIMESTAMP, parse_timestamp};

    fn at(text: &str) -> i64 {
        parse_timestamp(text).unwrap()
    }

    #[test]
    fn months_end_where_they_end() {
        let add = |unit, count, text: &str| add(unit, count, at(text)).map(|ms| Iso(ms).to_string());
        assert_eq!(add(TimeUnit::Month, 1, "2013-01-31T10:00:00Z").unwrap(), "2013-02-28T10:00:00Z");
        assert_eq!(add(TimeUnit::Year, -1, "2012-02-29").unwrap(), "2011-02-28T00:00:00Z");
        assert_eq!(add(TimeUnit::Quarter, 2, "2012-12-31").unwrap(), "2013-06-30T00:00:00Z");
        assert!(add(TimeUnit::Year, 8000, "2012-02-29").is_err());
        assert!(add(TimeUnit::Month, i64::MAX, "2012-02-29").is_err());
        assert!(add(TimeUnit::Day, i64::MAX, "2012-02-29").is_err());
        let difference = |unit, from: &str, to: &str| difference(unit, at(from), at(to));
        assert_eq!(difference(TimeUnit::Month, "2013-01-31", "2013-02-28"), 0);
        assert_eq!(difference(TimeUnit::Month, "2013-01-15", "2013-03-15"), 2);
        assert_eq!(difference(TimeUnit::Month, "2013-03-15", "2013-01-16"), -1);
        assert_eq!(difference(TimeUnit::Year, "2012-02-29", "2013-02-28"), 0);
        assert_eq!(difference(TimeUnit::Hour, "2013-01-01T01:00:00", "2013-01-01T02:59:59"), 1);
        assert_eq!(
            bin(900_000, at("2013-01-01T00:17:00"), at("2013-01-01T00:05:00")),
            Ok(at("2013-01-01T00:05:00"))
        );
        assert_eq!(ceil(TimeUnit::Month, at("2013-01-01T00:00:00.001")), Ok(at("2013-02-01")));
        assert_eq!(ceil(TimeUnit::Month, at("2013-01-01")), Ok(at("2013-01-01")));
    }

    proptest! {
        #[test]
        fn parts_agree_with_an_independent_calendar(ms in MIN_TIMESTAMP..=MAX_TIMESTAMP) {
            let zoned = jiff::Timestamp::from_millisecond(ms).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
            let iso = zoned.date().iso_week_date();
            prop_assert_eq!(part(ms, TimeField::DayOfYear), i64::from(zoned.day_of_year()));
            prop_assert_eq!(part(ms, TimeField::IsoYear), i64::from(iso.year()));
            prop_assert_eq!(part(ms, TimeField::Unit(TimeUnit::Week)), i64::from(iso.week()));
            prop_assert_eq!(part(ms, TimeField::DayOfWeek), i64::from(zoned.weekday().to_sunday_zero_offset()));
            prop_assert_eq!(part(ms, TimeField::IsoDayOfWeek), i64::from(zoned.weekday().to_monday_one_offset()));
        }

        #[test]
        fn a_unit_begins_before_and_ends_after_what_lies_in_it(ms in -100_000_000_000_000_i64..=100_000_000_000_000) {
            use TimeUnit::*;
            // Only a little beyond the range of a TIMESTAMP at either end is left out.
            prop_assume!(time::in_range(ms) && time::in_range(ms - 40_000_000_000_000) );
            for unit in [Century, Decade, Year, Quarter, Month, Week, Day, Hour, Minute, Second, Millisecond] {
                let array = TimestampMillisecondArray::from_value(ms, 1);
                let start = floor(&array, unit).value(0);
                prop_assert!(start <= ms);
                prop_assert!(ms < add(unit, 1, start).unwrap(), "{:?} {}", unit, Iso(ms));
                prop_assert_eq!(difference(unit, start, ms), 0);
            }
        }
    }
}

//! Patterns of dates, in PostgreSQL's letters and in Java's: read once, then written and parsed by.

mod letters;

use super::date::{day_of_year, iso_week};
use crate::plan::PatternStyle;
use crate::time::{self, Civil, DAY_MS};

/// A pattern of more pieces is refused.
const MAX_PIECES: usize = 200;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Monday.
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letters {
    Upper,
    Capital,
    Lower,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Plain(String),
    /// With at least this many digits.
    Year(usize),
    /// The last so many digits, written with at least so many.
    YearEnd(usize, usize),
    /// The thousands, a comma, and three digits.
    YearWithComma,
    Month(usize),
    MonthName(Letters, Length),
    Day(usize),
    DayOfYear(usize),
    DayName(Letters, Length),
    /// Sunday is 1.
    DayOfWeek,
    IsoDayOfWeek,
    IsoWeek(usize),
    IsoYear,
    Quarter,
    Hour(usize),
    /// 1 to 12.
    HourOfHalf(usize),
    Minute(usize),
    Second(usize),
    /// The first digits of the second's fraction.
    Fraction(usize),
    /// Seconds since midnight.
    SecondOfDay,
    /// Of the day, `AM` or `PM`; with points `A.M.` or `P.M.`
    Half(Letters, bool),
}

/// How much of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Whole,
    /// All of it, with blanks up to the length of the longest.
    Padded,
    /// The first letters.
    First(usize),
}

/// The letters of the longest name of a month or a day.
const LONGEST_NAME: usize = 9;

impl Length {
    fn of(self, name: &str) -> &str {
        match self {
            Length::First(letters) => &name[..letters],
            Length::Whole | Length::Padded => name,
        }
    }
}

impl Piece {
    fn is_number(&self) -> bool {
        !matches!(self, Piece::Plain(_) | Piece::MonthName(..) | Piece::DayName(..) | Piece::Half(..))
    }

    fn is_padded(&self) -> bool {
        matches!(self, Piece::MonthName(_, Length::Padded) | Piece::DayName(_, Length::Padded))
    }
}

/// A pattern ready for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatePattern(Vec<Piece>);

impl DatePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The letters it does not know, in words.
    pub(crate) fn read(text: &str, style: PatternStyle) -> Result<DatePattern, String> {
        let pieces = match style {
            PatternStyle::Postgres => letters::postgres(text),
            PatternStyle::Java => letters::java(text),
        }?;
        match pieces.len() <= MAX_PIECES {
            true => Ok(DatePattern(pieces)),
            false => Err(format!("the pattern has more than {MAX_PIECES} fields")),
        }
    }

    /// An instant as text.
    pub(crate) fn write(&self, ms: i64) -> String {
        let civil = Civil::from_millis(ms);
        let day = ms.div_euclid(DAY_MS);
        let seconds = civil.ms_of_day / 1_000;
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        // The longest usual pattern fits; more is no error.
        let mut out = String::with_capacity(24);
        for piece in &self.0 {
            match piece {
                Piece::Plain(text) => out.push_str(text),
                Piece::Year(width) => push_number(&mut out, civil.year as u32, *width),
                Piece::YearEnd(digits, width) => {
                    push_number(&mut out, civil.year as u32 % 10_u32.pow(*digits as u32), *width);
                }
                Piece::YearWithComma => {
                    push_number(&mut out, civil.year as u32 / 1_000, 1);
                    out.push(',');
                    push_number(&mut out, civil.year as u32 % 1_000, 3);
                }
                Piece::Month(width) => push_number(&mut out, civil.month, *width),
                Piece::MonthName(letters, length) => {
                    push_name(&mut out, MONTHS[civil.month as usize - 1], *letters, *length);
                }
                Piece::Day(width) => push_number(&mut out, civil.day, *width),
                Piece::DayOfYear(width) => push_number(&mut out, day_of_year(ms) as u32, *width),
                Piece::DayName(letters, length) => {
                    push_name(&mut out, DAYS[(day + 3).rem_euclid(7) as usize], *letters, *length);
                }
                Piece::DayOfWeek => push_number(&mut out, (day + 4).rem_euclid(7) as u32 + 1, 1),
                Piece::IsoDayOfWeek => push_number(&mut out, (day + 3).rem_euclid(7) as u32 + 1, 1),
                Piece::IsoWeek(width) => push_number(&mut out, iso_week(day).1 as u32, *width),
                Piece::IsoYear => push_number(&mut out, iso_week(day).0.unsigned_abs() as u32, 4),
                Piece::Quarter => push_number(&mut out, civil.month.div_ceil(3), 1),
                Piece::Hour(width) => push_number(&mut out, hour, *width),
                Piece::HourOfHalf(width) => push_number(&mut out, (hour + 11) % 12 + 1, *width),
                Piece::Minute(width) => push_number(&mut out, minute, *width),
                Piece::Second(width) => push_number(&mut out, second, *width),
                Piece::Fraction(digits) => push_fraction(&mut out, civil.ms_of_day % 1_000, *digits),
                Piece::SecondOfDay => push_number(&mut out, seconds, 1),
                Piece::Half(letters, points) => {
                    let name = halves(*points)[usize::from(hour >= 12)];
                    push_name(&mut out, name, *letters, Length::Whole);
                }
            }
        }
        out
    }

    /// A text as an instant; what the pattern does not say is the beginning of 1970.
    ///
    /// # Errors
    /// What does not fit the pattern, in words.
    pub(crate) fn parse(&self, text: &str) -> Result<i64, String> {
        let shown: String = text.chars().take(40).collect();
        self.parse_parts(text.trim()).ok_or_else(|| format!("'{shown}' does not fit the pattern"))
    }

    fn parse_parts(&self, text: &str) -> Option<i64> {
        let mut rest = text;
        let (mut year, mut month, mut day, mut day_of_year) = (1970, 1, 1, None);
        let (mut hour, mut minute, mut second, mut fraction) = (0, 0, 0, 0);
        let (mut half_hour, mut afternoon, mut second_of_day) = (None, None, None);
        for (index, piece) in self.0.iter().enumerate() {
            // Digits that touch a number are as many as the pattern says; else as many as there are.
            let touches = self.0.get(index + 1).is_some_and(Piece::is_number);
            let mut number = |width: usize, most: usize| {
                let most = if touches { width.max(1) } else { most };
                let length = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
                let value: i64 = rest[..length].parse().ok()?;
                rest = &rest[length..];
                Some((value, length))
            };
            match piece {
                // Blanks behind a name were read with it, however many there are.
                Piece::Plain(plain) if index > 0 && self.0[index - 1].is_padded() => {
                    rest = rest.strip_prefix(plain.trim_start_matches(' '))?;
                }
                Piece::Plain(plain) => rest = rest.strip_prefix(plain.as_str())?,
                Piece::Year(width) => year = number(*width, 4)?.0,
                Piece::YearEnd(digits, _) => year = near_2020(number(*digits, *digits)?.0),
                Piece::YearWithComma => {
                    let (thousands, after) = rest.split_once(',')?;
                    let (hundreds, after) = after.split_at_checked(3)?;
                    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                    if thousands.len() != 1 || !digits(thousands) || !digits(hundreds) {
                        return None;
                    }
                    year = thousands.parse::<i64>().ok()? * 1_000 + hundreds.parse::<i64>().ok()?;
                    rest = after;
                }
                Piece::Month(width) => month = number(*width, 2)?.0,
                Piece::Day(width) => day = number(*width, 2)?.0,
                Piece::DayOfYear(width) => day_of_year = Some(number(*width, 3)?.0),
                Piece::Hour(width) => hour = number(*width, 2)?.0,
                Piece::HourOfHalf(width) => {
                    half_hour = Some(number(*width, 2)?.0).filter(|hour| (1..=12).contains(hour));
                    half_hour?;
                }
                Piece::Minute(width) => minute = number(*width, 2)?.0,
                Piece::Second(width) => second = number(*width, 2)?.0,
                Piece::Fraction(width) => {
                    let (value, length) = number(*width, 9)?;
                    fraction = if length <= 3 {
                        value * 10_i64.pow(3 - length as u32)
                    } else {
                        value / 10_i64.pow(length as u32 - 3)
                    };
                }
                Piece::SecondOfDay => second_of_day = Some(number(5, 5)?.0),
                Piece::MonthName(_, length) => month = find_name(&mut rest, &MONTHS, *length)? as i64 + 1,
                Piece::DayName(_, length) => {
                    find_name(&mut rest, &DAYS, *length)?;
                }
                Piece::Half(_, points) => {
                    afternoon = Some(find_name(&mut rest, &halves(*points), Length::Whole)? == 1);
                }
                Piece::DayOfWeek
                | Piece::IsoDayOfWeek
                | Piece::IsoWeek(_)
                | Piece::IsoYear
                | Piece::Quarter => {
                    number(1, 4)?;
                }
            }
        }
        hour = hour_of_day(hour, half_hour, afternoon)?;
        if let Some(seconds) = second_of_day {
            (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        }
        let exists = rest.is_empty()
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second);
        if !exists {
            return None;
        }
        let days = match day_of_year {
            None => time::date_from_parts(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?,
            Some(number) => {
                let first = time::date_from_parts(year, 1, 1)?;
                let next = time::days_from_civil(year + 1, 1, 1);
                Some(first + number - 1).filter(|day| number >= 1 && *day < next)?
            }
        };
        Some(days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1_000 + fraction)
    }
}

/// The hour of 24, from one of 24 or one of 12 and the half of the day; `None` where they contradict each other. As in
/// PostgreSQL the half also tells which of two hours one of 24 is.
fn hour_of_day(hour: i64, half_hour: Option<i64>, afternoon: Option<bool>) -> Option<i64> {
    let half = |hour: i64, afternoon: bool| hour % 12 + if afternoon { 12 } else { 0 };
    match (half_hour, afternoon) {
        (Some(hour), afternoon) => Some(half(hour, afternoon.unwrap_or(false))),
        (None, None) => Some(hour),
        (None, Some(afternoon)) => match hour {
            1..=12 => Some(half(hour, afternoon)),
            0 => (!afternoon).then_some(0),
            _ => afternoon.then_some(hour),
        },
    }
}

/// The year nearest to 2020 that ends with these digits, as PostgreSQL reads it.
fn near_2020(end: i64) -> i64 {
    match end {
        0..70 => 2_000 + end,
        70..100 => 1_900 + end,
        100..520 => 2_000 + end,
        _ => 1_000 + end,
    }
}

/// A number of at most five digits with at least `width` of them.
fn push_number(out: &mut String, number: u32, width: usize) {
    let digits = [10_000, 1_000, 100, 10, 1].map(|unit| number / unit % 10);
    let needed = digits.iter().position(|digit| *digit > 0).map_or(1, |first| 5 - first);
    let shown = &digits[5 - needed.max(width.min(5))..];
    out.extend(shown.iter().map(|digit| char::from(b'0' + *digit as u8)));
}

fn halves(points: bool) -> [&'static str; 2] {
    if points { ["A.m.", "P.m."] } else { ["Am", "Pm"] }
}

/// The first digits of a second's fraction.
fn push_fraction(out: &mut String, millis: u32, digits: usize) {
    let known = [millis / 100 % 10, millis / 10 % 10, millis % 10];
    let shown = known.into_iter().chain(std::iter::repeat(0)).take(digits);
    out.extend(shown.map(|digit| char::from(b'0' + digit as u8)));
}

fn push_name(out: &mut String, name: &str, letters: Letters, length: Length) {
    let shown = length.of(name);
    match letters {
        Letters::Upper => out.push_str(&shown.to_uppercase()),
        Letters::Capital => out.push_str(shown),
        Letters::Lower => out.push_str(&shown.to_lowercase()),
    }
    if length == Length::Padded {
        out.extend(std::iter::repeat_n(' ', LONGEST_NAME - name.len()));
    }
}

/// Which name the text begins with, capitals or not; the text goes on behind it.
fn find_name(text: &mut &str, names: &[&str], length: Length) -> Option<usize> {
    let found = names.iter().position(|name| {
        let wanted = length.of(name);
        text.get(..wanted.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(wanted))
    })?;
    *text = &text[length.of(names[found]).len()..];
    if length == Length::Padded {
        *text = text.trim_start_matches(' ');
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{MAX_TIMESTAMP, MIN_TIMESTAMP, parse_timestamp};

    fn write(style: PatternStyle, pattern: &str, text: &str) -> String {
        DatePattern::read(pattern, style).unwrap().write(parse_timestamp(text).unwrap())
    }

    fn parse(style: PatternStyle, pattern: &str, text: &str) -> Option<i64> {
        DatePattern::read(pattern, style).unwrap().parse(text).ok()
    }

    #[test]
    fn writes_by_postgres_letters() {
        let write = |pattern: &str| write(PatternStyle::Postgres, pattern, "2013-03-05T15:04:09.078");
        assert_eq!(write("YYYY-MM-DD HH24:MI:SS.MS"), "2013-03-05 15:04:09.078");
        assert_eq!(write("yyyy-mm-dd hh24:mi:ss.us"), "2013-03-05 15:04:09.078000");
        assert_eq!(write("HH12:MI AM, HH pm"), "03:04 PM, 03 pm");
        assert_eq!(write("FMDD. FMMonth YY"), "5. March 13");
        assert_eq!(write("Dy, DD MON YYYY"), "Tue, 05 MAR 2013");
        assert_eq!(write("IYYY-\"W\"IW-ID DDD Q D"), "2013-W10-2 064 1 3");
        assert_eq!(write("YYYY\"year\"T"), "2013yearT");
        assert!(DatePattern::read("YYYY x", PatternStyle::Postgres).unwrap_err().contains("`x`"));
    }

    #[test]
    fn writes_by_java_letters() {
        let write = |pattern: &str| write(PatternStyle::Java, pattern, "2013-03-05T15:04:09.078");
        assert_eq!(write("yyyy-MM-dd HH:mm:ss.SSS"), "2013-03-05 15:04:09.078");
        assert_eq!(write("d.M.yy h:mm a"), "5.3.13 3:04 PM");
        assert_eq!(write("EEE, d MMM yyyy 'o''clock' ''"), "Tue, 5 Mar 2013 o'clock '");
        assert_eq!(write("EEEE MMMM DDD SS"), "Tuesday March 064 07");
        assert!(DatePattern::read("yyyy-nn", PatternStyle::Java).unwrap_err().contains("`nn`"));
        assert!(DatePattern::read("'x", PatternStyle::Java).unwrap_err().contains("not closed"));
    }

    #[test]
    fn parses_what_fits() {
        let ms = parse_timestamp("2013-03-05T15:04:09.070").unwrap();
        let day = parse_timestamp("2013-03-05").unwrap();
        assert_eq!(parse(PatternStyle::Java, "yyyy-MM-dd HH:mm:ss.SSS", "2013-03-05 15:04:09.07"), Some(ms));
        assert_eq!(parse(PatternStyle::Java, "yyyyMMddHHmmssSSS", "20130305150409070"), Some(ms));
        assert_eq!(parse(PatternStyle::Java, "d.M.yy", "5.3.13"), Some(day));
        // Only a number takes digits from the field before it.
        let ten = parse_timestamp("2013-03-15T22:00:00").unwrap();
        assert_eq!(parse(PatternStyle::Java, "yyyy-MM-dd ha", "2013-03-15 10PM"), Some(ten));
        assert_eq!(parse(PatternStyle::Java, "dMMMyyyy ha", "15Mar2013 10pm"), Some(ten));
        assert_eq!(parse(PatternStyle::Java, "dMMMyyyy", "5Mar2013"), Some(day));
        assert_eq!(parse(PatternStyle::Java, "yEEEEdMMMM", "2013Tuesday5March"), Some(day));
        assert_eq!(parse(PatternStyle::Postgres, "FMDDMonYYYY FMHH24A.M.", "15Mar2013 22P.M."), Some(ten));
        assert_eq!(parse(PatternStyle::Java, "yyyyMd", "201335"), Some(day));
        assert_eq!(parse(PatternStyle::Java, "yyyy-DDD", "2013-064"), Some(day));
        assert_eq!(parse(PatternStyle::Postgres, "DD Mon YYYY, HH12 AM", "05 mar 2013, 12 am"), Some(day));
        for (pattern, text) in [
            ("yyyy-MM-dd", "2013-02-29"),
            ("yyyy-MM-dd", "2013-03-05x"),
            ("yyyy-MM-dd", "x2013-03-05"),
            ("yyyy-DDD", "2013-366"),
            ("h a", "13 PM"),
            ("HH:mm", "24:00"),
            ("yyyy", ""),
            ("yyyy", "-1"),
        ] {
            assert_eq!(parse(PatternStyle::Java, pattern, text), None, "{text} by {pattern}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_parsed(ms in MIN_TIMESTAMP..=MAX_TIMESTAMP) {
            for (style, pattern) in [
                (PatternStyle::Postgres, "YYYY-MM-DD HH24:MI:SS.MS"),
                (PatternStyle::Java, "yyyyMMddHHmmssSSS"),
                (PatternStyle::Java, "EEEE, d MMMM yyyy h:m:s a SSS"),
            ] {
                let pattern = DatePattern::read(pattern, style).unwrap();
                prop_assert_eq!(pattern.parse(&pattern.write(ms)), Ok(ms));
            }
        }

        #[test]
        fn any_pattern_and_text_are_read_without_a_panic(pattern in "[ -~é]{0,12}", text in "[0-9a-zA-Zé :-]{0,16}") {
            for style in [PatternStyle::Postgres, PatternStyle::Java] {
                if let Ok(pattern) = DatePattern::read(&pattern, style) {
                    let _ = pattern.parse(&text);
                    let _ = pattern.write(0);
                }
            }
        }
    }
}

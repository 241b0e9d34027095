//! Patterns of dates, in PostgreSQL's letters and in Java's: read once, then written and parsed by.

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
    /// With this many digits; two are those of the century.
    Year(usize),
    Month(usize),
    /// The name, or its first letters.
    MonthName(Letters, Option<usize>),
    Day(usize),
    DayOfYear(usize),
    DayName(Letters, Option<usize>),
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
    Half(Letters),
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
            PatternStyle::Postgres => postgres(text),
            PatternStyle::Java => java(text),
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
                Piece::Year(width) => push_year(&mut out, civil.year as u32, *width),
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
                Piece::Half(letters) => {
                    push_name(&mut out, if hour < 12 { "Am" } else { "Pm" }, *letters, None)
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
        let (mut hour, mut minute, mut second, mut fraction, mut afternoon) = (0, 0, 0, 0, None);
        for (index, piece) in self.0.iter().enumerate() {
            // Digits that touch the next field are as many as the pattern says; else as many as there are.
            let touches = self.0.get(index + 1).is_some_and(|next| !matches!(next, Piece::Plain(_)));
            let mut number = |width: usize, most: usize| {
                let most = if touches { width.max(1) } else { most };
                let length = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
                let value: i64 = rest[..length].parse().ok()?;
                rest = &rest[length..];
                Some((value, length))
            };
            match piece {
                Piece::Plain(plain) => rest = rest.strip_prefix(plain.as_str())?,
                Piece::Year(2) => {
                    year = number(2, 2).map(|(value, _)| if value < 70 { 2000 } else { 1900 } + value)?
                }
                Piece::Year(width) => year = number(*width, 4)?.0,
                Piece::Month(width) => month = number(*width, 2)?.0,
                Piece::Day(width) => day = number(*width, 2)?.0,
                Piece::DayOfYear(width) => day_of_year = Some(number(*width, 3)?.0),
                Piece::Hour(width) => hour = number(*width, 2)?.0,
                Piece::HourOfHalf(width) => {
                    hour = number(*width, 2)?.0;
                    if !(1..=12).contains(&hour) {
                        return None;
                    }
                    afternoon = Some(afternoon.unwrap_or(false));
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
                Piece::MonthName(_, length) => month = find_name(&mut rest, &MONTHS, *length)? as i64 + 1,
                Piece::DayName(_, length) => {
                    find_name(&mut rest, &DAYS, *length)?;
                }
                Piece::Half(_) => afternoon = Some(find_name(&mut rest, &["AM", "PM"], None)? == 1),
                Piece::DayOfWeek
                | Piece::IsoDayOfWeek
                | Piece::IsoWeek(_)
                | Piece::IsoYear
                | Piece::Quarter => {
                    number(1, 4)?;
                }
            }
        }
        if let Some(afternoon) = afternoon {
            hour = hour % 12 + if afternoon { 12 } else { 0 };
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

/// A number of at most four digits with at least `width` of them.
fn push_number(out: &mut String, number: u32, width: usize) {
    let digits = [number / 1_000 % 10, number / 100 % 10, number / 10 % 10, number % 10];
    let needed = digits.iter().position(|digit| *digit > 0).map_or(1, |first| 4 - first);
    let shown = &digits[4 - needed.max(width.min(4))..];
    out.extend(shown.iter().map(|digit| char::from(b'0' + *digit as u8)));
}

/// Two or three digits are the year's last ones.
fn push_year(out: &mut String, year: u32, width: usize) {
    match width {
        2 => push_number(out, year % 100, 2),
        3 => push_number(out, year % 1_000, 3),
        _ => push_number(out, year, width),
    }
}

/// The first digits of a second's fraction.
fn push_fraction(out: &mut String, millis: u32, digits: usize) {
    let known = [millis / 100 % 10, millis / 10 % 10, millis % 10];
    let shown = known.into_iter().chain(std::iter::repeat(0)).take(digits);
    out.extend(shown.map(|digit| char::from(b'0' + digit as u8)));
}

fn push_name(out: &mut String, name: &str, letters: Letters, length: Option<usize>) {
    let name = &name[..length.unwrap_or(name.len())];
    match letters {
        Letters::Upper => out.push_str(&name.to_uppercase()),
        Letters::Capital => out.push_str(name),
        Letters::Lower => out.push_str(&name.to_lowercase()),
    }
}

/// Which name the text begins with, capitals or not; the text goes on behind it.
fn find_name(text: &mut &str, names: &[&str], length: Option<usize>) -> Option<usize> {
    let found = names.iter().position(|name| {
        let wanted = &name[..length.unwrap_or(name.len())];
        text.get(..wanted.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(wanted))
    })?;
    *text = &text[length.unwrap_or(names[found].len())..];
    Some(found)
}

fn push_plain(pieces: &mut Vec<Piece>, character: char) {
    match pieces.last_mut() {
        Some(Piece::Plain(plain)) => plain.push(character),
        _ => pieces.push(Piece::Plain(character.to_string())),
    }
}

/// PostgreSQL's `to_char`: the longest known letters at each place; text between double quotes is plain, and so is
/// every sign that is not a letter.
fn postgres(text: &str) -> Result<Vec<Piece>, String> {
    use Letters::{Capital, Lower, Upper};
    // Longer ones first; `FM`, which leaves out zeros and blanks, is read apart.
    let fields: [(&str, Piece); 44] = [
        ("HH24", Piece::Hour(2)),
        ("HH12", Piece::HourOfHalf(2)),
        ("MONTH", Piece::MonthName(Upper, None)),
        ("Month", Piece::MonthName(Capital, None)),
        ("month", Piece::MonthName(Lower, None)),
        ("IYYY", Piece::IsoYear),
        ("YYYY", Piece::Year(4)),
        ("A.M.", Piece::Half(Upper)),
        ("DDD", Piece::DayOfYear(3)),
        ("DAY", Piece::DayName(Upper, None)),
        ("Day", Piece::DayName(Capital, None)),
        ("day", Piece::DayName(Lower, None)),
        ("MON", Piece::MonthName(Upper, Some(3))),
        ("Mon", Piece::MonthName(Capital, Some(3))),
        ("mon", Piece::MonthName(Lower, Some(3))),
        ("YYY", Piece::Year(3)),
        ("FF1", Piece::Fraction(1)),
        ("FF2", Piece::Fraction(2)),
        ("FF3", Piece::Fraction(3)),
        ("FF4", Piece::Fraction(4)),
        ("FF5", Piece::Fraction(5)),
        ("FF6", Piece::Fraction(6)),
        ("DY", Piece::DayName(Upper, Some(3))),
        ("Dy", Piece::DayName(Capital, Some(3))),
        ("dy", Piece::DayName(Lower, Some(3))),
        ("YY", Piece::Year(2)),
        ("MM", Piece::Month(2)),
        ("DD", Piece::Day(2)),
        ("ID", Piece::IsoDayOfWeek),
        ("IW", Piece::IsoWeek(2)),
        ("HH", Piece::HourOfHalf(2)),
        ("MI", Piece::Minute(2)),
        ("SS", Piece::Second(2)),
        ("MS", Piece::Fraction(3)),
        ("US", Piece::Fraction(6)),
        ("AM", Piece::Half(Upper)),
        ("PM", Piece::Half(Upper)),
        ("am", Piece::Half(Lower)),
        ("pm", Piece::Half(Lower)),
        ("D", Piece::DayOfWeek),
        ("Q", Piece::Quarter),
        ("Y", Piece::Year(1)),
        ("T", Piece::Plain("T".to_owned())),
        ("Z", Piece::Plain("Z".to_owned())),
    ];
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut short = false;
    'text: while let Some(character) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            short = true;
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix('"') {
            let (quoted, after) = after.split_once('"').ok_or("a double quote is not closed")?;
            quoted.chars().for_each(|character| push_plain(&mut pieces, character));
            rest = after;
            continue;
        }
        let is_name =
            |piece: &Piece| matches!(piece, Piece::MonthName(..) | Piece::DayName(..) | Piece::Half(_));
        for exact in [true, false] {
            for (letters, piece) in &fields {
                let begin = rest.get(..letters.len());
                let found = begin.is_some_and(|begin| match exact || is_name(piece) {
                    true => begin == *letters,
                    false => begin.eq_ignore_ascii_case(letters),
                });
                if found {
                    pieces.push(if short { without_zeros(piece.clone()) } else { piece.clone() });
                    short = false;
                    rest = &rest[letters.len()..];
                    continue 'text;
                }
            }
        }
        if character.is_alphabetic() {
            return Err(format!(
                "the pattern has no field `{character}`; plain letters stand in \"double quotes\""
            ));
        }
        push_plain(&mut pieces, character);
        rest = &rest[character.len_utf8()..];
    }
    Ok(pieces)
}

fn without_zeros(piece: Piece) -> Piece {
    match piece {
        Piece::Month(_) => Piece::Month(1),
        Piece::Day(_) => Piece::Day(1),
        Piece::DayOfYear(_) => Piece::DayOfYear(1),
        Piece::IsoWeek(_) => Piece::IsoWeek(1),
        Piece::Hour(_) => Piece::Hour(1),
        Piece::HourOfHalf(_) => Piece::HourOfHalf(1),
        Piece::Minute(_) => Piece::Minute(1),
        Piece::Second(_) => Piece::Second(1),
        other => other,
    }
}

/// Java's `DateTimeFormatter`: a run of one letter is a field; text between single quotes is plain.
fn java(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\'' {
            if characters.next_if_eq(&'\'').is_some() {
                push_plain(&mut pieces, '\'');
                continue;
            }
            loop {
                match characters.next() {
                    Some('\'') if characters.next_if_eq(&'\'').is_some() => push_plain(&mut pieces, '\''),
                    Some('\'') => break,
                    Some(plain) => push_plain(&mut pieces, plain),
                    None => return Err("a single quote is not closed".to_owned()),
                }
            }
            continue;
        }
        if !character.is_ascii_alphabetic() {
            push_plain(&mut pieces, character);
            continue;
        }
        let mut count = 1;
        while characters.next_if_eq(&character).is_some() {
            count += 1;
        }
        pieces.push(java_field(character, count)?);
    }
    Ok(pieces)
}

fn java_field(letter: char, count: usize) -> Result<Piece, String> {
    let unknown =
        || Err(format!("the pattern has no field `{}`", String::from(letter).repeat(count.min(20))));
    if count > 9 {
        return unknown();
    }
    Ok(match (letter, count) {
        ('y' | 'u', 2) => Piece::Year(2),
        ('y' | 'u', 1 | 3 | 4) => Piece::Year(count),
        ('M' | 'L', 1 | 2) => Piece::Month(count),
        ('M' | 'L', 3) => Piece::MonthName(Letters::Capital, Some(3)),
        ('M' | 'L', 4) => Piece::MonthName(Letters::Capital, None),
        ('d', 1 | 2) => Piece::Day(count),
        ('D', 1..=3) => Piece::DayOfYear(count),
        ('E', 1..=3) => Piece::DayName(Letters::Capital, Some(3)),
        ('E', 4) => Piece::DayName(Letters::Capital, None),
        ('e' | 'c', 1) => Piece::DayOfWeek,
        ('Q', 1) => Piece::Quarter,
        ('H', 1 | 2) => Piece::Hour(count),
        ('h', 1 | 2) => Piece::HourOfHalf(count),
        ('m', 1 | 2) => Piece::Minute(count),
        ('s', 1 | 2) => Piece::Second(count),
        ('S', _) => Piece::Fraction(count),
        ('a', 1) => Piece::Half(Letters::Upper),
        _ => return unknown(),
    })
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

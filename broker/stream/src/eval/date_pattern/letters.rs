//! The letters of patterns, PostgreSQL's and Java's, as pieces of a date.

use super::{Length, Letters, Piece};

fn push_plain(pieces: &mut Vec<Piece>, character: char) {
    match pieces.last_mut() {
        Some(Piece::Plain(plain)) => plain.push(character),
        _ => pieces.push(Piece::Plain(character.to_string())),
    }
}

impl Piece {
    /// As behind `FM`: without zeros and blanks that only fill.
    fn unfilled(self) -> Piece {
        match self {
            Piece::Year(_) => Piece::Year(1),
            Piece::YearEnd(digits, _) => Piece::YearEnd(digits, 1),
            Piece::Month(_) => Piece::Month(1),
            Piece::MonthName(letters, Length::Padded) => Piece::MonthName(letters, Length::Whole),
            Piece::Day(_) => Piece::Day(1),
            Piece::DayOfYear(_) => Piece::DayOfYear(1),
            Piece::DayName(letters, Length::Padded) => Piece::DayName(letters, Length::Whole),
            Piece::IsoWeek(_) => Piece::IsoWeek(1),
            Piece::Hour(_) => Piece::Hour(1),
            Piece::HourOfHalf(_) => Piece::HourOfHalf(1),
            Piece::Minute(_) => Piece::Minute(1),
            Piece::Second(_) => Piece::Second(1),
            other => other,
        }
    }
}

/// PostgreSQL's `to_char`: the longest known letters at each place; text between double quotes is plain, and so is
/// every sign that is not a letter.
pub(super) fn postgres(text: &str) -> Result<Vec<Piece>, String> {
    use Letters::{Capital, Lower, Upper};
    // Longer ones first; `FM`, which leaves out zeros and blanks, is read apart.
    let fields: [(&str, Piece); 52] = [
        ("HH24", Piece::Hour(2)),
        ("HH12", Piece::HourOfHalf(2)),
        ("MONTH", Piece::MonthName(Upper, Length::Padded)),
        ("Month", Piece::MonthName(Capital, Length::Padded)),
        ("month", Piece::MonthName(Lower, Length::Padded)),
        ("SSSSS", Piece::SecondOfDay),
        ("Y,YYY", Piece::YearWithComma),
        ("IYYY", Piece::IsoYear),
        ("YYYY", Piece::Year(4)),
        ("SSSS", Piece::SecondOfDay),
        ("A.M.", Piece::Half(Upper, true)),
        ("P.M.", Piece::Half(Upper, true)),
        ("a.m.", Piece::Half(Lower, true)),
        ("p.m.", Piece::Half(Lower, true)),
        ("DDD", Piece::DayOfYear(3)),
        ("DAY", Piece::DayName(Upper, Length::Padded)),
        ("Day", Piece::DayName(Capital, Length::Padded)),
        ("day", Piece::DayName(Lower, Length::Padded)),
        ("MON", Piece::MonthName(Upper, Length::First(3))),
        ("Mon", Piece::MonthName(Capital, Length::First(3))),
        ("mon", Piece::MonthName(Lower, Length::First(3))),
        ("YYY", Piece::YearEnd(3, 3)),
        ("FF1", Piece::Fraction(1)),
        ("FF2", Piece::Fraction(2)),
        ("FF3", Piece::Fraction(3)),
        ("FF4", Piece::Fraction(4)),
        ("FF5", Piece::Fraction(5)),
        ("FF6", Piece::Fraction(6)),
        ("DY", Piece::DayName(Upper, Length::First(3))),
        ("Dy", Piece::DayName(Capital, Length::First(3))),
        ("dy", Piece::DayName(Lower, Length::First(3))),
        ("YY", Piece::YearEnd(2, 2)),
        ("MM", Piece::Month(2)),
        ("DD", Piece::Day(2)),
        ("ID", Piece::IsoDayOfWeek),
        ("IW", Piece::IsoWeek(2)),
        ("HH", Piece::HourOfHalf(2)),
        ("MI", Piece::Minute(2)),
        ("SS", Piece::Second(2)),
        ("MS", Piece::Fraction(3)),
        ("US", Piece::Fraction(6)),
        ("AM", Piece::Half(Upper, false)),
        ("PM", Piece::Half(Upper, false)),
        ("am", Piece::Half(Lower, false)),
        ("pm", Piece::Half(Lower, false)),
        ("D", Piece::DayOfWeek),
        ("Q", Piece::Quarter),
        ("Y", Piece::YearEnd(1, 1)),
        ("T", Piece::Plain("T".to_owned())),
        ("Z", Piece::Plain("Z".to_owned())),
        ("t", Piece::Plain("t".to_owned())),
        ("z", Piece::Plain("z".to_owned())),
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
            |piece: &Piece| matches!(piece, Piece::MonthName(..) | Piece::DayName(..) | Piece::Half(..));
        for exact in [true, false] {
            for (letters, piece) in &fields {
                let begin = rest.get(..letters.len());
                let found = begin.is_some_and(|begin| match exact || is_name(piece) {
                    true => begin == *letters,
                    false => begin.eq_ignore_ascii_case(letters),
                });
                if found {
                    pieces.push(if short { piece.clone().unfilled() } else { piece.clone() });
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

/// Java's `DateTimeFormatter`: a run of one letter is a field; text between single quotes is plain.
pub(super) fn java(text: &str) -> Result<Vec<Piece>, String> {
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
        ('y' | 'u', 2) => Piece::YearEnd(2, 2),
        ('y' | 'u', 1 | 3 | 4) => Piece::Year(count),
        ('M' | 'L', 1 | 2) => Piece::Month(count),
        ('M' | 'L', 3) => Piece::MonthName(Letters::Capital, Length::First(3)),
        ('M' | 'L', 4) => Piece::MonthName(Letters::Capital, Length::Whole),
        ('d', 1 | 2) => Piece::Day(count),
        ('D', 1..=3) => Piece::DayOfYear(count),
        ('E', 1..=3) => Piece::DayName(Letters::Capital, Length::First(3)),
        ('E', 4) => Piece::DayName(Letters::Capital, Length::Whole),
        ('e' | 'c', 1) => Piece::DayOfWeek,
        ('Q', 1) => Piece::Quarter,
        ('H', 1 | 2) => Piece::Hour(count),
        ('h', 1 | 2) => Piece::HourOfHalf(count),
        ('m', 1 | 2) => Piece::Minute(count),
        ('s', 1 | 2) => Piece::Second(count),
        ('S', _) => Piece::Fraction(count),
        ('a', 1) => Piece::Half(Letters::Upper, false),
        _ => return unknown(),
    })
}

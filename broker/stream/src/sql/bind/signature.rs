//! The table of built-in functions that are written as plain calls: names, arguments, and how to write them.

use super::super::error::did_you_mean;
use crate::plan::{Digest, Function, Math, Side, TimeField, TimeUnit};

/// What an argument must be, or become by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A text or bytes.
    Octets,
    /// A `BIGINT`.
    Whole,
    /// A `DOUBLE`, which every number becomes.
    Float,
    /// Any number, as it is.
    Number,
    /// A `TIMESTAMP`, which a `DATE` becomes.
    Moment,
}

/// A function under its names.
#[derive(Debug)]
pub(super) struct Signature {
    /// The first is the usual one.
    pub(super) names: &'static [&'static str],
    pub(super) function: Function,
    pub(super) arguments: &'static [Kind],
    /// So many of the last arguments may be left out.
    pub(super) optional: usize,
    /// How to write it, for a help text.
    pub(super) form: &'static str,
}

const fn function(
    names: &'static [&'static str],
    function: Function,
    arguments: &'static [Kind],
    optional: usize,
    form: &'static str,
) -> Signature {
    Signature { names, function, arguments, optional, form }
}

const fn math(names: &'static [&'static str], which: Math, form: &'static str) -> Signature {
    function(names, Function::Math(which), &[Kind::Float], 0, form)
}

const fn digest(names: &'static [&'static str], which: Digest, form: &'static str) -> Signature {
    function(names, Function::Digest(which), &[Kind::Octets], 0, form)
}

const fn field(names: &'static [&'static str], which: TimeField, form: &'static str) -> Signature {
    function(names, Function::Extract(which), &[Kind::Moment], 0, form)
}

const fn unit(names: &'static [&'static str], which: TimeUnit, form: &'static str) -> Signature {
    field(names, TimeField::Unit(which), form)
}

use Kind::{Float, Number, Octets, Text, Whole};

/// Every function whose arguments say all there is to say.
const SIGNATURES: &[Signature] = &[
    // Numbers.
    function(&["ABS"], Function::Abs, &[Number], 0, "ABS(number)"),
    function(&["SIGN"], Function::Sign, &[Number], 0, "SIGN(number)"),
    function(&["ROUND"], Function::Round, &[Number, Whole], 1, "ROUND(number [, digits])"),
    function(&["TRUNC", "TRUNCATE"], Function::Truncate, &[Number, Whole], 1, "TRUNC(number [, digits])"),
    function(&["POWER", "POW"], Function::Power, &[Float, Float], 0, "POWER(base, exponent)"),
    function(&["ATAN2"], Function::Atan2, &[Float, Float], 0, "ATAN2(y, x)"),
    math(&["SQRT"], Math::Sqrt, "SQRT(number)"),
    math(&["CBRT"], Math::Cbrt, "CBRT(number)"),
    math(&["EXP"], Math::Exp, "EXP(number)"),
    math(&["LN"], Math::Ln, "LN(number)"),
    math(&["LOG10"], Math::Log10, "LOG10(number)"),
    math(&["LOG2"], Math::Log2, "LOG2(number)"),
    math(&["SIN"], Math::Sin, "SIN(radians)"),
    math(&["COS"], Math::Cos, "COS(radians)"),
    math(&["TAN"], Math::Tan, "TAN(radians)"),
    math(&["COT"], Math::Cot, "COT(radians)"),
    math(&["ASIN"], Math::Asin, "ASIN(number)"),
    math(&["ACOS"], Math::Acos, "ACOS(number)"),
    math(&["ATAN"], Math::Atan, "ATAN(number)"),
    math(&["SINH"], Math::Sinh, "SINH(number)"),
    math(&["COSH"], Math::Cosh, "COSH(number)"),
    math(&["TANH"], Math::Tanh, "TANH(number)"),
    math(&["DEGREES"], Math::Degrees, "DEGREES(radians)"),
    math(&["RADIANS"], Math::Radians, "RADIANS(degrees)"),
    // Texts.
    function(&["UPPER", "UCASE"], Function::Upper, &[Text], 0, "UPPER(text)"),
    function(&["LOWER", "LCASE"], Function::Lower, &[Text], 0, "LOWER(text)"),
    function(&["INITCAP"], Function::InitCap, &[Text], 0, "INITCAP(text)"),
    function(&["BTRIM", "TRIM"], Function::Trim(Side::Both), &[Text, Text], 1, "BTRIM(text [, characters])"),
    function(&["LTRIM"], Function::Trim(Side::Left), &[Text, Text], 1, "LTRIM(text [, characters])"),
    function(&["RTRIM"], Function::Trim(Side::Right), &[Text, Text], 1, "RTRIM(text [, characters])"),
    function(&["LPAD"], Function::PadLeft, &[Text, Whole, Text], 1, "LPAD(text, length [, fill])"),
    function(&["RPAD"], Function::PadRight, &[Text, Whole, Text], 1, "RPAD(text, length [, fill])"),
    function(&["LEFT"], Function::Left, &[Text, Whole], 0, "LEFT(text, count)"),
    function(&["RIGHT"], Function::Right, &[Text, Whole], 0, "RIGHT(text, count)"),
    function(
        &["CHAR_LENGTH", "CHARACTER_LENGTH", "LENGTH"],
        Function::CharLength,
        &[Text],
        0,
        "CHAR_LENGTH(text)",
    ),
    function(&["OCTET_LENGTH"], Function::OctetLength, &[Octets], 0, "OCTET_LENGTH(text or bytes)"),
    function(
        &["SUBSTRING", "SUBSTR"],
        Function::Substring,
        &[Text, Whole, Whole],
        1,
        "SUBSTRING(text, start [, length])",
    ),
    function(&["STRPOS", "INSTR"], Function::Position, &[Text, Text], 0, "STRPOS(text, part)"),
    function(&["REPLACE"], Function::Replace, &[Text, Text, Text], 0, "REPLACE(text, from, to)"),
    function(&["TRANSLATE"], Function::Translate, &[Text, Text, Text], 0, "TRANSLATE(text, from, to)"),
    function(&["REVERSE"], Function::Reverse, &[Text], 0, "REVERSE(text)"),
    function(&["REPEAT"], Function::Repeat, &[Text, Whole], 0, "REPEAT(text, count)"),
    function(
        &["SPLIT_PART"],
        Function::SplitPart,
        &[Text, Text, Whole],
        0,
        "SPLIT_PART(text, separator, number from 1)",
    ),
    function(
        &["SPLIT_INDEX"],
        Function::SplitIndex,
        &[Text, Text, Whole],
        0,
        "SPLIT_INDEX(text, separator, number from 0)",
    ),
    function(
        &["STARTS_WITH", "STARTSWITH"],
        Function::StartsWith,
        &[Text, Text],
        0,
        "STARTS_WITH(text, part)",
    ),
    function(&["ENDS_WITH", "ENDSWITH"], Function::EndsWith, &[Text, Text], 0, "ENDS_WITH(text, part)"),
    function(&["ASCII"], Function::Ascii, &[Text], 0, "ASCII(text)"),
    function(&["CHR"], Function::Chr, &[Whole], 0, "CHR(code)"),
    function(&["TO_HEX"], Function::ToHex, &[Whole], 0, "TO_HEX(integer)"),
    function(&["ENCODE"], Function::Encode, &[Octets, Text], 0, "ENCODE(bytes, 'hex' or 'base64')"),
    function(&["DECODE"], Function::Decode, &[Text, Text], 0, "DECODE(text, 'hex' or 'base64')"),
    // Hashes.
    digest(&["MD5"], Digest::Md5, "MD5(text or bytes)"),
    digest(&["SHA1"], Digest::Sha1, "SHA1(text or bytes)"),
    digest(&["SHA224"], Digest::Sha224, "SHA224(text or bytes)"),
    digest(&["SHA256"], Digest::Sha256, "SHA256(text or bytes)"),
    digest(&["SHA384"], Digest::Sha384, "SHA384(text or bytes)"),
    digest(&["SHA512"], Digest::Sha512, "SHA512(text or bytes)"),
    function(&["CRC32"], Function::Crc32, &[Octets], 0, "CRC32(text or bytes)"),
    function(&["XXHASH64"], Function::XxHash64, &[Octets], 0, "XXHASH64(text or bytes)"),
    // Instants.
    unit(&["YEAR"], TimeUnit::Year, "YEAR(timestamp)"),
    unit(&["QUARTER"], TimeUnit::Quarter, "QUARTER(timestamp)"),
    unit(&["MONTH"], TimeUnit::Month, "MONTH(timestamp)"),
    unit(&["WEEK"], TimeUnit::Week, "WEEK(timestamp)"),
    unit(&["DAYOFMONTH", "DAY"], TimeUnit::Day, "DAYOFMONTH(timestamp)"),
    unit(&["HOUR"], TimeUnit::Hour, "HOUR(timestamp)"),
    unit(&["MINUTE"], TimeUnit::Minute, "MINUTE(timestamp)"),
    unit(&["SECOND"], TimeUnit::Second, "SECOND(timestamp)"),
    field(&["DAYOFYEAR"], TimeField::DayOfYear, "DAYOFYEAR(timestamp)"),
    field(&["DAYOFWEEK"], TimeField::DayOfWeekFromOne, "DAYOFWEEK(timestamp)"),
    function(&["MAKE_DATE"], Function::MakeDate, &[Whole, Whole, Whole], 0, "MAKE_DATE(year, month, day)"),
    function(
        &["MAKE_TIMESTAMP"],
        Function::MakeTimestamp,
        &[Whole, Whole, Whole, Whole, Whole, Float],
        0,
        "MAKE_TIMESTAMP(year, month, day, hour, minute, seconds)",
    ),
    // JSON.
    function(&["JSON_ARRAY_LENGTH"], Function::JsonArrayLength, &[Text], 0, "JSON_ARRAY_LENGTH(text)"),
];

/// The functions that are bound by hand, and what is no function but written like one.
const OTHER_NAMES: &[&str] = &[
    "COUNT",
    "SUM",
    "MIN",
    "MAX",
    "AVG",
    "FIRST_VALUE",
    "LAST_VALUE",
    "ANY_VALUE",
    "STRING_AGG",
    "LISTAGG",
    "BOOL_AND",
    "BOOL_OR",
    "EVERY",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STDDEV",
    "APPROX_COUNT_DISTINCT",
    "APPROX_PERCENTILE",
    "APPROX_QUANTILE",
    "ROW_NUMBER",
    "RANK",
    "DENSE_RANK",
    "LAG",
    "LEAD",
    "COALESCE",
    "NULLIF",
    "GREATEST",
    "LEAST",
    "IF",
    "IFNULL",
    "MOD",
    "DIV",
    "PI",
    "LOG",
    "FLOOR",
    "CEIL",
    "CONCAT",
    "CONCAT_WS",
    "POSITION",
    "OVERLAY",
    "TO_BASE64",
    "FROM_BASE64",
    "REGEXP_LIKE",
    "REGEXP_REPLACE",
    "REGEXP_EXTRACT",
    "REGEXP_MATCH",
    "REGEXP_COUNT",
    "EXTRACT",
    "DATE_TRUNC",
    "DATE_PART",
    "DATE_BIN",
    "DATE_FORMAT",
    "TO_CHAR",
    "TO_DATE",
    "TO_TIMESTAMP",
    "TO_TIMESTAMP_LTZ",
    "FROM_UNIXTIME",
    "UNIX_TIMESTAMP",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
    "NOW",
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "PROCTIME",
    "JSON_VALUE",
    "JSON_QUERY",
    "JSON_EXISTS",
    "JSON_OBJECT",
    "JSON_ARRAY",
    "CAST",
    "TRY_CAST",
];

/// The function of a name in capitals.
pub(super) fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.names.contains(&name))
}

/// Whether there is a built-in scalar function of a name in capitals.
pub(super) fn is_built_in(name: &str) -> bool {
    find(name).is_some() || OTHER_NAMES.contains(&name)
}

/// The help for an unknown function: the likely one, or where those there are stand.
pub(super) fn suggest_function<'a>(name: &str, own: impl Iterator<Item = &'a str> + Clone) -> String {
    if let "TUMBLE" | "HOP" | "CUMULATE" | "SESSION" = name {
        return format!(
            "windows are tables: FROM TABLE({name}(TABLE <table>, DESCRIPTOR(<event time>), INTERVAL '1' MINUTE ...)) GROUP BY \
             window_start, window_end"
        );
    }
    let known = SIGNATURES.iter().flat_map(|signature| signature.names).chain(OTHER_NAMES).copied();
    match did_you_mean(name, known.chain(own)) {
        Some(likely) => format!("did you mean `{likely}`?"),
        None => "those there are stand in broker/stream/FUNCTIONS.md; CREATE FUNCTION brings one of your own"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_on_the_page_of_functions() {
        let page = include_str!("../../../FUNCTIONS.md");
        let words: BTreeSet<&str> = page.split(|sign: char| !sign.is_alphanumeric() && sign != '_').collect();
        let names = SIGNATURES.iter().flat_map(|signature| signature.names).chain(OTHER_NAMES);
        let missing: Vec<_> = names.filter(|name| !words.contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_name_has_one_function_and_a_form_that_begins_with_it() {
        let mut seen: BTreeSet<&str> = OTHER_NAMES.iter().copied().collect();
        assert_eq!(seen.len(), OTHER_NAMES.len());
        for signature in SIGNATURES {
            for name in signature.names {
                assert!(seen.insert(name), "{name} twice");
            }
            assert!(signature.form.starts_with(&format!("{}(", signature.names[0])), "{}", signature.form);
            assert!(signature.optional < signature.arguments.len().max(1));
        }
    }
}

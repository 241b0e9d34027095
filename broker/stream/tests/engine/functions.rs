//! The scalar functions, a family a test: an expression, and the value it has for one record.

use logmill_stream::EpochLimits;

use crate::support::{MemoryLogs, plan, run_bounded};

const SOURCE: &str = "CREATE TABLE src (id BIGINT, n DECIMAL(10, 2), day DATE, raw BYTES, a BIGINT, d DOUBLE, s STRING, ok BOOLEAN, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip');\n";

/// One expression with the value it has, `null` too; whatever it is, a record that faults is missing.
#[track_caller]
fn values(sql_type: &str, cases: &[(&str, &str)]) {
    for (select, value) in cases {
        let row = r#"{"a": 7, "d": 2.5, "n": -12.35, "s": "Zürich", "ts": "2013-03-05T15:04:09.078Z", "day": "2012-02-29"}"#;
        let script = format!(
            "{SOURCE} CREATE TABLE o (v {sql_type}) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT {select} FROM src"
        );
        let plan = plan(&script);
        let mut logs = MemoryLogs::default();
        logs.create("in", 1);
        logs.create("out", 1);
        logs.produce("in", 0, &[row.to_owned()]);
        run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap_or_else(|error| panic!("{error}"));
        let expected: Vec<String> = match *value {
            "fault" => Vec::new(),
            value => vec![format!("{{\"v\":{value}}}")],
        };
        assert_eq!(logs.values("out"), expected, "{select}");
    }
}

#[test]
fn a_long_chain_is_bound_once() {
    let chain = format!("a{}", " + a".repeat(90));
    values("BIGINT", &[(chain.as_str(), "637")]);
}

#[test]
fn functions_of_numbers() {
    values(
        "DOUBLE",
        &[
            ("SQRT(a + 2)", "3.0"),
            ("SQRT(-a)", "fault"),
            ("POWER(d, 2)", "6.25"),
            ("POW(0, -1)", "fault"),
            ("EXP(0) + LN(1) + LOG10(100) + LOG2(8) + LOG(1000) + LOG(2, 8)", "12.0"),
            ("LN(0)", "fault"),
            ("CBRT(27)", "3.0"),
            ("DEGREES(PI()) + SIN(0) + COS(0) + TAN(0) + ATAN2(0, 1)", "181.0"),
            ("ROUND(d * 1.01, 2)", "2.53"),
            ("TRUNC(-d)", "-2.0"),
            ("SIGN(-d)", "-1.0"),
            ("ABS(-d)", "2.5"),
            ("DIV(d, 0)", "fault"),
        ],
    );
    values(
        "BIGINT",
        &[
            ("SIGN(n) + SIGN(a) + SIGN(0)", "0"),
            ("DIV(a, 2)", "3"),
            ("DIV(a, 0)", "fault"),
            ("ROUND(1250, -2)", "1300"),
            ("TRUNC(-1250, -2)", "-1200"),
            ("a & 5 | 8", "13"),
            ("a # 2", "5"),
            ("~a", "-8"),
            ("(a << 2) + (-8 >> 1)", "24"),
            ("MOD(-a, 4)", "-3"),
        ],
    );
    values(
        "DECIMAL(20, 3)",
        &[
            ("ROUND(n, 1)", "-12.400"),
            ("TRUNC(n, 1)", "-12.300"),
            ("ROUND(n, -1)", "-10.000"),
            ("ROUND(n, a - 6)", "-12.400"),
            ("TRUNC(n)", "-12.000"),
            ("CEIL(n)", "-12.000"),
            ("FLOOR(n)", "-13.000"),
            ("ABS(n)", "12.350"),
            ("DIV(n, 0.5)", "-24.000"),
            ("DIV(n, 0.00)", "fault"),
            ("MOD(n, 5)", "-2.350"),
        ],
    );
}

#[test]
fn functions_of_texts() {
    values(
        "STRING",
        &[
            ("INITCAP('hELLO wörld-wide')", r#""Hello Wörld-Wide""#),
            ("TRIM(BOTH 'zh' FROM 'zürichz') || TRIM(LEADING ' ' FROM '  x ')", r#""üricx ""#),
            ("LTRIM('xxy', 'x') || RTRIM('yxx', 'x') || BTRIM(' z ')", r#""yyz""#),
            ("LPAD(s, 8, '*') || RPAD(s, 3)", r#""**ZürichZür""#),
            ("LEFT(s, 2) || RIGHT(s, 2) || LEFT(s, -4) || RIGHT(s, -4)", r#""ZüchZüch""#),
            ("SUBSTR(s, 2, 2) || SUBSTRING(s FROM 5)", r#""ürch""#),
            ("TRANSLATE(s, 'Züh', 'zu')", r#""zuric""#),
            ("REVERSE(s) || REPEAT('ab', 2) || REPEAT('x', -1)", r#""hcirüZabab""#),
            ("SPLIT_PART('a,b,c', ',', 2) || SPLIT_PART('a,b,c', ',', -1)", r#""bc""#),
            ("SPLIT_PART('a', ',', 0)", "fault"),
            ("SPLIT_INDEX('http://x/y/z', '/', 3)", r#""y""#),
            ("SPLIT_INDEX('a', '/', 3)", "null"),
            ("CONCAT_WS('-', a, NULL, s, ts IS NULL)", r#""7-Zürich-false""#),
            ("CONCAT(a, NULL, day)", r#""72012-02-29""#),
            ("CHR(252) || TO_HEX(255) || TO_HEX(-1)", r#""üffffffffffffffffff""#),
            ("CHR(0)", "fault"),
            ("OVERLAY(s PLACING 'xx' FROM 2 FOR 3)", r#""Zxxch""#),
            ("ENCODE(s, 'hex') || TO_BASE64('é')", r#""5ac3bc72696368w6k=""#),
            ("FROM_BASE64('w6k=')", r#""é""#),
            ("CAST(DECODE('c3a9', 'hex') AS STRING)", r#""é""#),
            ("CAST(DECODE('ff', 'hex') AS STRING)", "fault"),
            ("CAST(DECODE('x', 'hex') AS STRING)", "fault"),
            ("CAST(DECODE(' c3' || CHR(9) || CHR(13) || CHR(10) || 'a9 ', 'hex') AS STRING)", r#""é""#),
            ("CAST(DECODE('c 3', 'hex') AS STRING)", "fault"),
            ("CAST(DECODE('w6' || CHR(10) || 'k =' || CHR(10), 'base64') AS STRING)", r#""é""#),
            ("CAST(DECODE('w6k', 'base64') AS STRING)", "fault"),
            (r"REGEXP_REPLACE('a.b', '[.]', '\.')", r#""a\\.b""#),
            ("MD5('abc')", r#""900150983cd24fb0d6963f7d28e17f72""#),
            ("LEFT(SHA256('abc'), 8) || LEFT(SHA1(X'616263'), 8)", r#""ba7816bfa9993e36""#),
            ("IF(a > 5, 'big', NULL) || IFNULL(NULL, '!')", r#""big!""#),
            ("NULLIF(s, 'Zürich')", "null"),
            ("REPEAT(s, 100000000)", "fault"),
        ],
    );
    values(
        "BIGINT",
        &[
            ("LENGTH(s) * 100 + OCTET_LENGTH(s)", "607"),
            ("POSITION('ich' IN s) * 100 + STRPOS(s, 'x') + STRPOS(s, '')", "401"),
            ("ASCII(s) + ASCII('')", "90"),
            ("CRC32('123456789')", "3421780262"),
            ("XXHASH64('')", "-1205034819632174695"),
            ("CHAR_LENGTH(NULL)", "null"),
        ],
    );
    values(
        "BOOLEAN",
        &[
            ("STARTS_WITH(s, 'Zü') AND ENDS_WITH(s, 'ich')", "true"),
            ("s ILIKE 'z_RICH'", "true"),
            ("s NOT ILIKE 'z%'", "false"),
            (r"'50%' LIKE '50\%' AND NOT '500' LIKE '50\%'", "true"),
            (r"'a\b' LIKE 'a\b' ESCAPE ''", "true"),
            ("s SIMILAR TO '(Z|B)ü[a-z]+'", "true"),
            ("'a_b' SIMILAR TO '[[:alpha:]_]+' AND NOT 'a.b' SIMILAR TO '[[:alpha:]_]+'", "true"),
            ("s NOT SIMILAR TO 'Z'", "true"),
            ("5 BETWEEN SYMMETRIC a AND 3", "true"),
            ("5 NOT BETWEEN SYMMETRIC 3 AND a", "false"),
            ("5 BETWEEN a AND 3", "false"),
        ],
    );
}

#[test]
fn regular_expressions() {
    values(
        "BOOLEAN",
        &[
            ("s ~ '^Z.r'", "true"),
            ("s ~ '^z'", "false"),
            ("s ~* '^z'", "true"),
            ("s !~ 'x' AND s !~* 'X'", "true"),
            ("REGEXP_LIKE(s, 'RICH$', 'i')", "true"),
            ("REGEXP(s, 'RICH$')", "false"),
            ("REGEXP_LIKE(NULL, 'x')", "null"),
        ],
    );
    values(
        "STRING",
        &[
            ("REGEXP_REPLACE('a1b22', '[0-9]+', '#')", r##""a#b22""##),
            ("REGEXP_REPLACE('a1b22', '[0-9]+', '#', 'g')", r##""a#b#""##),
            (r"REGEXP_REPLACE('John Smith', '(\w+) (\w+)', '\2, \1')", r#""Smith, John""#),
            ("REGEXP_EXTRACT('channel_id=17&x', '(&|^)channel_id=([^&]*)', 2)", r#""17""#),
            ("REGEXP_EXTRACT('abc', 'b.')", r#""bc""#),
            ("REGEXP_EXTRACT('abc', 'x')", "null"),
            ("REGEXP_EXTRACT('abc', 'a(x)?', 1)", "null"),
            ("REGEXP_MATCH('foobar', 'o(b)') || REGEXP_SUBSTR('foobar', 'O+', 'i')", r#""boo""#),
        ],
    );
    values("BIGINT", &[("REGEXP_COUNT('banana', 'an')", "2")]);
}

#[test]
fn functions_of_instants() {
    values(
        "BIGINT",
        &[
            ("EXTRACT(QUARTER FROM ts) * 100 + EXTRACT(WEEK FROM ts)", "110"),
            ("EXTRACT(DOW FROM ts) * 100 + EXTRACT(DOY FROM ts)", "264"),
            ("EXTRACT(EPOCH FROM ts)", "1362495849"),
            ("EXTRACT(MILLISECOND FROM ts)", "9078"),
            ("EXTRACT(CENTURY FROM ts) + EXTRACT(DECADE FROM ts)", "222"),
            ("EXTRACT(ISOYEAR FROM DATE '2012-12-31')", "2013"),
            ("DATE_PART('hour', ts) + HOUR(ts) + MINUTE(ts) + SECOND(ts)", "43"),
            ("YEAR(day) + MONTH(day) + DAYOFMONTH(day) + DAYOFYEAR(day) + DAYOFWEEK(day)", "2107"),
            ("TIMESTAMPDIFF(DAY, day, ts)", "370"),
            ("TIMESTAMPDIFF(MONTH, day, ts)", "12"),
            ("UNIX_TIMESTAMP(ts)", "1362495849"),
            ("UNIX_TIMESTAMP('1970-01-02', 'yyyy-MM-dd')", "86400"),
            ("DATE '2013-03-01' - day", "366"),
        ],
    );
    values(
        "TIMESTAMP(3)",
        &[
            ("DATE_TRUNC('week', ts)", r#""2013-03-04T00:00:00Z""#),
            ("DATE_TRUNC('quarter', ts)", r#""2013-01-01T00:00:00Z""#),
            ("DATE_TRUNC('century', ts)", r#""2001-01-01T00:00:00Z""#),
            ("CEIL(ts TO DAY)", r#""2013-03-06T00:00:00Z""#),
            ("FLOOR(ts TO MILLISECOND)", r#""2013-03-05T15:04:09.078Z""#),
            ("TIMESTAMPADD(MONTH, -1, TIMESTAMP '2013-03-31')", r#""2013-02-28T00:00:00Z""#),
            ("day + INTERVAL '1' YEAR", r#""2013-02-28T00:00:00Z""#),
            ("ts - INTERVAL '1 month 4 minutes'", r#""2013-02-05T15:00:09.078Z""#),
            ("ts + INTERVAL '1.5' SECOND", r#""2013-03-05T15:04:10.578Z""#),
            ("ts + INTERVAL '9000' YEAR", "fault"),
            ("ts - a * INTERVAL '2' HOUR", r#""2013-03-05T01:04:09.078Z""#),
            ("ts + INTERVAL '1' MONTH * (a - 8)", r#""2013-02-05T15:04:09.078Z""#),
            ("ts + 9223372036854775807 * INTERVAL '1' SECOND", "fault"),
            ("DATE_BIN(INTERVAL '15' MINUTE, ts)", r#""2013-03-05T15:00:00Z""#),
            (
                "DATE_BIN(INTERVAL '15' MINUTE, ts, TIMESTAMP '2001-01-01 00:02:00')",
                r#""2013-03-05T15:02:00Z""#,
            ),
            ("MAKE_TIMESTAMP(2013, 7, 15, 8, 15, 23.5)", r#""2013-07-15T08:15:23.500Z""#),
            ("MAKE_TIMESTAMP(2013, 7, 15, 24, 15, 23.5)", "fault"),
            ("TO_TIMESTAMP('2013-01-02 03:04:05')", r#""2013-01-02T03:04:05Z""#),
            ("TO_TIMESTAMP('02.01.2013', 'dd.MM.yyyy')", r#""2013-01-02T00:00:00Z""#),
            ("TO_TIMESTAMP('02 Jan 2013 15', 'DD Mon YYYY HH24')", r#""2013-01-02T15:00:00Z""#),
            ("TO_TIMESTAMP('x', 'yyyy')", "fault"),
            ("TO_TIMESTAMP(1.5)", r#""1970-01-01T00:00:01.500Z""#),
            ("TO_TIMESTAMP_LTZ(1500, 3)", r#""1970-01-01T00:00:01.500Z""#),
            ("TO_TIMESTAMP_LTZ(15, 0)", r#""1970-01-01T00:00:15Z""#),
        ],
    );
    values(
        "DATE",
        &[
            ("MAKE_DATE(2012, 2, 29)", r#""2012-02-29""#),
            ("MAKE_DATE(2013, 2, 29)", "fault"),
            ("TO_DATE('2013-01-02')", r#""2013-01-02""#),
            ("TO_DATE('20130102', 'YYYYMMDD')", r#""2013-01-02""#),
            ("day - 60", r#""2011-12-31""#),
        ],
    );
    values(
        "STRING",
        &[
            ("DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm')", r#""2013-03-05 15:04""#),
            ("DATE_FORMAT(day, 'EEE d MMM')", r#""Wed 29 Feb""#),
            ("TO_CHAR(ts, 'DD Mon YYYY HH12:MI:SS.MS AM')", r#""05 Mar 2013 03:04:09.078 PM""#),
            ("FROM_UNIXTIME(86400)", r#""1970-01-02 00:00:00""#),
            ("FROM_UNIXTIME(86400, 'yyyy')", r#""1970""#),
        ],
    );
}

#[test]
fn functions_of_json() {
    values(
        "STRING",
        &[
            (r#"JSON_VALUE('{"a": {"b": [1, "x\ty"]}}', '$.a.b[1]')"#, r#""x\ty""#),
            (r#"JSON_VALUE('{"a": 1.50}', '$.a')"#, r#""1.50""#),
            (r#"JSON_VALUE('{"a": {}}', '$.a')"#, "null"),
            (r#"JSON_VALUE('{"a": [{"b": 1}, {}]}', '$.a.b')"#, r#""1""#),
            (r#"JSON_VALUE('{"a": [{"b": 1}, {}]}', 'strict $.a.b')"#, "null"),
            (r#"JSON_VALUE('{"a": [{"b": 1}, {"b": 2}]}', '$.a.b')"#, "null"),
            (r#"JSON_QUERY('{"a": {"b": [1]}}', 'lax $.a[0].b')"#, r#""[1]""#),
            ("JSON_VALUE('no json', '$.a')", "null"),
            (r#"JSON_QUERY('{"a": {"b": 1}}', '$.a')"#, r#""{\"b\": 1}""#),
            (r#"JSON_QUERY('{"a": 1}', '$.a')"#, "null"),
            (r#"'{"a": {"b": "c"}}' -> 'a' ->> 'b'"#, r#""c""#),
            (r#"'{"a": {"b": "c"}}' -> 'a' -> 'b'"#, r#""\"c\"""#),
            (r#"'[1, 2, 3]' ->> -1"#, r#""3""#),
            (r#"'{"a": null}' ->> 'a'"#, "null"),
            (r#"'{"a": null}' -> 'a'"#, r#""null""#),
            ("'no json' ->> 'a'", "fault"),
            (r#"'{"a": [0, {"b": 5}]}' #>> '{a,1,b}'"#, r#""5""#),
            (
                r#"JSON_OBJECT('k' VALUE a, s VALUE ts, 'n' VALUE NULL)"#,
                r#""{\"k\":7,\"Zürich\":\"2013-03-05T15:04:09.078Z\",\"n\":null}""#,
            ),
            ("JSON_OBJECT(KEY 'n' VALUE n)", r#""{\"n\":-12.35}""#),
            ("JSON_ARRAY(NULL, a, s, NULL, ok)", r#""[7,\"Zürich\"]""#),
            ("JSON_ARRAY(a, ok NULL ON NULL) || JSON_ARRAY(a, ok ABSENT ON NULL)", r#""[7,null][7]""#),
            ("JSON_BUILD_ARRAY(a, s, NULL, ok) || JSON_ARRAY()", r#""[7,\"Zürich\",null,null][]""#),
        ],
    );
    values(
        "BIGINT",
        &[
            (r#"JSON_VALUE('{"a": "12"}', '$.a' RETURNING BIGINT)"#, "12"),
            (r#"JSON_VALUE('{"a": "x"}', '$.a' RETURNING BIGINT)"#, "null"),
            ("JSON_ARRAY_LENGTH('[1, [2, 3], {}]')", "3"),
            ("JSON_ARRAY_LENGTH('{}')", "fault"),
        ],
    );
    values(
        "BOOLEAN",
        &[
            (r#"JSON_EXISTS('{"a": [{"b": 1}, {"b": 2}]}', '$.a.b')"#, "true"),
            (r#"JSON_EXISTS('{"a": null}', '$.a') AND NOT JSON_EXISTS('{"a": null}', '$.b')"#, "true"),
            (
                "'[1]' IS JSON AND '[1]' IS JSON ARRAY AND '[1]' IS NOT JSON OBJECT AND '{' IS NOT JSON",
                "true",
            ),
        ],
    );
}

#[test]
fn patterns_of_dates_are_postgresqls() {
    values(
        "STRING",
        &[
            ("TO_CHAR(ts, 'Y,YYY YYY YY Y')", r#""2,013 013 13 3""#),
            ("TO_CHAR(ts, 'SSSS|SSSSS')", r#""54249|54249""#),
            ("TO_CHAR(ts, 'HH12 A.M.|HH12 p.m.')", r#""03 P.M.|03 p.m.""#),
            ("TO_CHAR(ts, 'Month|Day|FMMONTH|FMday')", r#""March    |Tuesday  |MARCH|tuesday""#),
            ("TO_CHAR(ts, 'YYYY-MM-DDtHH24z')", r#""2013-03-05t15z""#),
            ("DATE_FORMAT(ts, 'y yy yyy yyyy')", r#""2013 13 2013 2013""#),
        ],
    );
    values(
        "TIMESTAMP(3)",
        &[
            ("TO_TIMESTAMP('Tuesday 05 Mar 2013', 'Day DD Mon YYYY')", r#""2013-03-05T00:00:00Z""#),
            ("TO_TIMESTAMP('tue 05 3 2013', 'FMDy DD MM YYYY')", r#""2013-03-05T00:00:00Z""#),
            ("TO_TIMESTAMP('Tuesday   05 March     2013', 'Day DD Month YYYY')", r#""2013-03-05T00:00:00Z""#),
            ("TO_TIMESTAMP('2,013-03-05 54249', 'Y,YYY-MM-DD SSSS')", r#""2013-03-05T15:04:09Z""#),
            ("TO_TIMESTAMP('14:00 AM', 'HH24:MI AM')", "fault"),
            ("TO_TIMESTAMP('00:30 PM', 'HH24:MI AM')", "fault"),
            ("TO_TIMESTAMP('14:00 PM', 'HH24:MI AM')", r#""1970-01-01T14:00:00Z""#),
            ("TO_TIMESTAMP('02:00 P.M.', 'HH12:MI A.M.')", r#""1970-01-01T14:00:00Z""#),
            ("TO_TIMESTAMP('1.3.05', 'd.M.yy')", r#""2005-03-01T00:00:00Z""#),
        ],
    );
}

#[test]
fn what_escapes_is_no_letter() {
    values(
        "BOOLEAN",
        &[
            ("'50% OFF' ILIKE '50E% off' ESCAPE 'E'", "true"),
            ("'50 E OFF' ILIKE '50E% off' ESCAPE 'E'", "false"),
            ("'Ease' ILIKE 'EASE' ESCAPE 'e'", "true"),
            ("'EaSe' ILIKE 'EE%' ESCAPE 'E'", "true"),
            (r"'A_B' ILIKE 'a\_b'", "true"),
            (r"'AXB' ILIKE 'a\_b'", "false"),
        ],
    );
}

/// Whether a sigma is the last of its word depends on what is around it, which a pattern does not know.
#[test]
fn capitals_are_folded_sign_by_sign() {
    values(
        "BOOLEAN",
        &[
            ("'ΟΔΟΣΑ' ILIKE 'ΟΔΟΣ%'", "true"),
            ("'ΟΔΟΣ' ILIKE '%Σ' AND 'οδος' ILIKE 'ΟΔΟΣ' AND 'οδος' ILIKE 'ΟΔΟ_'", "true"),
            ("'ΟΔΟΣΑ' ILIKE 'ΟΔΟΣ!%%' ESCAPE '!'", "false"),
            ("LOWER('ΟΔΟΣ') = 'οδος'", "true"),
        ],
    );
}

/// The quotient fits, whatever the operands need at one scale.
#[test]
fn whole_quotients_of_large_decimals() {
    values(
        "DECIMAL(38, 0)",
        &[
            ("DIV(90000000000000000000000000000000000000, 2.00)", "45000000000000000000000000000000000000"),
            ("DIV(-90000000000000000000000000000000000001, 2.00)", "-45000000000000000000000000000000000000"),
            ("DIV(1.00, 90000000000000000000000000000000000000)", "0"),
            ("DIV(90000000000000000000000000000000000000, 0.01)", "fault"),
        ],
    );
}

#[test]
fn elements_of_a_path_may_be_quoted() {
    let json = r#"'{"a,b": {"c\"}": 1, " d ": 2, "\\": 3}, "0": [4]}'"#;
    let at = |path: &str| format!("{json} #>> '{path}'");
    let cases = [
        (at(r#"{"a,b","c\"}"}"#), r#""1""#),
        (at(r#"{ "a,b" , " d " }"#), r#""2""#),
        (at(r#"{"a,b","\\"}"#), r#""3""#),
        (at(r#"{0, 0}"#), r#""4""#),
        (at(r#"{"a,b",x}"#), "null"),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(select, value)| (select.as_str(), *value)).collect();
    values("STRING", &cases);
}

/// What is computed once has the value it has when it is written out.
#[test]
fn operands_that_are_read_several_times() {
    let cases = [
        ("{x} BETWEEN 1 AND 13", "true"),
        ("{x} NOT BETWEEN 1 AND 2.5", "true"),
        ("{x} BETWEEN SYMMETRIC 13 AND ABS(d)", "true"),
        ("{x} NOT BETWEEN SYMMETRIC ABS(d) + 10 AND 13", "true"),
        ("{x} BETWEEN SYMMETRIC NULL AND 5", "null"),
        ("{x} BETWEEN SYMMETRIC 1 AND NULL", "null"),
        ("{x} BETWEEN NULL AND 5", "false"),
        ("{x} IN (1, 2.5, ABS(a) + 5)", "true"),
        ("{x} NOT IN (1, NULL)", "null"),
        ("{x} IN (12)", "true"),
        ("({x} IN (1, 2) OR {x} BETWEEN 12 AND ABS(a) * 2) AND {x} IN (3, 12)", "true"),
        ("CASE {x} WHEN 1 THEN ok WHEN 12.0 THEN {x} IN (11, 12) END", "true"),
        ("ABS(a) IN (1, CASE {x} WHEN 5 THEN 1 WHEN 12 THEN 7 END)", "true"),
        ("(1 / ABS(a - 7)) IN (1, 2)", "fault"),
        ("a = 7 OR (1 / ABS(a - 7)) BETWEEN 1 AND 2", "true"),
    ];
    let cases: Vec<(String, &str)> =
        cases.iter().map(|(select, value)| (select.replace("{x}", "(ABS(a) + 5)"), *value)).collect();
    let cases: Vec<(&str, &str)> = cases.iter().map(|(select, value)| (select.as_str(), *value)).collect();
    values("BOOLEAN", &cases);
    let moved = r#""2013-04-13T15:04:09.078Z""#;
    values("TIMESTAMP(3)", &[("ts + (ABS(a) - 6) * INTERVAL '1 month 8 days'", moved)]);
}

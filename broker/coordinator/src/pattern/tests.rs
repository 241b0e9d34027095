//! Each row was asked of RE2/J, too.

use super::{PatternError, compile_whole};

#[test]
fn patterns_match_what_they_match_in_kafka() {
    for (pattern, matching, others) in [
        ("flights.*", &["flights", "flights-late"][..], &["late-flights", "flight"][..]),
        ("a|bc", &["a", "bc"], &["abc", "ac", ""]),
        // What `Pattern.quote` makes of a name.
        (r"\Qa.b*\E", &["a.b*"], &["aab", "a.b"]),
        (r"\Qa.b\E.*|\Qopen", &["a.b", "a.b.c", "open"], &["axb", "opened"]),
        (r"\Qab\E+", &["ab", "abb"], &["abab"]),
        (r"x\Q\E", &["x"], &["xQE"]),
        // In a class, a bracket and two of the same are characters.
        ("[[h]", &["[", "h"], &["]", "a"]),
        ("[a&&b]+", &["a&b", "&&"], &["c", ""]),
        ("[a~~b]", &["a", "~", "b"], &["c"]),
        ("[+--]", &["+", ",", "-"], &["*", "."]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[-a]", &["a", "-"], &["b"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("[^]a]", &["b", "\n"], &["]", "a"]),
        ("[^^]", &["a"], &["^"]),
        ("[[:digit:]x]+", &["1x2"], &["y", ":"]),
        ("[[:^alpha:]]", &["1", "-"], &["a", "Z"]),
        ("[[:x]", &["[", ":", "x"], &["[:"]),
        (r"[\d\-a]+", &["1-a"], &["b"]),
        (r"[^\D]", &["7"], &["a"]),
        (r"[\pL\P{^N}]", &["a", "1"], &["-"]),
        (r"\d\s\w\D\S\W", &["1 _x.-"], &["1 é x."]),
        (r"\w", &["a"], &["é"]),
        (r"\pN\p{Lu}\p{^Lu}\P{Lu}", &["1Aab"], &["1AAb", "1aab"]),
        (r"\p{Greek}+", &["αβγ"], &["abc"]),
        // Numbers of characters.
        (r"\141\060\0\08", &["a0\0\08"], &["a0"]),
        (r"\x41\x{42}\x{1F600}", &["AB\u{1F600}"], &["A"]),
        (r"\a\f\n\r\t\v", &["\x07\x0c\n\r\t\x0b"], &["afnrtv"]),
        (r"\<\_\>\ \-\/\é", &["<_> -/é"], &["_"]),
        ("a{2}b{1,}c{0,2}", &["aab", "aabbcc"], &["ab", "aabccc"]),
        // Not repetitions, but braces.
        ("a{,5}", &["a{,5}"], &["a", "aa"]),
        ("a{}{x}{1,x}{01}", &["a{}{x}{1,x}{01}"], &["a"]),
        (r"x\b{s}", &["x{s}"], &["xs"]),
        (r"\bab\b|x\By", &["ab", "xy"], &["abc", "x y"]),
        ("a??b*?c+?d{2}?", &["cdd", "abbccdd"], &["dd", "add"]),
        ("(?i)AbC", &["abc", "ABC"], &["abd"]),
        ("a(?i)b|c", &["aB", "C"], &["AB"]),
        ("(?i:a)b", &["Ab"], &["AB"]),
        ("(?i)(?-i:a)B", &["aB", "ab"], &["AB"]),
        ("(?s)a.b(?-s).", &["a\nbc"], &["a\nb\n"]),
        (".", &["x", "é"], &["\n"]),
        ("(?m-s:^a$)", &["a"], &["a\n"]),
        ("(?)a(?:)", &["a"], &[""]),
        ("(?P<name>a)(?<other>b)(c)", &["abc"], &["ab"]),
        ("é+#x ", &["éé#x "], &["é"]),
        (r"\Aa\z", &["a"], &["a\n"]),
        ("^*a$*", &["a"], &["^a"]),
        ("", &[""], &["a"]),
    ] {
        let compiled = compile_whole(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for text in matching {
            assert!(compiled.is_match(text), "{pattern} matches {text:?}");
        }
        for text in others {
            assert!(!compiled.is_match(text), "{pattern} does not match {text:?}");
        }
    }
}

#[test]
fn what_is_no_pattern_in_kafka_is_none_here() {
    let other = PatternError::Other(String::new());
    for (pattern, error) in [
        ("[", PatternError::OpenClass),
        ("[a-", PatternError::OpenClass),
        ("[]", PatternError::OpenClass),
        ("[z-a]", PatternError::ClassRange),
        ("[a--b]", PatternError::ClassRange),
        ("[[:no:]]", PatternError::ClassRange),
        ("[[:]", PatternError::ClassRange),
        (r"\p{", PatternError::ClassRange),
        (r"\p{sc=Greek}", PatternError::ClassRange),
        (r"\p{Nothing}", other.clone()),
        ("(", PatternError::OpenGroup),
        ("a)(b", PatternError::ClosedGroup),
        ("(?=a)", PatternError::Group),
        ("(?x)a", PatternError::Group),
        ("(?-)a", PatternError::Group),
        ("(?i-)a", PatternError::Group),
        ("(?", PatternError::Group),
        ("(?P<a-b>x)", PatternError::GroupName),
        ("(?P<a>x)(?P<a>y)", PatternError::GroupName),
        ("(?<ax", PatternError::GroupName),
        ("a**", PatternError::NestedRepetition),
        ("a+{2}", PatternError::NestedRepetition),
        ("a{+", PatternError::NestedRepetition),
        ("a???", PatternError::NestedRepetition),
        ("a{2,1}", PatternError::RepeatCount),
        ("a{1001}", PatternError::RepeatCount),
        ("a{99999999999}", PatternError::RepeatCount),
        ("*", other.clone()),
        ("a|+", other.clone()),
        (r"\", PatternError::Escape),
        (r"\1", PatternError::Escape),
        (r"\8", PatternError::Escape),
        (r"\Z", PatternError::Escape),
        (r"\C", PatternError::Escape),
        (r"\x4", PatternError::Escape),
        (r"\x{}", PatternError::Escape),
        (r"\x{110000}", PatternError::Escape),
        (r"[\Qa\E]", PatternError::Escape),
        ("(?:x{1000}){1000}", other),
        (&"x".repeat(3000), PatternError::TooLong),
    ] {
        let refused = compile_whole(pattern).expect_err(pattern);
        let same = std::mem::discriminant(&refused) == std::mem::discriminant(&error);
        assert!(same, "{pattern}: {refused}");
    }
}

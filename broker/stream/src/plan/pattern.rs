//! Regular expressions of a plan: constants, checked when the query is bound and compiled once.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// A compiled expression takes no more memory than this.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A regular expression. Matching takes time linear in the text, whatever the pattern.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pattern {
    text: String,
    ignore_case: bool,
    /// Compiled at the first use after it was read back.
    #[serde(skip)]
    compiled: OnceLock<Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.ignore_case == other.ignore_case
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in a line.
    pub fn new(text: &str, ignore_case: bool) -> Result<Pattern, String> {
        let compiled = OnceLock::from(compile(text, ignore_case)?);
        Ok(Pattern { text: text.to_owned(), ignore_case, compiled })
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether capitals and small letters are the same.
    pub fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    /// Ready to match.
    pub fn regex(&self) -> &Regex {
        self.compiled.get_or_init(|| {
            compile(&self.text, self.ignore_case).expect("a pattern of a plan was compiled when it was bound")
        })
    }
}

fn compile(text: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .case_insensitive(ignore_case)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes of memory"),
            // The last line says what is wrong; the ones before it draw the place.
            other => {
                let text = other.to_string();
                let line = text.lines().last().unwrap_or_default();
                line.trim().trim_start_matches("error: ").to_owned()
            }
        })
}

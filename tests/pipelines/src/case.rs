//! Cases: a script, the topics it writes, and the question to the oracle that each of them answers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use logmill_stream::{Plan, compile};

use crate::final_rows::Mode;

/// A folder of cases over one kind of input.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// A script to run.
#[derive(Debug, Clone)]
pub struct Case {
    /// The script's name, without its ending.
    pub name: String,
    /// The script.
    pub script: String,
    /// The oracle's questions to it: one for each topic that is compared.
    pub questions: Vec<Question>,
}

/// What one topic of a case must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name of the oracle's file, without its ending.
    pub name: String,
    /// The topic, if it is not the one of the only sink.
    pub topic: Option<String>,
    /// The column whose sum is compared, of all rows that are otherwise the same; the oracle's other columns say which.
    pub conserved: Option<String>,
}

impl Folder {
    /// A folder with scripts, and `oracle/` in it.
    pub fn new(path: impl Into<PathBuf>) -> Folder {
        Folder { path: path.into() }
    }

    /// The folder of this crate with that name.
    pub fn of_this_crate(name: &str) -> Folder {
        Folder::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every case, by name; numbers in names count as numbers.
    pub fn cases(&self) -> Result<Vec<Case>> {
        let questions = names(&self.path.join("oracle"))?;
        names(&self.path)?.into_iter().map(|name| self.case(name, &questions)).collect()
    }

    /// Whether a case may still fail: the engine is not that far, and the list `awaited` says so.
    pub fn awaits(&self, case: &Case) -> bool {
        let awaited = std::fs::read_to_string(self.path.join("awaited")).unwrap_or_default();
        awaited.lines().any(|line| line == case.name)
    }

    fn case(&self, name: String, questions: &[String]) -> Result<Case> {
        let script = read(&self.path.join(format!("{name}.sql")))?;
        let mut own = Vec::new();
        for question in questions {
            let (of, topic) = match question.split_once('.') {
                Some((of, topic)) => (of, Some(topic.to_owned())),
                None => (question.as_str(), None),
            };
            if of == name {
                let query = read(&self.path.join("oracle").join(format!("{question}.sql")))?;
                let conserved = note(&query, "conserved").map(str::to_owned);
                own.push(Question { name: question.clone(), topic, conserved });
            }
        }
        anyhow::ensure!(!own.is_empty(), "there is no question to the oracle for {name}");
        Ok(Case { name, script, questions: own })
    }
}

impl Case {
    /// The plan, or what is wrong with the script.
    pub fn plan(&self) -> Result<Plan> {
        compile(&self.script).map_err(|error| anyhow::anyhow!("{error}\n{}", error.excerpt(&self.script)))
    }

    /// How many partitions each source must have, if the script's result depends on that.
    pub fn partitions(&self) -> Result<Option<i32>> {
        note(&self.script, "partitions").map(|count| count.parse().context("partitions")).transpose()
    }

    /// What the records of a sink mean: the script's option `output`, or rows.
    pub fn mode(&self) -> Result<Mode> {
        Ok(match self.script.split("'output' = '").nth(1).and_then(|rest| rest.split('\'').next()) {
            None | Some("append") => Mode::Append,
            Some("upsert") => Mode::Upsert,
            Some("changes") => Mode::Changes,
            Some("retract") => Mode::Retract,
            Some(other) => anyhow::bail!("there is no mode `{other}`"),
        })
    }
}

/// What a comment `-- <word>: <text>` says.
fn note<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let comments = text.lines().filter_map(|line| line.strip_prefix("-- "));
    comments.filter_map(|comment| comment.strip_prefix(word)?.strip_prefix(": ")).next()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The scripts of a folder, without their ending; numbers in names count as numbers.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".sql").filter(|name| *name != "tables").map(str::to_owned));
    }
    let number =
        |name: &str| name.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse::<u32>().ok();
    names.sort_by(|left, right| number(left).cmp(&number(right)).then_with(|| left.cmp(right)));
    Ok(names)
}

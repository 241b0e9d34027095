//! The script that a command names, and what is wrong with it: where, with the line.

use std::path::{Path, PathBuf};

use logmill_broker::pipelines::trial::{
    Embedded, Plan, Settings, SqlError, compile, embed_modules, settings,
};
use logmill_client::{Error, RpcCode};

/// A script that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Io {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It does not plan.
    #[error("{path}: {error}\n{excerpt}", path = path.display())]
    Sql {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: SqlError,
        /// The line with a mark under the place.
        excerpt: String,
    },
}

/// A script as it was read, and with the modules in it that `CREATE FUNCTION ... USING '<file>'` names.
#[derive(Debug)]
pub(crate) struct Script {
    path: PathBuf,
    original: String,
    embedded: Embedded,
}

impl Script {
    /// Reads a file, - is standard input. Modules are looked for beside it. A script with modules is planned, too: a broker has
    /// only the text with the modules in it, where no place is what it was.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub(crate) fn read(file: &Path) -> Result<Script, ScriptError> {
        let from_input = is_input(file);
        let read = match from_input {
            true => std::io::read_to_string(std::io::stdin()),
            false => std::fs::read_to_string(file),
        };
        let path = if from_input { PathBuf::from("standard input") } else { file.to_owned() };
        let text = read.map_err(|error| ScriptError::Io { path: path.clone(), error })?;
        let beside = if from_input { None } else { file.parent() }.unwrap_or(Path::new(""));
        let embedded = embed_modules(&text, |module| std::fs::read(beside.join(module)));
        let embedded = embedded.map_err(|error| of_script(&path, &text, error))?;
        let script = Script { path, original: text, embedded };
        if script.embedded.has_modules() {
            match script.plan() {
                // A broker inside of another program has functions of that, which only it knows.
                Err(ScriptError::Sql { error, .. }) if error.is_unknown_function() => {}
                planned => drop(planned?),
            }
        }
        Ok(script)
    }

    /// What is given to a broker.
    pub(crate) fn text(&self) -> &str {
        self.embedded.script()
    }

    /// What it sets at its head.
    ///
    /// # Errors
    /// [`ScriptError::Sql`].
    pub(crate) fn settings(&self) -> Result<Settings, ScriptError> {
        let settings = settings(self.text()).map_err(|error| self.embedded.in_original(error));
        settings.map_err(|error| of_script(&self.path, &self.original, error))
    }

    /// Plans it here.
    ///
    /// # Errors
    /// [`ScriptError::Sql`].
    pub(crate) fn plan(&self) -> Result<Plan, ScriptError> {
        let plan = compile(self.text()).map_err(|error| self.embedded.in_original(error));
        plan.map_err(|error| of_script(&self.path, &self.original, error))
    }

    /// What a broker has against it: with the line, where it does not plan here either.
    pub(crate) fn refused(&self, error: Error) -> anyhow::Error {
        match &error {
            Error::Rpc { code: RpcCode::InvalidArgument, .. } => match self.plan() {
                Err(wrong) => wrong.into(),
                Ok(_) => error.into(),
            },
            _ => error.into(),
        }
    }
}

/// Whether a file's name means standard input.
pub(crate) fn is_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn of_script(path: &Path, text: &str, error: SqlError) -> ScriptError {
    ScriptError::Sql { path: path.to_owned(), excerpt: error.excerpt(text), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_has_against_a_script_is_told_with_its_line() {
        let refused = |code, text: &str| {
            let no_module = |_: &str| Err::<Vec<u8>, _>("there is none");
            let embedded = embed_modules(text, no_module).expect("no modules");
            let script = Script { path: PathBuf::from("a.sql"), original: text.to_owned(), embedded };
            let error = Error::Rpc { operation: "running", code, message: "no".to_owned() };
            script.refused(error).to_string()
        };
        let wrong = refused(RpcCode::InvalidArgument, "\nSELEC");
        assert!(wrong.starts_with("a.sql: ") && wrong.ends_with("2 | SELEC\n  | ^"), "{wrong}");
        let here = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'a', 'format' = 'json');
            CREATE TABLE b (x BIGINT) WITH ('topic' = 'b', 'format' = 'json'); INSERT INTO b SELECT x FROM a;";
        assert_eq!(refused(RpcCode::InvalidArgument, here), "running: no", "an older broker");
        assert_eq!(
            refused(RpcCode::FailedPrecondition, "SELEC"),
            "running: no",
            "it is about something else"
        );
    }
}

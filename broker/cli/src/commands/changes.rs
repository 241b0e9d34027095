//! Flags that change configs, for every command that does.

use logmill_client::ConfigChange;

/// What is to be changed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Changes {
    /// Set a configuration, such as retention.ms=86400000. May be repeated.
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Put a configuration back to its default. May be repeated.
    #[arg(short, long, value_name = "KEY")]
    unset: Vec<String>,
    /// Add to a list, such as cleanup.policy=compact. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    append: Vec<(String, String)>,
    /// Take out of a list. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    subtract: Vec<(String, String)>,
    /// Only check whether the configuration could be changed.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    /// As the broker is asked for them.
    pub(crate) fn list(&self) -> Vec<(String, ConfigChange)> {
        let with = |pairs: &[(String, String)], change: fn(String) -> ConfigChange| {
            let pairs = pairs.iter().cloned();
            pairs.map(|(key, value)| (key, change(value))).collect::<Vec<_>>()
        };
        let mut changes = with(&self.configs, ConfigChange::Set);
        changes.extend(self.unset.iter().map(|key| (key.clone(), ConfigChange::Unset)));
        changes.extend(with(&self.append, ConfigChange::Append));
        changes.extend(with(&self.subtract, ConfigChange::Subtract));
        changes
    }
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        changes: Changes,
    }

    #[test]
    fn flags_become_changes() {
        let line = ["x", "--config", "a=1", "--unset", "b", "--append", "c=d", "--subtract", "e=f=g"];
        let changes = Command::parse_from(line).changes.list();
        let expected = [
            ("a", ConfigChange::Set("1".to_owned())),
            ("b", ConfigChange::Unset),
            ("c", ConfigChange::Append("d".to_owned())),
            ("e", ConfigChange::Subtract("f=g".to_owned())),
        ];
        assert_eq!(changes, expected.map(|(name, change)| (name.to_owned(), change)));
        assert!(Command::try_parse_from(["x", "--config", "a"]).is_err());
        assert!(Command::parse_from(["x", "--dry-run"]).changes.is_empty());
    }
}

use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::value::{ByteSize, Durability, HostPort};

fn from_file(text: &str) -> Result<Loaded, ConfigError> {
    let mut loader = Loader { config: Config::default(), origins: BTreeMap::new() };
    loader.file(Path::new("logmill.toml"), text)?;
    let loaded = Loaded { config: loader.config, origins: loader.origins };
    check(&loaded)?;
    Ok(loaded)
}

fn message(text: &str) -> String {
    from_file(text).expect_err("the file must be refused").to_string()
}

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { environment, not_settings: vec!["LOGMILL_CONFIG"], ..Sources::default() }
}

#[test]
fn shipped_file_is_the_struct_printed() {
    assert_eq!(
        crate::DEFAULT_FILE,
        Config::default().to_toml(),
        "config/logmill.toml differs from the settings; `cargo run -p logmill-config --example print` prints it"
    );
}

#[test]
fn shipped_file_reads_as_the_defaults() {
    let loaded = from_file(crate::DEFAULT_FILE).expect("the shipped file must load");
    assert_eq!(loaded.config, Config::default());
    for key in loaded.config.keys() {
        assert!(
            matches!(loaded.origin(&key.path()), Origin::File { .. }),
            "{} is not in the file",
            key.path()
        );
    }
}

#[test]
fn every_key_says_what_it_means() {
    for key in Config::default().keys() {
        assert!(key.meaning.trim().len() > 10 && key.meaning.trim().ends_with('.'), "{}", key.path());
    }
}

#[test]
fn unknown_key_names_line_and_suggests() {
    assert_eq!(
        message("data_dir = \"x\"\n\n[limits]\nmax_requst = \"1 MiB\"\n"),
        "logmill.toml:4: there is no setting `limits.max_requst`; did you mean `limits.max_request`?"
    );
    assert_eq!(
        message("lisen = \"x\"\n"),
        "logmill.toml:1: there is no setting `lisen`; did you mean `listen`?"
    );
    assert_eq!(
        message("[topic]\npartitions = 3\n"),
        "logmill.toml:2: there is no setting `topic.partitions`; did you mean `topics.partitions`?"
    );
    assert_eq!(message("[limit]\n"), "logmill.toml:1: there is no setting `limit`; did you mean `limits`?");
    assert!(message("zebra = 1\n").ends_with("every key is listed in config/logmill.toml"));
}

#[test]
fn wrong_kind_says_what_to_write() {
    assert_eq!(
        message("[limits]\nmax_request = 5\n"),
        "logmill.toml:2: `limits.max_request` cannot be 5; write a size with its unit (B, KiB, MiB, GiB, TiB), \
         such as \"64 MiB\""
    );
    assert!(message("shutdown_drain = \"10\"\n").contains("a time with its unit"));
    assert!(message("[topics]\npartitions = 0\n").contains("from 1"));
    assert!(message("[topics]\ndurability = \"ram\"\n").contains("\"disk\" or \"page-cache\""));
    assert!(message("[topics]\ndurability = [1]\n").contains("TOML kind array"));
    assert!(message("listen = \"nowhere\"\n").contains("127.0.0.1:9092"));
    assert!(message("[limits]\nmax_request = \"99999999 TiB\"\n").contains("such as"));
    assert!(message("limits = 3\n").contains("no setting `limits`"));
}

#[test]
fn syntax_error_names_its_line() {
    let error = message("data_dir = \"x\"\nlisten = \n");
    assert!(error.starts_with("logmill.toml:2: not valid TOML"), "{error}");
    assert!(message("listen = \"a:1\"\nlisten = \"b:1\"\n").starts_with("logmill.toml:2"));
}

#[test]
fn contradictions_are_refused() {
    assert!(message("[topics]\nmax_message = \"200 MiB\"\n").contains("`limits.max_request`"));
    assert!(message("[journal]\nmax_size = \"1 MiB\"\n").contains("`journal.file_size`"));
    assert!(message("[groups]\nmin_session_timeout = \"1 h\"\n").contains("max_session_timeout"));
    assert!(message("[pipelines]\nshards = 257\n").contains("256 groups of keys"));
}

#[test]
fn times_of_groups_keep_their_order() {
    let refused = |text: &str| message(&format!("[consumer_groups]\n{text}\n"));
    assert_eq!(
        refused("session_timeout = \"30 s\""),
        "logmill.toml:2: `consumer_groups.session_timeout` = 30 s is less than \
         `consumer_groups.min_session_timeout`, which is 45 s"
    );
    for (text, problem) in [
        ("session_timeout = \"2 min\"", "which is 1 min"),
        ("heartbeat_interval = \"1 s\"", "`consumer_groups.min_heartbeat_interval`, which is 5 s"),
        ("assignment_interval = \"1 min\"", "`consumer_groups.max_assignment_interval`"),
        ("max_assignment_interval = \"30 d\"", "24 days"),
        ("min_heartbeat_interval = \"0 ms\"", "at least 1 ms"),
        ("heartbeat_interval = \"45 s\"\nmax_heartbeat_interval = \"60 s\"", "taken for gone"),
        ("assignors = \"range,range\"", "each once"),
        ("assignors = \"\"", "each once"),
        ("assignors = \"sticky\"", "\"uniform,range\""),
        ("migration = \"both\"", "\"bidirectional\""),
    ] {
        assert!(refused(text).contains(problem), "{text}: {}", refused(text));
    }
}

#[test]
fn flag_goes_before_environment_before_file_before_default() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "listen = \"127.0.0.1:1\"\nshutdown_drain = \"1 s\"\n[topics]\npartitions = 2\n")
        .expect("written");
    let mut sources = environment(&[
        ("LOGMILL_LISTEN", "127.0.0.1:2"),
        ("LOGMILL_TOPICS__DURABILITY", "page-cache"),
        ("LOGMILL_CONFIG", "ignored"),
        ("PATH", "ignored"),
    ]);
    sources.file = Some(file.path().to_owned());
    sources.flags = vec![("--listen".into(), "listen".into(), "[::1]:3".into())];

    let loaded = load(&sources).expect("loads");

    assert_eq!(loaded.config.listen, HostPort { host: "::1".into(), port: 3 });
    assert_eq!(loaded.origin("listen"), Origin::Flag { flag: "--listen".into() });
    assert_eq!(loaded.config.topics.durability, Durability::PageCache);
    assert_eq!(
        loaded.origin("topics.durability"),
        Origin::Environment { variable: "LOGMILL_TOPICS__DURABILITY".into() }
    );
    assert_eq!(loaded.config.shutdown_drain, Duration::from_secs(1));
    assert_eq!(loaded.origin("topics.partitions"), Origin::File { path: file.path().to_owned(), line: 4 });
    assert_eq!(loaded.origin("limits.max_request"), Origin::Default);
    assert_eq!(loaded.config.limits.max_request, ByteSize::mib(100));
}

#[test]
fn unknown_variable_suggests_a_variable() {
    let error =
        load(&environment(&[("LOGMILL_LIMITS__MAX_REQEST", "1 MiB")])).expect_err("refused").to_string();
    assert_eq!(
        error,
        "environment variable LOGMILL_LIMITS__MAX_REQEST: there is no setting `LOGMILL_LIMITS__MAX_REQEST`; did you \
         mean `LOGMILL_LIMITS__MAX_REQUEST`?"
    );
}

#[test]
fn missing_file_is_named() {
    let sources = Sources { file: Some("/nowhere/logmill.toml".into()), ..Sources::default() };
    assert!(load(&sources).expect_err("refused").to_string().contains("/nowhere/logmill.toml"));
}

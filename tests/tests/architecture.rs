//! Who may know whom. A crate that has an arrow which is not in the table, or code that reaches for what its room must not
//! know, fails here.
//!
//! The guards over code read it as text: whole words, without comments and tests. Each is shown a violation it must catch.

use std::collections::BTreeMap;

use logmill_tests::crates::{self, Package};
use logmill_tests::source::{self, File};

/// Every crate and the crates of ours it may depend on. What a crate uses only in its tests obeys the same table.
const ARROWS: &[(&str, &[&str])] = &[
    ("logmill", &["logmill-broker", "logmill-client", "logmill-config", "logmill-worker"]),
    (
        "logmill-broker",
        &[
            "logmill-config",
            "logmill-wire",
            "logmill-rpc",
            "logmill-storage",
            "logmill-coordinator",
            "logmill-scheduling",
            "logmill-stream",
            "logmill-record",
        ],
    ),
    ("logmill-worker", &["logmill-client", "logmill-stream"]),
    ("logmill-client", &["logmill-wire", "logmill-rpc", "logmill-record"]),
    ("logmill-coordinator", &["logmill-wire", "logmill-record"]),
    ("logmill-scheduling", &[]),
    ("logmill-stream", &["logmill-record"]),
    ("logmill-storage", &["logmill-record"]),
    ("logmill-wire", &[]),
    ("logmill-record", &[]),
    ("logmill-rpc", &[]),
    ("logmill-config", &[]),
];
/// Crates that may know everybody and that nobody may know.
const ON_TOP: &[&str] = &["logmill-tests", "logmill-pipelines", "logmill-benches"];

/// Foreign crates that bring sockets, threads, clocks or chance, and our crates that may not have them.
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "futures",
    "tonic",
    "hyper",
    "tracing-subscriber",
    "rand",
    "fastrand",
    "getrandom",
    "rayon",
    "crossbeam",
    "chrono",
];
const PURE_CRATES: &[&str] = &[
    "logmill-coordinator",
    "logmill-stream",
    "logmill-storage",
    "logmill-record",
    "logmill-wire",
    "logmill-config",
];

/// What is wrong with the arrows, one line each.
fn wrong_arrows(packages: &BTreeMap<String, Package>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, package) in packages {
        let allowed = ARROWS.iter().find(|(from, _)| from == name).map(|(_, to)| *to);
        if allowed.is_none() && !ON_TOP.contains(&name.as_str()) {
            found.push(format!("{name} is not in the table"));
        }
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let ours = packages.contains_key(to);
            // A crate may name itself, to have a feature on in its tests.
            let itself = dependency.dev && to == name;
            if ours && !itself && allowed.is_some_and(|allowed| !allowed.contains(&to)) {
                found.push(format!("{name} must not know {to}"));
            }
            if !dependency.dev && PURE_CRATES.contains(&name.as_str()) && IMPURE_CRATES.contains(&to) {
                found.push(format!("{name} is pure and must not know {to}"));
            }
        }
    }
    for name in ARROWS.iter().map(|(name, _)| name).chain(ON_TOP) {
        if !packages.contains_key(*name) {
            found.push(format!("{name} is in the table and does not exist"));
        }
    }
    found
}

#[test]
fn crates_know_only_whom_they_may_know() {
    let found = wrong_arrows(&crates::own());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn planted_arrows_are_caught() {
    let own = crates::own();
    let planted = |from: &str, to: &str, dev: bool| {
        let mut packages = own.clone();
        let package = packages.get_mut(from).expect("a crate of ours");
        package.dependencies.push(crates::Dependency { name: to.to_owned(), dev });
        wrong_arrows(&packages)
    };
    assert!(planted("logmill", "logmill-client", false).is_empty());
    assert!(planted("logmill-tests", "logmill-storage", true).is_empty());
    for (from, to, dev) in [
        ("logmill-broker", "logmill-client", false),
        ("logmill-broker", "logmill-client", true),
        ("logmill-wire", "logmill-storage", false),
        ("logmill-storage", "logmill-wire", false),
        ("logmill-record", "logmill-wire", false),
        ("logmill-client", "logmill-broker", true),
        ("logmill-stream", "logmill-wire", false),
        ("logmill-storage", "logmill-tests", true),
        ("logmill-storage", "tokio", false),
        ("logmill-coordinator", "rand", false),
    ] {
        let found = planted(from, to, dev);
        assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
        assert!(found[0].contains(from) && found[0].contains(to), "{found:?}");
    }
    let mut packages = own.clone();
    let mut stranger = packages["logmill-record"].clone();
    stranger.name = "logmill-new".to_owned();
    packages.insert(stranger.name.clone(), stranger);
    assert_eq!(wrong_arrows(&packages), ["logmill-new is not in the table"]);
    packages.remove("logmill-new");
    packages.remove("logmill-rpc");
    assert_eq!(wrong_arrows(&packages), ["logmill-rpc is in the table and does not exist"]);
}

/// Code under these paths must not use these words; except in these files.
struct Rule {
    why: &'static str,
    rooms: &'static [&'static str],
    words: &'static [&'static str],
    except: &'static [&'static str],
}

const PURE: &[&str] = &[
    "broker/coordinator/src/",
    "broker/stream/src/",
    "storage/src/",
    "storage/record/src/",
    "client/wire/src/",
];

const RULES: &[Rule] = &[
    Rule {
        why: "pure rooms know no runtime, socket, thread, process or environment",
        rooms: PURE,
        words: &[
            "tokio",
            "std::net",
            "std::thread",
            "thread_local",
            "std::process",
            "std::env",
            "TcpStream",
            "println",
            "eprintln",
            "std::io::stdin",
            "std::io::stdout",
            "std::io::stderr",
        ],
        except: &[],
    },
    Rule {
        why: "time is an argument in pure rooms",
        rooms: PURE,
        words: &["Instant", "SystemTime", "UNIX_EPOCH", "Timestamp::now", "Zoned::now", "Utc::now"],
        except: &[],
    },
    Rule {
        why: "chance is an argument in pure rooms",
        rooms: PURE,
        words: &[
            "new_v4",
            "now_v7",
            "RandomState",
            "getrandom",
            "rand",
            "fastrand",
            "thread_rng",
            "DefaultHashBuilder",
        ],
        except: &["broker/stream/src/state/hashed.rs"],
    },
    Rule {
        why: "pure rooms know no files; storage has one file that touches the operating system",
        rooms: PURE,
        words: &["std::fs", "std::os", "rustix", "libc", "File::open", "File::create"],
        except: &["storage/src/disk/real.rs"],
    },
    Rule {
        why: "one `use` a module, so that these guards can read them",
        rooms: &["broker/", "storage/", "client/", "config/"],
        words: &["std::{", "core::{", "tokio::{"],
        except: &[],
    },
    Rule {
        why: "what decides must give the same for the same input: no map without an order",
        rooms: &["broker/coordinator/src/"],
        words: &["HashMap", "HashSet"],
        except: &[],
    },
    Rule {
        why: "in the broker only `net` has sockets",
        rooms: &["broker/src/"],
        words: &["TcpListener", "TcpStream", "UdpSocket", "UnixStream", "UnixListener", "socket2"],
        except: &[
            "broker/src/net/listener.rs",
            "broker/src/net/handover.rs",
            "broker/src/net/metrics_page.rs",
        ],
    },
    Rule {
        why: "in the client only `transport` has sockets",
        rooms: &["client/src/", "broker/worker/src/"],
        words: &["TcpListener", "TcpStream", "tokio::net", "std::net"],
        except: &["client/src/transport/environment.rs"],
    },
    Rule {
        why: "the wall clock is read in one place",
        rooms: &["broker/src/", "client/src/", "broker/worker/src/"],
        words: &["SystemTime", "UNIX_EPOCH"],
        except: &["broker/src/clock.rs", "client/src/transport/environment.rs", "broker/worker/src/task.rs"],
    },
    Rule {
        why: "chance comes from one place, where a simulation puts its own",
        rooms: &["broker/src/", "client/src/"],
        words: &["new_v4", "now_v7", "RandomState", "getrandom", "rand", "fastrand", "thread_rng"],
        except: &["broker/src/entropy.rs", "client/src/transport/environment.rs"],
    },
    Rule {
        why: "what leaves the runtime's workers does so in one place, which knows simulations",
        rooms: &["broker/src/"],
        words: &["spawn_blocking", "block_in_place"],
        except: &["broker/src/blocking.rs", "broker/src/telemetry/scraper.rs"],
    },
    Rule {
        why: "the broker's bytes on disk are storage's; a worker has no storage, and one file for snapshots that may be lost",
        rooms: &["broker/src/", "broker/worker/src/"],
        words: &["std::fs", "tokio::fs"],
        except: &["broker/worker/src/state_dir.rs"],
    },
    Rule {
        why: "only config reads settings",
        rooms: &["broker/src/", "client/src/", "broker/worker/src/"],
        words: &["std::env", "option_env!"],
        except: &[],
    },
    Rule {
        why: "threads are started where they are known: the log's, the cleaner, a pipeline's and that of their events, those that load coordinators, a worker's tasks, their shards and snapshots",
        rooms: &["broker/src/", "broker/worker/src/"],
        words: &["thread::spawn", "thread::scope", "thread::Builder", "thread::{"],
        except: &[
            "broker/src/partitions/threads.rs",
            "broker/src/partitions/cleaning.rs",
            "broker/src/pipelines/starting.rs",
            "broker/src/pipelines/event_log.rs",
            "broker/src/pipelines/replaying.rs",
            "broker/src/pipelines/shard_threads.rs",
            "broker/src/pipelines/snapshots/keeper.rs",
            "broker/src/pipelines/query.rs",
            "broker/src/coordinators/starting.rs",
            "broker/worker/src/worker.rs",
            "broker/worker/src/shard_threads.rs",
            "broker/worker/src/snapshots.rs",
        ],
    },
    Rule {
        why: "frames enter the store through `Partitions::commit` and the coordinators' driver, which adds the state records",
        rooms: &["broker/src/", "broker/cli/src/"],
        words: &["store.commit", "store().commit", "Store::commit"],
        except: &["broker/src/partitions/append.rs", "broker/src/coordinators/commit.rs"],
    },
    Rule {
        why: "handlers go through partitions, coordinators and topics, never to the store",
        rooms: &["broker/src/handlers/", "broker/src/dispatch/", "broker/src/net/"],
        words: &["Store", "RealDisk", "JournalOptions"],
        except: &[],
    },
    Rule {
        why: "the library speaks to programs, not to terminals",
        rooms: &["client/src/", "broker/src/", "broker/worker/src/", "config/src/"],
        words: &["println", "eprintln", "print!", "eprint!"],
        except: &[],
    },
];

/// What breaks the rules, one line each.
fn broken<'a>(files: impl IntoIterator<Item = &'a File>) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let rules: Vec<&Rule> = RULES
            .iter()
            .filter(|rule| rule.rooms.iter().any(|room| file.path.starts_with(room)))
            .filter(|rule| !rule.except.contains(&file.path.as_str()))
            .collect();
        if rules.is_empty() {
            continue;
        }
        for (number, line) in file.product_lines() {
            for rule in &rules {
                for word in rule.words.iter().filter(|word| has_word(&line, word)) {
                    found.push(format!("{}:{number}: `{word}`: {}", file.path, rule.why));
                }
            }
        }
    }
    found
}

/// Whether a line has a word: nothing that belongs to a name on either side of it.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open =
            |side: Option<char>, own: Option<char>| !(own.is_some_and(in_name) && side.is_some_and(in_name));
        open(before, word.chars().next()) && open(after, word.chars().next_back())
    })
}

#[test]
fn code_uses_only_what_its_room_may_know() {
    let files = source::files(".rs");
    let found = broken(&files);
    assert!(found.is_empty(), "{} against the architecture:\n{}", found.len(), found.join("\n"));
    for rule in RULES {
        for room in rule.rooms {
            assert!(files.iter().any(|file| file.path.starts_with(room)), "{room} does not exist any more");
        }
        // An exception that is not needed any more hides the next mistake.
        for except in rule.except {
            let file = files.iter().find(|file| file.path == *except);
            let file = file.unwrap_or_else(|| panic!("{except} does not exist any more"));
            let lines = file.product_lines();
            let needs = rule.words.iter().any(|word| lines.iter().any(|(_, line)| has_word(line, word)));
            assert!(needs, "{except} needs no exception from: {}", rule.why);
        }
    }
}

#[test]
fn planted_code_is_caught() {
    let caught = |path: &str, text: &str| broken([&File::planted(path, text)]);
    for (path, text) in [
        ("broker/coordinator/src/groups/join.rs", "use tokio::sync::mpsc;\n"),
        ("broker/coordinator/src/groups/join.rs", "let members: HashMap<String, Member> = x;\n"),
        ("broker/stream/src/window/state.rs", "let now = Instant::now();\n"),
        ("broker/stream/src/window/state.rs", "let seed = Uuid::new_v4();\n"),
        ("client/wire/src/frame.rs", "fn read(stream: &mut TcpStream) {}\n"),
        ("storage/record/src/batch.rs", "let now = std::time::SystemTime::now();\n"),
        ("storage/src/log/segment.rs", "let file = std::fs::File::open(path)?;\n"),
        ("storage/src/journal/writer.rs", "    std::thread::sleep(pause);\n"),
        ("storage/src/journal/writer.rs", "use std::{fs, io};\n"),
        ("broker/src/handlers/fetch/read.rs", "use tokio::net::TcpStream;\n"),
        ("broker/src/handlers/produce/admit.rs", "context.store.commit(frame, None)?;\n"),
        ("broker/src/topics/topics.rs", "self.partitions.store().commit(frame, None)?;\n"),
        ("broker/src/topics/topics.rs", "let text = std::fs::read_to_string(path)?;\n"),
        ("broker/src/node.rs", "let home = std::env::var(\"HOME\");\n"),
        ("broker/src/producer_ids.rs", "std::thread::spawn(work);\n"),
        ("broker/src/coordinators/deadlines.rs", "let now = SystemTime::now();\n"),
        ("client/src/producer/engine.rs", "let socket = tokio::net::lookup_host(x);\n"),
        ("client/src/cluster.rs", "println!(\"here\");\n"),
        ("client/src/cluster.rs", "let jitter = Uuid::new_v4();\n"),
        ("broker/src/handlers/join_group.rs", "let member = Uuid::new_v4();\n"),
        ("broker/src/topics/registry.rs", "let made = tokio::task::spawn_blocking(make);\n"),
    ] {
        let found = caught(path, text);
        assert!(!found.is_empty(), "{path}: {text} is not caught");
        assert!(found.iter().all(|line| line.starts_with(&format!("{path}:1: "))), "{found:?}");
    }
    for (path, text) in [
        ("storage/src/disk/real.rs", "use std::fs::File;\n"),
        (
            "storage/src/log/segment.rs",
            "// As std::fs would.\nlet instants = operand;\nlet random = brand();\n",
        ),
        ("storage/src/log/segment.rs", "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"),
        ("broker/src/clock.rs", "let now = SystemTime::now();\n"),
        ("broker/src/handlers/produce/admit.rs", "partitions.commit(frame)?;\nlet stored = StoreError;\n"),
        ("tests/src/process.rs", "use std::fs::File;\n"),
    ] {
        assert_eq!(caught(path, text), Vec::<String>::new(), "{text}");
    }
}

/// The table in ARCHITECTURE.md and the one here are one.
#[test]
fn the_page_shows_the_same_arrows() {
    let page = std::fs::read_to_string(source::root().join("ARCHITECTURE.md")).expect("the page");
    for (name, _) in ARROWS {
        assert!(page.contains(&format!(" {name} ")), "ARCHITECTURE.md has no room {name}");
    }
    for name in ON_TOP {
        assert!(page.contains(&format!(" {name} ")), "ARCHITECTURE.md has no room {name}");
    }
}

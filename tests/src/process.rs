//! The built binary as processes: a broker that serves, the commands of a user, signals, memory and logs.
//!
//! Every wait has a bound. What a test leaves on disk is removed when it passes and kept, with its logs, when it fails.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::source;

/// The longest anything may take that is not said to take longer. Generous: machines that test are busy.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(5);

/// The binary: the one `LOGMILL_BINARY` names, or else built with the profile of the test that asks, once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("LOGMILL_BINARY") {
            return PathBuf::from(given);
        }
        // A test runs as `<target>/<profile>/deps/<test>`.
        let test = std::env::current_exe().expect("a path of its own");
        let folder = test.ancestors().nth(2).expect("a profile's folder");
        let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        // Of the whole workspace, so that crates have the features that they have in its tests, and are not built twice.
        build.args(["build", "--quiet", "--workspace", "--bin", "logmill", "--target-dir"]);
        build.arg(folder.parent().expect("a target folder")).current_dir(source::root());
        // What cargo says to a test of its package makes build scripts that ask for it run again (ring's does), and then all that
        // stands on them is built again, here and for the next cargo that is not a test's child.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|front| name.starts_with(front)) {
                build.env_remove(&*name);
            }
        }
        match folder.file_name().and_then(|profile| profile.to_str()).expect("a profile") {
            "debug" => {}
            profile => drop(build.args(["--profile", profile])),
        }
        let built = build.output().expect("cargo starts");
        assert!(built.status.success(), "cargo build: {}", String::from_utf8_lossy(&built.stderr));
        folder.join("logmill")
    })
}

/// A command of the binary that knows nothing of the environment's settings.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOGMILL_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A folder of one test: data directories and logs.
#[derive(Debug)]
pub struct Scratch(Option<tempfile::TempDir>);

impl Scratch {
    /// A new, empty one.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Scratch {
        let folder = tempfile::Builder::new().prefix("logmill-test-").tempdir().expect("a folder");
        Scratch(Some(folder))
    }

    /// The path of something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.as_ref().expect("there until it is dropped").path().join(name)
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Scratch {
    #[expect(clippy::print_stderr, reason = "whoever looks into the failure reads it there")]
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.0.take()
        {
            eprintln!("data and logs are kept in {}", folder.keep().display());
        }
    }
}

/// A process of the binary that goes on until it is told to stop. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    out: PathBuf,
    started: Instant,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// What the system says of it.
    pub status: ExitStatus,
    /// Everything on standard error.
    pub log: String,
    /// Everything on standard output.
    pub out: String,
}

impl Ended {
    /// Whether SIGKILL ended it: it was alive when it was killed.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

impl Process {
    /// Starts the binary. Its output goes to `<name>.log` and `<name>.out` of the scratch folder.
    pub fn start(scratch: &Scratch, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let (log, out) = (scratch.path(&format!("{name}.log")), scratch.path(&format!("{name}.out")));
        let child = command(arguments)
            .envs(environment.iter().copied())
            .stderr(File::create(&log).expect("a log"))
            .stdout(File::create(&out).expect("an output"))
            .spawn()
            .expect("the binary starts");
        Process { child, log, out, started: Instant::now() }
    }

    /// A broker on a port the system chooses, when it serves.
    pub fn serve(scratch: &Scratch, name: &str, data: &str) -> Broker {
        Process::serve_with(scratch, name, data, &[], &[])
    }

    /// The same with further flags and environment.
    pub fn serve_with(
        scratch: &Scratch,
        name: &str,
        data: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Broker {
        Process::serve_at(scratch, name, data, "127.0.0.1:0", flags, environment)
    }

    /// The same on an address of the caller's choice.
    pub fn serve_at(
        scratch: &Scratch,
        name: &str,
        data: &str,
        listen: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Broker {
        let data = scratch.path(data).display().to_string();
        let mut arguments = vec!["serve", "--data-dir", &data, "--listen", listen];
        arguments.extend(flags);
        let mut process = Process::start(scratch, name, &arguments, environment);
        let line = process.wait_for_line(" serving ");
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        let up_after = process.started.elapsed();
        Broker { process, address, up_after }
    }

    /// Waits for a line of the log that contains a text.
    ///
    /// # Panics
    /// When the process ends before, or nothing of the kind comes.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        loop {
            let ended = self.child.try_wait().expect("a child");
            let log = self.log();
            // Only whole lines.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(ended.is_none(), "ended with {ended:?} before it said {text:?}:\n{log}");
            assert!(self.started.elapsed() < PATIENCE, "does not say {text:?}:\n{log}");
            std::thread::sleep(LOOK);
        }
    }

    /// Standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    /// Standard output so far.
    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).expect("an output")
    }

    /// How long it has been running.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it is still running.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// SIGKILL, whatever it is doing.
    pub fn kill(mut self) -> Ended {
        // It may have ended by itself, which the status tells.
        let _ = self.child.kill();
        self.wait(PATIENCE)
    }

    /// SIGTERM: asks it to stop.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.send(Signal::INT);
    }

    /// SIGSTOP: it does nothing more, and its connections stay open.
    pub fn pause(&self) {
        self.send(Signal::STOP);
    }

    /// SIGCONT: it goes on where it was paused.
    pub fn resume(&self) {
        self.send(Signal::CONT);
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it does not within `patience`.
    pub fn wait(mut self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "does not end:\n{}", self.log()),
            }
            std::thread::sleep(LOOK);
        };
        let out = std::fs::read_to_string(&self.out).expect("an output");
        Ended { status, log: self.log(), out }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A broker that serves.
#[derive(Debug)]
pub struct Broker {
    /// Its process.
    pub process: Process,
    /// Host and port.
    pub address: String,
    /// From the start of the process to the open port.
    pub up_after: Duration,
}

impl Broker {
    /// The document a command prints with `--output json`: valid, and it says whose it is.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.run(&[arguments, &["--output", "json"]].concat());
        let document: serde_json::Value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}:\n{out}"));
        let command = document["_command"].as_str().expect("it says which command it is from");
        assert!(arguments.join(" ").starts_with(command), "{command} for {arguments:?}");
        assert!(document["_version"].is_u64());
        document
    }

    /// Runs a command against it and expects it to succeed; its standard output.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.run_with_input(arguments, "")
    }

    /// The same, with standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> String {
        let ran = self.try_run(arguments, input);
        assert!(ran.status.success(), "logmill {arguments:?}: {}\n{}", ran.log, self.process.log());
        ran.out
    }

    /// Runs a command against it, whatever comes of it.
    pub fn try_run(&self, arguments: &[&str], input: &str) -> Ended {
        run(&[arguments, &["--bootstrap", &self.address]].concat(), &[], input)
    }

    /// SIGTERM, and the wait for its end.
    pub fn stop(self) -> Ended {
        self.process.terminate();
        self.process.wait(PATIENCE)
    }

    /// The memory it has now.
    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(path).expect("a process of this system");
        let kib = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).expect(name);
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
        };
        Memory { resident: kib("VmRSS:") * 1024, highest: kib("VmHWM:") * 1024 }
    }
}

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most there ever was.
    pub highest: u64,
}

/// Runs a command of the binary to its end.
///
/// # Panics
/// When it does not end in time.
pub fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ended {
    let mut child = command(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let (mut stdin, mut stdout, mut stderr) = (
        child.stdin.take().expect("a pipe"),
        child.stdout.take().expect("a pipe"),
        child.stderr.take().expect("a pipe"),
    );
    std::thread::scope(|scope| {
        // Whoever does not read its input has ended, which the status tells.
        scope.spawn(move || stdin.write_all(input.as_bytes()).is_ok());
        let out = scope.spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text).expect("text")
        });
        let log = scope.spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).expect("text")
        });
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait().expect("a child") {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::sleep(LOOK),
                None => {
                    let _ = child.kill();
                    panic!("logmill {arguments:?} does not end");
                }
            }
        };
        Ended { status, out: out.join().expect("read"), log: log.join().expect("read") }
    })
}

/// Chance that can be had again: a sequence of numbers from a seed.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From `LOGMILL_SEED`, or from the clock. The seed is printed, for a failure to be run again.
    #[expect(clippy::print_stderr, reason = "whoever looks into the failure reads it there")]
    pub fn seeded() -> Chance {
        let seed = number("LOGMILL_SEED").unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        });
        eprintln!("seed: LOGMILL_SEED={seed}");
        Chance(seed)
    }

    /// From this seed.
    pub fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    /// At least 0, below a number above 0.
    pub fn below(&mut self, number: u64) -> u64 {
        (self.fraction() * number as f64) as u64
    }

    /// At least 0, below 1 (SplitMix64).
    pub fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// An address nobody listens at, outside of those that the system gives to whoever connects: it stays free between the end of
/// a broker and the start of the next.
pub fn free_address(chance: &mut Chance) -> String {
    loop {
        let address = format!("127.0.0.1:{}", 20_000 + chance.below(10_000));
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// A number from the environment of the test.
///
/// # Panics
/// When the variable is set and is no number.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

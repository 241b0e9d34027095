//! The servers under test, as child processes with a directory of their own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::floor::Storage;
use crate::kafka;
use crate::link::Link;
use crate::procfs;

/// Nothing starts or stops slower.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_micros(500);
const KAFKA_SETTLES: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Floor(Storage),
    /// Logmill with the durability of its topic.
    Logmill {
        durable: bool,
    },
    /// Logmill in this program, on a disk whose room is told to its standard input.
    Capped,
    /// Apache Kafka, with its defaults or with a flush of each batch.
    Kafka {
        flush: bool,
    },
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor(Storage::PageCache) => "floor, append",
            Self::Floor(Storage::Fdatasync) => "floor, fdatasync",
            Self::Floor(Storage::Direct) => "floor, direct",
            Self::Logmill { .. } | Self::Capped => "logmill",
            Self::Kafka { flush: false } => "Apache Kafka",
            Self::Kafka { flush: true } => "Apache Kafka, flush.messages=1",
        }
    }

    /// What an answer promises.
    pub(crate) fn durability(self) -> &'static str {
        match self {
            Self::Floor(Storage::PageCache)
            | Self::Logmill { durable: false }
            | Self::Kafka { flush: false } => "page cache",
            Self::Floor(_) | Self::Logmill { durable: true } | Self::Capped | Self::Kafka { flush: true } => {
                "device"
            }
        }
    }
}

/// Where binaries and data are.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// The broker's binary.
    pub(crate) logmill: PathBuf,
    /// Data directories are made in here.
    pub(crate) directory: PathBuf,
    /// Of Logmill, beside its defaults.
    pub(crate) settings: Vec<String>,
    /// Apache Kafka's jars.
    pub(crate) kafka: Option<PathBuf>,
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// From the start of the process until its port accepted.
    pub(crate) opened_after: Duration,
    child: Child,
    subject: Subject,
    data: Data,
}

/// The data directory of a server, kept over a restart.
#[derive(Debug)]
pub(crate) struct Data(TempDir);

impl Data {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Bench {
    fn set(&self, command: &mut Command) {
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
    }

    /// A new, empty directory.
    pub(crate) fn data(&self) -> anyhow::Result<Data> {
        std::fs::create_dir_all(&self.directory)?;
        Ok(Data(tempfile::Builder::new().prefix("bench-").tempdir_in(&self.directory)?))
    }

    /// Starts a server with an empty directory that will hold `payload` bytes, and its topic.
    pub(crate) fn start(&self, subject: Subject, payload: u64) -> anyhow::Result<Server> {
        self.start_with(subject, payload, 1)
    }

    /// The same, with so many partitions in the topic.
    pub(crate) fn start_with(
        &self,
        subject: Subject,
        payload: u64,
        partitions: i32,
    ) -> anyhow::Result<Server> {
        let server = self.open(subject, self.data()?, payload)?;
        let durability = match subject {
            Subject::Floor(_) => return Ok(server),
            Subject::Logmill { durable: true } | Subject::Capped => Some(("logmill.durability", "disk")),
            Subject::Logmill { durable: false } => Some(("logmill.durability", "page-cache")),
            Subject::Kafka { flush: true } => Some(("flush.messages", "1")),
            Subject::Kafka { flush: false } => None,
        };
        let mut configs = vec![("max.message.bytes", "4194304")];
        configs.extend(durability);
        let started = Instant::now();
        // A port that accepts is not yet a broker that knows where its partitions are to go.
        while let Err(error) = Link::open(server.address)?.create_topic(partitions, &configs) {
            ensure!(matches!(subject, Subject::Kafka { .. }) && started.elapsed() < PATIENCE, error);
            std::thread::sleep(Duration::from_millis(500));
        }
        if matches!(subject, Subject::Kafka { .. }) {
            // Its partitions have leaders a moment after they are there.
            std::thread::sleep(KAFKA_SETTLES);
        }
        Ok(server)
    }

    /// Starts a server on a directory; returns when its port accepts.
    pub(crate) fn open(&self, subject: Subject, data: Data, payload: u64) -> anyhow::Result<Server> {
        // The port is free now, and nobody else on this machine is in a hurry to take it.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = match subject {
            Subject::Floor(storage) => {
                let mut command = Command::new(std::env::current_exe()?);
                let storage = match storage {
                    Storage::PageCache => "page-cache",
                    Storage::Fdatasync => "fdatasync",
                    Storage::Direct => "direct",
                };
                // Headers of records and batches need room too.
                let capacity = (payload + payload / 8) >> 20;
                command.args(["floor", "--storage", storage, "--capacity", &(capacity + 64).to_string()]);
                command
            }
            Subject::Logmill { .. } => {
                ensure!(
                    self.logmill.exists(),
                    "{} is not there: build it with `cargo build --release`",
                    self.logmill.display()
                );
                let mut command = Command::new(&self.logmill);
                command.args(["serve", "--set", "telemetry.level=warn"]);
                self.set(&mut command);
                command
            }
            Subject::Capped => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("capped");
                self.set(&mut command);
                command
            }
            Subject::Kafka { flush } => {
                let jars = self.kafka.as_deref().context("where are Kafka's jars?")?;
                kafka::command(jars, data.path(), address, flush)?
            }
        };
        if !matches!(subject, Subject::Kafka { .. }) {
            command.arg("--listen").arg(address.to_string()).arg("--data-dir").arg(data.path());
        }
        let input = if subject == Subject::Capped { Stdio::piped() } else { Stdio::null() };
        let started = Instant::now();
        let mut child =
            command.stdin(input).stdout(Stdio::null()).spawn().context("cannot start the server")?;
        loop {
            if TcpStream::connect(address).is_ok() {
                break;
            }
            if let Some(status) = child.try_wait()? {
                bail!("the server ended before it listened: {status}");
            }
            if started.elapsed() > PATIENCE {
                child.kill()?;
                bail!("the server does not listen after {PATIENCE:?}");
            }
            std::thread::sleep(POLL);
        }
        Ok(Server { address, opened_after: started.elapsed(), child, subject, data })
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where [`Subject::Capped`] is told what room there is; once.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        procfs::cpu_time(self.pid())
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Ends the process at once, or lets it stop by itself; the directory stays.
    pub(crate) fn stop(mut self, how: Stop) -> anyhow::Result<(Data, Duration)> {
        let started = Instant::now();
        match how {
            Stop::Kill => self.child.kill()?,
            Stop::Terminate => {
                let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
                rustix::process::kill_process(
                    pid.context("a process has an id")?,
                    rustix::process::Signal::TERM,
                )?;
            }
        }
        let status = self.child.wait()?;
        ensure!(how == Stop::Kill || status.success(), "{} stopped with {status}", self.subject.name());
        let empty = Data(
            tempfile::Builder::new()
                .prefix("bench-")
                .tempdir_in(self.data.path().parent().context("a data directory has a parent")?)?,
        );
        Ok((std::mem::replace(&mut self.data, empty), started.elapsed()))
    }
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Kill,
    Terminate,
}

impl Drop for Server {
    fn drop(&mut self) {
        // What has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

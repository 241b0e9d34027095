//! The events of pipelines in files, so that they are there after a restart: a file each, a line an event.
//!
//! ```text
//! whoever says something ─► queue ─► one thread ─► pipeline-events/NAME.jsonl (of two full ones the newer half is kept)
//! ```
//!
//! Nobody waits for the disk. What a crash of the machine takes, or a disk that is full, is missing here and stays in the
//! broker's own log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use logmill_storage::disk::{Disk, OpenOptions, read_file, replace_file};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::events::{EVENTS, Event, EventKind};

/// The directory of the files, in the data directory.
const DIRECTORY: &str = "pipeline-events";
const EXTENSION: &str = ".jsonl";

/// A file that has grown to this many bytes is written anew with the newest events.
const FILE_BYTES: u64 = 2 << 20;

/// An event as it is written down.
#[derive(Serialize, Deserialize)]
struct Line {
    number: u64,
    at_ms: i64,
    kind: String,
    text: String,
}

enum Order {
    Write { pipeline: Arc<str>, event: Event },
    Remove { pipeline: String, done: oneshot::Sender<()> },
}

/// The files; cheap to clone.
#[derive(Clone)]
pub(super) struct EventLog {
    files: Files,
    writer: Arc<Mutex<Option<Writer>>>,
}

struct Writer {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

#[derive(Clone)]
struct Files {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl EventLog {
    /// The files in a data directory. Without a thread nothing is written.
    pub(super) fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> EventLog {
        let files = Files { disk, directory: data_dir.join(DIRECTORY) };
        let (orders, queue) = channel();
        let of_thread = files.clone();
        let thread = std::thread::Builder::new().name("pipeline-events".to_owned());
        let thread = thread.spawn(move || of_thread.follow(&queue));
        if let Err(error) = &thread {
            tracing::warn!(%error, "events of pipelines are not kept over a restart: there is no thread to write them");
        }
        let writer = thread.ok().map(|thread| Writer { orders, thread });
        EventLog { files, writer: Arc::new(Mutex::new(writer)) }
    }

    /// The events of a pipeline that were written down, oldest first.
    pub(super) fn read(&self, pipeline: &str) -> Vec<Event> {
        let path = self.files.path(pipeline);
        match self.files.read(&path) {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(pipeline, path = %path.display(), %error, "earlier events cannot be read");
                Vec::new()
            }
        }
    }

    /// Writes an event down, soon.
    pub(super) fn write(&self, pipeline: &Arc<str>, event: Event) {
        self.order(Order::Write { pipeline: Arc::clone(pipeline), event });
    }

    /// Removes the events of a pipeline that is gone.
    pub(super) async fn remove(&self, pipeline: &str) {
        let (done, removed) = oneshot::channel();
        self.order(Order::Remove { pipeline: pipeline.to_owned(), done });
        // Without a writer there is nobody to answer.
        let _ = removed.await;
    }

    /// Removes the events of pipelines that are not known: the process ended before.
    pub(super) fn remove_unknown(&self, is_known: impl Fn(&str) -> bool) {
        let Files { disk, directory } = &self.files;
        let removed = (|| {
            if !disk.exists(directory)? {
                return Ok(());
            }
            for entry in disk.read_dir(directory)? {
                let pipeline = entry.name.strip_suffix(EXTENSION);
                if !entry.is_dir && !pipeline.is_some_and(&is_known) {
                    disk.remove_file(&directory.join(&entry.name))?;
                }
            }
            Ok::<_, std::io::Error>(())
        })();
        if let Err(error) = removed {
            tracing::warn!(%error, directory = %directory.display(), "events of deleted pipelines stay");
        }
    }

    /// Writes down what is on its way, and nothing after that.
    pub(super) fn close(&self) {
        let Some(Writer { orders, thread }) = self.writer.lock().take() else { return };
        drop(orders);
        if thread.join().is_err() {
            tracing::error!("the thread that writes events of pipelines ended with a panic");
        }
    }

    fn order(&self, order: Order) {
        if let Some(writer) = &*self.writer.lock() {
            // Its thread lives as long as this.
            let _ = writer.orders.send(order);
        }
    }
}

impl Files {
    fn path(&self, pipeline: &str) -> PathBuf {
        self.directory.join(format!("{pipeline}{EXTENSION}"))
    }

    /// The thread: does what is ordered until nobody can order any more.
    fn follow(&self, orders: &Receiver<Order>) {
        let mut told = false;
        for order in orders {
            match order {
                Order::Write { pipeline, event } => match self.append(&pipeline, event) {
                    Ok(()) => told = false,
                    Err(error) if !told => {
                        told = true;
                        tracing::warn!(pipeline = &*pipeline, %error, "events are not written down, and will be missing after a restart");
                    }
                    Err(_) => {}
                },
                Order::Remove { pipeline, done } => {
                    let path = self.path(&pipeline);
                    let exists = self.disk.exists(&path).unwrap_or(false);
                    if let Err(error) = if exists { self.disk.remove_file(&path) } else { Ok(()) } {
                        tracing::warn!(pipeline, %error, "events of a deleted pipeline stay");
                    }
                    let _ = done.send(());
                }
            }
        }
    }

    fn append(&self, pipeline: &str, event: Event) -> std::io::Result<()> {
        let path = self.path(pipeline);
        self.disk.create_dir_all(&self.directory)?;
        let file = self.disk.open(&path, OpenOptions::CREATE)?;
        let mut end = file.len()?;
        let mut bytes = Vec::new();
        let mut last = [b'\n'];
        if end > 0 {
            file.read_exact_at(&mut last, end - 1)?;
        }
        // The process ended in the middle of a line.
        if last != [b'\n'] {
            bytes.push(b'\n');
        }
        let Event { number, at_ms, kind, text } = event;
        let line = Line { number, at_ms, kind: kind.name().to_owned(), text };
        serde_json::to_writer(&mut bytes, &line)?;
        bytes.push(b'\n');
        file.write_at(&bytes, end)?;
        end += bytes.len() as u64;
        if end >= FILE_BYTES {
            let content = read_file(&*self.disk, &path)?;
            let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
            let newest = lines[lines.len().saturating_sub(EVENTS)..].concat();
            replace_file(&*self.disk, &path, &newest)?;
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> std::io::Result<Vec<Event>> {
        if !self.disk.exists(path)? {
            return Ok(Vec::new());
        }
        let content = read_file(&*self.disk, path)?;
        let event = |line: &[u8]| {
            let Line { number, at_ms, kind, text } = serde_json::from_slice(line).ok()?;
            Some(Event { number, at_ms, kind: EventKind::of(&kind)?, text })
        };
        let mut events: Vec<Event> = content.split(|byte| *byte == b'\n').filter_map(event).collect();
        events.drain(..events.len().saturating_sub(EVENTS));
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use logmill_storage::RealDisk;
    use tempfile::TempDir;

    use super::*;

    fn event(number: u64, text: &str) -> Event {
        Event { number, at_ms: 7, kind: EventKind::Changed, text: text.to_owned() }
    }

    #[tokio::test]
    async fn events_are_there_again_the_newest_of_them_in_little_room() {
        let directory = TempDir::new().unwrap();
        let log = EventLog::open(Arc::new(RealDisk), directory.path());
        assert_eq!(log.read("p"), []);
        let (name, other): (Arc<str>, Arc<str>) = ("p".into(), "other".into());
        let text = "x".repeat(2_000);
        for number in 1..=2_500 {
            log.write(&name, event(number, &text));
        }
        log.write(&other, event(1, "here"));
        log.close();
        log.write(&name, event(9_999, "too late"));
        let again = EventLog::open(Arc::new(RealDisk), directory.path());
        let found = again.read("p");
        assert_eq!((found.len(), found[EVENTS - 1].number), (EVENTS, 2_500));
        assert_eq!(found[0], event(2_001, &text));
        let path = directory.path().join(DIRECTORY).join("p.jsonl");
        assert!(std::fs::metadata(&path).unwrap().len() < FILE_BYTES);
        // What a crash has left of the last line is passed over, and what follows is not lost with it.
        std::fs::write(&path, b"{\"number\":1,\"at_ms\":7,\"kind\":\"changed\",\"text\":\"a\"}\n{\"numb")
            .unwrap();
        again.write(&name, event(2, "b"));
        again.remove("other").await;
        assert_eq!(again.read("p"), [event(1, "a"), event(2, "b")]);
        assert_eq!(again.read("other"), []);
        again.remove_unknown(|name| name != "p");
        assert_eq!(again.read("p"), []);
        again.close();
        again.remove("p").await;
    }
}

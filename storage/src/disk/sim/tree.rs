//! Files and names of the simulated disk, each in its current and its durable state.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Random;
use super::file::{Content, Survival};
use crate::disk::{DirEntry, OpenOptions};

/// Number of a file or directory.
pub(super) type Node = usize;
const ROOT: Node = 0;

/// What a flush does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Flushing {
    Works,
    /// It says that it worked.
    Lies,
    Fails,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    File(Content),
    Dir(Directory),
}

#[derive(Debug, Default)]
struct Directory {
    current: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<NameChange>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(String, Node),
    Unlink(String),
    Rename(String, String, Node),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            NameChange::Link(name, node) => {
                names.insert(name.clone(), *node);
            }
            NameChange::Unlink(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Directory {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.current);
        self.pending.clear();
    }

    /// Keeps a beginning of the pending changes, or any selection of them.
    fn crash(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            if random.one_in(2) {
                let kept = random.below(pending.len() as u64 + 1) as usize;
                pending[..kept].iter().for_each(|change| change.apply(&mut self.durable));
            } else {
                for change in &pending {
                    if random.one_in(2) {
                        change.apply(&mut self.durable);
                    }
                }
            }
        }
        self.current.clone_from(&self.durable);
    }
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree { nodes: vec![Entry::Dir(Directory::default())] }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = ROOT;
        for name in names(path)? {
            node = *self.dir(node)?.current.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn file_mut(&mut self, node: Node) -> io::Result<&mut Content> {
        match &mut self.nodes[node] {
            Entry::File(content) => Ok(content),
            Entry::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn dir(&self, node: Node) -> io::Result<&Directory> {
        match &self.nodes[node] {
            Entry::Dir(directory) => Ok(directory),
            Entry::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, node: Node) -> io::Result<&mut Directory> {
        match &mut self.nodes[node] {
            Entry::Dir(directory) => Ok(directory),
            Entry::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds the last name of a path, and that name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(Node, &'a str)> {
        let mut names = names(path)?;
        let last = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut node = ROOT;
        for name in names {
            node = *self.dir(node)?.current.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        self.dir(node)?;
        Ok((node, last))
    }

    fn add(&mut self, parent: Node, name: &str, entry: Entry) -> io::Result<Node> {
        let node = self.nodes.len();
        self.nodes.push(entry);
        self.dir_mut(parent)?.change(NameChange::Link(name.to_owned(), node));
        Ok(node)
    }

    pub(super) fn open(&mut self, path: &Path, options: OpenOptions) -> io::Result<Node> {
        let (parent, name) = self.parent(path)?;
        match self.dir(parent)?.current.get(name) {
            Some(_) if options.create_new => Err(io::ErrorKind::AlreadyExists.into()),
            Some(&node) => {
                self.file_mut(node)?;
                Ok(node)
            }
            None if options.create => self.add(parent, name, Entry::File(Content::default())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut node = ROOT;
        for name in names(path)? {
            node = match self.dir(node)?.current.get(name) {
                Some(&next) => next,
                None => self.add(node, name, Entry::Dir(Directory::default()))?,
            };
            self.dir(node)?;
        }
        Ok(())
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let directory = self.dir(self.find(path)?)?;
        Ok(directory
            .current
            .iter()
            .map(|(name, &node)| DirEntry {
                name: name.clone(),
                is_dir: matches!(self.nodes[node], Entry::Dir(_)),
            })
            .collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (parent, old) = self.parent(from)?;
        let (target, new) = self.parent(to)?;
        if parent != target {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a rename stays within one directory: nothing here needs more, and the order of two is not promised",
            ));
        }
        let directory = self.dir_mut(parent)?;
        let node = *directory.current.get(old).ok_or(io::ErrorKind::NotFound)?;
        directory.change(NameChange::Rename(old.to_owned(), new.to_owned(), node));
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let node = *self.dir(parent)?.current.get(name).ok_or(io::ErrorKind::NotFound)?;
        self.file_mut(node)?;
        self.dir_mut(parent)?.change(NameChange::Unlink(name.to_owned()));
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let node = self.find(path)?;
        self.empty(node)?;
        self.dir_mut(parent)?.change(NameChange::Unlink(name.to_owned()));
        Ok(())
    }

    fn empty(&mut self, node: Node) -> io::Result<()> {
        let inside: Vec<(String, Node)> =
            self.dir(node)?.current.iter().map(|(name, &node)| (name.clone(), node)).collect();
        for (name, child) in inside {
            if matches!(self.nodes[child], Entry::Dir(_)) {
                self.empty(child)?;
            }
            self.dir_mut(node)?.change(NameChange::Unlink(name));
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        self.dir_mut(node)?.sync();
        Ok(())
    }

    /// Flushes everything that has a name, and the names, each as `how` says. True when something failed.
    pub(super) fn sync_whole(&mut self, how: impl Fn(&Path) -> Flushing) -> bool {
        let mut failed = false;
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, node)) = open.pop() {
            let how = how(&path);
            match &mut self.nodes[node] {
                Entry::File(content) if content.is_pending() => match how {
                    Flushing::Works => content.sync(),
                    Flushing::Lies => {}
                    Flushing::Fails => {
                        content.forget();
                        failed = true;
                    }
                },
                Entry::File(_) => {}
                Entry::Dir(directory) => {
                    open.extend(directory.current.iter().map(|(name, &node)| (path.join(name), node)));
                    if !directory.pending.is_empty() {
                        match how {
                            Flushing::Works => directory.sync(),
                            Flushing::Lies => {}
                            Flushing::Fails => failed = true,
                        }
                    }
                }
            }
        }
        failed
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        let survival = Survival::choose(random);
        for entry in &mut self.nodes {
            match entry {
                Entry::File(content) => content.crash(survival, random),
                Entry::Dir(directory) => directory.crash(random),
            }
        }
    }

    /// Bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        self.files().iter().map(|(_, length)| length).sum()
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, node)) = open.pop() {
            match &self.nodes[node] {
                Entry::File(content) => files.push((path, content.len())),
                Entry::Dir(directory) => {
                    open.extend(directory.current.iter().map(|(name, &node)| (path.join(name), node)));
                }
            }
        }
        files.sort();
        files
    }
}

fn names(path: &Path) -> io::Result<Vec<&str>> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_)))
        .map(|component| component.as_os_str().to_str().ok_or_else(|| io::ErrorKind::InvalidInput.into()))
        .collect()
}

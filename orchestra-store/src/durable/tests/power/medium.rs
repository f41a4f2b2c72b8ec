//! A disk that loses power: what may be left of the steps that were done to it.
//!
//! Nothing is granted that POSIX does not promise. Until a file is synced, each sector of what was written to it may be there or
//! not, whatever the order of writing, and the file may have become longer without getting its data. Until a directory is
//! synced, each change of a name may have happened or not. Syncing a file does not make its name durable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::durable::disk::tape::Done;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// Files and directories, with what is durable and what is still on its way.
#[derive(Clone, Debug)]
pub(super) struct Medium {
    /// The first is the root.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Dir { durable: BTreeMap<OsString, usize>, pending: Vec<NameChange> },
    File { durable: Vec<u8>, pending: Vec<DataChange> },
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(OsString, usize),
    Remove(OsString),
    Rename(OsString, OsString, usize),
}

#[derive(Clone, Debug)]
enum DataChange {
    Write(usize, Vec<u8>),
    Cut(usize),
}

/// What is there after a power loss: files with their bytes, directories with `None`.
pub(super) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Which of the pending changes got to the disk, asked for one by one.
pub(super) struct Luck<'a> {
    pub(super) next: &'a mut dyn FnMut() -> bool,
    /// What stands where a file has become longer without its data.
    pub(super) filler: u8,
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<OsString, usize>) {
        match self {
            Self::Add(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl DataChange {
    fn apply(&self, data: &mut Vec<u8>, filler: u8) {
        match self {
            Self::Cut(length) => data.resize(*length, 0),
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if data.len() < end {
                    data.resize(end, filler);
                }
                data[*offset..end].copy_from_slice(bytes);
            }
        }
    }

    /// The parts that can be lost one without the other.
    fn sectors(&self) -> Vec<Self> {
        match self {
            Self::Cut(_) => vec![self.clone()],
            Self::Write(offset, bytes) => {
                let mut sectors = Vec::new();
                let mut begin = 0;
                while begin < bytes.len() {
                    let end = bytes.len().min(begin + SECTOR - (offset + begin) % SECTOR);
                    sectors.push(Self::Write(offset + begin, bytes[begin..end].to_vec()));
                    begin = end;
                }
                sectors
            }
        }
    }
}

fn empty_dir() -> Node {
    Node::Dir { durable: BTreeMap::new(), pending: Vec::new() }
}

impl Medium {
    pub(super) fn new() -> Self {
        Self { nodes: vec![empty_dir()] }
    }

    /// A disk on which nothing but `image` is, durably.
    pub(super) fn holding(image: &Image) -> Self {
        let mut medium = Self::new();
        for (path, content) in image {
            let node = match content {
                None => empty_dir(),
                Some(bytes) => Node::File { durable: bytes.clone(), pending: Vec::new() },
            };
            let node = medium.add(node);
            let (dir, name) = medium.place(path);
            if let Node::Dir { durable, .. } = &mut medium.nodes[dir] {
                durable.insert(name, node);
            }
        }
        medium
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn names(&self, dir: usize) -> BTreeMap<OsString, usize> {
        let Node::Dir { durable, pending } = &self.nodes[dir] else { panic!("not a directory") };
        let mut names = durable.clone();
        pending.iter().for_each(|change| change.apply(&mut names));
        names
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.iter().try_fold(0, |dir, name| self.names(dir).get(name).copied())
    }

    fn place(&self, path: &Path) -> (usize, OsString) {
        let dir = self.find(path.parent().unwrap()).unwrap();
        (dir, path.file_name().unwrap().to_owned())
    }

    fn rename(&mut self, path: &Path, change: impl FnOnce(OsString) -> NameChange) {
        let (dir, name) = self.place(path);
        let Node::Dir { pending, .. } = &mut self.nodes[dir] else { panic!("not a directory") };
        pending.push(change(name));
    }

    fn write(&mut self, path: &Path, change: DataChange) {
        let node = self.find(path).unwrap();
        let Node::File { pending, .. } = &mut self.nodes[node] else { panic!("not a file") };
        pending.push(change);
    }

    /// Does a step that was recorded below `root`.
    pub(super) fn apply(&mut self, root: &Path, done: &Done) {
        let below = |path: &Path| path.strip_prefix(root).unwrap().to_owned();
        match done {
            Done::Told(_) => {}
            Done::CreateDir(path) => {
                let node = self.add(empty_dir());
                self.rename(&below(path), |name| NameChange::Add(name, node));
            }
            Done::Create(path) => match self.find(&below(path)) {
                Some(_) => self.write(&below(path), DataChange::Cut(0)),
                None => {
                    let node = self.add(Node::File { durable: Vec::new(), pending: Vec::new() });
                    self.rename(&below(path), |name| NameChange::Add(name, node));
                }
            },
            Done::Write(path, offset, bytes) => {
                self.write(&below(path), DataChange::Write(*offset as usize, bytes.clone()));
            }
            Done::Cut(path, length) => self.write(&below(path), DataChange::Cut(*length as usize)),
            Done::Rename(from, to) => {
                let (node, to) = (self.find(&below(from)).unwrap(), to.file_name().unwrap().to_owned());
                self.rename(&below(from), |from| NameChange::Rename(from, to, node));
            }
            Done::Remove(path) => self.rename(&below(path), NameChange::Remove),
            Done::Sync(path) | Done::SyncDir(path) => {
                let node = self.find(&below(path)).unwrap();
                self.nodes[node].settle();
            }
        }
    }

    /// What a power loss leaves.
    pub(super) fn lose_power(&self, luck: &mut Luck<'_>) -> Image {
        let mut image = Image::new();
        self.collect(0, Path::new(""), luck, &mut image);
        image
    }

    fn collect(&self, dir: usize, path: &Path, luck: &mut Luck<'_>, image: &mut Image) {
        let Node::Dir { durable, pending } = &self.nodes[dir] else { panic!("not a directory") };
        let mut names = durable.clone();
        pending.iter().filter(|_| (luck.next)()).for_each(|change| change.apply(&mut names));
        for (name, node) in names {
            let path = path.join(name);
            match &self.nodes[node] {
                Node::Dir { .. } => {
                    image.insert(path.clone(), None);
                    self.collect(node, &path, luck, image);
                }
                Node::File { durable, pending } => {
                    image.insert(path, Some(left_of(durable, pending, luck)));
                }
            }
        }
    }
}

impl Node {
    fn settle(&mut self) {
        match self {
            Self::Dir { durable, pending } => pending.drain(..).for_each(|change| change.apply(durable)),
            Self::File { durable, pending } => pending.drain(..).for_each(|change| change.apply(durable, 0)),
        }
    }
}

fn left_of(durable: &[u8], pending: &[DataChange], luck: &mut Luck<'_>) -> Vec<u8> {
    let mut data = durable.to_vec();
    if pending.is_empty() {
        return data;
    }
    let mut whole = data.clone();
    pending.iter().for_each(|change| change.apply(&mut whole, 0));
    for sector in pending.iter().flat_map(DataChange::sectors).filter(|_| (luck.next)()) {
        sector.apply(&mut data, luck.filler);
    }
    if data.len() < whole.len() && (luck.next)() {
        data.resize(whole.len(), luck.filler);
    }
    data
}

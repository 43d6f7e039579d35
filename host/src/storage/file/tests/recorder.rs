//! What a power cut can leave behind: the operations of a store, recorded, and every state of the
//! disk that POSIX allows after any number of them.
//!
//! Two things are taken for granted: a sync that has returned did what it says, and a name is made,
//! moved or taken away as a whole. All else is doubted. Before its file is synced a write may be
//! absent, cut, or nothing but zeroes, and an group or a mode as at birth (but both lie in one
//! inode: a mode that came later takes the group along); before its directory is synced any
//! selection of the changes of names may have happened, and what was renamed may have both names.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::rc::Rc;

use super::super::files::{Dir, Temp};
use super::*;

/// What is on a disk, by paths relative to the directory that it was recorded in.
pub(super) type State = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Dir { mode: u32 },
    Link(PathBuf),
    File(Content),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
}

/// One operation. A file is known by the path that it was created at, which no two share.
#[derive(Clone, Debug)]
pub(super) enum Op {
    CreateDir { path: PathBuf },
    Create { file: PathBuf },
    SetGroup { file: PathBuf, group: u32 },
    SetMode { file: PathBuf, mode: u32 },
    Write { file: PathBuf, bytes: Vec<u8> },
    SyncFile { file: PathBuf },
    Rename { file: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    SyncDir { path: PathBuf },
}

/// What became of an operation that no sync followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Lost,
    /// Of a write: this many bytes, and the file ends there.
    Cut(usize),
    /// Of a write: this many bytes, and zeroes for the rest.
    Zeroed(usize),
    /// Of a rename: the old name is still there as well.
    BothNames,
}

impl Op {
    /// What may have become of it, if `later` came after it: first, that it was done.
    fn fates(&self, later: &[Self]) -> Vec<Fate> {
        let file_synced =
            |file: &Path| later.iter().any(|op| matches!(op, Self::SyncFile { file: synced } if synced == file));
        let name_synced = |path: &Path| {
            later.iter().any(|op| matches!(op, Self::SyncDir { path: synced } if path.parent() == Some(synced)))
        };
        match self {
            Self::SyncFile { .. } | Self::SyncDir { .. } => vec![Fate::Done],
            Self::Write { file, bytes } if !file_synced(file) => {
                let (half, last) = (bytes.len() / 2, bytes.len().saturating_sub(1));
                let cut = [1, half, last].map(Fate::Cut);
                let zeroed = [0, half].map(Fate::Zeroed);
                [[Fate::Done, Fate::Lost].as_slice(), &cut, &zeroed].concat()
            }
            Self::SetGroup { file, .. } | Self::SetMode { file, .. } if !file_synced(file) => {
                vec![Fate::Done, Fate::Lost]
            }
            Self::Rename { to, .. } if !name_synced(to) => vec![Fate::Done, Fate::Lost, Fate::BothNames],
            Self::CreateDir { path } | Self::Create { file: path } | Self::Remove { path } if !name_synced(path) => {
                vec![Fate::Done, Fate::Lost]
            }
            _ => vec![Fate::Done],
        }
    }
}

/// What a power cut can leave.
pub(super) struct Left {
    /// In how many ways the operations can have been lost.
    pub(super) ways: u64,
    /// To what they come; and whether nothing was lost, which is all that the end of a process
    /// leaves.
    pub(super) states: BTreeSet<(State, bool)>,
}

/// Every state that a power cut can leave after `ops`, done to a disk that was at `before`.
pub(super) fn left_after(before: &State, ops: &[Op]) -> Left {
    let names = before.iter().map(|(path, node)| (path.clone(), Name::Old(Rc::new(node.clone())))).collect();
    let mut ways = 1;
    let first = Medley { names, contents: BTreeMap::new(), lost_groups: BTreeMap::new(), nothing_lost: true };
    let mut medleys = BTreeSet::from([first]);
    for (at, op) in ops.iter().enumerate() {
        let later = &ops[at + 1..];
        let fates = op.fates(later);
        ways *= fates.len() as u64;
        let after = |medley: &Medley| {
            let medley = medley.clone();
            let after = move |fate: &Fate| medley.clone().after(op, *fate, later);
            fates.iter().map(after).collect::<Vec<_>>()
        };
        medleys = medleys.iter().flat_map(after).collect();
    }
    Left { ways, states: medleys.into_iter().map(Medley::into_state).collect() }
}

/// A disk on which some operations have happened.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Medley {
    names: BTreeMap<PathBuf, Name>,
    contents: BTreeMap<PathBuf, Rc<Content>>,
    /// Groups that reach the disk with the next change of the same inode, if there is one.
    lost_groups: BTreeMap<PathBuf, u32>,
    nothing_lost: bool,
}

/// What a name leads to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Old(Rc<Node>),
    NewDir,
    /// By the path of its birth.
    NewFile(PathBuf),
}

impl Medley {
    fn after(mut self, op: &Op, fate: Fate, later: &[Op]) -> Self {
        self.nothing_lost &= fate == Fate::Done;
        let is_lost = fate == Fate::Lost;
        match op {
            // The content is there for whoever reaches it by another name.
            Op::Create { file } => {
                let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
                let born = Content { bytes: Vec::new(), mode: 0o600, owner };
                self.contents.insert(file.clone(), Rc::new(born));
                if !is_lost {
                    self.names.insert(file.clone(), Name::NewFile(file.clone()));
                }
            }
            Op::SetGroup { file, group } if is_lost => {
                self.lost_groups.insert(file.clone(), *group);
            }
            _ if is_lost => {}
            Op::CreateDir { path } => {
                self.names.insert(path.clone(), Name::NewDir);
            }
            Op::SetGroup { file, group } => self.content(file).owner.1 = *group,
            Op::SetMode { file, mode } => {
                let group = self.lost_groups.remove(file);
                let content = self.content(file);
                content.mode = *mode;
                content.owner.1 = group.unwrap_or(content.owner.1);
            }
            Op::Write { file, bytes } => {
                let content = &mut self.content(file).bytes;
                let start = content.len();
                let kept = match fate {
                    Fate::Cut(kept) | Fate::Zeroed(kept) => kept,
                    _ => bytes.len(),
                };
                content.extend(&bytes[..kept]);
                if matches!(fate, Fate::Zeroed(_)) {
                    content.resize(start + bytes.len(), 0);
                }
            }
            Op::Rename { file, to } => {
                if fate == Fate::Done {
                    self.names.remove(file);
                }
                self.names.insert(to.clone(), Name::NewFile(file.clone()));
            }
            Op::Remove { path } => {
                self.names.remove(path);
            }
            Op::SyncFile { .. } | Op::SyncDir { .. } => {}
        }
        // What nothing leads to any more, and nothing will, makes no difference; nor what is in a
        // file that kept its temporary name, for nobody reads it.
        let will_be_named =
            |file: &Path| later.iter().any(|op| matches!(op, Op::Rename { file: named, .. } if named == file));
        let is_at = |path: &Path, file: &Path| matches!(self.names.get(path), Some(Name::NewFile(at)) if at == file);
        let is_named = |file: &Path| self.names.keys().any(|path| path != file && is_at(path, file));
        self.contents.retain(|file, content| {
            let is_used = is_named(file) || will_be_named(file);
            if !is_used && !content.bytes.is_empty() {
                Rc::make_mut(content).bytes = Vec::new();
            }
            is_used || is_at(file, file)
        });
        self
    }

    fn content(&mut self, file: &Path) -> &mut Content {
        Rc::make_mut(self.contents.entry(file.to_owned()).or_default())
    }

    fn into_state(self) -> (State, bool) {
        // What lies in a directory whose own name was lost cannot be reached.
        let is_reachable =
            |path: &Path| path.ancestors().skip(1).all(|above| above == "" || self.names.contains_key(above));
        let node = |name: &Name| match name {
            Name::Old(node) => (**node).clone(),
            Name::NewDir => Node::Dir { mode: 0o700 },
            Name::NewFile(file) => {
                Node::File(self.contents.get(file).map(|content| (**content).clone()).unwrap_or_default())
            }
        };
        let reached = self.names.iter().filter(|(path, _)| is_reachable(path));
        (reached.map(|(path, name)| (path.clone(), node(name))).collect(), self.nothing_lost)
    }
}

/// What is in `root` now, as if all of it had been synced.
pub(super) fn snapshot(root: &Path) -> State {
    let mut state = State::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let stat = fs::symlink_metadata(&path).expect("there");
            let node = if stat.is_dir() {
                ahead.push(path.clone());
                Node::Dir { mode: stat.mode() & 0o7777 }
            } else if stat.is_symlink() {
                Node::Link(fs::read_link(&path).expect("a link"))
            } else {
                let bytes = fs::read(&path).expect("readable");
                Node::File(Content { bytes, mode: stat.mode() & 0o7777, owner: (stat.uid(), stat.gid()) })
            };
            state.insert(path.strip_prefix(root).expect("below the root").to_owned(), node);
        }
    }
    state
}

/// A directory where nothing needs to survive, in memory if there is such a place.
pub(super) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// Makes the empty directory `root` what `state` says.
pub(super) fn rebuild(state: &State, root: &Path) {
    for (path, node) in state {
        let path = root.join(path);
        match node {
            Node::Dir { mode } => {
                fs::create_dir(&path).expect("made");
                chmod(&path, *mode);
            }
            Node::Link(target) => symlink(target, &path).expect("linked"),
            Node::File(content) => {
                fs::write(&path, &content.bytes).expect("written");
                if is_root() {
                    chown(&path, Some(content.owner.0), Some(content.owner.1)).expect("given away");
                }
                chmod(&path, content.mode);
            }
        }
    }
}

/// The real disk, and a record of what was done to it.
pub(super) struct Recorder {
    pub(super) root: PathBuf,
    pub(super) log: Arc<Mutex<Vec<Op>>>,
    /// An operation that is neither done nor recorded, as by an implementation that lacks it.
    pub(super) without: Option<&'static str>,
}

impl Recorder {
    /// Does it, and then records it.
    fn record<T>(&self, op: &str, recorded: Op, done: impl FnOnce() -> io::Result<T>) -> io::Result<T>
    where
        T: Default,
    {
        if self.without == Some(op) {
            return Ok(T::default());
        }
        let result = done()?;
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
        Ok(result)
    }

    fn path(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).expect("nothing is done elsewhere").to_owned()
    }
}

impl Files for Recorder {
    fn create_dir(&self, at: &Spot) -> io::Result<()> {
        self.record("create_dir", Op::CreateDir { path: self.path(&at.path()) }, || Disk.create_dir(at))
    }

    fn open_temp(&self, at: &Spot) -> io::Result<Temp> {
        let temp = Disk.open_temp(at)?;
        self.record("open_temp", Op::Create { file: self.path(&at.path()) }, || Ok(()))?;
        Ok(temp)
    }

    fn set_group(&self, temp: &Temp, group: u32) -> io::Result<()> {
        let op = Op::SetGroup { file: self.path(&temp.at.path()), group };
        self.record("set_group", op, || Disk.set_group(temp, group))
    }

    fn set_mode(&self, temp: &Temp, mode: u32) -> io::Result<()> {
        let op = Op::SetMode { file: self.path(&temp.at.path()), mode };
        self.record("set_mode", op, || Disk.set_mode(temp, mode))
    }

    fn write(&self, temp: &Temp, bytes: &[u8]) -> io::Result<()> {
        let op = Op::Write { file: self.path(&temp.at.path()), bytes: bytes.to_owned() };
        self.record("write", op, || Disk.write(temp, bytes))
    }

    fn sync_file(&self, temp: &Temp) -> io::Result<()> {
        let op = Op::SyncFile { file: self.path(&temp.at.path()) };
        self.record("sync_file", op, || Disk.sync_file(temp))
    }

    fn rename(&self, temp: &Temp, to: &OsStr) -> io::Result<()> {
        let op = Op::Rename { file: self.path(&temp.at.path()), to: self.path(&temp.at.beside(to).path()) };
        self.record("rename", op, || Disk.rename(temp, to))
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        match dir.path.starts_with(&self.root) {
            true => self.record("sync_dir", Op::SyncDir { path: self.path(&dir.path) }, || Disk.sync_dir(dir)),
            false => Ok(()), // above everything that is recorded
        }
    }

    fn remove(&self, at: &Spot) -> io::Result<()> {
        self.record("remove", Op::Remove { path: self.path(&at.path()) }, || Disk.remove(at))
    }

    fn allocate(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        // A document never has what was set aside: it is written over or cut off before the file is
        // synced.
        Disk.allocate(temp, bytes)
    }

    fn cut(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        Disk.cut(temp, bytes)
    }
}

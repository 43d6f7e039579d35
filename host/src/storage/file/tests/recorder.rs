//! What a power cut can leave behind: the operations of a store, recorded, and every state of the disk that POSIX allows
//! after any number of them.
//!
//! Two things are taken for granted: a sync that has returned did what it says, and a name is made, moved or taken away as a
//! whole. All else is doubted. Before its file is synced a write may be absent, cut, or nothing but zeroes, and an
//! owner or a mode as at birth; before its directory is synced any selection of the changes of names may have
//! happened, and what was renamed may have both names.

use std::collections::BTreeMap;
use std::io;

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
    SetOwner { file: PathBuf, owner: (u32, u32) },
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
            Self::SetOwner { file, .. } | Self::SetMode { file, .. } if !file_synced(file) => {
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

/// Every state that a power cut can leave after `ops`, done to a disk that was at `before`; and whether it is the one in which
/// nothing was lost, which is all that the end of a process leaves.
pub(super) fn states_after(before: &State, ops: &[Op]) -> Vec<(State, bool)> {
    let fates: Vec<Vec<Fate>> = ops.iter().enumerate().map(|(at, op)| op.fates(&ops[at + 1..])).collect();
    let mut chosen = vec![0; ops.len()];
    let mut states = Vec::new();
    loop {
        let done: Vec<(&Op, Fate)> = ops.iter().zip(fates.iter().zip(&chosen).map(|(of, at)| of[*at])).collect();
        states.push((apply(before, &done), chosen.iter().all(|at| *at == 0)));
        // The next choice, as an odometer counts.
        let Some(turning) = chosen.iter().zip(&fates).position(|(at, of)| at + 1 < of.len()) else {
            return states;
        };
        chosen[..turning].fill(0);
        chosen[turning] += 1;
    }
}

fn apply(before: &State, done: &[(&Op, Fate)]) -> State {
    let mut contents: BTreeMap<&Path, Content> = BTreeMap::new();
    // A name leads to what was there before, or to a file by the path of its birth.
    let mut names: BTreeMap<&Path, Result<&Node, &Path>> =
        before.iter().map(|(path, node)| (path.as_path(), Ok(node))).collect();
    const NEW_DIR: Node = Node::Dir { mode: 0o700 };
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for (op, fate) in done {
        match op {
            // The content is there for whoever reaches it by another name.
            Op::Create { file } => {
                contents.insert(file, Content { bytes: Vec::new(), mode: 0o600, owner: me });
                if *fate == Fate::Done {
                    names.insert(file, Err(file));
                }
            }
            _ if *fate == Fate::Lost => {}
            Op::CreateDir { path } => {
                names.insert(path, Ok(&NEW_DIR));
            }
            Op::SetOwner { file, owner } => contents.entry(file).or_default().owner = *owner,
            Op::SetMode { file, mode } => contents.entry(file).or_default().mode = *mode,
            Op::Write { file, bytes } => {
                let content = &mut contents.entry(file).or_default().bytes;
                let start = content.len();
                let kept = match fate {
                    Fate::Cut(kept) | Fate::Zeroed(kept) => *kept,
                    _ => bytes.len(),
                };
                content.extend(&bytes[..kept]);
                if matches!(fate, Fate::Zeroed(_)) {
                    content.resize(start + bytes.len(), 0);
                }
            }
            Op::Rename { file, to } => {
                if *fate == Fate::Done {
                    names.remove(file.as_path());
                }
                names.insert(to, Err(file));
            }
            Op::Remove { path } => {
                names.remove(path.as_path());
            }
            Op::SyncFile { .. } | Op::SyncDir { .. } => {}
        }
    }
    // What lies in a directory whose own name was lost cannot be reached.
    let is_reachable = |path: &Path| path.ancestors().skip(1).all(|above| above == "" || names.contains_key(above));
    let node = |found: &Result<&Node, &Path>| match found {
        Ok(node) => (*node).clone(),
        Err(file) => Node::File(contents.get(file).cloned().unwrap_or_default()),
    };
    names.iter().filter(|(path, _)| is_reachable(path)).map(|(path, found)| (path.to_path_buf(), node(found))).collect()
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
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.record("create_dir", Op::CreateDir { path: self.path(path) }, || Disk.create_dir(path))
    }

    fn open_temp(&self, path: &Path) -> io::Result<Temp> {
        let temp = Disk.open_temp(path)?;
        self.record("open_temp", Op::Create { file: self.path(path) }, || Ok(()))?;
        Ok(temp)
    }

    fn set_owner(&self, temp: &Temp, user: u32, group: u32) -> io::Result<()> {
        let op = Op::SetOwner { file: self.path(&temp.path), owner: (user, group) };
        self.record("set_owner", op, || Disk.set_owner(temp, user, group))
    }

    fn set_mode(&self, temp: &Temp, mode: u32) -> io::Result<()> {
        let op = Op::SetMode { file: self.path(&temp.path), mode };
        self.record("set_mode", op, || Disk.set_mode(temp, mode))
    }

    fn write(&self, temp: &Temp, bytes: &[u8]) -> io::Result<()> {
        let op = Op::Write { file: self.path(&temp.path), bytes: bytes.to_owned() };
        self.record("write", op, || Disk.write(temp, bytes))
    }

    fn sync_file(&self, temp: &Temp) -> io::Result<()> {
        let op = Op::SyncFile { file: self.path(&temp.path) };
        self.record("sync_file", op, || Disk.sync_file(temp))
    }

    fn rename(&self, temp: &Temp, to: &Path) -> io::Result<()> {
        let op = Op::Rename { file: self.path(&temp.path), to: self.path(to) };
        self.record("rename", op, || Disk.rename(temp, to))
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        match dir.path.starts_with(&self.root) {
            true => self.record("sync_dir", Op::SyncDir { path: self.path(&dir.path) }, || Disk.sync_dir(dir)),
            false => Ok(()), // above everything that is recorded
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.record("remove", Op::Remove { path: self.path(path) }, || Disk.remove(path))
    }
}

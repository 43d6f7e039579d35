//! A link is followed only where nobody but the user and root could have put it, and only to a
//! place where nobody else can put another file. Without a link the path is the user's own word and
//! is taken as it is.
//!
//! The way is walked by hand, one name at a time, because the kernel would follow anybody's link:
//! each directory is opened in the one before it, and what is looked at is what was opened. What
//! comes out is the last directory, open, and a name in it that is no link, so that all names of
//! one file lead to one set of locks.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::super::StorageError;
use super::errors::{io_error, not_a_file, what_is};
use super::folder::{Folder, Spot, Stat};

/// How many links may stand for the file itself, one behind the other.
const MAX_FILE_LINKS: usize = 5;
/// How many links there may be in all, directories included: what Linux allows.
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The last directory on it that exists.
    pub(super) folder: Arc<Folder>,
    /// The names of further directories, which do not.
    pub(super) missing: Vec<OsString>,
    /// The name of the file, which need not exist.
    pub(super) name: OsString,
    /// The links that stood for the file, in the order they were followed.
    pub(super) links: Vec<Spot>,
    /// What the file was when it was walked to, if it exists.
    pub(super) file: Option<Stat>,
    /// The first thing on the way that somebody else controls: nothing behind it may be a link.
    doubt: Option<String>,
}

impl Way {
    /// Walks to `path`, which must be absolute and lead to a file or to nothing.
    pub(super) fn walk(path: &Path) -> Result<Self, StorageError> {
        if !path.is_absolute() {
            let reason = "is relative, and the current directory cannot be told: use an absolute path";
            return Err(StorageError::new("other", format!("{} {reason}", path.display())));
        }
        let mut walk = Walk::begin()?;
        push_all(&mut walk.ahead, path);
        walk.finish()
    }

    /// Walks on to another name in the directory that this one ends in.
    pub(super) fn on_to(&self, name: OsString) -> Result<Self, StorageError> {
        let mut walk = Walk::from(Arc::clone(&self.folder), self.doubt.clone());
        walk.ahead.push(name);
        walk.finish()
    }

    /// The path of the file, without links.
    pub(super) fn target(&self) -> PathBuf {
        let above = self.missing.iter().fold(self.folder.path.clone(), |path, name| path.join(name));
        above.join(&self.name)
    }

    /// Where the file is or will be. If directories are missing, not yet there.
    pub(super) fn spot(&self) -> Spot {
        Spot { folder: Arc::clone(&self.folder), name: self.name.clone() }
    }

    /// Whose the file is; one that does not exist will be this process's.
    pub(super) fn owner(&self) -> u32 {
        self.file.map_or_else(|| rustix::process::geteuid().as_raw(), |file| file.user)
    }

    /// The same, when its missing directories have been created: `folder` is the last of them.
    pub(super) fn through(self, folder: Arc<Folder>) -> Self {
        Self { folder, missing: Vec::new(), ..self }
    }

    /// Whether both lead to the same name in the same directory, by the same links.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.spot().is(&other.spot())
            && self.missing == other.missing
            && self.links.len() == other.links.len()
            && self.links.iter().zip(&other.links).all(|(one, other)| one.is(other))
    }
}

struct Walk {
    /// The directory reached so far.
    folder: Arc<Folder>,
    /// The names still to go, the next one last.
    ahead: Vec<OsString>,
    links: Vec<Spot>,
    links_in_all: usize,
    /// The first thing on the way that somebody else controls.
    doubt: Option<String>,
}

impl Walk {
    fn begin() -> Result<Self, StorageError> {
        let folder = Arc::new(Folder::root()?);
        let mut walk = Self::from(folder, None);
        walk.look_at_folder();
        Ok(walk)
    }

    fn from(folder: Arc<Folder>, doubt: Option<String>) -> Self {
        Self { folder, ahead: Vec::new(), links: Vec::new(), links_in_all: 0, doubt }
    }

    fn finish(mut self) -> Result<Way, StorageError> {
        while let Some(name) = self.ahead.pop() {
            if let Some(way) = self.step(&name)? {
                return Ok(way);
            }
        }
        Err(not_a_file(&self.folder.path, "a directory"))
    }

    /// Goes one name further. Some: this was the file.
    fn step(&mut self, name: &OsStr) -> Result<Option<Way>, StorageError> {
        if name == ".." {
            let above = self.folder.above();
            self.enter(above.map_err(|error| io_error("look above", &self.folder.path, &error))?);
            return Ok(None);
        }
        // What has more names behind it is most likely a directory: then one look is enough.
        if !self.ahead.is_empty()
            && let Ok(folder) = self.folder.open(name)
        {
            self.look_at_entry(name, &folder.stat);
            self.enter(folder);
            return Ok(None);
        }
        let here = self.folder.path.join(name);
        let found = match self.folder.stat_of(name) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.arrive_nowhere(name).map(Some),
            Err(error) => return Err(io_error("look at", &here, &error)),
        };
        self.look_at_entry(name, &found);
        if found.is_link() {
            self.follow(name)?;
            return Ok(None);
        }
        if found.is_dir() {
            let folder = self.folder.open(name).map_err(|error| io_error("look into", &here, &error))?;
            self.enter(folder);
            return Ok(None);
        }
        if !self.ahead.is_empty() {
            return Err(StorageError::new("other", format!("{} is not a directory", here.display())));
        }
        if !found.is_file() {
            return Err(not_a_file(&here, what_is(found.kind)));
        }
        self.arrive(name, Some(found)).map(Some)
    }

    fn follow(&mut self, name: &OsStr) -> Result<(), StorageError> {
        let link = self.folder.path.join(name);
        if let Some(doubt) = &self.doubt {
            return Err(refused(&link, doubt));
        }
        self.links_in_all += 1;
        let is_the_file = self.ahead.is_empty();
        let text = self.folder.read_link(name).map_err(|error| io_error("read the link", &link, &error))?;
        if is_the_file {
            self.links.push(Spot { folder: Arc::clone(&self.folder), name: name.to_owned() });
        }
        if self.links.len() > MAX_FILE_LINKS || self.links_in_all > MAX_LINKS {
            let limit = format!("too many links on the way (at most {MAX_FILE_LINKS} for a file, {MAX_LINKS} in all)");
            return Err(refused(&link, &limit));
        }
        if text.is_absolute() {
            self.enter(Folder::root()?);
        }
        push_all(&mut self.ahead, &text);
        Ok(())
    }

    fn enter(&mut self, folder: Folder) {
        self.folder = Arc::new(folder);
        self.look_at_folder();
    }

    fn look_at_folder(&mut self) {
        let Folder { path, stat, .. } = &*self.folder;
        if !is_trusted(stat.user) {
            let doubt = format!("the directory {} belongs to user {}", path.display(), stat.user);
            self.doubt(doubt);
        } else if is_writable_by_others(stat) && !is_sticky(stat) {
            let doubt = format!("the directory {} is writable by others (mode {:04o})", path.display(), stat.mode);
            self.doubt(doubt);
        }
    }

    /// A link must be ours wherever it lies; anything must be ours in a directory where everybody
    /// may put things.
    fn look_at_entry(&mut self, name: &OsStr, entry: &Stat) {
        let shared = is_writable_by_others(&self.folder.stat);
        if (shared || entry.is_link()) && !is_trusted(entry.user) {
            self.doubt(format!("{} belongs to user {}", self.folder.path.join(name).display(), entry.user));
        }
    }

    fn doubt(&mut self, reason: String) {
        self.doubt.get_or_insert(reason);
    }

    /// There is nothing of that name. What is still ahead is missing too.
    fn arrive_nowhere(&mut self, name: &OsStr) -> Result<Way, StorageError> {
        let mut names = vec![name.to_owned()];
        for next in std::mem::take(&mut self.ahead).into_iter().rev() {
            if next == ".." {
                let missing = names.iter().fold(self.folder.path.clone(), |path, name| path.join(name));
                return Err(StorageError::new("other", format!("there is no directory {}", missing.display())));
            }
            names.push(next);
        }
        let name = names.pop().unwrap_or_default();
        let way = self.arrive(&name, None)?;
        Ok(Way { missing: names, ..way })
    }

    fn arrive(&self, name: &OsStr, file: Option<Stat>) -> Result<Way, StorageError> {
        if let (Some(link), Some(doubt)) = (self.links.last(), &self.doubt) {
            return Err(refused(&link.path(), doubt));
        }
        let (folder, doubt) = (Arc::clone(&self.folder), self.doubt.clone());
        let name = name.to_owned();
        Ok(Way { folder, missing: Vec::new(), name, links: self.links.clone(), file, doubt })
    }
}

fn push_all(ahead: &mut Vec<OsString>, path: &Path) {
    ahead.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }));
}

fn refused(link: &Path, doubt: &str) -> StorageError {
    StorageError::new(
        "unsafe",
        format!(
            "will not follow the link {}: {doubt}. Everything on the way must belong to you or root and be \
             writable by nobody else (chmod go-w), or name the file itself instead of the link",
            link.display()
        ),
    )
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn is_writable_by_others(directory: &Stat) -> bool {
    directory.mode & 0o022 != 0
}

/// In a sticky directory (`/tmp`) an entry can be replaced only by its owner.
fn is_sticky(directory: &Stat) -> bool {
    directory.mode & 0o1000 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("a path");
        (dir, real)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    }

    fn links_of(way: &Way) -> Vec<PathBuf> {
        way.links.iter().map(Spot::path).collect()
    }

    #[test]
    fn a_chain_of_five_links_is_followed_and_a_sixth_is_not() {
        let (_dir, real) = directory();
        fs::write(real.join("f0"), "").expect("written");
        for n in 1..=6 {
            symlink(format!("f{}", n - 1), real.join(format!("f{n}"))).expect("linked");
        }
        let way = Way::walk(&real.join("f5")).expect("a way");
        assert_eq!(way.target(), real.join("f0"));
        assert_eq!(links_of(&way), [5, 4, 3, 2, 1].map(|n| real.join(format!("f{n}"))));
        let error = Way::walk(&real.join("f6")).expect_err("too long");
        assert!(error.code == "unsafe" && error.message.contains("at most 5"), "{error}");
    }

    #[test]
    fn a_link_to_itself_is_refused() {
        let (_dir, real) = directory();
        symlink("loop", real.join("loop")).expect("linked");
        symlink("loop-dir", real.join("loop-dir")).expect("linked");
        for path in ["loop", "loop-dir/auth.json"] {
            assert_eq!(Way::walk(&real.join(path)).err().map(|e| e.code), Some("unsafe"), "{path}");
        }
    }

    /// Links of directories and parent names disappear from the path.
    #[test]
    fn directory_links_and_parent_names_are_resolved() {
        let (_dir, real) = directory();
        fs::create_dir_all(real.join("a/b")).expect("made");
        fs::write(real.join("a/b/auth.json"), "").expect("written");
        symlink(real.join("a"), real.join("absolute")).expect("linked");
        symlink("../a/./b", real.join("a/relative")).expect("linked");
        for path in ["absolute/b/auth.json", "a/relative/auth.json", "absolute/relative/../b/auth.json"] {
            let way = Way::walk(&real.join(path)).expect("a way");
            assert_eq!(way.target(), real.join("a/b/auth.json"), "{path}");
            assert_eq!(links_of(&way), Vec::<PathBuf>::new(), "{path}");
        }
    }

    #[test]
    fn a_missing_file_or_directory_is_a_way_without_owner() {
        let (_dir, real) = directory();
        symlink("gone/auth.json", real.join("dangling")).expect("linked");
        let way = Way::walk(&real.join("dangling")).expect("a way");
        assert_eq!((way.target(), way.file), (real.join("gone/auth.json"), None));
        let around = Way::walk(&real.join("gone/../auth.json"));
        assert_eq!(around.err().map(|e| e.code), Some("other"));
    }

    #[test]
    fn a_link_in_or_to_a_directory_that_others_can_write_is_refused() {
        let (_dir, real) = directory();
        for (name, mode) in [("open", 0o777), ("group", 0o770), ("sticky", 0o1777), ("own", 0o755)] {
            fs::create_dir(real.join(name)).expect("made");
            fs::write(real.join(name).join("auth.json"), "").expect("written");
            symlink("../own/auth.json", real.join(name).join("link")).expect("linked");
            symlink(format!("{name}/auth.json"), real.join(format!("to-{name}"))).expect("linked");
            chmod(&real.join(name), mode);
        }
        for path in ["open/link", "group/link", "to-open", "to-group"] {
            let error = Way::walk(&real.join(path)).expect_err("unsafe");
            assert_eq!(error.code, "unsafe", "{path}");
            assert!(error.message.contains("writable by others (mode 07"), "{error}");
        }
        for path in ["own/link", "sticky/link", "to-own", "to-sticky", "open/auth.json", "group/auth.json"] {
            assert!(Way::walk(&real.join(path)).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_link_that_belongs_to_somebody_else_is_refused() {
        let (_dir, real) = directory();
        fs::write(real.join("auth.json"), "").expect("written");
        symlink("auth.json", real.join("link")).expect("linked");
        symlink(".", real.join("dir-link")).expect("linked");
        if lchown(real.join("link"), Some(65534), None).is_err() {
            return; // only root can give a link away
        }
        let error = Way::walk(&real.join("link")).expect_err("unsafe");
        assert!(error.code == "unsafe" && error.message.contains("belongs to user 65534"), "{error}");

        lchown(real.join("dir-link"), Some(65534), None).expect("given away");
        assert_eq!(Way::walk(&real.join("dir-link/auth.json")).err().map(|e| e.code), Some("unsafe"));
    }

    #[test]
    fn in_a_sticky_directory_the_target_of_a_link_must_be_ours() {
        let (_dir, real) = directory();
        fs::create_dir(real.join("sticky")).expect("made");
        chmod(&real.join("sticky"), 0o1777);
        fs::write(real.join("sticky/auth.json"), "").expect("written");
        symlink("sticky/auth.json", real.join("link")).expect("linked");
        assert!(Way::walk(&real.join("link")).is_ok());
        if lchown(real.join("sticky/auth.json"), Some(65534), None).is_ok() {
            assert_eq!(Way::walk(&real.join("link")).err().map(|e| e.code), Some("unsafe"));
            assert!(Way::walk(&real.join("sticky/auth.json")).is_ok(), "named directly it is the user's word");
        }
    }

    #[test]
    fn a_way_that_ends_in_a_directory_is_refused() {
        let (_dir, real) = directory();
        symlink(&real, real.join("link")).expect("linked");
        for path in [real.clone(), real.join("link"), real.join("link/.."), PathBuf::from("/")] {
            let error = Way::walk(&path).expect_err("no file");
            assert!(error.code == "unsupported" && error.message.contains("is a directory"), "{error}");
        }
    }

    #[test]
    fn a_file_where_a_directory_must_be_is_named() {
        let (_dir, real) = directory();
        fs::write(real.join("file"), "").expect("written");
        let error = Way::walk(&real.join("file/auth.json")).expect_err("no way");
        assert!(error.message.contains("file is not a directory"), "{error}");
    }
}

//! A link is followed only where nobody but the user and root could have put it, and only to a place where nobody
//! else can put another file. Without a link the path is the user's own word and is taken as it is.
//!
//! The way is walked by hand, one name at a time, because the kernel would follow anybody's link. What comes out
//! is a path without links, so that all names of one file lead to one set of locks.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::super::StorageError;
use super::errors::{io_error, not_a_file, what_is};

/// How many links may stand for the file itself, one behind the other.
const MAX_FILE_LINKS: usize = 5;
/// How many links there may be in all, directories included: what Linux allows.
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The file, in a directory named without links. It need not exist, nor its directory.
    pub(super) target: PathBuf,
    /// The links that stood for the file, in the order they were followed; each in a directory named without links.
    pub(super) links: Vec<PathBuf>,
    /// User and group of the file, if it exists.
    pub(super) owner: Option<(u32, u32)>,
}

impl Way {
    /// Walks to `path`, which must be absolute and lead to a file or to nothing.
    pub(super) fn walk(path: &Path) -> Result<Self, StorageError> {
        if !path.is_absolute() {
            let reason = "is relative, and the current directory cannot be told: use an absolute path";
            return Err(StorageError::new("other", format!("{} {reason}", path.display())));
        }
        let mut walk = Walk::new()?;
        push_all(&mut walk.ahead, path);
        while let Some(name) = walk.ahead.pop() {
            if let Some(way) = walk.step(&name)? {
                return Ok(way);
            }
        }
        Err(not_a_file(&walk.real, "a directory"))
    }
}

struct Walk {
    /// The directory reached so far, named without links.
    real: PathBuf,
    /// It and all directories above it, the root first.
    inside: Vec<Metadata>,
    /// The names still to go, the next one last.
    ahead: Vec<OsString>,
    links: Vec<PathBuf>,
    links_in_all: usize,
    /// The first thing on the way that somebody else controls.
    doubt: Option<String>,
}

impl Walk {
    fn new() -> Result<Self, StorageError> {
        let mut walk = Self {
            real: PathBuf::new(),
            inside: Vec::new(),
            ahead: Vec::new(),
            links: Vec::new(),
            links_in_all: 0,
            doubt: None,
        };
        walk.back_to_root()?;
        Ok(walk)
    }

    fn back_to_root(&mut self) -> Result<(), StorageError> {
        self.real = PathBuf::from("/");
        self.inside.clear();
        let root = fs::symlink_metadata("/").map_err(|error| io_error("look at", Path::new("/"), &error))?;
        self.enter(root);
        Ok(())
    }

    /// Goes one name further. Some: this was the file.
    fn step(&mut self, name: &OsString) -> Result<Option<Way>, StorageError> {
        if name == ".." {
            if self.inside.len() > 1 {
                self.inside.pop();
                self.real.pop();
            }
            return Ok(None);
        }
        let here = self.real.join(name);
        let found = match fs::symlink_metadata(&here) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.arrive_nowhere(here).map(Some);
            }
            Err(error) => return Err(io_error("look at", &here, &error)),
        };
        self.look_at_entry(&here, &found);
        if found.is_symlink() {
            self.follow(here)?;
            return Ok(None);
        }
        if found.is_dir() {
            self.real = here;
            self.enter(found);
            return Ok(None);
        }
        if !self.ahead.is_empty() {
            return Err(StorageError::new("other", format!("{} is not a directory", here.display())));
        }
        if !found.is_file() {
            return Err(not_a_file(&here, what_is(found.file_type())));
        }
        self.arrive(here, Some((found.uid(), found.gid()))).map(Some)
    }

    fn follow(&mut self, link: PathBuf) -> Result<(), StorageError> {
        if let Some(doubt) = &self.doubt {
            return Err(refused(&link, doubt));
        }
        self.links_in_all += 1;
        let is_the_file = self.ahead.is_empty();
        let text = fs::read_link(&link).map_err(|error| io_error("read the link", &link, &error))?;
        if is_the_file {
            self.links.push(link.clone());
        }
        if self.links.len() > MAX_FILE_LINKS || self.links_in_all > MAX_LINKS {
            let limit = format!("too many links on the way (at most {MAX_FILE_LINKS} for a file, {MAX_LINKS} in all)");
            return Err(refused(&link, &limit));
        }
        if text.is_absolute() {
            self.back_to_root()?;
        }
        push_all(&mut self.ahead, &text);
        Ok(())
    }

    fn enter(&mut self, directory: Metadata) {
        if !is_trusted(directory.uid()) {
            self.doubt(format!("the directory {} belongs to user {}", self.real.display(), directory.uid()));
        } else if is_writable_by_others(&directory) && !is_sticky(&directory) {
            let mode = directory.mode() & 0o7777;
            self.doubt(format!("the directory {} is writable by others (mode {mode:04o})", self.real.display()));
        }
        self.inside.push(directory);
    }

    /// A link must be ours wherever it lies; anything must be ours in a directory where everybody may put things.
    fn look_at_entry(&mut self, path: &Path, entry: &Metadata) {
        let shared = self.inside.last().is_some_and(is_writable_by_others);
        if (shared || entry.is_symlink()) && !is_trusted(entry.uid()) {
            self.doubt(format!("{} belongs to user {}", path.display(), entry.uid()));
        }
    }

    fn doubt(&mut self, reason: String) {
        self.doubt.get_or_insert(reason);
    }

    /// There is nothing at `here`. What is still ahead is missing too.
    fn arrive_nowhere(&mut self, here: PathBuf) -> Result<Way, StorageError> {
        let mut target = here;
        for name in self.ahead.drain(..).rev() {
            if name == ".." {
                return Err(StorageError::new("other", format!("there is no directory {}", target.display())));
            }
            target.push(name);
        }
        self.arrive(target, None)
    }

    fn arrive(&self, target: PathBuf, owner: Option<(u32, u32)>) -> Result<Way, StorageError> {
        if let (Some(link), Some(doubt)) = (self.links.last(), &self.doubt) {
            return Err(refused(link, doubt));
        }
        Ok(Way { target, links: self.links.clone(), owner })
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

fn is_writable_by_others(directory: &Metadata) -> bool {
    directory.mode() & 0o022 != 0
}

/// In a sticky directory (`/tmp`) an entry can be replaced only by its owner.
fn is_sticky(directory: &Metadata) -> bool {
    directory.mode() & 0o1000 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
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

    #[test]
    fn a_chain_of_five_links_is_followed_and_a_sixth_is_not() {
        let (_dir, real) = directory();
        fs::write(real.join("f0"), "").expect("written");
        for n in 1..=6 {
            symlink(format!("f{}", n - 1), real.join(format!("f{n}"))).expect("linked");
        }
        let way = Way::walk(&real.join("f5")).expect("a way");
        assert_eq!(way.target, real.join("f0"));
        assert_eq!(way.links, [5, 4, 3, 2, 1].map(|n| real.join(format!("f{n}"))));
        let error = Way::walk(&real.join("f6")).expect_err("too long");
        assert!(error.code == "unsafe" && error.message.contains("at most 5"), "{error}");
    }

    #[test]
    fn a_link_to_itself_is_refused() {
        let (_dir, real) = directory();
        symlink("loop", real.join("loop")).expect("linked");
        symlink("loop-dir", real.join("loop-dir")).expect("linked");
        for path in ["loop", "loop-dir/auth.json"] {
            assert_eq!(Way::walk(&real.join(path)).map_err(|e| e.code), Err("unsafe"), "{path}");
        }
    }

    #[test]
    fn links_of_directories_and_parent_names_disappear_from_the_path() {
        let (_dir, real) = directory();
        fs::create_dir_all(real.join("a/b")).expect("made");
        fs::write(real.join("a/b/auth.json"), "").expect("written");
        symlink(real.join("a"), real.join("absolute")).expect("linked");
        symlink("../a/./b", real.join("a/relative")).expect("linked");
        for path in ["absolute/b/auth.json", "a/relative/auth.json", "absolute/relative/../b/auth.json"] {
            let way = Way::walk(&real.join(path)).expect("a way");
            assert_eq!(way.target, real.join("a/b/auth.json"), "{path}");
            assert_eq!(way.links, Vec::<PathBuf>::new(), "{path}");
        }
    }

    #[test]
    fn a_missing_file_or_directory_is_a_way_without_owner() {
        let (_dir, real) = directory();
        symlink("gone/auth.json", real.join("dangling")).expect("linked");
        let way = Way::walk(&real.join("dangling")).expect("a way");
        assert_eq!((way.target, way.owner), (real.join("gone/auth.json"), None));
        let around = Way::walk(&real.join("gone/../auth.json"));
        assert_eq!(around.map_err(|e| e.code), Err("other"));
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
        assert_eq!(Way::walk(&real.join("dir-link/auth.json")).map_err(|e| e.code), Err("unsafe"));
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
            assert_eq!(Way::walk(&real.join("link")).map_err(|e| e.code), Err("unsafe"));
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

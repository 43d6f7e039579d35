//! The locks of programs that lock by making something: whoever makes the file or the folder holds the lock until it is
//! gone, or is so old that its maker must have died. What we make is removed when it is let go.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::super::{StorageError, random_id};
use super::errors::io_error;

/// What is older was left behind: both programs that lock so take it away after ten seconds.
const STALE: Duration = Duration::from_secs(10);

/// A lock of that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) path: PathBuf,
    /// A folder, not a file.
    pub(super) is_folder: bool,
}

/// A mark that is ours, until this is dropped.
pub(super) struct Made {
    pub(super) path: PathBuf,
    identity: (u64, u64),
    is_folder: bool,
}

impl Mark {
    /// Makes it. None: somebody else holds it.
    pub(super) fn make(&self, owner: Option<(u32, u32)>) -> Result<Option<Made>, StorageError> {
        let failed = |error: &io::Error| io_error("make the lock", &self.path, error);
        // A second time if what stood there was stale.
        for _ in 0..2 {
            let made = if self.is_folder {
                fs::DirBuilder::new().mode(0o700).create(&self.path)
            } else {
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path).map(drop)
            };
            match made {
                Ok(()) => {
                    let stat = fs::symlink_metadata(&self.path).map_err(|error| failed(&error))?;
                    let made = Made { path: self.path.clone(), identity: identity(&stat), is_folder: self.is_folder };
                    if let Some((user, group)) = owner {
                        lchown(&self.path, Some(user), Some(group)).map_err(|error| {
                            made.remove();
                            failed(&error)
                        })?;
                    }
                    made.outlast();
                    return Ok(Some(made));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !take_away_if_stale(&self.path)? {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(None)
    }
}

impl Made {
    /// Whether it is still what others find.
    pub(super) fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|stat| identity(&stat) == self.identity)
    }

    /// One exchange may take longer than the others take a mark to be alive: so it is from a little later.
    fn outlast(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + STALE;
        let at = Timespec { tv_sec: now.as_secs() as i64, tv_nsec: 0 };
        let times = Timestamps { last_access: at, last_modification: at };
        // It is one all the same if that fails.
        let _ = utimensat(CWD, &self.path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    pub(super) fn remove(&self) {
        // What somebody took away for stale and made anew is theirs.
        if self.is_in_place() {
            let _ = remove(&self.path, self.is_folder);
        }
    }
}

/// Takes a mark away whose maker has died. False: he may be alive.
fn take_away_if_stale(path: &Path) -> Result<bool, StorageError> {
    let stat = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        stat => stat.map_err(|error| io_error("look at the lock", path, &error))?,
    };
    let age = stat.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    if age.is_none_or(|age| age <= STALE) {
        return Ok(false);
    }
    // Of two who find it stale one moves it; what the other would move is a new one.
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".stale.{}", random_id()?));
    let aside = PathBuf::from(aside);
    if fs::rename(path, &aside).is_err() {
        return Ok(false);
    }
    if fs::symlink_metadata(&aside).is_ok_and(|moved| identity(&moved) != identity(&stat)) {
        // It was a new one: its maker finds it again, unless somebody made another meanwhile.
        let _ = fs::rename(&aside, path);
        return Ok(false);
    }
    let _ = remove(&aside, stat.is_dir());
    Ok(true)
}

fn remove(path: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder { fs::remove_dir(path) } else { fs::remove_file(path) }
}

fn identity(stat: &Metadata) -> (u64, u64) {
    (stat.dev(), stat.ino())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn marks(folder: &Path) -> [Mark; 2] {
        [false, true].map(|is_folder| Mark { path: folder.join(format!("lock-{is_folder}")), is_folder })
    }

    fn age(path: &Path, by: Duration) {
        let at = SystemTime::now() - by;
        File::open(path).expect("there").set_modified(at).expect("aged");
    }

    #[test]
    fn a_mark_is_held_until_it_is_removed_and_is_not_stale_while_one_exchange_lasts() {
        let folder = tempfile::tempdir().expect("a folder");
        for mark in marks(folder.path()) {
            let made = mark.make(None).expect("made").expect("free");
            assert!(made.is_in_place() && mark.make(None).expect("looked").is_none());
            let modified = fs::metadata(&mark.path).expect("there").modified().expect("a time");
            assert!(modified > SystemTime::now() + Duration::from_secs(8));
            made.remove();
            assert!(!mark.path.exists());
            mark.make(None).expect("made").expect("free again").remove();
        }
    }

    #[test]
    fn what_was_left_behind_is_taken_away_and_what_is_anothers_is_not_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        for mark in marks(folder.path()) {
            let theirs = mark.make(None).expect("made").expect("free");
            age(&mark.path, Duration::from_secs(9));
            assert!(mark.make(None).expect("looked").is_none(), "he may be alive");
            age(&mark.path, Duration::from_secs(12));
            let ours = mark.make(None).expect("made").expect("it was stale");
            assert!(!theirs.is_in_place() || ours.identity == theirs.identity);
            if ours.identity != theirs.identity {
                theirs.remove();
                assert!(ours.is_in_place());
            }
            ours.remove();
        }
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0, "nothing is left aside");
    }
}

//! The locks of programs that lock by making something: whoever makes the file or the folder holds
//! the lock until it is gone, or has shown no sign of life for so long that its maker must have
//! died. We show one while we hold it (`heartbeat.rs`), remove it when it is let go, and know again
//! what a lazaretto that was killed left behind (`left_behind.rs`).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use super::super::{StorageError, random_id};
use super::errors::io_error;
use super::folder::{Spot, Stat};
use super::heartbeat::touch;
use super::left_behind::LeftBehind;

/// How often a holder shows that it lives, by the mark's modification time.
pub(super) const BEAT: Duration = Duration::from_secs(5);

/// A lock of that kind. Which ones there are is `other_tools.rs`.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) at: Spot,
    /// The program whose lock it is.
    pub(super) tool: &'static str,
    /// A folder, not a file.
    pub(super) is_folder: bool,
    /// Without a sign of life for longer than this it was left behind.
    pub(super) stale_after: Duration,
    /// Its own program goes on without it, if it cannot be made.
    pub(super) is_optional: bool,
}

/// A mark that is ours, until this is dropped.
pub(super) struct Made {
    at: Spot,
    /// The very thing that was made, whatever has its name by now.
    pub(super) handle: Arc<File>,
    identity: (u64, u64),
    is_folder: bool,
}

/// What a mark says of its maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It lives, or died just now: its last sign of life is this old.
    Lives(Duration),
    /// It is not there any more.
    Gone,
    /// It died: so old is the last sign of life.
    Stale(Duration),
    /// It lies so far in the future, and nobody has changed it for long enough since we first saw
    /// it.
    StaleInTheFuture(Duration),
    /// It lies so far in the future. It counts as alive until it has been there unchanged for long
    /// enough.
    InTheFuture(Duration),
    /// A lazaretto made it, and was killed.
    OfOurs,
}

impl Mark {
    /// Makes it. None: somebody else holds it.
    pub(super) fn make(&self, now: SystemTime, left: &mut LeftBehind) -> Result<Option<Made>, StorageError> {
        let path = self.at.path();
        let failed = |error: &io::Error| io_error("make the lock", &path, error);
        // A second time if what stood there was stale.
        for _ in 0..2 {
            match self.create() {
                Ok(handle) => {
                    let stat = Stat::of(&handle).map_err(|error| failed(&error))?;
                    let (at, handle) = (self.at.clone(), Arc::new(handle));
                    let made = Made { at, handle, identity: stat.identity, is_folder: self.is_folder };
                    touch(&made.handle, now, left.signature());
                    left.note_made(&path, &stat);
                    return Ok(Some(made));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let Some(stat) = look(&self.at)? else { continue };
                    let sign = self.sign(&stat, now, left);
                    if let Sign::InTheFuture(_) = sign {
                        left.note_future(&path, &stat, now);
                    }
                    let is_dead = matches!(sign, Sign::Stale(_) | Sign::StaleInTheFuture(_) | Sign::OfOurs);
                    if !is_dead || !take_away(&self.at, &stat)? {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(None)
    }

    /// What is there says of its maker. Nothing is changed.
    pub(super) fn look(&self, now: SystemTime, left: &LeftBehind) -> Result<Sign, StorageError> {
        Ok(look(&self.at)?.map_or(Sign::Gone, |stat| self.sign(&stat, now, left)))
    }

    fn sign(&self, stat: &Stat, now: SystemTime, left: &LeftBehind) -> Sign {
        let path = self.at.path();
        if left.is_ours(&path, stat) {
            return Sign::OfOurs;
        }
        match now.duration_since(stat.modified()) {
            Ok(age) if age > self.stale_after => Sign::Stale(age),
            Ok(age) => Sign::Lives(age),
            // Clocks and the steps of file systems differ a little; the next sign of life mends
            // that.
            Err(ahead) if ahead.duration() <= BEAT => Sign::Lives(Duration::ZERO),
            Err(ahead) => {
                let seen = left.seen_in_the_future(&path, stat);
                let unchanged = seen.and_then(|seen| now.duration_since(seen).ok());
                if unchanged.is_some_and(|unchanged| unchanged > self.stale_after) {
                    Sign::StaleInTheFuture(ahead.duration())
                } else {
                    Sign::InTheFuture(ahead.duration())
                }
            }
        }
    }

    fn create(&self) -> io::Result<File> {
        let Spot { folder, name } = &self.at;
        if !self.is_folder {
            return folder.create_file(name);
        }
        folder.create_dir(name)?;
        folder.open_file(name, OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

impl Made {
    /// Whether it is still what others find.
    pub(super) fn is_in_place(&self) -> bool {
        self.at.stat().is_ok_and(|stat| stat.identity == self.identity)
    }

    pub(super) fn remove(&self) {
        // What somebody took away for stale and made anew is theirs.
        if self.is_in_place() {
            let _ = remove(&self.at, self.is_folder);
        }
    }
}

fn look(at: &Spot) -> Result<Option<Stat>, StorageError> {
    match at.stat() {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("look at the lock", &at.path(), &error)),
    }
}

/// Takes a mark away whose maker has died. False: somebody was faster.
fn take_away(at: &Spot, stat: &Stat) -> Result<bool, StorageError> {
    // Of two who find it stale one moves it; what the other would move is a new one.
    let aside = at.with_suffix(&format!(".stale.{}", random_id()?));
    if at.folder.rename(&at.name, &aside.name).is_err() {
        return Ok(false);
    }
    if aside.stat().is_ok_and(|moved| moved.identity != stat.identity) {
        // It was a new one: its maker finds it again, unless somebody made another meanwhile.
        let _ = at.folder.rename(&aside.name, &at.name);
        return Ok(false);
    }
    let _ = remove(&aside, stat.is_dir());
    Ok(true)
}

fn remove(at: &Spot, is_folder: bool) -> io::Result<()> {
    if is_folder { at.folder.remove_dir(&at.name) } else { at.folder.remove_file(&at.name) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn marks(folder: &Path) -> [Mark; 2] {
        [false, true].map(|is_folder| Mark {
            at: Spot::at(&folder.join(format!("lock-{is_folder}"))),
            tool: "some tool",
            is_folder,
            stale_after: Duration::from_secs(60),
            is_optional: false,
        })
    }

    fn nothing() -> LeftBehind {
        LeftBehind::default()
    }

    fn at(s: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + s)
    }

    fn set(path: &Path, to: SystemTime) {
        File::open(path).expect("there").set_modified(to).expect("set");
    }

    fn make(mark: &Mark, now: SystemTime, left: &mut LeftBehind) -> Option<Made> {
        mark.make(now, left).expect("looked")
    }

    #[test]
    fn a_mark_is_held_until_it_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        for mark in marks(folder.path()) {
            let made = make(&mark, at(0), &mut nothing()).expect("free");
            assert!(made.is_in_place() && make(&mark, at(60), &mut nothing()).is_none());
            made.remove();
            assert!(!mark.at.exists());
            make(&mark, at(0), &mut nothing()).expect("free again").remove();
        }
    }

    /// What shows no life for 60 s is taken away and what is anothers is not removed.
    #[test]
    fn a_mark_without_life_for_60_s_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        for mark in marks(folder.path()) {
            let theirs = make(&mark, at(0), &mut nothing()).expect("free");
            set(&mark.at.path(), at(0));
            assert_eq!(mark.look(at(60), &nothing()), Ok(Sign::Lives(Duration::from_secs(60))));
            assert!(make(&mark, at(60), &mut nothing()).is_none(), "it may be alive");
            set(&mark.at.path(), at(5));
            assert!(make(&mark, at(65), &mut nothing()).is_none(), "a sign of life");
            assert_eq!(mark.look(at(66), &nothing()), Ok(Sign::Stale(Duration::from_secs(61))));
            let ours = make(&mark, at(66), &mut nothing()).expect("it was stale");
            // The handle keeps the old one's number from being used again.
            theirs.remove();
            assert!(ours.is_in_place());
            ours.remove();
            assert_eq!(mark.look(at(66), &nothing()), Ok(Sign::Gone));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0, "nothing is left aside");
    }

    #[test]
    fn a_time_in_the_future_counts_from_when_it_was_first_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        for mark in marks(folder.path()) {
            let theirs = make(&mark, at(0), &mut nothing()).expect("free");
            set(&mark.at.path(), at(1_000_000));
            let mut left = nothing();
            assert!(make(&mark, at(0), &mut left).is_none());
            assert!(make(&mark, at(60), &mut left).is_none());
            // Its maker lives: what was seen of it counts no more.
            set(&mark.at.path(), at(1_000_005));
            assert!(make(&mark, at(61), &mut left).is_none());
            assert!(make(&mark, at(121), &mut left).is_none());
            // A clock that is set back makes nothing older.
            assert!(make(&mark, at(10), &mut left).is_none());
            assert_eq!(mark.look(at(122), &left), Ok(Sign::StaleInTheFuture(Duration::from_secs(999_883))));
            let ours = make(&mark, at(122), &mut left).expect("nobody has changed it for a minute");
            assert!(!theirs.is_in_place());
            ours.remove();
        }
    }

    #[test]
    fn a_little_ahead_is_no_future() {
        let folder = tempfile::tempdir().expect("a folder");
        for mark in marks(folder.path()) {
            let _theirs = make(&mark, at(0), &mut nothing()).expect("free");
            set(&mark.at.path(), at(5));
            assert_eq!(mark.look(at(0), &nothing()), Ok(Sign::Lives(Duration::ZERO)));
        }
    }

    /// What a killed lazaretto left is taken away at once and what took its place is not.
    #[test]
    fn a_killed_lazarettos_mark_is_removed_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        for mark in marks(folder.path()) {
            let mut left = nothing();
            let killed = make(&mark, at(0), &mut left).expect("free");
            assert_eq!(mark.look(at(1), &left), Ok(Sign::OfOurs));
            // A beat changes the time, and not what it is known by.
            touch(&killed.handle, at(5), left.signature());
            assert_eq!(mark.look(at(6), &left), Ok(Sign::OfOurs));
            // Another program's sign of life in the same place.
            set(&mark.at.path(), at(7));
            assert_eq!(mark.look(at(8), &left), Ok(Sign::Lives(Duration::from_secs(1))));
            assert!(make(&mark, at(8), &mut left).is_none());
            touch(&killed.handle, at(9), left.signature());
            make(&mark, at(9), &mut left).expect("at once").remove();
        }
    }
}

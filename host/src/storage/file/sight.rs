//! Whoever wants to know who holds a lock does not touch it.
//!
//! `flock` can be asked only by trying, and a try that succeeds keeps others out, if only for an
//! instant. So whoever holds a lock of ours with `flock` also holds a lock of its open file
//! (`F_OFD_SETLK`) on the first byte. That one excludes nobody, since nobody waits for it, and
//! whether it is held can be asked without taking anything (`F_OFD_GETLK`). Both end with their
//! holder.

use std::fs::File;

use super::super::Holder;
use super::holder::Hint;

/// Lets others see that the lock is held. Where that cannot be done, they go by the hint.
pub(super) fn show(file: &File) {
    let _ = ask(file, Question::Show);
}

/// The lock is about to be let go.
pub(super) fn hide(file: &File) {
    let _ = ask(file, Question::Hide);
}

/// Who holds the lock for `grant`, if it is one on grants. None: nobody.
pub(super) fn holder(file: &File, grant: Option<&str>) -> Option<Holder> {
    // Between two holders there is no hint, and between a holder's last steps too.
    for _ in 0..3 {
        let is_held = ask(file, Question::IsHeld);
        let hint = Hint::read(file);
        if !is_held.unwrap_or_else(|| hint.as_ref().is_some_and(Hint::is_of_a_living_process_here)) {
            return None;
        }
        if let Some(hint) = hint {
            return hint.may_be_for(grant).then(|| hint.into());
        }
    }
    Some(Holder::default())
}

enum Question {
    Show,
    Hide,
    IsHeld,
}

/// Whether the lock is held, was shown, or was hidden. None: it cannot be told or done.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code, reason = "fcntl: rustix has no locks of open files")]
fn ask(file: &File, question: Question) -> Option<bool> {
    use std::os::fd::AsRawFd as _;

    let (command, kind) = match question {
        Question::Show => (libc::F_OFD_SETLK, libc::F_WRLCK),
        Question::Hide => (libc::F_OFD_SETLK, libc::F_UNLCK),
        Question::IsHeld => (libc::F_OFD_GETLK, libc::F_WRLCK),
    };
    // SAFETY: a structure of numbers, for which all zeros are numbers.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    lock.l_type = kind.try_into().ok()?;
    lock.l_whence = libc::SEEK_SET.try_into().ok()?;
    lock.l_len = 1;
    // SAFETY: the file is open for as long as it is borrowed, and these commands take a `flock64`
    // that they may change.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) };
    (done == 0).then(|| i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Other systems have no such locks.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn ask(_: &File, _: Question) -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> File {
        File::options().read(true).write(true).create(true).truncate(false).open(path).expect("open")
    }

    fn hint(grant: Option<&str>) -> Hint {
        Hint::of_this_process(grant)
    }

    /// A hint without a lock is nobody and a lock without a hint is somebody.
    #[test]
    fn a_lock_has_a_holder_with_or_without_a_hint() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("00");
        let (theirs, ours) = (open(&path), open(&path));
        // Left behind by a process that died, whose number is a living one's by now.
        hint(None).write(&theirs);
        assert_eq!(holder(&ours, None), None);
        show(&theirs);
        assert!(holder(&ours, None).is_some_and(|holder| holder.name.starts_with("pid ")));
        Hint::clear(&theirs);
        assert_eq!(holder(&ours, None), Some(Holder::default()));
        hide(&theirs);
        assert_eq!(holder(&ours, None), None);
        show(&theirs);
        drop(theirs);
        assert_eq!(holder(&ours, None), None, "it ends with its holder");
    }

    /// A lock that grants share is held for the one that its holder names.
    #[test]
    fn a_shared_grant_lock_is_held_for_the_named_grant() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("00");
        let (mut theirs, ours) = (open(&path), open(&path));
        show(&theirs);
        hint(Some("07aa")).write(&theirs);
        assert!(holder(&ours, Some("07aa")).is_some());
        assert_eq!(holder(&ours, Some("07bb")), None);
        // A holder that does not say may hold any of them.
        Hint::clear(&theirs);
        theirs.write_all(b"{\"pid\":1,\"host\":\"\"}\n").expect("written");
        assert!(holder(&ours, Some("07bb")).is_some());
    }

    #[test]
    fn whoever_may_only_read_the_file_can_ask() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("00");
        let theirs = open(&path);
        show(&theirs);
        assert!(holder(&File::open(&path).expect("open"), None).is_some());
    }
}

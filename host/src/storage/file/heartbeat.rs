//! A mark of ours shows that its maker lives, from a thread that touches nothing but the very thing
//! that was made: what another program puts in its place is never touched, for that program takes a
//! changed time for the loss of its lock.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, futimens};

use super::foreign_marks::Made;

/// A holder that hangs for longer must not keep another program out for ever.
const AT_MOST: Duration = Duration::from_secs(600);

/// Signs of life, until this is dropped.
pub(super) struct Heartbeat(#[allow(dead_code, reason = "dropping it ends the thread")] Sender<()>);

impl Heartbeat {
    /// None: there is nothing to keep alive, or no thread. A mark is good for longer than a refresh
    /// takes without it.
    pub(super) fn start(made: &[Made], signature: u32, now: fn() -> SystemTime, every: Duration) -> Option<Self> {
        let handles: Vec<Arc<File>> = made.iter().map(|made| made.handle.clone()).collect();
        if handles.is_empty() {
            return None;
        }
        let (end, ended) = mpsc::channel();
        let beats = AT_MOST.as_millis() / every.as_millis().max(1);
        let beat = move || {
            for _ in 0..beats {
                if ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                handles.iter().for_each(|handle| touch(handle, now(), signature));
            }
        };
        thread::Builder::new().name("lazaretto-heartbeat".into()).spawn(beat).ok()?;
        Some(Self(end))
    }
}

/// Sets the time of a mark to now. `signature` are its microseconds: what a lazaretto made is known
/// by them.
pub(super) fn touch(handle: &File, now: SystemTime, signature: u32) {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at = Timespec { tv_sec: now.as_secs().try_into().unwrap_or_default(), tv_nsec: i64::from(signature) * 1_000 };
    // It is a lock all the same if that fails.
    let _ = futimens(handle, &Timestamps { last_access: at, last_modification: at });
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::folder::Spot;
    use super::super::foreign_marks::{BEAT, Mark};
    use super::super::left_behind::LeftBehind;
    use super::*;

    /// A mark shows life while it is held and what takes its place is left alone.
    #[test]
    fn a_held_mark_is_kept_fresh_and_its_replacement_untouched() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let at = Spot::at(&path);
        let mark = Mark { at, tool: "", is_folder: true, stale_after: BEAT * 12, is_optional: false };
        let mut left = LeftBehind::default();
        let made = [mark.make(SystemTime::UNIX_EPOCH, &mut left).expect("made").expect("free")];
        let beating = Heartbeat::start(&made, left.signature(), SystemTime::now, Duration::from_millis(1));
        let (until, modified) = (Instant::now() + Duration::from_secs(60), |path| {
            std::fs::metadata(path).and_then(|stat| stat.modified()).expect("there")
        });
        while modified(&path) < SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) {
            assert!(Instant::now() < until, "no sign of life");
            thread::yield_now();
        }
        // Somebody took it for dead, and made another.
        std::fs::remove_dir(&path).expect("removed");
        std::fs::create_dir(&path).expect("theirs");
        let theirs = modified(&path);
        let seen = made[0].handle.metadata().expect("open").modified().expect("a time");
        let one_later = || made[0].handle.metadata().is_ok_and(|stat| stat.modified().is_ok_and(|at| at > seen));
        while !one_later() {
            assert!(Instant::now() < until, "no second sign of life");
            thread::yield_now();
        }
        assert_eq!(modified(&path), theirs);
        drop(beating);
    }
}

//! A write beyond the process's file-size limit (`ulimit -f`) is an error, whatever the embedding
//! program does with SIGXFSZ, whose default is to end it. No handler is installed: those are the
//! program's.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Does what writes, with SIGXFSZ kept from this thread meanwhile. The kernel sends that signal to
/// the thread that writes.
#[allow(unsafe_code, reason = "the standard library cannot block a signal")]
pub(super) fn as_an_error<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets are memory of their type, and the first is made before it is read.
    let (was_blocked, was_pending) = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGXFSZ);
        if libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) != 0 {
            return write();
        }
        (libc::sigismember(before.as_ptr(), libc::SIGXFSZ) == 1, is_pending())
    };
    let result = write();
    // SAFETY: as above. What was pending before is the program's; what came now is taken, or it
    // would come after all.
    unsafe {
        if !was_pending && is_pending() {
            take(set.as_ptr());
        }
        if !was_blocked {
            libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
        }
    }
    result
}

#[allow(unsafe_code, reason = "the standard library knows no signals")]
fn is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is memory of its type, and written before it is read.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), libc::SIGXFSZ) == 1 }
}

/// Without waiting, where the system can: another thread may have taken it.
#[allow(unsafe_code, reason = "the standard library knows no signals")]
unsafe fn take(set: *const libc::sigset_t) {
    #[cfg(target_os = "linux")]
    // SAFETY: the caller's set is valid, and a null place for the details is allowed.
    unsafe {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        libc::sigtimedwait(set, ptr::null_mut(), &raw const at_once);
    }
    #[cfg(not(target_os = "linux"))]
    // SAFETY: the caller's set is valid, and so is the place for the number.
    unsafe {
        let mut signal = 0;
        libc::sigwait(set, &raw mut signal);
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::Write;
    use std::process::Command;

    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;

    /// The limit is the whole process's, so this test runs itself in one of its own.
    const LIMITED: &str = "LAZARETTO_TEST_OF_THE_FILE_SIZE_LIMIT";

    #[test]
    fn a_write_beyond_the_limit_is_an_error_and_no_death() {
        if env::var_os(LIMITED).is_none() {
            let this = "storage::file::size_limit::tests::a_write_beyond_the_limit_is_an_error_and_no_death";
            let mut child = Command::new(env::current_exe().expect("a path"));
            let ended = child.args(["--exact", this]).env(LIMITED, "1").output().expect("it runs");
            assert!(ended.status.success(), "{ended:?}");
            assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "{ended:?}");
            return;
        }
        setrlimit(Resource::Fsize, Rlimit { current: Some(4096), maximum: None }).expect("limited");
        let mut file = tempfile::tempfile().expect("a file");
        for _ in 0..2 {
            let written = as_an_error(|| file.write_all(&[b'x'; 8192]));
            assert_eq!(written.expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
            assert!(!is_pending(), "taken");
        }
    }
}

//! What the system says, as a [`StorageError`]: a code to act on, and a sentence with the path and
//! the way out.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::FileType;

use super::super::StorageError;

/// `action` is what was tried, as in "cannot `read` /home/me/auth.json".
pub(super) fn io_error(action: &str, path: &Path, error: &io::Error) -> StorageError {
    let (code, hint) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ("full", "make room on that disk; what was there before is untouched")
        }
        ErrorKind::FileTooLarge => ("full", "this process may write no larger file: raise its limit (ulimit -f)"),
        ErrorKind::ReadOnlyFilesystem => ("read-only", "the file system is mounted read-only"),
        ErrorKind::PermissionDenied => ("denied", "check who owns it and its directory, and run as that user"),
        ErrorKind::NotADirectory => ("other", "something on the way to it is a file where a directory must be"),
        ErrorKind::Interrupted
        | ErrorKind::OutOfMemory
        | ErrorKind::ResourceBusy
        | ErrorKind::StaleNetworkFileHandle
        | ErrorKind::TimedOut
        | ErrorKind::WouldBlock => ("unavailable", "try again"),
        // Too many open files, in this process or in all, have no kind of their own.
        _ if error.raw_os_error().is_some_and(is_out_of_handles) => {
            ("unavailable", "too many files are open; try again")
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            ("unsafe", "a link appeared in its place while it was being used")
        }
        _ => ("other", "look at that path and its file system"),
    };
    StorageError::new(code, format!("cannot {action} {}: {error}; {hint}", path.display()))
}

fn is_out_of_handles(errno: i32) -> bool {
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].iter().any(|e| e.raw_os_error() == errno)
}

/// A document that is `what` instead of a file.
pub(super) fn not_a_file(path: &Path, what: &str) -> StorageError {
    let path = path.display();
    StorageError::new("unsupported", format!("{path} is {what}: a document is a file that can be read and replaced"))
}

/// What something that is no file is called.
pub(super) fn what_is(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a pipe (FIFO)",
        FileType::Socket => "a socket",
        FileType::Symlink => "a link",
        _ => "a device",
    }
}

/// A number of bytes as a person says it.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / (1024 * 1024)),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn every_errno_a_full_or_forbidding_disk_gives_has_its_own_code() {
        for (errno, code) in [
            (Errno::NOSPC, "full"),
            (Errno::DQUOT, "full"),
            (Errno::FBIG, "full"),
            (Errno::ROFS, "read-only"),
            (Errno::ACCESS, "denied"),
            (Errno::PERM, "denied"),
            (Errno::MFILE, "unavailable"),
            (Errno::STALE, "unavailable"),
            (Errno::LOOP, "unsafe"),
            (Errno::IO, "other"),
        ] {
            let error = io_error("read", Path::new("/a/auth.json"), &errno.into());
            assert_eq!(error.code, code, "{errno:?}");
            assert!(error.message.starts_with("cannot read /a/auth.json: "), "{error}");
        }
    }
}

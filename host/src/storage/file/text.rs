//! A file is read whole, bounded and without ever blocking; and it is not read again while its stat
//! proves that it is the same.
//!
//! When a stat proves that. A file system stamps a change with its clock, in steps of up to 2 s
//! (FAT; a few milliseconds elsewhere). Whoever writes within the step in which the file was last
//! written leaves its stamps as they were; if the size is the same as well, no stat can tell (git
//! calls this racy). So a stat is trusted only if both stamps were older than 2 s *when the content
//! was read*: any later write then falls into a later step. The modification time alone is not
//! enough, since programs set it back (`cp -p`, `rsync`, `tar`); nobody can set the change time. A
//! stamp in the future is never old. On a network file system the stamps are another machine's and
//! the stat may come from a cache, so there it is never trusted.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;

use super::super::{Document, StorageError, version_of};
use super::errors::{io_error, not_a_file, size, what_is};
use super::files::stat_of;
use super::folder::{Folder, Spot, Stat};

/// The largest document: 16 MiB.
pub(super) const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The coarsest step in which a file system stamps files.
const STAMP_STEP: Duration = Duration::from_secs(2);

/// What a stat says about the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatKey {
    identity: (u64, u64),
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl From<&Stat> for StatKey {
    fn from(stat: &Stat) -> Self {
        let Stat { identity, size, modified_ns, changed_ns, .. } = *stat;
        Self { identity, size, modified_ns, changed_ns }
    }
}

impl StatKey {
    /// Whether an equal key proves an equal content, if the content was read at `read_at` or later.
    fn is_proof_when_read_at(&self, read_at: SystemTime) -> bool {
        let Ok(read_at) = read_at.duration_since(UNIX_EPOCH) else {
            return false;
        };
        let newest = self.modified_ns.max(self.changed_ns);
        i128::try_from(read_at.saturating_sub(STAMP_STEP).as_nanos()).is_ok_and(|limit| newest < limit)
    }
}

/// The version that was read at a stat which proves it.
pub(super) struct Seen {
    key: StatKey,
    version: String,
}

impl Seen {
    /// Whether the file that `stat` describes certainly is at version `known`.
    pub(super) fn proves(&self, stat: &Stat, known: &str) -> bool {
        self.key == StatKey::from(stat) && self.version == known
    }

    #[cfg(test)]
    pub(super) fn pretend(&mut self, version: &str) {
        self.version = version.into();
    }
}

/// A document as read from its file.
pub(super) struct Text {
    pub(super) document: Document,
    /// The version of the document's own file.
    pub(super) base: String,
    /// Whether the text is that of another file, which lies beside the document's own.
    pub(super) is_unsynced: bool,
    /// The file's, when it was read.
    pub(super) stat: Stat,
    /// None: this file must be read again next time.
    pub(super) seen: Option<Seen>,
}

/// What kind of network file system a directory lies on, if any.
pub(super) type NetworkName = fn(&Folder) -> Option<&'static str>;

/// Reads a file that is no link. None: there is no file.
///
/// `now` is the wall clock.
pub(super) fn read(
    at: &Spot,
    now: fn() -> SystemTime,
    network_name: NetworkName,
) -> Result<Option<Text>, StorageError> {
    let path = at.path();
    let mut tries_left = 3;
    loop {
        tries_left -= 1;
        let read_at = now();
        let Some(mut file) = open(at, &path)? else {
            return Ok(None);
        };
        let before = stat_of(&file, &path)?;
        let bytes = read_bounded(&mut file, &before, &path)?;
        let stat = stat_of(&file, &path)?;
        let key = StatKey::from(&stat);
        let is_steady = key == StatKey::from(&before);
        if !is_steady && tries_left > 0 {
            continue; // somebody is writing in place: the text may be half theirs
        }
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(&path, &error))?;
        let version = version_of(text.as_bytes());
        let is_proof = is_steady && key.is_proof_when_read_at(read_at) && network_name(&at.folder).is_none();
        let seen = is_proof.then(|| Seen { key, version: version.clone() });
        let base = version.clone();
        return Ok(Some(Text { document: Document { version, text }, base, is_unsynced: false, stat, seen }));
    }
}

fn open(at: &Spot, path: &Path) -> Result<Option<File>, StorageError> {
    // Without NONBLOCK, opening a FIFO waits for a writer.
    match at.folder.open_file(&at.name, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path, &error)),
    }
}

fn read_bounded(file: &mut File, stat: &Stat, path: &Path) -> Result<Vec<u8>, StorageError> {
    if !stat.is_file() {
        return Err(not_a_file(path, what_is(stat.kind)));
    }
    if stat.size > MAX_BYTES {
        return Err(too_large(path, &size(stat.size)));
    }
    // One more than is there, so that the end is seen without growing.
    let mut bytes = Vec::with_capacity(stat.size as usize + 1);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| io_error("read", path, &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large(path, "growing"));
    }
    Ok(bytes)
}

/// `how_large` is a size, or a word for one that is not known.
pub(super) fn too_large(path: &Path, how_large: &str) -> StorageError {
    StorageError::new(
        "too-large",
        format!(
            "{} is too large: {how_large}, and the limit is {}; is it the right file?",
            path.display(),
            size(MAX_BYTES)
        ),
    )
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> StorageError {
    StorageError::new(
        "corrupt",
        format!(
            "{} is not UTF-8 text: the first bad byte is at offset {}; restore it or move it away",
            path.display(),
            error.utf8_error().valid_up_to()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn read(path: &Path, now: fn() -> SystemTime) -> Result<Option<Text>, StorageError> {
        super::read(&Spot::at(path), now, |_| None)
    }

    fn key(modified_s: i128, changed_s: i128) -> StatKey {
        StatKey {
            identity: (1, 2),
            size: 3,
            modified_ns: modified_s * 1_000_000_000,
            changed_ns: changed_s * 1_000_000_000,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A stat is proof only if both stamps were over two seconds old when it was read.
    #[test]
    fn a_stat_is_proof_only_with_stamps_over_two_seconds_old() {
        assert!(key(97, 97).is_proof_when_read_at(at(100)));
        assert!(!key(98, 98).is_proof_when_read_at(at(100)), "exactly two seconds is not over");
        assert!(!key(100, 100).is_proof_when_read_at(at(100)));
        assert!(!key(10, 100).is_proof_when_read_at(at(100)), "a modification time that was set back");
        assert!(!key(100, 10).is_proof_when_read_at(at(100)));
        assert!(!key(500, 10).is_proof_when_read_at(at(100)), "a stamp in the future");
        assert!(!key(0, 0).is_proof_when_read_at(UNIX_EPOCH - Duration::from_secs(9)), "no clock");
    }

    #[test]
    fn a_file_just_written_is_read_again_and_an_old_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("auth.json");
        fs::write(&path, "{}").expect("written");
        let fresh = read(&path, SystemTime::now).expect("read").expect("there");
        assert!(fresh.seen.is_none());
        let old = read(&path, || SystemTime::now() + Duration::from_secs(60)).expect("read").expect("there");
        let seen = old.seen.expect("proof");
        let stat = Spot::at(&path).stat().expect("stat");
        assert!(seen.proves(&stat, &old.document.version) && !seen.proves(&stat, "other"));
        let later = || SystemTime::now() + Duration::from_secs(60);
        let remote = super::read(&Spot::at(&path), later, |_| Some("NFS")).expect("read").expect("there");
        assert!(remote.seen.is_none(), "a stat from another machine proves nothing");
    }

    #[test]
    fn an_empty_file_is_a_document_with_an_empty_text() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("auth.json");
        fs::write(&path, "").expect("written");
        assert_eq!(read(&path, SystemTime::now).expect("read").expect("there").document.text, "");
    }

    /// A file as large as allowed is read and one byte more is refused.
    #[test]
    fn a_file_of_the_maximum_size_is_read_and_no_larger() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("auth.json");
        let file = File::create(&path).expect("created");
        file.set_len(MAX_BYTES).expect("sized");
        let text = read(&path, SystemTime::now).expect("read").expect("there").document.text;
        assert_eq!(text.len() as u64, MAX_BYTES);
        file.set_len(17 * 1024 * 1024).expect("sized");
        let error = read(&path, SystemTime::now).err().expect("refused");
        assert_eq!(error.code, "too-large");
        assert!(error.message.contains("17 MiB") && error.message.contains("limit is 16 MiB"), "{error}");
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_refused_at_the_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("auth.json");
        let grown = File::create_new(&path).expect("created");
        let small = Stat::of(&grown).expect("stat");
        grown.set_len(MAX_BYTES + 1).expect("sized");
        let mut file = File::open(&path).expect("open");
        assert_eq!(read_bounded(&mut file, &small, &path).map_err(|e| e.code), Err("too-large"));
    }

    /// Bytes that are no text are refused with their offset and without the text.
    #[test]
    fn invalid_utf8_is_refused_by_offset_and_not_quoted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("auth.json");
        fs::write(&path, b"{\"refresh_token\": \"very-secret\xff\"}").expect("written");
        let error = read(&path, SystemTime::now).err().expect("refused");
        assert_eq!(error.code, "corrupt");
        assert!(error.message.contains("at offset 30") && !error.message.contains("secret"), "{error}");
    }

    #[test]
    fn a_directory_a_pipe_and_a_device_are_refused_without_waiting() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
        let cases = [(dir.path(), "a directory"), (pipe.as_path(), "a pipe"), (Path::new("/dev/null"), "a device")];
        for (path, what) in cases {
            let error = read(path, SystemTime::now).err().expect("refused");
            assert_eq!(error.code, "unsupported");
            assert!(error.message.contains(what) && error.message.contains(&path.display().to_string()), "{error}");
        }
    }
}

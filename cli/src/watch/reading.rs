//! One vault as it was last read. Reading is cheap: a stat of a few files as long as nothing has
//! changed and no time has come.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::failure::Failure;
use super::super::open::Open;
use super::super::setup::Setup;
use super::super::status;
use lazaretto_host::StatusReport;
use lazaretto_host::storage::VAULT;

/// What is beside a vault and belongs to it.
const BESIDE: [&str; 5] = ["", ".lazaretto", ".lazaretto.unsynced", ".lazaretto-sealed", ".lazaretto-settings.json"];
/// So often it is read although nothing seems to have changed: a skew has come, or a stat missed
/// something.
const AT_LEAST_EVERY_MS: u64 = 10_000;

/// A vault, and what was read of it.
pub(super) struct Reading {
    pub(super) path: PathBuf,
    /// Why it cannot be read.
    pub(super) last: Result<StatusReport, String>,
    open: Open,
    stamps: Vec<Option<Stamp>>,
    read_at_ms: u64,
    next_ms: u64,
}

impl Reading {
    pub(super) fn new(setup: &Setup, path: PathBuf, other: Option<&Self>, now_ms: u64) -> Result<Self, Failure> {
        let open = setup.open_silently(path.clone(), other.map(|other| &other.open))?;
        let mut reading = Self { path, last: Err(String::new()), open, stamps: Vec::new(), read_at_ms: 0, next_ms: 0 };
        // There was nothing before.
        let _ = reading.read(reading.stamps(), now_ms);
        Ok(reading)
    }

    /// Reads it again if there may be something new, and gives what was read before.
    pub(super) fn renew(&mut self, now_ms: u64) -> Option<Result<StatusReport, String>> {
        let stamps = self.stamps();
        // A clock that was set back makes nothing wait.
        let is_due = now_ms >= self.next_ms || now_ms < self.read_at_ms;
        if !is_due && stamps == self.stamps {
            return None;
        }
        Some(self.read(stamps, now_ms))
    }

    fn read(&mut self, stamps: Vec<Option<Stamp>>, now_ms: u64) -> Result<StatusReport, String> {
        // The stamps are older than what is read: a change meanwhile is seen the next time.
        let read = self.open.keeper.status(VAULT, None);
        let read = read.map_err(|error| {
            // The path stands above it.
            let why = status::unreadable(&self.open, error).message;
            why.strip_prefix(&format!("{}: ", self.path.display())).map(str::to_owned).unwrap_or(why)
        });
        self.stamps = stamps;
        (self.read_at_ms, self.next_ms) = (now_ms, next(read.as_ref().ok(), now_ms));
        std::mem::replace(&mut self.last, read)
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        let target = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let beside = BESIDE.iter().map(|suffix| {
            let mut name = target.clone().into_os_string();
            name.push(suffix);
            Stamp::of(Path::new(&name))
        });
        let profiles = self.open.places.providers.as_deref().and_then(Stamp::of);
        beside.chain([profiles]).collect()
    }
}

/// The first moment at which something changes by itself.
fn next(report: Option<&StatusReport>, now_ms: u64) -> u64 {
    let credentials = report.map_or(&[][..], |report| &report.credentials);
    let times =
        credentials.iter().flat_map(|status| [status.expires_at_ms, status.retry_at_ms, status.sealed_until_ms]);
    let first = times.flatten().filter(|at_ms| *at_ms > now_ms).min();
    first.unwrap_or(u64::MAX).min(now_ms.saturating_add(AT_LEAST_EVERY_MS))
}

/// What a stat tells of a file. A replaced file has another inode.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp([i128; 5]);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let stat = fs::metadata(path).ok()?;
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        let (changed, modified) = (ns(stat.ctime(), stat.ctime_nsec()), ns(stat.mtime(), stat.mtime_nsec()));
        Some(Self([stat.dev().into(), stat.ino().into(), stat.size().into(), changed, modified]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::need::example;
    use super::super::tests::{NOW_MS, report};
    use super::*;

    /// The next reading is when a time has come and soon in any case.
    #[test]
    fn the_next_reading_is_at_the_next_due_time_or_soon() {
        let report = report(vec![lazaretto_host::CredentialStatus {
            retry_at_ms: Some(NOW_MS + 4_000),
            expires_at_ms: Some(NOW_MS - 1),
            ..example("yes", "paused")
        }]);
        assert_eq!(next(Some(&report), NOW_MS), NOW_MS + 4_000);
        assert_eq!(next(None, NOW_MS), NOW_MS + AT_LEAST_EVERY_MS);
    }

    /// A file that was replaced by one of the same size has another stamp.
    #[test]
    fn a_replaced_file_of_equal_size_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path);
        assert!(first.is_some() && first == Stamp::of(&path));
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path), first);
    }
}

//! What is known of the marks that a lazaretto made and may have left behind, and of those that lie
//! in the future: one line of JSON in `T.lazaretto-locks/made`, read and written only by who holds
//! the vault's own lock. So whoever finds a mark of ours knows that its maker is gone. It may be
//! missing or torn: then a mark is as good as another program's, and ends by its age.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::super::StorageError;
use super::folder::{Spot, Stat};

/// What is longer was not written by us.
const MAX_BYTES: usize = 16 * 1024;

/// See above. By default nothing is known.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct LeftBehind {
    #[serde(default)]
    made: Vec<Ours>,
    #[serde(default)]
    future: Vec<Future>,
    /// The microseconds of this process's own marks.
    #[serde(skip)]
    signature: Option<u32>,
    #[serde(skip)]
    is_changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Ours {
    path: String,
    inode: u64,
    micros: u32,
}

#[derive(Serialize, Deserialize)]
struct Future {
    path: String,
    inode: u64,
    modified_us: u64,
    /// When it was first seen so.
    seen_ms: u64,
}

impl LeftBehind {
    /// What the file says, which need not be there.
    pub(super) fn read(at: &Spot) -> Self {
        let file = at.folder.open_file(&at.name, OFlags::RDONLY | OFlags::NONBLOCK);
        file.ok().and_then(|file| Self::from(&file)).unwrap_or_default()
    }

    fn from(file: &File) -> Option<Self> {
        let mut bytes = vec![0; MAX_BYTES];
        let length = file.read_at(&mut bytes, 0).ok()?;
        serde_json::from_slice(bytes[..length].trim_ascii()).ok()
    }

    /// Writes it down, if anything is new, into the file that `open` gives.
    pub(super) fn write(&mut self, open: impl FnOnce() -> Result<File, StorageError>) {
        if !std::mem::take(&mut self.is_changed) {
            return;
        }
        // Without it a mark that is left behind ends by its age.
        let (Ok(file), Ok(mut line)) = (open(), serde_json::to_vec(self)) else { return };
        line.push(b'\n');
        let _ = file.set_len(0).and_then(|()| file.write_all_at(&line, 0));
    }

    /// What this process's marks are known by: microseconds that no clock with milliseconds shows.
    pub(super) fn signature(&mut self) -> u32 {
        *self.signature.get_or_insert_with(|| {
            let random = getrandom::u32().unwrap_or(1);
            random % 1_000 * 1_000 + 1 + random / 1_000 % 999
        })
    }

    pub(super) fn note_made(&mut self, path: &Path, stat: &Stat) {
        let micros = self.signature();
        let Some(path) = path.to_str() else { return };
        self.made.retain(|ours| ours.path != path);
        self.future.retain(|future| future.path != path);
        self.made.push(Ours { path: path.to_owned(), inode: stat.identity.1, micros });
        self.is_changed = true;
    }

    pub(super) fn is_ours(&self, path: &Path, stat: &Stat) -> bool {
        let micros = stat.modified_ns.rem_euclid(1_000_000_000) / 1_000;
        let is_it = |ours: &Ours| ours.inode == stat.identity.1 && i128::from(ours.micros) == micros;
        self.made.iter().any(|ours| Path::new(&ours.path) == path && is_it(ours))
    }

    pub(super) fn note_future(&mut self, path: &Path, stat: &Stat, now: SystemTime) {
        let is_known = self.seen_in_the_future(path, stat).is_some_and(|seen| seen <= now);
        let Some(path) = path.to_str().filter(|_| !is_known) else { return };
        self.future.retain(|future| future.path != path);
        let seen_ms = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        self.future.push(Future {
            path: path.to_owned(),
            inode: stat.identity.1,
            modified_us: modified_us(stat),
            seen_ms: seen_ms.try_into().unwrap_or_default(),
        });
        self.is_changed = true;
    }

    /// When a mark was first seen with the time that it has.
    pub(super) fn seen_in_the_future(&self, path: &Path, stat: &Stat) -> Option<SystemTime> {
        let is_it = |future: &&Future| {
            Path::new(&future.path) == path
                && future.inode == stat.identity.1
                && future.modified_us == modified_us(stat)
        };
        let seen = self.future.iter().find(is_it)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(seen.seen_ms))
    }
}

fn modified_us(stat: &Stat) -> u64 {
    (stat.modified_ns / 1_000).try_into().unwrap_or_default()
}

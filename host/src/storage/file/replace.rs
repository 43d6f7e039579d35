//! A document is the old text or the new one at every moment, whole, whatever fails or crashes: the new text is
//! written beside it under another name, synced, and renamed over it.

use std::io;

use super::super::{StorageError, StoreOutcome, version_of};
use super::errors::io_error;
use super::files::{Dir, Files, Temp, stat_of, sync_way_to};
use super::folder::Spot;
use super::prepared::Prepared;
use super::temporary::{Unfinished, remove_leftovers, temp_name};
use super::text::Text;
use super::unsynced;

/// One replacement of a document.
pub(super) struct Change<'a> {
    /// The document's own file.
    pub(super) target: &'a Spot,
    /// Where a text that need not be durable may lie, in the same directory.
    pub(super) unsynced: Option<&'a Spot>,
    pub(super) text: &'a str,
    /// The version that it must be at. None: it must not exist.
    pub(super) expected: Option<&'a str>,
    pub(super) durable: bool,
    /// What was made ready for it.
    pub(super) prepared: Option<&'a Prepared>,
}

/// Performs `change` under the document's lock, which the caller holds. `read` reads the document.
pub(super) fn replace(
    files: &dyn Files,
    change: &Change<'_>,
    read: impl Fn() -> Result<Option<Text>, StorageError>,
) -> Result<StoreOutcome, StorageError> {
    let path = change.target.path();
    let before = read()?;
    if !is_at(before.as_ref(), change.expected) {
        return Ok(stale(before));
    }

    let dir = Dir::open(&change.target.folder)?;
    remove_leftovers(files, &dir, change.target);
    if change.durable && before.is_none() {
        sync_way_to(files, &change.target.folder)?;
    }

    let is_replaced = before.as_ref().is_some_and(|text| text.is_unsynced);
    let beside = change.unsynced;
    if let Some(idle) = beside.filter(|beside| !is_replaced && beside.exists()) {
        // It was left behind. It must not come back if the file below it should ever be at that version again.
        let removed = files.remove(idle).and_then(|()| files.sync_dir(&dir));
        removed.map_err(|error| io_error("remove", &idle.path(), &error))?;
    }

    // The first text of a document needs a file of its own.
    let base = before.as_ref().filter(|_| !change.durable).map(|text| text.base.as_str());
    let unsynced = base.zip(beside).and_then(|(base, beside)| unsynced::spelled(base, change.text).zip(Some(beside)));
    let made = Made::of(files, change)?;
    let temp = made.temp();
    keep_group_and_mode(files, temp, before.as_ref(), change.target)?;
    let write = |text: &str| made.write(files, text).map_err(|error| io_error("write", &path, &error));
    match &unsynced {
        Some((spelled, _)) => write(spelled)?,
        // Also when the store need not be durable: a rename that reaches the disk before the content it names would
        // leave an empty document after a power cut.
        None => {
            write(change.text)?;
            files.sync_file(temp).map_err(|error| io_error("sync", &path, &error))?;
        }
    }

    // As late as can be, for programs that keep no lock.
    let now = read()?;
    let base = |text: &Option<Text>| text.as_ref().map(|text| text.base.clone());
    if !is_at(now.as_ref(), change.expected) || base(&now) != base(&before) {
        return Ok(stale(now));
    }
    if let Err(error) = files.rename(temp, &unsynced.as_ref().map_or(change.target, |(_, beside)| beside).name) {
        // What still has its own name has not taken the other's.
        return if temp.at.exists() { Err(io_error("replace", &path, &error)) } else { Ok(StoreOutcome::Unknown) };
    }
    made.keep();

    if let Some(replaced) = beside.filter(|_| is_replaced && unsynced.is_none())
        && files.remove(replaced).is_err()
    {
        return Ok(StoreOutcome::Unknown);
    }
    if change.durable && files.sync_dir(&dir).is_err() {
        return Ok(StoreOutcome::Unknown);
    }
    Ok(StoreOutcome::Stored(version_of(change.text.as_bytes())))
}

/// The file that the new text is written into.
enum Made<'a> {
    /// It was made ready before.
    Before(&'a Prepared),
    /// It was made for this store.
    Now(Unfinished<'a>),
}

impl<'a> Made<'a> {
    /// Takes what was made ready. A lease may last long, and whoever tidies up may have removed it: then it is made now.
    fn of(files: &'a dyn Files, change: &Change<'a>) -> Result<Self, StorageError> {
        if let Some(prepared) = change.prepared.filter(|prepared| prepared.is_for(change.target)) {
            return Ok(Self::Before(prepared));
        }
        let at = change.target.beside(temp_name(&change.target.name)?);
        let made = Unfinished::create(files, &at).map_err(|error| io_error("create", &at.path(), &error))?;
        Ok(Self::Now(made))
    }

    fn temp(&self) -> &Temp {
        match self {
            Self::Before(prepared) => prepared.temp(),
            Self::Now(made) => &made.temp,
        }
    }

    /// Writes the whole content. Of what was set aside nothing is left behind it.
    fn write(&self, files: &dyn Files, text: &str) -> io::Result<()> {
        files.write(self.temp(), text.as_bytes())?;
        match self {
            Self::Before(prepared) => files.cut(prepared.temp(), text.len() as u64),
            Self::Now(_) => Ok(()),
        }
    }

    fn keep(self) {
        if let Self::Now(made) = self {
            made.keep();
        }
    }
}

fn is_at(text: Option<&Text>, expected: Option<&str>) -> bool {
    text.map(|text| text.document.version.as_str()) == expected
}

fn stale(current: Option<Text>) -> StoreOutcome {
    StoreOutcome::Stale(current.map(|text| text.document))
}

/// The file keeps its owner and its group, and the rights of both; nobody else gets any.
fn keep_group_and_mode(
    files: &dyn Files,
    temp: &Temp,
    before: Option<&Text>,
    target: &Spot,
) -> Result<(), StorageError> {
    let Some(old) = before.map(|text| &text.stat) else {
        return Ok(()); // as it was born
    };
    let path = temp.at.path();
    let born = stat_of(&temp.file, &path)?;
    if old.user != born.user {
        let what =
            format!("{} belongs to user {}, and only that user can replace it", target.path().display(), old.user);
        return Err(StorageError::new("denied", format!("{what}; nothing was written. Run as that user")));
    }
    // Another group must not come into the rights of one that cannot be kept.
    let keeps_group = old.group == born.group || files.set_group(temp, old.group).is_ok();
    let mode = old.mode & if keeps_group { 0o770 } else { 0o700 } | 0o600;
    if born.mode != mode {
        files.set_mode(temp, mode).map_err(|error| io_error("set the mode of", &path, &error))?;
    }
    Ok(())
}

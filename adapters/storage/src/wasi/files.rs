//! The files of one vault in a folder that the host granted. No link is followed: WASI does not say
//! whose one is.

use std::cell::RefCell;
use std::rc::Rc;

use crate::names::{self, Kind};
use crate::problem::Problem;
use crate::replace::Disk;
use crate::text::{Document, MAX_BYTES, unsynced};

use super::bindings::wasi::cli::environment::get_environment;
use super::bindings::wasi::filesystem::preopens::get_directories;
use super::bindings::wasi::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};
use super::clock::Patience;

/// The user's variable for the vault's path, and what it is without.
const VAULT: (&str, &str) = ("LAZARETTO_VAULT", "auth.json");
const PROFILES: &str = "LAZARETTO_PROVIDERS";
const LAYOUT: &str = "LAZARETTO_LAYOUT";
/// By which words a person calls a command `lazaretto` about this vault, and what else logs in.
const COMMAND: &str = "LAZARETTO_COMMAND";
const LOGIN_HINT: &str = "LAZARETTO_LOGIN_HINT";
/// The user's word that nobody else can read what is made in the vault's folder.
const PRIVATE: &str = "LAZARETTO_FOLDER_IS_PRIVATE";
/// How much larger the next text of a vault may be than the one that is there.
const GROWTH: usize = 64 << 10;
/// A file that is written in place while it is read is read again.
const MOST_READS: u32 = 3;

/// Where the documents of the vault lie.
pub(super) struct Files {
    pub(super) vault: At,
    profiles: Option<At>,
}

/// A path in a granted folder, or the name of a file in an open one.
#[derive(Clone)]
pub(super) struct At {
    pub(super) folder: Rc<Descriptor>,
    pub(super) path: String,
}

thread_local! {
    /// Where the vault was when each lease was given: there it is loaded and stored, wherever its
    /// folder is moved meanwhile.
    static HELD: RefCell<Vec<(String, At)>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn variable(name: &str) -> Option<String> {
    get_environment().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Returns where the vault lies, as far as it can be known here: the user's path in what the host
/// granted; and how a person reaches it.
pub(super) fn place() -> String {
    let set = |name| variable(name).filter(|text| !text.is_empty());
    let path = set(VAULT.0).unwrap_or_else(|| VAULT.1.to_owned());
    let stated = [("layout", set(LAYOUT)), ("command", set(COMMAND)), ("login_hint", set(LOGIN_HINT))];
    names::place_document(&path, &stated)
}

impl Files {
    /// Looks where they are, and opens nothing.
    pub(super) fn open() -> Result<Self, Problem> {
        let set = |name| variable(name).filter(|path| !path.is_empty());
        let held = HELD.with_borrow(|held| held.first().map(|(_, at)| at.clone()));
        let vault = match held {
            Some(at) => at,
            None => At::find(&set(VAULT.0).unwrap_or_else(|| VAULT.1.to_owned()))?,
        };
        let profiles = set(PROFILES).map(|path| At::find(&path)).transpose()?;
        Ok(Self { vault, profiles })
    }

    /// From now on, and until the lease is let go, the vault is the one in the folder in which it
    /// is now.
    pub(super) fn hold(&self, lease: &str) {
        let at = self.vault.in_its_folder();
        HELD.with_borrow_mut(|held| held.push((lease.to_owned(), at)));
    }

    pub(super) fn let_go(lease: &str) {
        HELD.with_borrow_mut(|held| held.retain(|(other, _)| other != lease));
    }

    /// Refuses to write tokens before somebody said that nobody else can read them. WASI neither
    /// sets nor tells a file's mode: what replaces a vault of mode 0600 has the mode that the
    /// process's umask leaves, which is 0644 in most daemons and containers.
    pub(super) fn check_private(&self) -> Result<(), Problem> {
        if variable(PRIVATE).as_deref() == Some("1") {
            return Ok(());
        }
        let vault = &self.vault.path;
        Err(Problem::new(
            "not-private",
            format!(
                "a WASI host cannot set the mode of a file, so others might read what replaces {vault}; nothing was written or sent. Start it with umask 077, or \
                 keep {vault} in a folder of mode 0700, and say so: {PRIVATE}=1"
            ),
        ))
    }

    /// Whether the vault can take the text that comes of a refresh; asked before anything is sent.
    /// WASI tells of no mounts, but links no file across one.
    pub(super) fn check_replaceable(&self) -> Result<(), Problem> {
        let Some(vault) = self.vault.stat("")? else { return Ok(()) };
        let look = self.document(Kind::Vault, Patience::new(0), None);
        let ours = look.fresh_name();
        let room = " ".repeat(usize::try_from(vault.size).unwrap_or(usize::MAX).min(MAX_BYTES as usize) + GROWTH);
        let prepared = look.prepare(&ours, &room, false);
        let _ = look.discard(&ours);
        prepared?;
        let link = look.fresh_name();
        let path = &self.vault.path;
        let linked = self.vault.folder.link_at(PathFlags::empty(), path, &self.vault.folder, &look.at(&link));
        let _ = look.discard(&link);
        match linked {
            Err(ErrorCode::CrossDevice) => Err(Problem::new(
                "read-only",
                format!(
                    "{path} is mounted as a single file, so it cannot be replaced; nothing was sent: mount its folder instead"
                ),
            )),
            // Some file systems have no links: then nothing is known.
            _ => Ok(()),
        }
    }

    pub(super) fn read(&self, kind: Kind) -> Result<Option<Document>, Problem> {
        match kind {
            Kind::Ledger => self.read_ledger().map(|(ledger, _)| ledger),
            Kind::Profiles => match &self.profiles {
                Some(profiles) => profiles.read(""),
                None => Ok(None),
            },
            _ => self.vault.read(kind.suffix()),
        }
    }

    /// Returns the ledger, and whether its text is the one that was left beside it. That one is
    /// read first: what comes out was current at some moment in between.
    pub(super) fn read_ledger(&self) -> Result<(Option<Document>, bool), Problem> {
        let beside = match self.vault.read(UNSYNCED) {
            Err(problem) if problem.code == "corrupt" => None,
            beside => beside?,
        };
        let Some(ledger) = self.vault.read(Kind::Ledger.suffix())? else {
            return Ok((None, false));
        };
        Ok(match beside.and_then(|beside| unsynced(&beside.text, &ledger.version)) {
            Some(newer) => (Some(newer), true),
            None => (Some(ledger), false),
        })
    }

    pub(super) fn has_unsynced(&self) -> Result<bool, Problem> {
        Ok(self.vault.stat(UNSYNCED)?.is_some())
    }

    pub(super) fn remove_unsynced(&self) -> Result<(), Problem> {
        self.vault.remove(UNSYNCED)?;
        // A folder that cannot be synced is not synced by anybody.
        let _ = self.vault.sync_folder();
        Ok(())
    }

    pub(super) fn exists(&self, kind: Kind) -> Result<bool, Problem> {
        let at = if kind == Kind::Profiles { self.profiles.as_ref() } else { Some(&self.vault) };
        Ok(match at {
            Some(at) => at.stat(kind.suffix())?.is_some(),
            None => false,
        })
    }

    pub(super) fn read_lease(&self, claim: &str) -> Result<Option<Document>, Problem> {
        match self.vault.read(&format!("{WORKSHOP}/{claim}")) {
            // A power cut may have left anything of what was never synced.
            Err(problem) if problem.code == "corrupt" => Ok(Some(Document::new(String::new()))),
            read => read,
        }
    }

    /// Makes the folder of prepared texts, which tells hosts that lock with `flock` that others
    /// write here, and makes sure that none of those does: the two see nothing of each other's
    /// locks.
    pub(super) fn take_over(&self) -> Result<(), Problem> {
        self.no_flock()?;
        match self.vault.stat(WORKSHOP)? {
            Some(found) if found.type_ == DescriptorType::Directory => return Ok(()),
            Some(_) => {
                let what = format!(
                    "{}{WORKSHOP} is not a folder: lazaretto prepares texts there; move it away",
                    self.vault.path
                );
                return Err(Problem::new("unsafe", what));
            }
            None => {}
        }
        for (at, _) in self.vault.path.match_indices('/') {
            make_folder(&self.vault.folder, &self.vault.path[..at])?;
        }
        let workshop = self.vault.beside(WORKSHOP);
        make_folder(&self.vault.folder, &workshop)?;
        self.no_flock().inspect_err(|_| {
            // It is the other's then, and this must not keep it out.
            let _ = self.vault.folder.remove_directory_at(&workshop);
        })
    }

    pub(super) fn no_flock(&self) -> Result<(), Problem> {
        if self.vault.stat(LOCKS)?.is_none() {
            return Ok(());
        }
        let vault = &self.vault.path;
        Err(Problem::new(
            "unsupported",
            format!(
                "{vault} is used by a lazaretto that locks with flock: {vault}{LOCKS} is there. This host cannot take those locks, and both at \
                 once would lose updates: nothing is written. If no such lazaretto uses the vault any more, remove that folder"
            ),
        ))
    }

    /// Whoever made the folders above a document may not have synced them yet.
    pub(super) fn sync_way_to(&self, kind: Kind) -> Result<(), Problem> {
        if self.vault.stat(kind.suffix())?.is_none() {
            for (at, _) in self.vault.path.match_indices('/') {
                let _ = sync_folder(&self.vault.folder, above(&self.vault.path[..at]));
            }
        }
        Ok(())
    }

    pub(super) fn can_sync_folders(&self) -> bool {
        self.vault.sync_folder().is_ok()
    }
}

/// What follows the vault's path in those of our own files and folders.
pub(super) const WORKSHOP: &str = ".lazaretto-wasi";
const LOCKS: &str = ".lazaretto-locks";
const UNSYNCED: &str = ".lazaretto.unsynced";

impl At {
    fn find(path: &str) -> Result<Self, Problem> {
        let (mut folders, names): (Vec<_>, Vec<_>) =
            get_directories().into_iter().map(|(folder, name)| (Some(folder), name)).unzip();
        let (at, path) = names::place(path, &names)?;
        let folder = folders.get_mut(at).and_then(Option::take);
        let folder = folder.ok_or_else(|| Problem::new("other", "the host's list of folders changed"))?;
        Ok(Self { folder: Rc::new(folder), path })
    }

    /// Returns the same file, by the folder that it lies in. By its path, if the host opens no
    /// folder to write in.
    fn in_its_folder(&self) -> Self {
        let Some((above, name)) = self.path.rsplit_once('/') else { return self.clone() };
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        match self.folder.open_at(PathFlags::empty(), above, OpenFlags::DIRECTORY, flags) {
            Ok(folder) => Self { folder: Rc::new(folder), path: name.to_owned() },
            Err(_) => self.clone(),
        }
    }

    pub(super) fn beside(&self, suffix: &str) -> String {
        self.path.clone() + suffix
    }

    /// None: it is not there, or a folder on the way to it is not.
    fn stat(&self, suffix: &str) -> Result<Option<DescriptorStat>, Problem> {
        let path = self.beside(suffix);
        for (at, _) in self.path.match_indices('/') {
            let above = &path[..at];
            match self.folder.stat_at(PathFlags::empty(), above) {
                Ok(stat) if stat.type_ == DescriptorType::SymbolicLink => return Err(link(above)),
                Ok(_) => {}
                Err(ErrorCode::NoEntry) => return Ok(None),
                Err(error) => return Err(problem("look at", above, error)),
            }
        }
        match self.folder.stat_at(PathFlags::empty(), &path) {
            Ok(stat) if stat.type_ == DescriptorType::SymbolicLink => Err(link(&path)),
            Ok(stat) => Ok(Some(stat)),
            Err(ErrorCode::NoEntry) => Ok(None),
            Err(error) => Err(problem("look at", &path, error)),
        }
    }

    pub(super) fn read(&self, suffix: &str) -> Result<Option<Document>, Problem> {
        let path = self.beside(suffix);
        for _ in 0..MOST_READS {
            let Some(stat) = self.stat(suffix)? else {
                return Ok(None);
            };
            // A pipe without a writer would be waited for.
            if stat.type_ != DescriptorType::RegularFile {
                return Err(Problem::new("unsupported", format!("{path} is not a file")));
            }
            let file = match self.folder.open_at(PathFlags::empty(), &path, OpenFlags::empty(), DescriptorFlags::READ) {
                Ok(file) => file,
                Err(ErrorCode::NoEntry) => continue,
                Err(error) => return Err(problem("open", &path, error)),
            };
            if let Some(bytes) = read_whole(&file, &path)? {
                return Document::read(bytes, &path).map(Some);
            }
        }
        Err(Problem::new("unavailable", format!("{path} changes while it is read; try again")))
    }

    pub(super) fn remove(&self, suffix: &str) -> Result<(), Problem> {
        let path = self.beside(suffix);
        match self.folder.unlink_file_at(&path) {
            Ok(()) | Err(ErrorCode::NoEntry) => Ok(()),
            Err(error) => Err(problem("remove", &path, error)),
        }
    }

    /// The folder that it lies in.
    pub(super) fn sync_folder(&self) -> Result<(), Problem> {
        sync_folder(&self.folder, above(&self.path))
    }
}

/// None: it changed meanwhile.
fn read_whole(file: &Descriptor, path: &str) -> Result<Option<Vec<u8>>, Problem> {
    let failed = |error| problem("read", path, error);
    let before = file.stat().map_err(failed)?;
    let mut bytes = Vec::new();
    loop {
        if before.size.max(bytes.len() as u64) > MAX_BYTES {
            return Err(Problem::new("too-large", format!("{path} is larger than 16 MiB")));
        }
        let at = bytes.len() as u64;
        // One more than is expected, to see the end.
        let (chunk, is_end) =
            file.read(before.size.saturating_sub(at).clamp(1 << 12, 1 << 20) + 1, at).map_err(failed)?;
        bytes.extend_from_slice(&chunk);
        if is_end || chunk.is_empty() {
            break;
        }
    }
    let after = file.stat().map_err(failed)?;
    let stamp = |stat: &DescriptorStat| {
        (stat.size, stat.data_modification_timestamp.map(|time| (time.seconds, time.nanoseconds)))
    };
    Ok((stamp(&before) == stamp(&after) && after.size == bytes.len() as u64).then_some(bytes))
}

fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(above, _)| above)
}

fn make_folder(base: &Descriptor, path: &str) -> Result<(), Problem> {
    match base.create_directory_at(path) {
        Ok(()) | Err(ErrorCode::Exist) => Ok(()),
        Err(error) => Err(problem("make the folder", path, error)),
    }
}

fn sync_folder(base: &Descriptor, path: &str) -> Result<(), Problem> {
    base.open_at(PathFlags::empty(), path, OpenFlags::DIRECTORY, DescriptorFlags::READ)
        .and_then(|folder| folder.sync())
        .map_err(|error| problem("sync the folder", path, error))
}

fn link(path: &str) -> Problem {
    let what = format!("{path} is a symbolic link, and WASI does not tell whose it is: name the file that it leads to");
    Problem::new("unsafe", what)
}

pub(super) fn problem(doing: &str, path: &str, error: ErrorCode) -> Problem {
    let code = match error {
        ErrorCode::Access | ErrorCode::NotPermitted => "denied",
        ErrorCode::ReadOnly => "read-only",
        ErrorCode::InsufficientSpace | ErrorCode::Quota => "full",
        ErrorCode::Loop => "unsafe",
        ErrorCode::Busy | ErrorCode::Interrupted | ErrorCode::WouldBlock => "unavailable",
        _ => "other",
    };
    Problem::new(code, format!("cannot {doing} {path}: {}", error.name()))
}

//! As root on another user's vault the command becomes that user, for good, before it opens
//! anything in or beside the vault: so whatever that user has put there can do no more than that
//! user could.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, io, ptr};

use super::failure::{self, Failure};
use lazaretto_host::storage::FileStorage;

/// Whom the command has become, if it has.
static BECAME: OnceLock<User> = OnceLock::new();

/// A user as the system knows one.
#[derive(Debug)]
struct User {
    id: u32,
    group: u32,
    /// None: the system knows no user of that number.
    name: Option<CString>,
    home: Option<PathBuf>,
}

/// Becomes the owner of a vault, or of the nearest directory above one that does not exist, if this
/// is root and that is not.
pub(super) fn become_owner_of(vault: &Path) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // Where no safe way leads, nothing is opened: whoever tries says why.
    let Some(owner) = FileStorage::owner_of(vault).ok().filter(|(user, _)| *user != 0) else {
        return Ok(());
    };
    let user = User::known_as(owner.0).unwrap_or(User { id: owner.0, group: owner.1, name: None, home: None });
    user.put_on().map_err(|error| {
        let what = format!("{} belongs to user {}", vault.display(), user.id);
        let why = format!("root cannot become that user here ({error})");
        let run = format!("sudo -u '#{}' {}", user.id, failure::again_with(""));
        Failure::broken(format_args!("{what}, and {why}")).coded("storage").run(run)
    })?;
    // Only one can be set: nobody but root gets here.
    let _ = BECAME.set(user);
    Ok(())
}

/// A variable of the environment, as far as it is about the user that this has become: what root's
/// environment says of folders is not so of another user's.
pub(super) fn variable(name: &str) -> Option<OsString> {
    const OF_ROOT: [&str; 6] =
        ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR", "QWEN_HOME", "HERMES_SHARED_AUTH_DIR"];
    match BECAME.get() {
        Some(user) if name == "HOME" => user.home.clone().map(PathBuf::into_os_string),
        Some(_) if OF_ROOT.contains(&name) => None,
        _ => env::var_os(name).filter(|value| !value.is_empty()),
    }
}

impl User {
    #[allow(unsafe_code, reason = "the standard library cannot look up a user")]
    fn known_as(id: u32) -> Option<Self> {
        let mut buffer: Vec<libc::c_char> = vec![0; 16 * 1024];
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to memory of the sizes that are named, and live until the call
        // has returned.
        let failed =
            unsafe { libc::getpwuid_r(id, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
        if failed != 0 || found.is_null() {
            return None;
        }
        // SAFETY: the call has filled in the entry, whose texts end in a zero and lie in the
        // buffer.
        let (entry, name, home) = unsafe {
            let entry = entry.assume_init();
            (entry, CStr::from_ptr(entry.pw_name).to_owned(), CStr::from_ptr(entry.pw_dir).to_owned())
        };
        let home = PathBuf::from(OsStr::from_bytes(home.as_bytes()));
        Some(Self { id, group: entry.pw_gid, name: Some(name), home: home.is_absolute().then_some(home) })
    }

    /// Groups first: afterwards there is no right to change them.
    #[allow(unsafe_code, reason = "the standard library changes the user of a child only")]
    fn put_on(&self) -> io::Result<()> {
        let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: the name ends in a zero, the list has one element, and the C library does it to
        // all threads of the process.
        unsafe {
            match &self.name {
                Some(name) => done(libc::initgroups(name.as_ptr(), self.group as _))?,
                None => done(libc::setgroups(1, &raw const self.group))?,
            }
            #[cfg(any(target_os = "linux", target_os = "android"))]
            {
                done(libc::setresgid(self.group, self.group, self.group))?;
                done(libc::setresuid(self.id, self.id, self.id))?;
            }
            // As root these set all three as well.
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            {
                done(libc::setgid(self.group))?;
                done(libc::setuid(self.id))?;
            }
        }
        // SAFETY: it takes a number. It must fail, or there is a way back.
        let is_back = unsafe { libc::setuid(0) } == 0;
        let is_user = rustix::process::geteuid().as_raw() == self.id && rustix::process::getuid().as_raw() == self.id;
        if is_back || !is_user { Err(io::Error::other("the system let root stay root")) } else { Ok(()) }
    }
}

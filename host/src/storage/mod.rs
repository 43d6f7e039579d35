//! Documents with versions, and leases on them: what serves the component's `storage` import.
//!
//! `wit/storage.wit` is the contract; the types here mirror it name by name and add nothing to it.
//! [`FileStorage`] keeps documents as files (`docs/file-store.md`), [`MemoryStorage`] only as long as it lives.

#[cfg(unix)]
mod file;
mod memory;

use std::fmt;

use sha2::{Digest, Sha256};

#[cfg(unix)]
pub use file::{CHECKUP_CODES, FROM, FileStorage, set_aside, shell_path};
pub use memory::MemoryStorage;

/// The name by which the component knows the vault that a storage was opened for.
pub const VAULT: &str = "vault";

/// How long a `store` that was given no lease waits for the document's lock, in milliseconds.
const STORE_WAIT_MS: u64 = 10_000;

/// A place for documents. Every call is complete when it returns; any thread may make it.
pub trait Storage: Send + Sync {
    /// Reads a document. `known` is the version that the caller already has, if any.
    fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError>;

    /// Replaces a document if it is still at `expected` (none: if it does not exist). An error means that
    /// nothing was written.
    fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&str>,
        durable: bool,
        lease: Option<&str>,
    ) -> Result<StoreOutcome, StorageError>;

    /// Makes ready what a later store of a document needs, under the lease on the grant that is about to be refreshed, so that an
    /// obstacle is found before a refresh token is spent. `size` is the length of the text that is expected, in bytes. Returns a
    /// ticket for [`Storage::store_prepared`]; none: this storage has nothing to make ready. Nothing of the document changes, and
    /// what is not used goes with the lease.
    ///
    /// # Errors
    /// The document cannot be replaced: why, and what to do. A ticket is no promise all the same.
    fn prepare(&self, name: &str, size: u64, lease: &str) -> Result<Option<String>, PrepareError> {
        let _ = (name, size, lease);
        Ok(None)
    }

    /// Stores as [`Storage::store`] does, with what [`Storage::prepare`] made ready under `ticket`, which is used up whatever the
    /// outcome. A ticket that is not known, or any more, changes nothing.
    ///
    /// # Errors
    /// As those of [`Storage::store`].
    fn store_prepared(
        &self,
        name: &str,
        text: &str,
        expected: Option<&str>,
        durable: bool,
        lease: Option<&str>,
        ticket: &str,
    ) -> Result<StoreOutcome, StorageError> {
        let _ = ticket;
        self.store(name, text, expected, durable, lease)
    }

    /// Takes a lease, waiting at most `wait_ms` for it.
    fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError>;

    /// Gives a lease back. An unknown lease is ignored.
    fn release(&self, lease: &str);

    /// Returns who holds a lease now; none: nobody. Takes no lease, writes nothing, waits for nothing and keeps nobody out. The answer is
    /// for people: what may be done is decided by [`Storage::acquire`] alone.
    fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError>;

    /// The names of the documents that exist and begin with `prefix`.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError>;

    /// What this storage promises.
    fn describe(&self) -> Capabilities;

    /// Who else than the vault's owner may read it, for a person; none: nobody, or nothing is known of that.
    fn exposed(&self) -> Option<Exposed> {
        None
    }

    /// Keeps new tokens that could be stored in no document where [`Storage::rescued`] finds them, and says where that is. A
    /// storage that has no such place hands them to its caller.
    ///
    /// # Errors
    /// Nothing was kept.
    fn rescue(&self, unsaved: &str) -> Result<String, StorageError> {
        let _ = unsaved;
        Err(StorageError::new("unsupported", "this storage has no other place for new tokens"))
    }

    /// What was kept and not yet forgotten.
    fn rescued(&self) -> Vec<Rescued> {
        Vec::new()
    }

    /// Removes what was kept: it is stored now.
    fn forget_rescued(&self, name: &str) {
        let _ = name;
    }
}

/// A vault that everybody on its machine may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// What is so of which file, in one line.
    pub message: String,
    /// The command that ends it.
    pub run: String,
}

/// New tokens that [`Storage::rescue`] kept. `Debug` shows their size, never the tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Rescued {
    /// For [`Storage::forget_rescued`].
    pub name: String,
    /// Secret and opaque: for `save-unsaved`.
    pub unsaved: String,
}

impl fmt::Debug for Rescued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rescued")
            .field("name", &self.name)
            .field("unsaved", &format_args!("[{} bytes]", self.unsaved.len()))
            .finish()
    }
}

/// A text and its version, read together. `Debug` shows the size of the text, never the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Changes whenever the text does; only equality means anything.
    pub version: String,
    /// The whole text.
    pub text: String,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("version", &self.version)
            .field("text", &format_args!("[{} bytes]", self.text.len()))
            .finish()
    }
}

/// What [`Storage::load`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The version is the known one.
    Unchanged,
    /// There certainly is no such document.
    Absent,
    /// The document, whole.
    Loaded(Document),
}

/// What became of a [`Storage::store`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Stored as durably as was asked for, and this is the version.
    Stored(String),
    /// The document is not at the expected version; nothing was written. Carries what is there instead.
    Stale(Option<Document>),
    /// It cannot be said whether the text was written.
    Unknown,
}

/// What a lease is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All writing of one document, by anyone.
    Document(String),
    /// The refreshing of one grant.
    Grant {
        /// The vault's name.
        document: String,
        /// The fingerprint of the refresh token about to be sent: 32 lower-case hex digits.
        fingerprint: String,
    },
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Names the lease in [`Storage::store`] and [`Storage::release`]; 128 random bits.
    pub lease: String,
    /// None: held until it is released or the process ends.
    pub granted_ttl_ms: Option<u64>,
}

/// Who holds a lease, as far as is known: a hint for a person, never a reason to act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// For example `pid 4711 on build-3`. Empty: not known.
    pub name: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: Option<u64>,
}

/// What [`Storage::acquire`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireOutcome {
    /// The lease is held from now on.
    Acquired(LeaseGrant),
    /// Somebody else held it for the whole wait.
    Busy(Holder),
}

/// What a storage promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `native` or `emulated`.
    pub cas: &'static str,
    /// `linearizable` or `may-be-stale`.
    pub reads: &'static str,
    /// What a durable store survives: `none`, `process-crash`, `machine-crash` or `quorum`.
    pub durability: &'static str,
    /// Whether a document lease also excludes other programs that write the same document.
    pub excludes_foreign: bool,
}

/// Why a call could not be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageError {
    /// One of the codes that `wit/storage.wit` lists, or `invalid-lease`.
    pub code: &'static str,
    /// What, where, and what to do. Never text of a document.
    pub message: String,
}

/// Why a document cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrepareCause {
    /// The file system is mounted read-only.
    ReadOnly,
    /// The file itself is a mount point, which nothing can replace.
    MountPoint,
    /// The file or its folder has the attribute immutable or append-only.
    Immutable,
    /// The file belongs to another user, and only that user can replace it.
    NotOwner,
    /// Nothing may be created in its folder.
    Folder,
    /// There is no room for another text.
    NoRoom,
    /// Anything else: the message says what.
    Other,
}

/// Why a document cannot be replaced, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareError {
    /// What stands in the way.
    pub cause: PrepareCause,
    /// What, where, and what to do. Never text of a document.
    pub message: String,
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PrepareError {}

impl From<StorageError> for PrepareError {
    fn from(error: StorageError) -> Self {
        Self { cause: PrepareCause::Other, message: error.message }
    }
}

impl StorageError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StorageError {}

/// Checks a document's name: segments of `[a-z0-9._-]+` joined by `/`, none of them `.` or `..`.
///
/// ```
/// use lazaretto_host::storage::check_name;
///
/// assert!(check_name("vault.lazaretto").is_ok());
/// assert!(check_name("../vault").is_err());
/// ```
pub fn check_name(name: &str) -> Result<(), StorageError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let valid = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed);
    if name.split('/').all(valid) {
        return Ok(());
    }
    Err(StorageError::new(
        "invalid-name",
        format!("{} is not a document name: use segments of a-z, 0-9, '.', '_' and '-' joined by '/'", quoted(name)),
    ))
}

/// `name` as it may stand in a message: escaped, and cut short.
fn quoted(name: &str) -> String {
    let mut shown: String = name.chars().take(80).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// The version of a text: SHA-256 shortened to 128 bits, in hex. No text has two, no two texts share one.
fn version_of(text: &[u8]) -> String {
    hex(&Sha256::digest(text)[..16])
}

/// 128 random bits in hex: the name of a lease or of a temporary file.
fn random_id() -> Result<String, StorageError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| StorageError::new("unavailable", format!("no random bytes to be had: {error}")))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Checks a fingerprint and gives its first byte.
fn fingerprint_byte(fingerprint: &str) -> Result<u8, StorageError> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if fingerprint.len() == 32
        && fingerprint.bytes().all(digit)
        && let Ok(byte) = u8::from_str_radix(&fingerprint[..2], 16)
    {
        return Ok(byte);
    }
    // Not shown: whoever passes something else may have passed the token itself.
    Err(StorageError::new("other", "a grant lease is named by a fingerprint: 32 lower-case hex digits"))
}

/// The refusal of a lease that does not permit a `store`.
fn invalid_lease(name: &str) -> StorageError {
    StorageError::new(
        "invalid-lease",
        format!("the lease given for storing {name} is not a lease on that document, or is no longer held"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_lower_case_names_are_valid() {
        for name in ["vault", "vault.lazaretto", "vault.lazaretto-sealed", "a/b_c/..d", "providers.json", "0"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in [
            "", ".", "..", "../vault", "a/../b", "/vault", "vault/", "a//b", "Vault", "a b", "a\\b", "vault\0", "tür",
            "a\n",
        ] {
            assert_eq!(check_name(name).map_err(|e| e.code), Err("invalid-name"), "{name:?}");
        }
    }

    #[test]
    fn the_message_about_a_bad_name_is_short_and_printable() {
        let error = check_name(&format!("\u{1b}[2J{}", "x".repeat(10_000))).expect_err("invalid");
        assert!(error.message.len() < 300, "{}", error.message.len());
        assert!(error.message.chars().all(|c| !c.is_control()));
    }

    #[test]
    fn a_document_never_prints_its_text() {
        let document = Document { version: "v1".into(), text: "rt-very-secret".into() };
        let shown = format!("{:?}", StoreOutcome::Stale(Some(document)));
        assert!(shown.contains("14 bytes") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_version_is_the_first_half_of_the_sha256_of_the_text() {
        assert_eq!(version_of(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(version_of(b"abc"), version_of(b"abd"));
    }

    /// A fingerprint is 32 lower case hex digits and is not repeated in errors.
    #[test]
    fn a_fingerprint_is_32_lower_case_hex_digits() {
        assert_eq!(fingerprint_byte("ff000000000000000000000000000000"), Ok(0xff));
        for bad in ["", "ff", "FF000000000000000000000000000000", "rt-very-secret-rt-very-secret-xx"] {
            let error = fingerprint_byte(bad).expect_err("invalid");
            assert!(bad.is_empty() || !error.message.contains(bad));
        }
    }
}

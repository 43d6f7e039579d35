//! A text and the mark by which it is known again: nothing but a hash of it, so that no restart and
//! no restore can give one mark to two texts.

use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// Larger documents are refused.
pub const MAX_BYTES: u64 = 16 << 20;
/// What the ledger's unsynced text of a host with `flock` begins with.
const UNSYNCED: &str = "lazaretto-unsynced 1 ";

/// A text and its version.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Of the text.
    pub version: String,
    /// May be secret.
    pub text: String,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Document {
    /// Returns a text with its version.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { version: version_of(text.as_bytes()), text }
    }

    /// Returns what was read from `path`.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn read(bytes: Vec<u8>, path: &str) -> Result<Self, Problem> {
        String::from_utf8(bytes).map(Self::new).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Problem::new("corrupt", format!("{path} is not UTF-8 text: its byte {at} is the first that cannot be"))
        })
    }
}

/// Returns the first half of the SHA-256, in hex.
#[must_use]
pub fn version_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

/// Lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Returns the ledger's text that a host with `flock` left unsynced beside a ledger that is at
/// `base`. None: it is not whole, or of another ledger.
#[must_use]
pub fn unsynced(file: &str, base: &str) -> Option<Document> {
    let (head, text) = file.strip_prefix(UNSYNCED)?.split_once('\n')?;
    let (of, version) = head.split_once(' ')?;
    let document = Document::new(text.to_owned());
    (of == base && document.version == version).then_some(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_half_a_sha256_in_hex() {
        // `printf abc | sha256sum`
        assert_eq!(version_of(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(version_of(b""), "e3b0c44298fc1c149afbf4c8996fb924");
    }

    #[test]
    fn what_is_not_text_is_corrupt_and_is_not_quoted() {
        let problem = Document::read(b"secret\xff".to_vec(), "auth.json").unwrap_err();
        assert_eq!(problem.code, "corrupt");
        assert!(problem.message.contains("byte 6") && !problem.message.contains("secret"), "{problem:?}");
    }

    #[test]
    fn an_unsynced_text_counts_if_it_is_whole_and_of_this_ledger() {
        let whole = format!("{UNSYNCED}base {}\n{{}}\n", version_of(b"{}\n"));
        assert_eq!(unsynced(&whole, "base").unwrap().text, "{}\n");
        assert_eq!(unsynced(&whole, "other"), None);
        for cut in 0..whole.len() {
            assert_eq!(unsynced(&whole[..cut], "base"), None, "{cut}");
        }
    }

    #[test]
    fn no_debug_shows_a_text() {
        assert!(!format!("{:?}", Document::new("s3cret".into())).contains("s3cret"));
    }
}

//! A refresh token is known by its fingerprint wherever the token itself must not be.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::encoding::hex;

/// SHA-256 of a token, its first 128 bits, as 32 lower-case hex digits.
///
/// Refresh tokens are long random strings, so a hash says nothing about one; 128 bits are enough
/// that no two of a person's tokens ever share one.
///
/// ```
/// use lazaretto::state::fingerprint::Fingerprint;
///
/// // What `printf %s abc | sha256sum | cut -c1-32` prints.
/// assert_eq!(Fingerprint::of("abc").as_str(), "ba7816bf8f01cfea414140de5dae2223");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        let digest = Sha256::digest(token.as_bytes());
        Self(hex(&digest[..16]))
    }

    /// As the ledger spells it; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// As stored in the ledger.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough of it for a person to compare.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_first_half_of_the_sha_256() {
        assert_eq!(Fingerprint::of("abc").as_str(), "ba7816bf8f01cfea414140de5dae2223");
    }
}

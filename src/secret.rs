//! A secret is wiped when it goes and never prints itself: there is no `Display`, and `Debug` says
//! `[redacted]`.

use std::fmt;

use zeroize::Zeroize;

/// A token, a client secret, or a text that holds one.
///
/// ```
/// use lazaretto::secret::Secret;
///
/// let token = Secret::new("rt-1");
/// assert_eq!(format!("{token:?}"), "[redacted]");
/// assert_eq!(token.expose(), "rt-1");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of `text`; it is wiped when the secret is dropped.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Every call is a place to look at in a review: it may go into a request, a
    /// vault or an answer to the host, and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it. An empty token counts as no token everywhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_redacted_alone_and_inside_other_values() {
        let secret = Secret::new("rt-very-secret");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(format!("{:?}", Some(vec![secret])), "Some([[redacted]])");
    }
}

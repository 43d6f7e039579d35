//! A verdict always travels with its evidence, and the evidence holds no secret.

use std::fmt;
use std::str::FromStr;

use super::tokens::Tokens;

/// What an answer means for the credential.
///
/// ```
/// use lazaretto::classify::Verdict;
///
/// assert_eq!("terminal".parse(), Ok(Verdict::Terminal));
/// assert!("maybe".parse::<Verdict>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// A usable access token came.
    Refreshed,
    /// The refresh token is dead: only a new login helps.
    Terminal,
    /// The token may be good; the user has to act at the server first (consent, second factor).
    Interaction,
    /// The token may be good; client, request, account or plan is refused until someone changes
    /// that.
    Config,
    /// It passes by itself.
    Transient,
    /// The evidence does not say.
    Unknown,
}

impl Verdict {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Refreshed, "refreshed"),
        (Self::Terminal, "terminal"),
        (Self::Interaction, "interaction"),
        (Self::Config, "config"),
        (Self::Transient, "transient"),
        (Self::Unknown, "unknown"),
    ];

    /// Its word, as it is written everywhere.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(verdict, _)| *verdict == self).map_or("unknown", |(_, word)| word)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A word that is none of the six verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAVerdict;

impl fmt::Display for NotAVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a verdict is refreshed, terminal, interaction, config, transient or unknown")
    }
}

impl std::error::Error for NotAVerdict {}

impl FromStr for Verdict {
    type Err = NotAVerdict;

    fn from_str(word: &str) -> Result<Self, NotAVerdict> {
        Self::ALL.iter().find(|(_, own)| *own == word).map(|(verdict, _)| *verdict).ok_or(NotAVerdict)
    }
}

/// A verdict with its evidence. Nothing in it but [`Tokens`] is secret, and those print
/// `[redacted]`.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// What the answer means.
    pub verdict: Verdict,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
    /// The error code as sent, if it may be shown.
    pub code: Option<String>,
    /// The provider's more exact code, if there was one and it may be shown.
    pub sub_code: Option<String>,
    /// Stable name of the rule that decided: `rfc6749-invalid-grant`, `html-page`,
    /// `profile:aadsts-interaction`.
    pub rule: String,
    /// Seconds the server asks to wait, at most [`LONGEST_WAIT_S`]; 0 only if it said 0.
    pub retry_after_s: Option<u64>,
    /// One line for a person, at most 200 bytes, without secrets.
    pub summary: String,
    /// The server may have rotated although we cannot tell.
    pub in_doubt: bool,
    /// A success came in a coding that cannot be read. Asked again at once, the server would answer
    /// in the same one, and might take it for a replay.
    pub is_unreadable: bool,
    /// What a 2xx carried. Unless refreshed, only a new refresh token (so that the caller can store
    /// the successor).
    pub tokens: Option<Tokens>,
    /// The steps taken, in order.
    pub steps: Vec<Step>,
}

/// One step of the reading and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub name: &'static str,
    /// What was found, without secrets.
    pub finding: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_reads_back_from_its_word() {
        for (verdict, word) in Verdict::ALL {
            assert_eq!((verdict.to_string().as_str(), word.parse()), (word, Ok(verdict)));
        }
        assert_eq!("dead".parse::<Verdict>(), Err(NotAVerdict));
    }
}

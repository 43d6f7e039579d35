//! A lease is a line in a file, with an end: nobody else is let in before it, and nobody has to be
//! asked after it.
//!
//! The line is replaced as every document is, so of two that see it free or over one gets it, and a
//! holder that died is in nobody's way for longer than it asked for.
//!
//! ```text
//! lazaretto-lease 1 <nonce> <since, ms since 1970> <until>
//! lazaretto-lease 1 free
//! ```

/// What a lease's line begins with.
const MARK: &str = "lazaretto-lease 1 ";
/// A lease that nobody holds.
pub const FREE: &str = "lazaretto-lease 1 free\n";
/// No lease is granted for longer, and none in a file is believed for longer.
pub const LONGEST_MS: u64 = 600_000;
/// How far the clocks of two readers may be apart, as on one machine they are read from one.
const SLACK_MS: u64 = 1_000;

/// Somebody's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Known to its holder alone.
    pub nonce: String,
    /// When it was taken.
    pub since_ms: u64,
    /// When it is over.
    pub until_ms: u64,
}

/// What a lease's file says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be taken: it was given back, or is over, or nothing that can be read was left of it
    /// by a power cut.
    Free,
    /// Somebody holds it.
    Held(Line),
    /// It was taken in what is now the future: the clock was set back. It is to be dated anew by
    /// this line, or it would last until that future.
    Undated(Line),
}

impl Line {
    /// Begins a lease now.
    #[must_use]
    pub fn new(nonce: String, now_ms: u64, ttl_ms: u64) -> Self {
        Self { nonce, since_ms: now_ms, until_ms: now_ms.saturating_add(ttl_ms.min(LONGEST_MS)) }
    }

    /// Returns whether it is held for this grant, or does not say what for.
    #[must_use]
    pub fn may_be_for(&self, grant: Option<&str>) -> bool {
        let held_for = self.nonce.split_once('-').map(|(grant, _)| grant);
        held_for.zip(grant).is_none_or(|(held, asked)| held == asked)
    }

    /// As it stands in the file.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{MARK}{} {} {}\n", self.nonce, self.since_ms, self.until_ms)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix(MARK)?.strip_suffix('\n')?.split(' ');
        let mut next = || words.next();
        let (nonce, since_ms, until_ms) = (next()?.to_owned(), next()?.parse().ok()?, next()?.parse().ok()?);
        (next().is_none() && since_ms <= until_ms).then_some(Self { nonce, since_ms, until_ms })
    }
}

/// Returns what a lease's file, if there is one, says at `now_ms`.
#[must_use]
pub fn state(text: Option<&str>, now_ms: u64) -> State {
    let Some(line) = text.and_then(Line::parse) else {
        return State::Free;
    };
    let ttl_ms = line.until_ms - line.since_ms;
    if line.since_ms > now_ms.saturating_add(SLACK_MS) || ttl_ms > LONGEST_MS {
        return State::Undated(Line::new(line.nonce, now_ms, ttl_ms));
    }
    if line.until_ms < now_ms { State::Free } else { State::Held(line) }
}

/// Returns what a lease is known by, of random text: it begins with the grant that it is for, if it
/// is one on grants, as several share a lease.
#[must_use]
pub fn nonce(grant: Option<&str>, random: &str) -> String {
    grant.map_or_else(|| random.to_owned(), |grant| format!("{grant}-{random}"))
}

/// Returns whether `text` is the lease of `nonce`, over or not.
#[must_use]
pub fn is_of(text: &str, nonce: &str) -> bool {
    Line::parse(text).is_some_and(|line| line.nonce == nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_219_200_000;

    fn line() -> Line {
        Line::new("0f3a".into(), NOW, 45_000)
    }

    #[test]
    fn nobody_else_is_let_in_before_a_lease_is_over() {
        let text = line().text();
        for passed in [0, 1, 44_999, 45_000] {
            assert_eq!(state(Some(&text), NOW + passed), State::Held(line()), "{passed}");
        }
        assert_eq!(state(Some(&text), NOW + 45_001), State::Free);
    }

    #[test]
    fn what_was_given_back_or_was_never_whole_is_free() {
        let whole = line().text();
        assert_eq!(state(None, NOW), State::Free);
        assert_eq!(state(Some(FREE), NOW), State::Free);
        for cut in 0..whole.len() {
            assert_eq!(state(Some(&whole[..cut]), NOW), State::Free, "{cut}");
        }
        assert_eq!(state(Some("lazaretto-lease 1 a 5 4\n"), NOW), State::Free);
    }

    /// A lease from the future is dated anew and is over after its own time.
    #[test]
    fn a_lease_from_the_future_ends_after_its_own_time() {
        let text = line().text();
        let hour_ago = NOW - 3_600_000;
        let State::Undated(dated) = state(Some(&text), hour_ago) else { panic!("believed") };
        assert_eq!((dated.nonce.as_str(), dated.until_ms), ("0f3a", hour_ago + 45_000));
        assert_eq!(state(Some(&dated.text()), hour_ago + 45_001), State::Free);
    }

    #[test]
    fn no_lease_is_believed_for_ever() {
        let text = format!("{MARK}a {NOW} {}\n", u64::MAX);
        let State::Undated(dated) = state(Some(&text), NOW + 5) else { panic!("believed") };
        assert_eq!(dated.until_ms, NOW + 5 + LONGEST_MS);
    }

    #[test]
    fn a_lease_that_grants_share_is_held_for_one_of_them() {
        let held = |nonce| State::Held(Line::new(nonce, NOW, 45_000));
        let of = |nonce: String| match state(Some(&Line::new(nonce.clone(), NOW, 45_000).text()), NOW) {
            State::Held(line) if State::Held(line.clone()) == held(nonce) => line,
            other => panic!("{other:?}"),
        };
        let line = of(nonce(Some("07aa"), "0f3a"));
        assert!(line.may_be_for(Some("07aa")) && line.may_be_for(None) && !line.may_be_for(Some("07bb")));
        assert!(of(nonce(None, "0f3a")).may_be_for(Some("07bb")), "it does not say");
    }

    #[test]
    fn a_lease_is_known_by_its_nonce_alone() {
        assert!(is_of(&line().text(), "0f3a"));
        assert!(!is_of(&line().text(), "0f3b") && !is_of(FREE, "free"));
    }
}

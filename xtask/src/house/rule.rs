//! A rule is a number that must not pass a limit, and the places that make it up.

/// What the limit of a rule bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// At most so many places.
    Most(usize),
    /// At least so many places.
    Least(usize),
    /// Nothing: the number is only told.
    None,
}

/// One rule, measured.
pub(super) struct Measured {
    /// The rule's name, in kebab case.
    pub(super) name: &'static str,
    /// What it may be once nothing is left to mend.
    pub(super) limit: Limit,
    /// Every place that counts, as `file:line: what`.
    pub(super) places: Vec<String>,
}

impl Measured {
    /// Makes a rule that is broken by more places than `limit`.
    pub(super) fn most(name: &'static str, limit: usize, places: Vec<String>) -> Self {
        Measured { name, limit: Limit::Most(limit), places }
    }

    /// Makes a rule that is broken by fewer places than `limit`.
    pub(super) fn least(name: &'static str, limit: usize, places: Vec<String>) -> Self {
        Measured { name, limit: Limit::Least(limit), places }
    }

    /// Makes a figure that breaks no rule.
    pub(super) fn reported(name: &'static str, places: Vec<String>) -> Self {
        Measured { name, limit: Limit::None, places }
    }

    /// Returns how many places there are.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// Returns whether the limit holds.
    pub(super) fn holds(&self) -> bool {
        match self.limit {
            Limit::Most(limit) => self.count() <= limit,
            Limit::Least(limit) => self.count() >= limit,
            Limit::None => true,
        }
    }
}

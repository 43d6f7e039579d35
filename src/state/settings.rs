//! The policy for one vault: `settings.json`. What it does not say is as the defaults below say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Code, KeeperError};
use crate::json;
use crate::layers::Layers;
use crate::ports::Version;
use crate::secret::Secret;

pub(crate) const SETTINGS: &str = "settings.json";

/// How a pool is used unless the settings say otherwise: `pool` for every provider,
/// `pools.<provider>` for one.
const POOL: &str = r#"{"strategy": "fill_first", "max_in_use": 0, "in_use_s": 600, "session_s": 3600,
    "refused_s": 300, "throttled_s": 60, "throttled_most_s": 3600, "billing_s": 18000, "billing_most_s": 86400,
    "forbidden_s": 3600, "fault_s": 30, "faults": 3, "sole_s": 60, "sole_most_s": 900}"#;

/// Which of several credentials is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// The first by priority.
    FillFirst,
    /// The next after the last one.
    RoundRobin,
    /// Any.
    Random,
    /// The one that was picked least often.
    LeastUsed,
    /// For one session always the same; for a new one the next.
    Sticky,
}

/// How a pool is used. Times are in seconds.
#[derive(Clone, Debug)]
pub(crate) struct PoolPolicy {
    pub(crate) strategy: Strategy,
    /// How many may use one credential at a time; 0: any number.
    pub(crate) max_in_use: u64,
    /// A use that nobody ended is over after so long.
    pub(crate) in_use_s: u64,
    /// A session that was quiet for so long is forgotten.
    pub(crate) session_s: u64,
    /// The rest of a credential that an API refused and that could not be refreshed.
    pub(crate) refused_s: u64,
    /// The first rest after too many calls; each further one is five times as long,
    pub(crate) throttled_s: u64,
    /// up to this.
    pub(crate) throttled_most_s: u64,
    /// The first rest where money or quota is used up; each further one is twice as long,
    pub(crate) billing_s: u64,
    /// up to this.
    pub(crate) billing_most_s: u64,
    /// The rest of a credential that may not do what was asked.
    pub(crate) forbidden_s: u64,
    /// The rest after `faults` faults in a row.
    pub(crate) fault_s: u64,
    pub(crate) faults: u64,
    /// The longest rest of the only credential there is, where the API named no time,
    pub(crate) sole_s: u64,
    /// and where it did: then it is tried again, however far off the named time is.
    pub(crate) sole_most_s: u64,
}

impl PoolPolicy {
    fn read(pool: &Layers<'_>) -> Self {
        pool.only(&[
            "strategy",
            "max_in_use",
            "in_use_s",
            "session_s",
            "refused_s",
            "throttled_s",
            "throttled_most_s",
            "billing_s",
            "billing_most_s",
            "forbidden_s",
            "fault_s",
            "faults",
            "sole_s",
            "sole_most_s",
        ]);
        use Strategy::{FillFirst, LeastUsed, Random, RoundRobin, Sticky};
        Self {
            strategy: pool.one_of(
                "strategy",
                ["fill_first", "round_robin", "random", "least_used", "sticky"],
                [FillFirst, RoundRobin, Random, LeastUsed, Sticky],
            ),
            max_in_use: pool.number("max_in_use"),
            in_use_s: pool.number("in_use_s"),
            session_s: pool.number("session_s"),
            refused_s: pool.number("refused_s"),
            throttled_s: pool.number("throttled_s"),
            throttled_most_s: pool.number("throttled_most_s"),
            billing_s: pool.number("billing_s"),
            billing_most_s: pool.number("billing_most_s"),
            forbidden_s: pool.number("forbidden_s"),
            fault_s: pool.number("fault_s"),
            faults: pool.number("faults"),
            sole_s: pool.number("sole_s"),
            sole_most_s: pool.number("sole_most_s"),
        }
    }

    /// Whether picking changes what the next one picks.
    pub(crate) fn keeps_count(&self) -> bool {
        self.max_in_use > 0 || !matches!(self.strategy, Strategy::FillFirst | Strategy::Random)
    }
}

/// The settings as they were read; unread until a part is asked for.
pub(crate) struct Settings {
    pub(crate) version: Option<Version>,
    text: Secret,
    /// What was made of it for a provider.
    pools: RefCell<BTreeMap<String, Rc<PoolPolicy>>>,
}

impl Settings {
    /// Holds a document that was loaded.
    pub(crate) fn new(version: Option<Version>, text: Secret) -> Self {
        Self { version, text, pools: RefCell::default() }
    }

    #[cfg(test)]
    pub(crate) fn of(text: Secret) -> Self {
        Self::new(None, text)
    }

    fn part<T>(&self, read: impl FnOnce(&Layers<'_>) -> T) -> Result<T, KeeperError> {
        let bad = |what: String| {
            KeeperError::new(Code::BadSettings, format!("the settings of this vault cannot be read: {what}"))
        };
        let root = json::check(self.text.expose()).map_err(|error| bad(error.to_string()))?;
        let read = Layers::read(vec![root], |settings| {
            settings.only(&["shared_with_reference", "owner", "layout", "pool", "pools"]);
            read(settings)
        });
        read.map_err(|error| bad(error.to_string()))
    }

    /// Whether the reference's own programs use the vault too.
    pub(crate) fn shared_with_reference(&self) -> Result<bool, KeeperError> {
        self.part(|settings| settings.one("shared_with_reference").is_none() || settings.flag("shared_with_reference"))
    }

    /// Whether the vault's grants are refreshed in it, whatever other files hold them.
    pub(crate) fn is_owner(&self) -> Result<bool, KeeperError> {
        self.part(|settings| settings.flag("owner"))
    }

    /// Which program's layout a person states that the vault is in.
    pub(crate) fn layout(&self) -> Result<Option<String>, KeeperError> {
        self.part(|settings| settings.maybe_text("layout"))
    }

    /// How a provider's pool is used.
    pub(crate) fn pool(&self, provider: &str) -> Result<Rc<PoolPolicy>, KeeperError> {
        if let Some(policy) = self.pools.borrow().get(provider) {
            return Ok(policy.clone());
        }
        let policy = Rc::new(self.policy(provider)?);
        self.pools.borrow_mut().insert(provider.to_owned(), policy.clone());
        Ok(policy)
    }

    fn policy(&self, provider: &str) -> Result<PoolPolicy, KeeperError> {
        self.part(|settings| {
            let of_one = settings.object("pools").object(provider);
            let default = Layers::literal(POOL, settings);
            PoolPolicy::read(&of_one.over(&settings.object("pool")).over(&default))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::of(Secret::from(text))
    }

    #[test]
    fn what_is_said_of_one_provider_lies_over_what_is_said_of_all_and_that_over_the_defaults() {
        let settings = settings(
            r#"{"pool": {"strategy": "random", "throttled_s": 10}, "pools": {"xai-oauth": {"strategy": "least_used"}}}"#,
        );
        let (xai, nous) = (settings.pool("xai-oauth").unwrap(), settings.pool("nous").unwrap());
        assert_eq!((xai.strategy, xai.throttled_s, xai.billing_s), (Strategy::LeastUsed, 10, 18_000));
        assert_eq!((nous.strategy, nous.throttled_s), (Strategy::Random, 10));
        assert!(settings.shared_with_reference().unwrap());
    }

    #[test]
    fn a_word_that_is_not_known_is_named() {
        for (text, what) in [
            (r#"{"pool": {"strategy": "fastest"}}"#, "one of fill_first, round_robin, random, least_used, sticky"),
            (r#"{"pools": {"nous": {"throtled_s": 1}}}"#, "\"throtled_s\" is not known here"),
            (r#"{"strategy": "random"}"#, "\"strategy\" is not known here"),
            (r#"{"pool": {"sole_s": -1}}"#, "should be a whole number"),
        ] {
            let error = settings(text).pool("nous").unwrap_err();
            assert!(error.code == Code::BadSettings && error.message.contains(what), "{error}");
        }
    }
}

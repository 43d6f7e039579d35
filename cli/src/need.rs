//! What a credential needs, told from the two questions of the contract: is it usable now, and will
//! it renew?

use super::failure::Exit;
use super::table::Look;
use lazaretto_host::CredentialStatus;

/// What must happen before a credential works on its own. The later is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// It works, and will go on.
    Nothing,
    /// It is not usable now, and only time helps.
    Time,
    /// A person must log in.
    Login,
    /// A profile, a setting or the client must change.
    Configuration,
    /// It cannot be told: a word of a newer component.
    Unknown,
}

impl Need {
    pub(super) fn of(status: &CredentialStatus) -> Self {
        let is_usable = match status.usable.as_str() {
            "yes" | "expiring" | "unknown" => true,
            "expired" | "no" => false,
            _ => return Self::Unknown,
        };
        match status.renewal.as_str() {
            "needs-login" | "quarantined" | "dead" => Self::Login,
            "needs-configuration" => Self::Configuration,
            // Until somebody resets it.
            "paused" if status.todo.is_some() => Self::Configuration,
            "ok" | "refreshing" | "in-doubt" | "paused" | "none" if is_usable => Self::Nothing,
            "ok" | "none" if status.retry_at_ms.is_some() => Self::Time,
            // The next call refreshes it.
            "ok" => Self::Nothing,
            "refreshing" | "in-doubt" | "paused" => Self::Time,
            // What its key should come from has none.
            "none" if status.kind == "api-key" => Self::Configuration,
            "none" => Self::Login,
            _ => Self::Unknown,
        }
    }

    /// Whether it waits for a person.
    pub(super) fn is_a_persons(self) -> bool {
        self > Self::Time
    }

    /// The exit code that tells a timer or a monitor. None: all is well.
    pub(super) fn exit(self) -> Option<Exit> {
        match self {
            Self::Nothing => None,
            Self::Time => Some(Exit::Retry),
            Self::Login => Some(Exit::Login),
            Self::Configuration => Some(Exit::Configure),
            Self::Unknown => Some(Exit::Broken),
        }
    }
}

/// In which order a person wants to see them: who waits for a person, what time mends, what works,
/// keys.
pub(super) fn rank(status: &CredentialStatus) -> u8 {
    match (Need::of(status), look(status)) {
        (need, _) if need.is_a_persons() => 0,
        (Need::Time, _) => 1,
        (_, Look::Warn) => 2,
        _ if status.kind == "api-key" => 4,
        _ => 3,
    }
}

/// Green: it works. Yellow: it works for now, or time mends it. Red: a person is needed.
pub(super) fn look(status: &CredentialStatus) -> Look {
    match Need::of(status) {
        Need::Nothing if status.usable == "yes" && is_settled(status) => Look::Good,
        Need::Nothing | Need::Time => Look::Warn,
        _ => Look::Bad,
    }
}

/// Nothing is to be expected of it but that it goes on.
fn is_settled(status: &CredentialStatus) -> bool {
    match status.renewal.as_str() {
        "ok" => status.retry_at_ms.is_none(),
        "refreshing" => true,
        "none" => status.kind == "api-key" && status.retry_at_ms.is_none(),
        _ => false,
    }
}

/// How many of some credentials need what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) all: usize,
    pub(super) need_a_person: usize,
    pub(super) wait: usize,
    pub(super) worst: Option<Need>,
}

impl Count {
    pub(super) fn of<'a>(credentials: impl IntoIterator<Item = &'a CredentialStatus>) -> Self {
        let mut count = Self::default();
        for need in credentials.into_iter().map(Need::of) {
            count.all += 1;
            count.need_a_person += usize::from(need.is_a_persons());
            count.wait += usize::from(need == Need::Time);
            count.worst = count.worst.max(Some(need));
        }
        count
    }

    /// What is wrong, or that nothing is.
    pub(super) fn trouble(&self) -> (String, Look) {
        match (self.need_a_person, self.wait) {
            (0, 0) => ("all fine".to_owned(), Look::Good),
            (0, wait) => (format!("{wait} must wait"), Look::Warn),
            (1, 0) => ("1 needs you".to_owned(), Look::Bad),
            (need, 0) => (format!("{need} need you"), Look::Bad),
            (1, wait) => (format!("1 needs you, {wait} must wait"), Look::Bad),
            (need, wait) => (format!("{need} need you, {wait} must wait"), Look::Bad),
        }
    }
}

/// `1 credential`, `2 credentials`
pub(super) fn some(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A credential for tests: usable for an hour, and it will renew.
#[cfg(test)]
pub(super) fn example(usable: &str, renewal: &str) -> CredentialStatus {
    let error = lazaretto_host::LastError {
        code: "invalid_grant".into(),
        message: "the server refused the refresh token: revoked".into(),
        reason: "refresh-refused".into(),
        at_ms: None,
    };
    let is_sick = matches!(renewal, "paused" | "needs-login" | "needs-configuration" | "quarantined" | "dead");
    CredentialStatus {
        provider: "xai-oauth".into(),
        credential: "login".into(),
        label: "login".into(),
        source: "login".into(),
        kind: "oauth".into(),
        usable: usable.into(),
        renewal: renewal.into(),
        expires_at_ms: Some(1_784_541_600_000 + 3_540_000).filter(|_| usable != "no"),
        last_error: Some(error).filter(|_| is_sick),
        todo: Some("lazaretto login xai-oauth".to_owned()).filter(|_| is_sick && renewal != "paused"),
        ..CredentialStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_questions_together_say_what_is_needed() {
        use Need::{Configuration, Login, Nothing, Time, Unknown};
        for (usable, renewal, need) in [
            ("yes", "ok", Nothing),
            ("expiring", "ok", Nothing),
            ("expired", "ok", Nothing),
            ("unknown", "ok", Nothing),
            ("yes", "refreshing", Nothing),
            ("expired", "refreshing", Time),
            ("yes", "in-doubt", Nothing),
            ("expired", "in-doubt", Time),
            ("yes", "paused", Nothing),
            ("expired", "paused", Time),
            ("yes", "needs-login", Login),
            ("no", "quarantined", Login),
            ("no", "dead", Login),
            ("yes", "needs-configuration", Configuration),
            ("yes", "none", Nothing),
            ("no", "none", Login),
            ("yes", "a-new-word", Unknown),
            ("a-new-word", "ok", Unknown),
            ("", "", Unknown),
        ] {
            assert_eq!(Need::of(&example(usable, renewal)), need, "{usable} {renewal}");
        }
        let key = |usable: &str, retry_at_ms| CredentialStatus {
            kind: "api-key".into(),
            retry_at_ms,
            ..example(usable, "none")
        };
        assert_eq!((Need::of(&key("yes", None)), Need::of(&key("no", None))), (Nothing, Configuration));
        assert_eq!(Need::of(&key("no", Some(1))), Time, "an API asked for a pause");
        let parked = CredentialStatus { todo: Some("lazaretto reset xai-oauth".into()), ..example("yes", "paused") };
        assert_eq!(Need::of(&parked), Configuration);
    }

    #[test]
    fn who_needs_a_person_comes_first_and_keys_last() {
        let key = CredentialStatus { kind: "api-key".into(), ..example("yes", "none") };
        let order = [
            example("no", "quarantined"),
            example("expired", "paused"),
            example("expiring", "ok"),
            example("yes", "ok"),
            key,
        ];
        assert_eq!(order.each_ref().map(rank), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_count_says_what_is_wrong() {
        let of = |all: &[(&str, &str)]| {
            let all: Vec<_> = all.iter().map(|(usable, renewal)| example(usable, renewal)).collect();
            Count::of(&all).trouble().0
        };
        let (fine, waits, sick) = (("yes", "ok"), ("expired", "paused"), ("no", "dead"));
        assert_eq!(of(&[fine, fine]), "all fine");
        assert_eq!(of(&[fine, waits]), "1 must wait");
        assert_eq!(of(&[sick, fine]), "1 needs you");
        assert_eq!(of(&[sick, sick, waits]), "2 need you, 1 must wait");
        assert_eq!(Count::of(&[example("no", "dead"), example("expired", "paused")]).worst, Some(Need::Login));
    }
}

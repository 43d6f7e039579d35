//! Every provider as a person wants to see it: what its profile says, whether a login is offered, and if not why and what to write.
//! Nothing secret is in it.

use crate::admin::login;
use crate::json::Object;

use super::{Catalog, ClientAuth, Profile};

/// One provider: `provider-info` in the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "wit/admin.wit documents them")]
pub struct ProviderInfo {
    pub id: String,
    pub name: String,
    pub aliases: Vec<String>,
    pub whose: Whose,
    pub keys_only: bool,
    pub token_endpoint: Option<String>,
    pub client_id: Option<String>,
    pub client_auth: ClientAuth,
    pub device_authorization_endpoint: Option<String>,
    pub authorization_endpoint: Option<String>,
    pub redirect_url: Option<String>,
    pub revocation_endpoint: Option<String>,
    pub scope: Option<String>,
    pub environment: Vec<String>,
    pub flows: Vec<String>,
    pub no_login: Option<String>,
    pub to_write: Option<String>,
    pub wrong: Option<String>,
}

/// Where a profile comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// lazaretto has it.
    BuiltIn,
    /// lazaretto has it, and the user's file lies over it.
    Changed,
    /// The user's file alone.
    User,
}

impl Whose {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Changed => "changed",
            Self::User => "user",
        }
    }
}

impl ClientAuth {
    /// The word in a profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Body => "body",
            Self::Basic => "basic",
        }
    }
}

/// The providers of which only keys are known, by names that stand for no profile.
pub(crate) fn only_keys(catalog: &Catalog) -> Vec<String> {
    let names = catalog.ids();
    catalog.ids_of_keys().into_iter().filter(|id| catalog.resolve(id) == *id && !names.contains(id)).collect()
}

pub(crate) fn info(catalog: &Catalog, id: &str) -> ProviderInfo {
    let (found, wrong) = match catalog.profile(id) {
        Ok(found) => (found, None),
        Err(error) => (None, Some(error.0)),
    };
    let keys_only = found.is_none() && wrong.is_none();
    // What is wrong is read as the generic one, which the binary has.
    let profile = found.map_or_else(|| catalog.generic(id).ok(), Some);
    let variables = catalog.variables_of(id);
    let mut info = ProviderInfo {
        id: id.to_owned(),
        name: if keys_only { id.to_owned() } else { String::new() },
        aliases: Vec::new(),
        whose: catalog.whose(id),
        keys_only,
        token_endpoint: None,
        client_id: None,
        client_auth: ClientAuth::None,
        device_authorization_endpoint: None,
        authorization_endpoint: None,
        redirect_url: None,
        revocation_endpoint: None,
        scope: None,
        environment: variables,
        flows: Vec::new(),
        no_login: None,
        to_write: None,
        wrong,
    };
    match profile {
        Some(profile) if !keys_only && info.wrong.is_none() => fill(&mut info, &profile),
        _ => {
            let keys = || format!("{id} is known for its keys only");
            info.no_login = Some(info.wrong.clone().unwrap_or_else(keys));
        }
    }
    info
}

fn fill(info: &mut ProviderInfo, profile: &Profile) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let authorization = &profile.authorization;
    info.name.clone_from(&profile.name);
    info.aliases.clone_from(&profile.aliases);
    info.token_endpoint = some(&profile.token_endpoint);
    info.client_id = some(&profile.client_id);
    info.client_auth = profile.client_auth;
    info.device_authorization_endpoint.clone_from(&authorization.device_authorization_endpoint);
    info.authorization_endpoint.clone_from(&authorization.authorization_endpoint);
    info.redirect_url = authorization.authorization_endpoint.as_ref().map(|_| authorization.redirect_url.clone());
    info.revocation_endpoint.clone_from(&authorization.revocation_endpoint);
    info.scope = some(&authorization.scope);
    info.environment.clone_from(&profile.environment);
    let missing = missing(profile);
    if missing.is_empty() {
        info.flows = login::flows(profile).into_iter().map(|flow| flow.flow.to_owned()).collect();
    } else {
        info.no_login = Some(why_none(&missing));
        info.to_write = Some(to_write(&profile.id, &missing));
    }
}

/// What a profile must name before anybody can log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Where tokens come from.
    TokenEndpoint,
    /// As whom.
    ClientId,
    /// Where a person approves.
    Authorization,
}

impl Needed {
    /// The member that is missing, as it is written.
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::TokenEndpoint => "`token_endpoint`",
            Self::ClientId => "`client_id`",
            Self::Authorization => "`authorization`",
        }
    }
}

/// What is missing of what a login needs.
pub(crate) fn missing(profile: &Profile) -> Vec<Needed> {
    let authorization = &profile.authorization;
    let is_offered =
        authorization.device_authorization_endpoint.is_some() || authorization.authorization_endpoint.is_some();
    [
        (Needed::TokenEndpoint, profile.has_endpoint()),
        (Needed::ClientId, !profile.client_id.is_empty()),
        (Needed::Authorization, is_offered),
    ]
    .into_iter()
    .filter_map(|(needed, is_there)| (!is_there).then_some(needed))
    .collect()
}

/// Why no login is offered, for a person.
pub(crate) fn why_none(missing: &[Needed]) -> String {
    let members: Vec<&str> = missing.iter().map(|needed| needed.member()).collect();
    let listed = match members.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and no {last}", others.join(", no ")),
        _ => members.join(""),
    };
    format!("its profile has no {listed}")
}

/// The user's file with what is missing, and `...` for what only the user knows.
fn to_write(id: &str, missing: &[Needed]) -> String {
    let mut profile = Object::default();
    for needed in missing {
        match needed {
            Needed::TokenEndpoint => profile.text("token_endpoint", "https://..."),
            Needed::ClientId => profile.text("client_id", "..."),
            Needed::Authorization => {
                profile.raw("authorization", Object::default().text("authorization_endpoint", "https://...").line())
            }
        };
    }
    Object::default().raw("profiles", Object::default().raw(id, profile.line()).line()).line()
}

impl Catalog {
    fn whose(&self, id: &str) -> Whose {
        let user = |known: &&super::Known| known.text == 0;
        let mut own = self.known.iter().filter(|known| known.id == id);
        let is_users = own.clone().any(|known| user(&known));
        match (is_users, own.any(|known| !user(&known))) {
            (false, _) => Whose::BuiltIn,
            (true, true) => Whose::Changed,
            (true, false) => Whose::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: Option<&str>, id: &str) -> ProviderInfo {
        info(&Catalog::new(user).unwrap(), id)
    }

    #[test]
    fn a_built_in_login_is_offered_with_its_flows() {
        let xai = of(None, "xai-oauth");
        assert_eq!((xai.flows, xai.no_login, xai.whose), (vec!["device-code".to_owned()], None, Whose::BuiltIn));
        let codex = of(None, "openai-codex");
        assert_eq!(codex.flows, ["loopback-pkce"]);
        assert_eq!(codex.redirect_url.as_deref(), Some("http://localhost:1455/auth/callback"));
    }

    #[test]
    fn what_is_missing_of_a_login_is_said_and_can_be_written() {
        for (id, wanted, to_write) in [
            ("google", "`client_id`", r#"{"profiles":{"google":{"client_id":"..."}}}"#),
            (
                "okta",
                "`token_endpoint`",
                r#"{"profiles":{"okta":{"token_endpoint":"https://...","client_id":"...","authorization":{"authorization_endpoint":"https://..."}}}}"#,
            ),
            (
                "anthropic",
                "`authorization`",
                r#"{"profiles":{"anthropic":{"authorization":{"authorization_endpoint":"https://..."}}}}"#,
            ),
        ] {
            let info = of(None, id);
            assert!(
                info.flows.is_empty() && info.no_login.as_deref().is_some_and(|why| why.contains(wanted)),
                "{info:?}"
            );
            assert_eq!(info.to_write.as_deref().map(compact), Some(to_write.to_owned()), "{id}");
        }
    }

    /// What is told to write makes the login offered, once the dots are filled in.
    #[test]
    fn what_is_told_to_write_helps() {
        let catalog = Catalog::new(None).unwrap();
        for id in catalog.ids() {
            let Some(text) = of(None, &id).to_write else { continue };
            let text = text.replace("https://...", "https://a.example/x").replace("...", "c");
            let written = of(Some(&text), &id);
            assert!(!written.flows.is_empty() && written.no_login.is_none(), "{id}: {text}: {written:?}");
            assert_eq!(written.whose, Whose::Changed);
        }
    }

    #[test]
    fn no_secret_of_a_profile_is_shown() {
        let text = r#"{"profiles":{"acme":{"token_endpoint":"https://a.example/t","request":{"parameters":{"client_secret":"s3cret"},"headers":{"x-key":"s3cret"}}}}}"#;
        assert!(!format!("{:?}", of(Some(text), "acme")).contains("s3cret"));
    }

    #[test]
    fn a_profile_that_is_wrong_says_so_and_offers_nothing() {
        let wrong = of(Some(r#"{"profiles":{"acme":{"token_endpont":"https://a.example/t"}}}"#), "acme");
        assert!(wrong.wrong.as_deref().is_some_and(|what| what.contains("token_endpont")) && wrong.flows.is_empty());
        assert_eq!((wrong.no_login.clone(), wrong.whose), (wrong.wrong, Whose::User));
    }

    #[test]
    fn names_that_stand_for_a_profile_are_listed_once() {
        let catalog = Catalog::new(None).unwrap();
        let keys = only_keys(&catalog);
        assert!(keys.contains(&"openrouter".to_owned()) && !keys.contains(&"xai".to_owned()), "{keys:?}");
        assert!(of(None, "openrouter").keys_only);
    }

    fn compact(text: &str) -> String {
        text.split_whitespace().collect()
    }
}

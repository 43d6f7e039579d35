//! One refresh request, as its profile shapes it (RFC 6749 section 6).

use crate::classify::{RefreshToken, Tokens};
use crate::encoding::{base64, form_escape};
use crate::error::{Code, KeeperError};
use crate::json::{Object, Value};
use crate::ports::Request;
use crate::provider::{self, BodyKind, ClientAuth, ClientSecret, Profile};
use crate::secret::Secret;
use crate::sendable;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{Counterpart, SECRET};
use crate::vault::Fresh;

pub(crate) const USER_AGENT: &str = concat!("lazaretto/", env!("CARGO_PKG_VERSION"));

/// Says that nothing names the token endpoint of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoEndpoint {
    /// The provider's id.
    provider: String,
}

impl From<NoEndpoint> for KeeperError {
    fn from(error: NoEndpoint) -> Self {
        let what = format!("there is no profile for `{}`, so it is not known where to refresh", error.provider);
        Self::new(Code::UnknownProvider, what)
    }
}

/// Whom a refresh goes to and as whom, with the client's secret if it has one. A vault may name an
/// endpoint of its own only at an origin of the profile's: otherwise anyone who can write a vault
/// could have its tokens sent to himself. `read` is the client's secret as the host read it, where
/// the profile says that it does and it is needed.
pub(crate) fn counterpart(
    profile: &Profile,
    login: Option<Value<'_>>,
    read: Option<&Secret>,
) -> Result<(Counterpart, Option<Secret>), NoEndpoint> {
    if !profile.has_endpoint() {
        return Err(NoEndpoint { provider: profile.id.clone() });
    }
    let in_login = |pointer: &Option<String>| {
        let text = login?.pointer(pointer.as_deref()?)?.as_str()?;
        (!text.is_empty()).then_some(text)
    };
    let endpoint = in_login(&profile.token_endpoint_in_login)
        .filter(|url| provider::origin(url).is_some_and(|origin| profile.allowed_origins().contains(&origin)))
        .unwrap_or_else(|| profile.token_endpoint.clone());
    let client = in_login(&profile.client_id_in_login).unwrap_or_else(|| profile.client_id.clone());
    let secret = in_login(&profile.client_secret_in_login).map(Secret::new).or_else(|| match &profile.client_secret {
        Some(ClientSecret::Written(secret)) => Some(secret.clone()),
        Some(ClientSecret::Elsewhere { .. }) => read.cloned(),
        None => None,
    });
    // What a refusal may depend on: when it changes, a hold ends.
    let mut depends_on = format!("{} {} ", profile.client_auth as u8, profile.request.body as u8);
    for (name, value) in profile.request.parameters.iter().chain(profile.request.headers.iter()) {
        depends_on.push_str(&format!("{name}={value} "));
    }
    depends_on.push_str(profile.request.refresh_token_header.as_deref().unwrap_or_default());
    let of_secret = secret.as_ref().map(|secret| Fingerprint::of(secret.expose()));
    let of_secret = of_secret.as_ref().map_or("", Fingerprint::as_str);
    let mut of_profile = String::new();
    match &profile.client_secret {
        Some(ClientSecret::Elsewhere { member, place }) => {
            depends_on.push_str(&format!(" {member}={place}"));
            of_profile.push(SECRET);
            of_profile.push_str(of_secret);
        }
        _ => depends_on.push_str(of_secret),
    }
    of_profile.insert_str(0, Fingerprint::of(&depends_on).as_str());
    let counterpart = Counterpart { provider: profile.id.clone(), endpoint, client, profile: of_profile };
    Ok((counterpart, secret))
}

/// Whether a request of this profile can carry a refresh token: a header takes visible ASCII, a
/// form or JSON any text.
pub(crate) fn can_carry(profile: &Profile, token: &Secret) -> bool {
    match &profile.request.refresh_token_header {
        Some(_) => sendable::in_header(token.expose()),
        None => sendable::is_refresh_token(token.expose()),
    }
}

/// The tokens of an answer, as far as they are of use to this profile.
pub(crate) fn received(profile: &Profile, mut tokens: Tokens) -> Tokens {
    if let RefreshToken::Usable(token) = &tokens.refresh_token
        && !can_carry(profile, token)
    {
        tokens.refresh_token = RefreshToken::Unusable;
    }
    tokens
}

/// Returns the tokens of an answer as they are stored. What cannot be sent is none.
pub(crate) fn fresh(tokens: Tokens, received_at_ms: u64) -> Fresh {
    Fresh {
        access_token: tokens.access_token.unwrap_or_else(|| Secret::new("")),
        refresh_token: tokens.refresh_token.usable().cloned(),
        expires_in_s: tokens.expires_in_s,
        scope: tokens.scope,
        token_type: tokens.token_type,
        id_token: tokens.id_token,
        received_at_ms,
    }
}

/// The request that refreshes `token`.
pub(crate) fn refresh(
    profile: &Profile,
    to: &Counterpart,
    token: &Secret,
    client_secret: Option<&Secret>,
    deadline_ms: u64,
) -> Request {
    let shape = &profile.request;
    let mut more: Vec<(&str, &str)> = Vec::new();
    if shape.refresh_token_header.is_none() {
        more.push(("refresh_token", token.expose()));
    }
    more.extend(shape.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let grant_type = Some("refresh_token");
    let mut request =
        post(profile, shape.body, &to.endpoint, &to.client, client_secret, grant_type, &more, deadline_ms);
    if let Some(name) = &shape.refresh_token_header {
        request.headers.push((name.to_ascii_lowercase(), token.clone()));
    }
    request
}

/// A request of a client that says who it is, as its profile has it.
#[allow(clippy::too_many_arguments, reason = "each is one part of the request")]
pub(crate) fn post(
    profile: &Profile,
    body: BodyKind,
    url: &str,
    client: &str,
    client_secret: Option<&Secret>,
    grant_type: Option<&str>,
    more: &[(&str, &str)],
    deadline_ms: u64,
) -> Request {
    let shape = &profile.request;
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    parameters.extend(grant_type.map(|grant_type| ("grant_type", grant_type)));
    let is_basic = profile.client_auth == ClientAuth::Basic && client_secret.is_some();
    if !is_basic && !client.is_empty() {
        parameters.push(("client_id", client));
    }
    if let (ClientAuth::Body, Some(secret)) = (profile.client_auth, client_secret) {
        parameters.push(("client_secret", secret.expose()));
    }
    parameters.extend(more);
    let (content_type, body) = match body {
        BodyKind::Form => ("application/x-www-form-urlencoded", form(&parameters)),
        BodyKind::Json => ("application/json", object(&parameters)),
    };
    let mut headers = vec![
        ("content-type".to_owned(), Secret::from(content_type)),
        ("user-agent".to_owned(), Secret::from(USER_AGENT)),
    ];
    for (name, value) in shape.headers.iter() {
        let name = name.to_ascii_lowercase();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, Secret::from(value.as_str())));
    }
    if let (ClientAuth::Basic, Some(secret)) = (profile.client_auth, client_secret) {
        headers.push(("authorization".to_owned(), basic(client, secret)));
    }
    Request { method: "POST", url: url.to_owned(), headers, body: Secret::new(body), deadline_ms }
}

pub(crate) fn form(parameters: &[(&str, &str)]) -> String {
    let mut form = String::new();
    for (name, value) in parameters {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(&form_escape(name));
        form.push('=');
        form.push_str(&form_escape(value));
    }
    form
}

fn object(parameters: &[(&str, &str)]) -> String {
    let mut object = Object::default();
    for (name, value) in parameters {
        object.text(name, value);
    }
    object.line()
}

/// RFC 6749 section 2.3.1: both parts form-encoded, then as RFC 7617.
fn basic(client: &str, secret: &Secret) -> Secret {
    let plain = Secret::new(format!("{}:{}", form_escape(client), form_escape(secret.expose())));
    let encoded = Secret::new(base64(plain.expose().as_bytes()));
    Secret::new(format!("Basic {}", encoded.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::provider::Catalog;

    fn request(profiles: &str, id: &str, login: &str) -> Request {
        let profile = Catalog::new(Some(profiles)).unwrap().profile(id).unwrap().unwrap();
        let (to, secret) = counterpart(&profile, Some(json::check(login).unwrap()), None).unwrap();
        refresh(&profile, &to, &Secret::from("r t/+é"), secret.as_ref(), 1)
    }

    fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
        request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.expose())
    }

    #[test]
    fn a_public_client_sends_a_form_with_its_id() {
        let request = request(r#"{"profiles":{}}"#, "xai-oauth", "{}");
        assert_eq!(
            request.body.expose(),
            "grant_type=refresh_token&client_id=b1a00492-073a-47ea-816f-4c329264a828&refresh_token=r+t%2F%2B%C3%A9"
        );
        assert_eq!(header(&request, "content-type"), Some("application/x-www-form-urlencoded"));
    }

    #[test]
    fn nous_sends_the_token_in_a_header_and_the_client_its_login_names() {
        let request = request(r#"{"profiles":{}}"#, "nous", r#"{"client_id":"other"}"#);
        assert_eq!(request.body.expose(), "grant_type=refresh_token&client_id=other");
        assert_eq!(header(&request, "x-nous-refresh-token"), Some("r t/+é"));
    }

    #[test]
    fn anthropic_sends_json() {
        let request = request(r#"{"profiles":{}}"#, "anthropic", "{}");
        assert_eq!(
            request.body.expose(),
            r#"{"grant_type":"refresh_token","client_id":"9d1c250a-e61b-44d9-88ed-5944d1962f5e","refresh_token":"r t/+é"}"#
        );
    }

    /// A server may treat another program's name as that program; what we send says who we are.
    /// Where a server insists on a name, its user says so.
    #[test]
    fn every_built_in_profile_sends_our_own_name() {
        let catalog = Catalog::new(None).unwrap();
        for id in catalog.ids() {
            let profile = catalog.profile(&id).unwrap().unwrap();
            let sent = post(&profile, BodyKind::Form, "https://a.example/", "", None, None, &[], 1);
            assert_eq!(header(&sent, "user-agent"), Some(USER_AGENT), "{id}");
        }
        assert!(USER_AGENT.starts_with("lazaretto/"));
        let named = r#"{"profiles":{"anthropic":{"request":{"headers":{"User-Agent":"acme/1"}}}}}"#;
        let sent = request(named, "anthropic", "{}");
        assert_eq!(
            (header(&sent, "user-agent"), header(&sent, "content-type")),
            (Some("acme/1"), Some("application/json"))
        );
    }

    #[test]
    fn a_vault_names_its_endpoint_only_at_the_profiles_origin() {
        let login = |url: &str| format!(r#"{{"discovery":{{"token_endpoint":"{url}"}}}}"#);
        let url = |endpoint: &str| request(r#"{"profiles":{}}"#, "xai-oauth", &login(endpoint)).url;
        assert_eq!(url("https://auth.x.ai/other"), "https://auth.x.ai/other");
        assert_eq!(url("https://evil.example/other"), "https://auth.x.ai/oauth2/token");
        assert_eq!(url("https://auth.x.ai@evil.example/"), "https://auth.x.ai/oauth2/token");
    }

    #[test]
    fn a_client_secret_goes_where_the_profile_says() {
        let profile = |auth: &str| {
            format!(
                r#"{{"profiles":{{"a":{{"token_endpoint":"https://a.example/t","client_id":"id","client_auth":"{auth}","client_secret_in_login":"/client_secret"}}}}}}"#
            )
        };
        let login = r#"{"client_secret":"s:1"}"#;
        assert!(request(&profile("body"), "a", login).body.expose().contains("&client_secret=s%3A1&"));
        let basic = request(&profile("basic"), "a", login);
        assert_eq!(header(&basic, "authorization"), Some("Basic aWQ6cyUzQTE="));
        assert!(!basic.body.expose().contains("client"));
    }
}

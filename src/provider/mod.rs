//! How to talk to an authorization server, and where a vault keeps its tokens: data, never code.
//!
//! The built-in profiles are `providers.json` beside this file; a user's `providers.json` has the
//! same form and is laid over them. A profile lies over the one it `extends` (`generic`, unless it
//! says otherwise) and over the built-in one of the same id, as a JSON merge patch does (RFC 7396):
//! objects merge, null removes, anything else replaces.

mod check;
mod client_secret;
#[cfg(feature = "admin")]
pub(crate) mod list;

#[cfg(feature = "admin")]
pub(crate) use list::{Needed, missing, why_none};
#[cfg(feature = "admin")]
pub use list::{ProviderInfo, Whose};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use crate::classify::Rules;
use crate::json::{self, Kind, Value};
use crate::layers::Layers;

pub use client_secret::ClientSecret;

/// The built-in profiles.
const BUILT_IN: &str = include_str!("providers.json");

/// What only logging in and out needs of them, laid over them. The keeper reads of it whether there
/// is a login.
const FOR_PERSONS: &str = include_str!("authorization.json");

#[cfg(feature = "admin")]
const ANY_PORT: &str = "http://127.0.0.1:0/callback";

const NO_PROFILES: &str = "{\"profiles\": {}}";

/// The profile every other one extends.
pub const GENERIC: &str = "generic";

/// Everything about one authorization server.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The id, as vaults use it. Filled in by the catalog.
    pub id: String,
    /// What is wrong with it. Then the rest is the generic one, by which a vault can still be read.
    pub wrong: Option<ProfileError>,
    /// For a person.
    pub name: String,
    /// Other ids for the same profile.
    pub aliases: Vec<String>,
    /// Where a refresh is sent (RFC 6749 section 3.2). Empty in `generic`.
    pub token_endpoint: String,
    /// Further origins (`scheme://host:port`) that a token endpoint named in a vault may have.
    pub origins: Vec<String>,
    /// A pointer into the login where it names its token endpoint. Used only if the origin is
    /// allowed above.
    pub token_endpoint_in_login: Option<String>,
    /// The client's id. Empty: no `client_id` is sent.
    pub client_id: String,
    /// A pointer into the login where it names the client it was issued to.
    pub client_id_in_login: Option<String>,
    /// A pointer into the login where its client secret is kept.
    pub client_secret_in_login: Option<String>,
    /// The client's secret, where it is not the login's: `client_secret`, or one of
    /// `client_secret_env` (the name of a variable), `client_secret_file` (a path; a relative one
    /// is beside `providers.json`, `~/` is the home directory) and `client_secret_command` (a list,
    /// the program and its arguments; the first line that it prints). Not inherited by a profile
    /// that names a `client_id` or a `token_endpoint` of its own.
    pub client_secret: Option<ClientSecret>,
    /// How the client authenticates (RFC 6749 section 2.3). Without the member: `basic` where a
    /// secret is named, else `none`.
    pub client_auth: ClientAuth,
    /// The shape of the request.
    pub request: RequestShape,
    /// Whether each refresh token is good for one refresh.
    pub rotates: bool,
    /// Whether a login without a refresh token is broken.
    pub issues_refresh_token: bool,
    /// How long after a rotation the server still answers the old token with the new one, in
    /// seconds. 0: not known to.
    pub replay_window_s: u64,
    /// The environment variables that its keys may be in. An entry of a vault can name no other.
    pub environment: Vec<String>,
    /// How long before its expiry an access token is refreshed, in seconds.
    pub skew_s: u64,
    /// The whole HTTP exchange, in milliseconds.
    pub deadline_ms: u64,
    /// How the login lies in the vault, below `providers.<id>`.
    pub login: Layout,
    /// How an entry lies in the vault, in `credential_pool.<id>[]`.
    pub entry: Layout,
    /// The sources of entries that are copies of the login.
    pub seeded_sources: Vec<String>,
    /// What a person runs to log in, where the profile says so.
    pub login_hint: Option<String>,
    /// The same in a vault of the reference.
    pub reference_login: Option<String>,
    /// Whether it describes a login that can be begun.
    pub offers_login: bool,
    /// Where the provider's API is, as the reference notes it in entries.
    #[cfg(feature = "admin")]
    pub base_url: Option<String>,
    /// How a person logs in and out.
    #[cfg(feature = "admin")]
    pub authorization: Authorization,
    /// How answers are judged, on top of the generic rules.
    pub rules: Rules,
}

/// How a person logs in and out at an authorization server.
#[cfg(feature = "admin")]
#[derive(Clone, Debug)]
pub struct Authorization {
    /// Where a login by device code begins (RFC 8628 section 3.1).
    pub device_authorization_endpoint: Option<String>,
    /// What the browser opens for a login by loopback (RFC 6749 section 3.1).
    pub authorization_endpoint: Option<String>,
    /// What the server calls itself in its answer to that (RFC 9207). None: anything at the origin
    /// of that endpoint.
    pub issuer: Option<String>,
    /// Where on this machine the browser is sent back to. Port 0: any free one (RFC 8252 section
    /// 7.3).
    pub redirect_url: String,
    /// What is asked for, separated by spaces.
    pub scope: String,
    /// More parameters for the browser.
    pub parameters: BTreeMap<String, String>,
    /// Where a token is revoked (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// How that is told.
    pub revocation_body: BodyKind,
    /// What else a new login holds: JSON by pointer.
    pub login: BTreeMap<String, String>,
    /// The source of tokens that a person adds.
    pub manual_source: String,
    /// How long after a login its server ends it, however often it is refreshed, in seconds. None:
    /// not known to.
    pub grant_lifetime_s: Option<u64>,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It does not: a public client.
    None,
    /// `client_secret` beside `client_id` in the body.
    Body,
    /// HTTP Basic.
    Basic,
}

/// The shape of a refresh request.
#[derive(Clone, Debug)]
pub struct RequestShape {
    /// How the parameters are sent.
    pub body: BodyKind,
    /// The header the refresh token goes into, instead of the body.
    pub refresh_token_header: Option<String>,
    /// More parameters.
    pub parameters: BTreeMap<String, String>,
    /// More headers.
    pub headers: BTreeMap<String, String>,
}

/// How parameters are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
}

/// Where a place keeps what. Pointers are JSON pointers (RFC 6901) below the place.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Where the access token is.
    pub access_token: String,
    /// Where the refresh token is.
    pub refresh_token: String,
    /// Where the token type is.
    pub token_type: Option<String>,
    /// Where the expiry can be read, the most trusted first.
    pub expiry: Vec<ExpiryAt>,
    /// When the tokens were issued (RFC 3339).
    pub issued_at: String,
    /// What a refresh writes, and where.
    pub write: BTreeMap<String, Source>,
    /// What is written as a token's lifetime where its server names none, in seconds. None: that
    /// none is known.
    pub assumed_lifetime_s: Option<u64>,
    /// What a quarantine erases, and what stands there then, spelled as JSON; none: nothing does.
    pub erase: Vec<(String, Option<String>)>,
}

/// Where an expiry can be read.
#[derive(Clone, Debug)]
pub enum ExpiryAt {
    /// `at` holds the moment.
    Moment {
        /// A pointer. Any usual spelling of a moment is read there.
        at: String,
    },
    /// `seconds` holds a lifetime that began at `since` (RFC 3339).
    Lifetime {
        /// A pointer to a number of seconds.
        seconds: String,
        /// A pointer to a moment.
        since: String,
    },
}

/// What is written.
#[derive(Clone, Debug)]
pub enum Source {
    /// A value of the answer, or the time.
    Field(Field),
    /// Always this, spelled as JSON.
    Constant(String),
}

/// A value that a refresh brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the answer's own")]
pub enum Field {
    AccessToken,
    RefreshToken,
    IdToken,
    TokenType,
    Scope,
    ExpiresInS,
    ExpiresAtRfc3339,
    ExpiresAtMs,
    NowRfc3339,
    NowRfc3339Z,
}

/// What is wrong with a profile, or with the user's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError(pub String);

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All profiles, unread until they are asked for.
///
/// ```
/// use lazaretto::provider::Catalog;
///
/// let own = r#"{"profiles": {"acme": {"token_endpoint": "https://login.acme.example/token"}}}"#;
/// let catalog = Catalog::new(Some(own))?;
/// let acme = catalog.profile("acme")?.expect("it is in the file");
/// assert_eq!(acme.allowed_origins(), ["https://login.acme.example:443"]);
/// assert!(acme.rotates, "what a profile does not say is the generic one's");
/// # Ok::<(), lazaretto::provider::ProfileError>(())
/// ```
pub struct Catalog {
    /// The user's first.
    texts: [Cow<'static, str>; 3],
    /// Where each profile stands, in the order of the texts.
    known: Vec<Known>,
}

struct Known {
    id: String,
    text: usize,
    span: Range<usize>,
}

impl Catalog {
    /// The built-in profiles under the user's, whose file has this text.
    pub fn new(user: Option<&str>) -> Result<Self, ProfileError> {
        let user = user.unwrap_or(NO_PROFILES);
        let form = "it should be {\"profiles\": {\"<provider>\": {\"token_endpoint\": \"https://...\"}}}";
        let bad = |what: String| ProfileError(format!("providers.json: {what}; {form}"));
        let file = json::check(user).map_err(|error| bad(error.to_string()))?;
        for member in file.members() {
            match member.key.as_str().as_deref() {
                Some("profiles") if member.value.kind() == Kind::Object => {}
                Some("profiles") => return Err(bad(format!("`profiles` is {}", member.value.kind()))),
                Some("$comment") => {}
                _ => return Err(bad(format!("it has a member {}", member.key.raw()))),
            }
        }
        if file.get("profiles").is_none() {
            return Err(bad("it has no `profiles`".to_owned()));
        }
        let texts = [Cow::Owned(user.to_owned()), Cow::Borrowed(FOR_PERSONS), Cow::Borrowed(BUILT_IN)];
        let mut known = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            for member in Value::trusted(text).get("profiles").into_iter().flat_map(|profiles| profiles.members()) {
                let id = member.key.as_str().unwrap_or_default();
                known.push(Known { id, text: at, span: member.value.span() });
            }
        }
        Ok(Self { texts, known })
    }

    /// Every profile's id, but for `generic`.
    pub fn ids(&self) -> Vec<String> {
        let known = self.known.iter().filter(|known| known.id != GENERIC);
        BTreeSet::from_iter(known.map(|known| known.id.clone())).into_iter().collect()
    }

    /// Every name that a person may give a provider: ids, aliases, and the ids of providers of
    /// which only keys are known.
    pub fn names(&self) -> Vec<String> {
        let mut names = BTreeSet::from_iter(self.ids());
        for known in &self.known {
            let aliases = self.value(known).get("aliases");
            names.extend(aliases.iter().flat_map(|aliases| aliases.items()).filter_map(|alias| alias.as_str()));
        }
        names.extend(self.ids_of_keys());
        names.into_iter().collect()
    }

    /// The ids of the providers of which the reference knows where their keys are, whether or not
    /// there is a profile.
    pub fn ids_of_keys(&self) -> Vec<String> {
        let variables = self.texts.last().and_then(|built_in| Value::trusted(built_in).get("environment"));
        variables.iter().flat_map(|ids| ids.members()).filter_map(|member| member.key.as_str()).collect()
    }

    /// The ids that the user's own file describes, in its order.
    #[cfg(feature = "admin")]
    pub fn own_ids(&self) -> Vec<String> {
        let own = self.known.iter().filter(|known| known.text == 0 && known.id != GENERIC);
        own.map(|known| known.id.clone()).collect()
    }

    /// The id that a name stands for: itself, or the profile it is an alias of.
    ///
    /// ```
    /// use lazaretto::provider::Catalog;
    ///
    /// let catalog = Catalog::new(None)?;
    /// assert_eq!(catalog.resolve("xai"), "xai-oauth");
    /// assert_eq!(catalog.resolve("nobody"), "nobody");
    /// # Ok::<(), lazaretto::provider::ProfileError>(())
    /// ```
    pub fn resolve(&self, name: &str) -> String {
        if self.known.iter().any(|known| known.id == name) {
            return name.to_owned();
        }
        let has_alias = |profile: &Value<'_>| {
            profile.get("aliases").is_some_and(|aliases| aliases.items().any(|alias| alias.is_str(name)))
        };
        let found = self.known.iter().find(|known| has_alias(&self.value(known)));
        found.map_or_else(|| name.to_owned(), |known| known.id.clone())
    }

    /// The profile with this id; none if there is none.
    pub fn profile(&self, id: &str) -> Result<Option<Profile>, ProfileError> {
        let mut layers = Vec::new();
        self.layers(id, &mut layers)?;
        if layers.is_empty() {
            return Ok(None);
        }
        let names_variables = layers.iter().any(|layer| layer.get("environment").is_some());
        let mut profile = Layers::read(layers, |layers| Profile::read(id, layers))
            .map_err(|error| ProfileError(format!("the profile `{id}` in providers.json: {error}")))?;
        if !names_variables {
            profile.environment = self.variables_of(id);
        }
        profile.check()?;
        Ok(Some(profile))
    }

    /// The generic profile under another id: how a vault's unknown provider is read.
    pub fn generic(&self, id: &str) -> Result<Profile, ProfileError> {
        let mut profile = self.profile(GENERIC)?.ok_or_else(|| ProfileError("there is no generic profile".into()))?;
        profile.id = id.to_owned();
        profile.environment = self.variables_of(id);
        Ok(profile)
    }

    /// The environment variables in which the reference looks for a provider's keys.
    fn variables_of(&self, id: &str) -> Vec<String> {
        let of_id = self.texts.last().and_then(|built_in| Value::trusted(built_in).get("environment")?.get(id));
        of_id.into_iter().flat_map(|names| names.items()).filter_map(|name| name.as_str()).collect()
    }

    /// The origins that a refresh may be sent to: `scheme://host:port`, sorted. A profile that is
    /// wrong names none, and says so to whoever uses it.
    pub fn origins(&self) -> Vec<String> {
        let mut origins = BTreeSet::new();
        for profile in self.ids().iter().filter_map(|id| self.profile(id).ok().flatten()) {
            origins.extend(profile.allowed_origins());
        }
        origins.into_iter().collect()
    }

    fn value(&self, known: &Known) -> Value<'_> {
        Value::at(&self.texts[known.text], known.span.clone())
    }

    /// What a profile is made of, the top first.
    fn layers<'a>(&'a self, id: &str, layers: &mut Vec<Value<'a>>) -> Result<(), ProfileError> {
        let bad = |what: String| ProfileError(format!("the profile `{id}` in providers.json {what}"));
        let own: Vec<Value<'a>> =
            self.known.iter().filter(|known| known.id == id).map(|known| self.value(known)).collect();
        let Some(top) = own.first() else { return Ok(()) };
        if layers.len() > 8 {
            return Err(bad("extends itself".to_owned()));
        }
        let base = top.get("extends").and_then(|base| base.as_str());
        // A profile that extends another one is not also the built-in one of its name.
        layers.extend(if base.is_some() { &own[..1] } else { &own[..] });
        let base = base.as_deref().unwrap_or(GENERIC);
        if base == id && id == GENERIC {
            return Ok(());
        }
        let before = layers.len();
        self.layers(base, layers)?;
        if layers.len() == before { Err(bad(format!("extends `{base}`, which there is none of"))) } else { Ok(()) }
    }
}

impl Profile {
    fn read(id: &str, layers: &Layers<'_>) -> Self {
        layers.only(&[
            "name",
            "aliases",
            "extends",
            "token_endpoint",
            "origins",
            "token_endpoint_in_login",
            "client_id",
            "client_id_in_login",
            "client_secret_in_login",
            "client_secret",
            "client_secret_env",
            "client_secret_file",
            "client_secret_command",
            "client_auth",
            "request",
            "rotates",
            "issues_refresh_token",
            "replay_window_s",
            "environment",
            "skew_s",
            "deadline_ms",
            "login",
            "entry",
            "seeded_sources",
            "login_hint",
            "reference_login",
            "base_url",
            "authorization",
            "rules",
        ]);
        // Who names an endpoint means that one, whatever a vault or a profile underneath says.
        let of_endpoint = layers.down_to("token_endpoint");
        let authorization = of_endpoint.object("authorization");
        let has_flow = ["device_authorization_endpoint", "authorization_endpoint"]
            .iter()
            .any(|endpoint| authorization.one(endpoint).is_some());
        let client_id = layers.text("client_id");
        let client_secret = ClientSecret::read(layers);
        let client_secret_in_login = layers.maybe_text("client_secret_in_login");
        let has_secret = client_secret.is_some() || client_secret_in_login.is_some();
        Self {
            id: id.to_owned(),
            wrong: None,
            name: layers.text("name"),
            aliases: layers.texts("aliases"),
            token_endpoint: layers.text("token_endpoint"),
            origins: of_endpoint.texts("origins"),
            token_endpoint_in_login: of_endpoint.maybe_text("token_endpoint_in_login"),
            offers_login: has_flow && !client_id.is_empty(),
            client_id,
            client_id_in_login: layers.maybe_text("client_id_in_login"),
            client_secret_in_login,
            client_secret,
            client_auth: client_secret::auth(layers, has_secret),
            request: RequestShape::read(&layers.object("request")),
            rotates: layers.flag("rotates"),
            issues_refresh_token: layers.flag("issues_refresh_token"),
            replay_window_s: layers.number("replay_window_s"),
            environment: layers.texts("environment"),
            skew_s: layers.number("skew_s"),
            deadline_ms: layers.number("deadline_ms"),
            login: Layout::read(&layers.object("login")),
            entry: Layout::read(&layers.object("entry")),
            seeded_sources: layers.texts("seeded_sources"),
            login_hint: of_endpoint.maybe_text("login_hint"),
            reference_login: of_endpoint.maybe_text("reference_login"),
            #[cfg(feature = "admin")]
            base_url: layers.maybe_text("base_url"),
            #[cfg(feature = "admin")]
            authorization: Authorization::read(&authorization),
            rules: Rules::read(&layers.object("rules")),
        }
    }

    /// The origins a token of this provider may be sent to.
    pub fn allowed_origins(&self) -> Vec<String> {
        let endpoint = origin(&self.token_endpoint);
        endpoint.into_iter().chain(self.origins.iter().filter_map(|allowed| origin(allowed))).collect()
    }

    /// Whether the profile can refresh at all.
    pub fn has_endpoint(&self) -> bool {
        !self.token_endpoint.is_empty()
    }

    fn check(&self) -> Result<(), ProfileError> {
        let bad = |what: String| Err(ProfileError(format!("the profile `{}` in providers.json: {what}", self.id)));
        for url in self.origins.iter().chain(self.has_endpoint().then_some(&self.token_endpoint)) {
            match origin(url) {
                Some(origin) if origin.starts_with("https://") || is_loopback(&origin) => {}
                Some(_) => {
                    return bad(format!(
                        "`{url}` is not https; a refresh token may go over plain http only to 127.0.0.1, [::1] or localhost"
                    ));
                }
                None => return bad(format!("`{url}` is not an absolute https address")),
            }
        }
        #[cfg(feature = "admin")]
        self.authorization.check().or_else(bad)?;
        check::can_work(self).or_else(bad)?;
        if self.deadline_ms == 0 || self.deadline_ms > 120_000 {
            return bad("`deadline_ms` must be between 1 and 120000".into());
        }
        Ok(())
    }
}

#[cfg(feature = "admin")]
impl Authorization {
    fn read(layers: &Layers<'_>) -> Self {
        layers.only(&[
            "device_authorization_endpoint",
            "authorization_endpoint",
            "issuer",
            "redirect_url",
            "scope",
            "parameters",
            "revocation_endpoint",
            "revocation_body",
            "login",
            "manual_source",
            "grant_lifetime_s",
        ]);
        let mut login = BTreeMap::new();
        for member in layers.one("login").into_iter().flat_map(|login| login.members()) {
            login.insert(member.key.as_str().unwrap_or_default(), member.value.raw().to_owned());
        }
        let revocation_body = match layers.one("revocation_body") {
            Some(_) => layers.one_of("revocation_body", ["form", "json"], [BodyKind::Form, BodyKind::Json]),
            None => BodyKind::Form,
        };
        Self {
            device_authorization_endpoint: layers.maybe_text("device_authorization_endpoint"),
            authorization_endpoint: layers.maybe_text("authorization_endpoint"),
            issuer: layers.maybe_text("issuer"),
            redirect_url: layers.maybe_text("redirect_url").unwrap_or_else(|| ANY_PORT.to_owned()),
            scope: layers.maybe_text("scope").unwrap_or_default(),
            parameters: layers.object("parameters").all_texts(),
            revocation_endpoint: layers.maybe_text("revocation_endpoint"),
            revocation_body,
            login,
            manual_source: layers.maybe_text("manual_source").unwrap_or_else(|| "manual:device_code".to_owned()),
            grant_lifetime_s: layers.one("grant_lifetime_s").map(|_| layers.number("grant_lifetime_s")),
        }
    }

    /// The origins that something is sent to: the authorization endpoint is for a browser.
    pub fn origins(&self) -> Vec<String> {
        let endpoints = [&self.device_authorization_endpoint, &self.revocation_endpoint];
        endpoints.into_iter().flatten().filter_map(|url| origin(url)).collect()
    }

    fn check(&self) -> Result<(), String> {
        let endpoints = [&self.device_authorization_endpoint, &self.revocation_endpoint, &self.authorization_endpoint];
        for url in endpoints.into_iter().flatten() {
            if !origin(url).is_some_and(|origin| origin.starts_with("https://") || is_loopback(&origin)) {
                return Err(format!("`{url}` is not an absolute https address"));
            }
        }
        if !origin(&self.redirect_url).is_some_and(|origin| origin.starts_with("http://") && is_loopback(&origin)) {
            let url = &self.redirect_url;
            return Err(format!("the redirect_url `{url}` is not on this machine, like {ANY_PORT}"));
        }
        Ok(())
    }
}

/// Where the API of a provider without a profile is, as the reference notes it.
#[cfg(feature = "admin")]
pub(crate) fn base_url(id: &str) -> Option<String> {
    Value::trusted(FOR_PERSONS).get("base_urls")?.get(id)?.as_str()
}

/// `scheme://host:port` of a URL, lower case, the port always named; none if it is no http(s) URL
/// or names a user.
///
/// ```
/// use lazaretto::provider::origin;
///
/// assert_eq!(origin("https://Login.acme.example/token").as_deref(), Some("https://login.acme.example:443"));
/// assert_eq!(origin("https://user@acme.example"), None);
/// ```
pub fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(plain) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host.to_owned(), port.parse::<u64>().ok().filter(|port| *port <= 65_535)?)
        }
        _ => (authority, default_port),
    };
    (!host.is_empty()).then(|| format!("{scheme}://{host}:{port}"))
}

/// Whether an origin is on this machine.
///
/// ```
/// use lazaretto::provider::is_loopback;
///
/// assert!(is_loopback("http://127.0.0.1:8080"));
/// assert!(!is_loopback("http://127.0.0.1.acme.example:80"));
/// ```
pub fn is_loopback(origin: &str) -> bool {
    let host = origin.split_once("://").and_then(|(_, rest)| rest.rsplit_once(':')).map_or("", |(host, _)| host);
    let octets: Vec<Option<u64>> =
        host.split('.').map(|octet| octet.parse().ok().filter(|octet| *octet <= 255)).collect();
    host == "localhost" || host == "[::1]" || matches!(octets[..], [Some(127), Some(_), Some(_), Some(_)])
}

impl RequestShape {
    fn read(layers: &Layers<'_>) -> Self {
        layers.only(&["body", "refresh_token_header", "parameters", "headers"]);
        Self {
            body: layers.one_of("body", ["form", "json"], [BodyKind::Form, BodyKind::Json]),
            refresh_token_header: layers.maybe_text("refresh_token_header"),
            parameters: layers.object("parameters").all_texts(),
            headers: layers.object("headers").all_texts(),
        }
    }
}

impl Layout {
    pub(crate) fn read(layers: &Layers<'_>) -> Self {
        layers.only(&[
            "access_token",
            "refresh_token",
            "token_type",
            "expiry",
            "issued_at",
            "write",
            "assumed_lifetime_s",
            "erase",
        ]);
        let expiry = layers.items("expiry").iter().map(ExpiryAt::read).collect();
        // What a refresh writes should be readable in one place, so it is not merged.
        let mut write = BTreeMap::new();
        for member in layers.one("write").into_iter().flat_map(|write| write.members()) {
            write.insert(member.key.as_str().unwrap_or_default(), Source::read(layers, member.value));
        }
        Self {
            access_token: layers.text("access_token"),
            refresh_token: layers.text("refresh_token"),
            token_type: layers.maybe_text("token_type"),
            expiry,
            issued_at: layers.maybe_text("issued_at").unwrap_or_default(),
            write,
            assumed_lifetime_s: layers.one("assumed_lifetime_s").map(|_| layers.number("assumed_lifetime_s")),
            erase: erased(layers),
        }
    }
}

/// A list of pointers, or an object of pointers and what stands there afterwards.
fn erased(layers: &Layers<'_>) -> Vec<(String, Option<String>)> {
    match layers.one("erase").filter(|erase| erase.kind() == Kind::Object) {
        Some(erase) => {
            erase.members().filter_map(|at| Some((at.key.as_str()?, Some(at.value.raw().to_owned())))).collect()
        }
        None => layers.texts("erase").into_iter().map(|pointer| (pointer, None)).collect(),
    }
}

impl ExpiryAt {
    fn read(layers: &Layers<'_>) -> Self {
        layers.only(&["at", "seconds", "since"]);
        match layers.maybe_text("at") {
            Some(at) => Self::Moment { at },
            None => Self::Lifetime { seconds: layers.text("seconds"), since: layers.text("since") },
        }
    }
}

impl Source {
    fn read(layers: &Layers<'_>, value: Value<'_>) -> Self {
        const FIELDS: [(&str, Field); 10] = [
            ("access_token", Field::AccessToken),
            ("refresh_token", Field::RefreshToken),
            ("id_token", Field::IdToken),
            ("token_type", Field::TokenType),
            ("scope", Field::Scope),
            ("expires_in_s", Field::ExpiresInS),
            ("expires_at_rfc3339", Field::ExpiresAtRfc3339),
            ("expires_at_ms", Field::ExpiresAtMs),
            ("now_rfc3339", Field::NowRfc3339),
            ("now_rfc3339_z", Field::NowRfc3339Z),
        ];
        if let Some(constant) = value.get("value") {
            return Self::Constant(constant.raw().to_owned());
        }
        let found = FIELDS.iter().find(|(name, _)| value.is_str(name)).unwrap_or_else(|| {
            let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            layers.misread("write", &format!("should name one of {}, or be {{\"value\": ...}}", known.join(", ")));
            &FIELDS[0]
        });
        Self::Field(found.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_can_be_read() {
        let catalog = Catalog::new(None).unwrap();
        for id in catalog.ids() {
            let profile = catalog.profile(&id).unwrap().unwrap();
            assert_eq!(profile.id, id);
        }
    }

    #[cfg(feature = "admin")]
    #[test]
    fn what_persons_need_lies_over_built_in_profiles_and_what_it_says_is_read() {
        assert!(json::check(FOR_PERSONS).is_ok());
        for member in Value::trusted(FOR_PERSONS).get("profiles").unwrap().members() {
            let id = member.key.as_str().unwrap();
            let under = Value::trusted(BUILT_IN).pointer(&json::pointer(&["profiles", &id]));
            // One that extends another would be hidden by it.
            assert!(under.is_some_and(|profile| profile.get("extends").is_none()), "{id}");
        }
        let catalog = Catalog::new(None).unwrap();
        let xai = catalog.profile("xai-oauth").unwrap().unwrap();
        assert_eq!(xai.authorization.origins(), ["https://auth.x.ai:443"]);
        assert_eq!(base_url("openrouter").as_deref(), Some("https://openrouter.ai/api/v1"));
        // Who names another endpoint logs in elsewhere, too.
        let user = r#"{"profiles":{"xai-oauth":{"token_endpoint":"https://a.example/t"}}}"#;
        let mine = Catalog::new(Some(user)).unwrap().profile("xai-oauth").unwrap().unwrap();
        assert!(mine.authorization.device_authorization_endpoint.is_none() && mine.base_url.is_some());
        for (bad, wanted) in [
            (r#""revocation_endpoint":"http://a.example/""#, "not an absolute https"),
            (r#""redirect_url":"https://127.0.0.1/""#, "not on this machine"),
            (r#""redirect_uri":"""#, "redirect_uri"),
        ] {
            let user = format!(
                r#"{{"profiles":{{"a":{{"token_endpoint":"https://a.example/t","authorization":{{{bad}}}}}}}}}"#
            );
            let error = Catalog::new(Some(&user)).unwrap().profile("a").unwrap_err();
            assert!(error.0.contains(wanted), "{error}");
        }
    }

    #[test]
    fn the_built_in_profiles_are_json() {
        assert!(json::check(BUILT_IN).is_ok() && json::check(FOR_PERSONS).is_ok());
    }

    #[test]
    fn no_name_stands_for_two_profiles() {
        let catalog = Catalog::new(None).unwrap();
        let mut names = catalog.ids();
        for id in catalog.ids() {
            names.extend(catalog.profile(&id).unwrap().unwrap().aliases);
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_new_profile_needs_no_more_than_its_endpoint() {
        let catalog = Catalog::new(Some(
            r#"{"profiles":{"acme":{"token_endpoint":"https://acme.example/token","aliases":["a"]}}}"#,
        ))
        .unwrap();
        let profile = catalog.profile(&catalog.resolve("a")).unwrap().unwrap();
        assert_eq!(profile.id, "acme");
        assert_eq!(profile.allowed_origins(), ["https://acme.example:443"]);
        assert_eq!(profile.request.body, BodyKind::Form);
    }

    #[test]
    fn a_users_profile_of_a_built_in_name_changes_only_what_it_names() {
        let catalog = Catalog::new(Some(r#"{"profiles":{"nous":{"token_endpoint":"http://127.0.0.1:9/t"}}}"#)).unwrap();
        let profile = catalog.profile("nous").unwrap().unwrap();
        assert_eq!(profile.request.refresh_token_header.as_deref(), Some("x-nous-refresh-token"));
        assert_eq!(profile.allowed_origins(), ["http://127.0.0.1:9"]);
        assert!(!profile.login.write.contains_key("/tokens/access_token"));
    }

    #[test]
    fn a_login_is_offered_by_whoever_names_an_endpoint_and_a_client() {
        let offers = |more: &str| {
            let text = format!(r#"{{"profiles":{{"acme":{{"token_endpoint":"https://a.example/t"{more}}}}}}}"#);
            let profile = Catalog::new(Some(&text)).unwrap().profile("acme").unwrap().unwrap();
            (profile.offers_login, profile.login_hint)
        };
        let endpoint = r#","authorization":{"authorization_endpoint":"https://a.example/a"}"#;
        assert_eq!(offers(r#","client_id":"c","authorization":{}"#), (false, None));
        assert_eq!(offers(endpoint), (false, None));
        assert_eq!(offers(&format!(r#","client_id":"c"{endpoint}"#)), (true, None));
        assert_eq!(offers(r#","login_hint":"ask Ann""#), (false, Some("ask Ann".to_owned())));
        let xai = Catalog::new(None).unwrap().profile("xai-oauth").unwrap().unwrap();
        assert_eq!(xai.reference_login.as_deref(), Some("hermes auth add xai-oauth"));
        assert!(xai.offers_login && !Catalog::new(None).unwrap().profile("anthropic").unwrap().unwrap().offers_login);
    }

    #[test]
    fn whoever_names_an_endpoint_is_not_overruled_by_a_vault() {
        let catalog =
            Catalog::new(Some(r#"{"profiles":{"xai-oauth":{"token_endpoint":"http://localhost:1/t"}}}"#)).unwrap();
        assert_eq!(catalog.profile("xai-oauth").unwrap().unwrap().token_endpoint_in_login, None);
    }

    #[test]
    fn plain_http_beyond_this_machine_and_nonsense_are_refused_by_name() {
        for (text, wanted) in [
            (r#"{"profiles":{"a":{"token_endpoint":"http://a.example/t"}}}"#, "not https"),
            (r#"{"profiles":{"a":{"token_endpoint":"ftp://a.example/t"}}}"#, "not an absolute https address"),
            (r#"{"profiles":{"a":{"token_endpoint":"https://u:p@a.example/t"}}}"#, "not an absolute https address"),
            (r#"{"profiles":{"a":{"token_endpont":"https://a.example/t"}}}"#, "token_endpont"),
            (r#"{"profiles":{"a":{"extends":"b"}}}"#, "extends `b`"),
            (r#"{"profiles":{"a":{"extends":"b"},"b":{"extends":"a"}}}"#, "extends itself"),
        ] {
            let error = Catalog::new(Some(text)).unwrap().profile("a").unwrap_err();
            assert!(error.0.contains(wanted), "{error}");
        }
        assert!(Catalog::new(Some("{")).is_err());
        assert!(Catalog::new(Some("[]")).is_err());
    }

    #[test]
    fn an_origin_always_names_its_port() {
        for (url, wanted) in [
            ("https://A.Example/x", Some("https://a.example:443")),
            ("http://[::1]:80/x", Some("http://[::1]:80")),
            ("https://[::1]", Some("https://[::1]:443")),
            ("https://a.example:8443?x", Some("https://a.example:8443")),
            ("https://", None),
            ("https://a b/", None),
            ("https://a.example:99999/", None),
        ] {
            assert_eq!(origin(url).as_deref(), wanted, "{url}");
        }
        assert!(is_loopback("http://127.9.9.9:1") && !is_loopback("http://127.0.0.1.example:80"));
    }
}

//! Other tools' own files as vaults: a file is a tool's only by evidence that this tool alone
//! leaves, and it stays what its tool wrote but for the tokens.
//!
//! The forms are `layouts.json` beside this file, and each is data. Of its `known_by` one row must
//! hold whole: the `file` is called so, in a `folder` of that name where one is named; of its
//! `members` every pointer leads somewhere, to this very text, to a text that `has` or `begins`
//! with another; and it has no members but `only` these, where they are listed. A row without
//! `members` holds if the file has a login or a key of the form. Tokens may be empty, so that a
//! file is still known when they are gone. What no row fits is of an unknown layout, and nothing is
//! sent from it unless a person states whose it is: member names alone are common to many tools.
//!
//! A form holds one login of one provider (`provider`, whose node is `at`), or one of each
//! member's: `providers` are those whose logins a tool is known to get at the very server that our
//! profile means, and what they are called here. Logins of others are not used.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::json::{Fields, Kind, Member, Value};
use crate::layers::Layers;
use crate::provider::Layout;
use crate::secret::Secret;

use super::Provenance;
use super::place::{CredentialKind, EntryState, Place, Spot, place};

/// What is known of each tool's file.
const LAYOUTS: &str = include_str!("layouts.json");

/// By which a person states that a file is in the reference's form.
const REFERENCE: &str = "hermes";

/// The id under which an API key in such a file is addressed.
const KEY: &str = "key";

/// One tool's own file.
#[derive(Debug)]
pub(super) struct Form {
    /// For a person.
    pub(super) name: String,
    /// What a person does to log in again.
    pub(super) login_hint: String,
    /// How the tokens of a login lie below its node.
    pub(super) layout: Layout,
    /// What [`LAYOUTS`] says of it.
    known: Value<'static>,
}

/// Whose a file is that is not in the reference's form.
pub(super) enum Whose {
    /// This tool's.
    Tool(Rc<Form>),
    /// A person says that it is in the reference's form.
    Reference,
    /// Nobody's for certain.
    Unknown,
}

/// Whose file it is, by what a person states or by what is in it and where it lies.
pub(super) fn whose(root: Value<'_>, known: &Provenance) -> Whose {
    let mut layouts = layouts();
    let found = match known.layout.as_deref() {
        Some(REFERENCE) => return Whose::Reference,
        Some(stated) => layouts.find(|layout| layout.key.is_str(stated)),
        None => layouts.find(|layout| knows(layout.value, root, known)),
    };
    let Some(Member { value: layout_of_tool, .. }) = found else { return Whose::Unknown };
    let read = Layers::read(vec![layout_of_tool], |layout| Form {
        name: layout.text("name"),
        login_hint: layout.text("login_hint"),
        layout: Layout::read(&layout.object("login")),
        known: layout_of_tool,
    });
    // They are part of the program, and a test reads them all.
    read.map_or(Whose::Unknown, |form| Whose::Tool(Rc::new(form)))
}

/// Returns every tool's layout, each with the name by which a person states it.
fn layouts() -> impl Iterator<Item = Member<'static>> {
    Value::trusted(LAYOUTS).get("layouts").into_iter().flat_map(|layouts| layouts.members())
}

/// The names by which a person states a layout.
pub(super) fn names() -> Vec<String> {
    let tools = layouts().filter_map(|layout| layout.key.as_str());
    std::iter::once(REFERENCE.to_owned()).chain(tools).collect()
}

fn knows(layout: Value<'_>, root: Value<'_>, known: &Provenance) -> bool {
    let Some((folder, file)) = known.folder_and_file() else { return false };
    layout.get("known_by").into_iter().flat_map(|rows| rows.items()).any(|row| {
        let is_called = |what: &str, name: &str| row.get(what).is_none_or(|wanted| wanted.is_str(name));
        let has_no_other = row.get("only").is_none_or(|only| {
            root.members()
                .all(|member| member.key.as_str().is_some_and(|key| only.items().any(|name| name.is_str(&key))))
        });
        row.get("file").is_some()
            && is_called("file", file)
            && is_called("folder", folder)
            && has_no_other
            && match row.get("members") {
                Some(members) => holds(Some(members), root),
                None => root.members().any(|member| {
                    let key = member.key.as_str().unwrap_or_default();
                    is_known(layout, &key, member.value)
                }),
            }
    })
}

/// Whether a node, which is the file's member of this name, holds a login or a key.
fn is_known(layout: Value<'_>, member: &str, node: Value<'_>) -> bool {
    let keys = layout.get("keys");
    has_login(layout, member, node) || keys.is_some_and(|keys| keys.members().any(|key| holds(Some(key.value), node)))
}

/// Whether a node holds a login that may be used: of a provider whose logins the tool is known to
/// get where our profile says.
fn has_login(layout: Value<'_>, member: &str, node: Value<'_>) -> bool {
    let is_of_profile = layout.get("providers").is_none_or(|providers| providers.get(member).is_some());
    is_of_profile && holds(layout.get("login_if"), node)
}

/// Whether every pointer of a condition leads somewhere, and to this text or one like it if there
/// is more to the condition.
fn holds(condition: Option<Value<'_>>, node: Value<'_>) -> bool {
    condition.is_none_or(|condition| {
        condition.members().all(|wanted| {
            let value = wanted.key.as_str().and_then(|pointer| node.pointer(&pointer));
            value.is_some_and(|value| is_like(value, wanted.value))
        })
    })
}

fn is_like(value: Value<'_>, wanted: Value<'_>) -> bool {
    let part = |name: &str| wanted.get(name).and_then(|part| part.as_str());
    match (wanted.as_str(), part("has"), part("begins")) {
        (Some(text), ..) => value.is_str(&text),
        (_, Some(part), _) => value.as_str().is_some_and(|text| text.contains(&part)),
        (_, _, Some(part)) => value.as_str().is_some_and(|text| text.starts_with(&part)),
        (None, None, None) => true,
    }
}

impl Form {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        self.known.get(name)
    }

    /// What is called by a name of its own here, the member of the file's.
    fn called(&self, member: &str) -> String {
        let own = self.get("providers").and_then(|names| names.get(member)?.as_str());
        own.unwrap_or_else(|| member.to_owned())
    }

    pub(super) fn ids(&self, root: Value<'_>) -> Vec<String> {
        if let Some(provider) = self.get("provider").and_then(|provider| provider.as_str()) {
            return vec![provider];
        }
        let ids = root.members().map(|member| self.called(&member.key.as_str().unwrap_or_default()));
        BTreeSet::from_iter(ids).into_iter().collect()
    }

    /// The object that holds a provider's tokens.
    pub(super) fn node<'a>(&self, root: Value<'a>, provider: &str) -> Option<Value<'a>> {
        self.member(root, provider).map(|(_, node)| node)
    }

    /// The same, and what that member is called in the file.
    fn member<'a>(&self, root: Value<'a>, provider: &str) -> Option<(String, Value<'a>)> {
        let found = match self.get("provider") {
            Some(ours) if ours.is_str(provider) => {
                let at = self.get("at").and_then(|at| at.as_str()).unwrap_or_default();
                root.pointer(&at).map(|node| (at, node))
            }
            Some(_) => None,
            None => {
                let named = |member: Member<'a>| Some((member.key.as_str()?, member.value));
                root.members().filter_map(named).find(|(key, _)| self.called(key) == provider)
            }
        };
        found.filter(|(_, node)| node.kind() == Kind::Object)
    }

    pub(super) fn places(&self, root: Value<'_>, provider: &str, warnings: &mut Vec<String>) -> Vec<Place> {
        let mut places = Vec::new();
        if !self.ids(root).iter().any(|id| id == provider) {
            return places;
        }
        let layout = self.known;
        let found = self.member(root, provider).filter(|(member, node)| is_known(layout, member, *node));
        let Some((member, node)) = found else {
            let what = "is of no known kind, or of a server that is not known";
            warnings.push(format!("what {} keeps for {provider} {what}: it is ignored", self.name));
            return places;
        };
        if has_login(layout, &member, node) {
            let name = || format!("the {} login of {provider}", self.name);
            places.push(place(&Fields::of(node), Spot::Login, &self.layout, &name, warnings));
        }
        for key in self.get("keys").into_iter().flat_map(|keys| keys.members()) {
            let text = key.key.as_str().and_then(|pointer| node.pointer(&pointer)?.as_str());
            let Some(text) = text.filter(|text| !text.is_empty() && holds(Some(key.value), node)) else { continue };
            places.push(Place {
                spot: Spot::Entry(0),
                id: KEY.to_owned(),
                label: KEY.to_owned(),
                source: self.name.clone(),
                kind: CredentialKind::ApiKey,
                request_count: 0,
                priority: 0,
                state: EntryState::Ok,
                last_error: None,
                access_token: Some(Secret::new(text)),
                refresh_token: None,
                token_type: "Bearer".to_owned(),
                expires_at_ms: None,
                ends_at_zero: false,
                lifetime_ms: None,
                issued_at_ms: None,
            });
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Credential, Vault};
    use super::*;
    use crate::provider::Catalog;

    fn read_as(text: &str, layout: &str, id: &str) -> super::super::Reading {
        let profile = Catalog::new(None).unwrap().profile(id).unwrap().unwrap();
        Vault::open(text, &Provenance::stated(layout)).unwrap().read(&profile)
    }

    #[test]
    fn every_layout_can_be_read_and_names_a_profile() {
        let catalog = Catalog::new(None).unwrap();
        for layout in layouts() {
            let read = Layers::read(vec![layout.value], |layout| {
                layout.only(&[
                    "name",
                    "$source",
                    "known_by",
                    "provider",
                    "providers",
                    "at",
                    "login_hint",
                    "login_if",
                    "keys",
                    "login",
                ]);
                assert!(["name", "login_hint", "$source"].iter().all(|text| !layout.text(text).is_empty()));
                Layout::read(&layout.object("login"));
            });
            assert_eq!(read, Ok(()), "{}", layout.key.raw());
            let provider = layout.value.get("provider").and_then(|provider| provider.as_str());
            assert!(provider.is_none_or(|id| catalog.profile(&id).unwrap().is_some()), "{}", layout.key.raw());
        }
    }

    #[test]
    fn every_row_of_evidence_names_a_file_and_what_distinguishes_it() {
        for layout in layouts() {
            let rows = layout.value.get("known_by").unwrap();
            assert!(rows.items().next().is_some(), "{}", layout.key.raw());
            for row in rows.items() {
                let read = Layers::read(vec![row], |row| {
                    row.only(&["file", "folder", "members", "only"]);
                    assert!(!row.text("file").is_empty());
                });
                assert_eq!(read, Ok(()), "{}", layout.key.raw());
                // Where no member distinguishes it, the folder must.
                let has_member = row.get("members").is_some_and(|members| members.members().next().is_some());
                assert!(has_member || row.get("folder").is_some(), "{}", layout.key.raw());
            }
        }
    }

    fn tool_at(path: &str, text: &str) -> Option<String> {
        let opened = Vault::open(text, &Provenance::at(path));
        opened.ok().map(|vault| vault.tool().unwrap_or("hermes").to_owned())
    }

    #[test]
    fn a_file_is_known_by_its_name_its_place_and_what_is_in_it() {
        for (path, text, name) in [
            ("/v.json", r#"{"providers":{},"tokens":{}}"#, "hermes"),
            ("/v.json", r#"{"credential_pool":{}}"#, "hermes"),
            ("/v.json", "{}", "hermes"),
            ("/v.json", r#"{"version":1,"updated_at":"now","active_provider":null}"#, "hermes"),
            ("/c/auth.json", r#"{"OPENAI_API_KEY":null}"#, "Codex CLI"),
            ("/h/.codex/auth.json", r#"{"tokens":null,"auth_mode":"chatgpt"}"#, "Codex CLI"),
            ("/c/auth.json", r#"{"tokens":null,"last_refresh":null}"#, "Codex CLI"),
            ("/c/.credentials.json", r#"{"claudeAiOauth":{},"mcpOAuth":{}}"#, "Claude Code"),
            (
                "/d/.anthropic_oauth.json",
                r#"{"accessToken":"","refreshToken":"","expiresAt":1}"#,
                "hermes-agent (Anthropic login)",
            ),
            (
                "/h/.gemini/oauth_creds.json",
                r#"{"scope":"openid https://www.googleapis.com/auth/cloud-platform"}"#,
                "Gemini CLI",
            ),
            ("/q/oauth_creds.json", r#"{"expiry_date":1,"resource_url":"portal.qwen.ai"}"#, "Qwen Code"),
            ("/h/.qwen/oauth_creds.json", r#"{"resource_url":"a.example"}"#, "Qwen Code"),
            ("/d/opencode/auth.json", r#"{"a":7,"openrouter":{"type":"api","key":"k"}}"#, "opencode"),
        ] {
            assert_eq!(tool_at(path, text).as_deref(), Some(name), "{path} {text}");
        }
    }

    #[test]
    fn a_person_may_state_a_layout_and_must_name_one_that_there_is() {
        let text = r#"{"tokens":{"access_token":"a","refresh_token":"r"}}"#;
        let opened = |known: &Provenance| Vault::open(text, known).map(|vault| vault.tool().map(str::to_owned));
        assert_eq!(opened(&Provenance::stated("codex")), Ok(Some("Codex CLI".to_owned())));
        assert_eq!(opened(&Provenance::stated("hermes")), Ok(None));
        let error = opened(&Provenance::stated("codecs")).unwrap_err().to_string();
        assert!(error.contains("no layout called \"codecs\"") && error.contains("claude-code, "), "{error}");
        let error = opened(&Provenance::at("/x/auth.json")).unwrap_err().to_string();
        assert!(error.contains("--layout NAME") && error.contains("hermes, codex, "), "{error}");
    }

    #[test]
    fn a_login_and_a_key_are_two_credentials_and_a_bad_row_spoils_neither() {
        let text = r#"{"OPENAI_API_KEY":"sk-1","tokens":{"access_token":"a","refresh_token":"r"}}"#;
        let read = read_as(text, "codex", "openai-codex");
        let ids: Vec<String> = read.credentials.iter().map(|c| c.id().to_owned()).collect();
        assert_eq!(ids, ["login", "key"]);
        let text = r#"{"anthropic":{"type":"oauth","refresh":"r","access":7,"expires":1},"openai":"x","google":{"type":"new"},
            "openrouter":{"type":"api","key":"k"}}"#;
        let claude = read_as(text, "opencode", "anthropic");
        assert_eq!(claude.credentials.iter().map(Credential::id).collect::<Vec<_>>(), ["login"]);
        assert_eq!(claude.warnings.len(), 1, "{:?}", claude.warnings);
        for id in ["openai-codex", "google"] {
            let reading = read_as(text, "opencode", id);
            assert_eq!((reading.credentials.len(), reading.warnings.len()), (0, 1), "{id}");
        }
        let vault = Vault::open(text, &Provenance::stated("opencode")).unwrap();
        assert_eq!(vault.providers(), ["anthropic", "google", "openai-codex", "openrouter"]);
    }

    #[test]
    fn a_login_at_a_server_that_is_not_known_is_not_used() {
        // A plugin's: of a server of one's own, or of another client.
        for text in [
            r#"{"gitlab":{"type":"oauth","refresh":"r","access":"a","expires":1,"enterpriseUrl":"https://git.example"}}"#,
            r#"{"google":{"type":"oauth","refresh":"r|project","access":"a","expires":1}}"#,
        ] {
            for id in ["gitlab", "google"] {
                assert_eq!(read_as(text, "opencode", id).credentials.len(), 0, "{text}");
            }
        }
    }
}

//! Other tools' own files as vaults: each form is data, and the file stays what its tool wrote but for the tokens.
//!
//! The forms are `layouts.json` beside this file. A form knows its files by what is in them, never by their name: of one
//! of its `marks` every pointer leads somewhere, empty or not, so that a file is still known when its tokens are gone. It
//! holds one login of one provider (`provider`, whose node is `at`), or one of each member's (`providers`, which says what
//! those members are called here that have another name there).

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

use crate::json::{Kind, Value};
use crate::layers::Layers;
use crate::packed;
use crate::provider::Layout;
use crate::secret::Secret;
use crate::table;

use super::place::{CredentialKind, EntryState, Place, Spot, place};

const SPACIOUS: &[u8] = include_bytes!("layouts.json");

static PACKED_LAYOUTS: [u8; PACKED.1] = packed::first(&PACKED.0);
#[allow(long_running_const_eval, reason = "it is 5 KB")]
const PACKED: ([u8; SPACIOUS.len()], usize) = {
    let (text, length) = packed::compact(SPACIOUS);
    packed::pack(&text, length)
};

/// The id under which an API key in such a file is addressed.
const KEY: &str = "key";

thread_local! {
    static LAYOUTS: OnceCell<Rc<str>> = const { OnceCell::new() };
}

/// One tool's own file.
#[derive(Debug)]
pub(super) struct Form {
    /// For a person.
    pub(super) name: String,
    /// What a person does to log in again.
    pub(super) login_hint: String,
    /// How the tokens of a login lie below its node.
    pub(super) layout: Layout,
    /// All forms, and where this one stands.
    text: Rc<str>,
    span: Range<usize>,
}

/// What tool wrote a file that is not in the reference's form; none if it is nobody's that is known.
pub(super) fn form(root: Value<'_>) -> Option<Rc<Form>> {
    let text = LAYOUTS.with(|text| text.get_or_init(|| packed::unpack(&PACKED_LAYOUTS).into()).clone());
    let layouts = Value::trusted(&text).get("layouts")?;
    for layout in layouts.members() {
        if !knows(layout.value, root) {
            continue;
        }
        let read = Layers::read(vec![layout.value], |layout| Form {
            name: layout.text("name"),
            login_hint: layout.text("login_hint"),
            layout: Layout::read(&layout.object("login")),
            text: text.clone(),
            span: 0..0,
        });
        // They are part of the program, and a test reads them all.
        return read.ok().map(|form| Rc::new(Form { span: layout.value.span(), ..form }));
    }
    None
}

fn knows(layout: Value<'_>, root: Value<'_>) -> bool {
    let leads = |pointer: Value<'_>| pointer.as_str().is_some_and(|pointer| root.pointer(&pointer).is_some());
    match layout.get("marks") {
        Some(marks) => marks.items().any(|mark| mark.items().all(leads)),
        None => root.members().any(|member| is_known(layout, member.value)),
    }
}

/// Whether a node holds a login or a key.
fn is_known(layout: Value<'_>, node: Value<'_>) -> bool {
    let keys = layout.get("keys");
    holds(layout.get("login_if"), node)
        || keys.is_some_and(|keys| keys.members().any(|key| holds(Some(key.value), node)))
}

/// Whether every pointer of a condition leads somewhere, and to this text if it names one.
fn holds(condition: Option<Value<'_>>, node: Value<'_>) -> bool {
    condition.is_none_or(|condition| {
        condition.members().all(|wanted| {
            let value = wanted.key.as_str().and_then(|pointer| node.pointer(&pointer));
            value.is_some_and(|value| wanted.value.as_str().is_none_or(|text| value.is_str(&text)))
        })
    })
}

impl Form {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        Value::at(&self.text, self.span.clone()).get(name)
    }

    /// What is called by a name of its own here, the member of the file's.
    fn called(&self, member: &str) -> String {
        let own = self.get("providers").and_then(|names| names.get(member)?.as_str());
        own.unwrap_or_else(|| member.to_owned())
    }

    pub(super) fn ids(&self, root: Value<'_>) -> Vec<String> {
        let mut ids = Vec::new();
        match self.get("provider").and_then(|provider| provider.as_str()) {
            Some(provider) => ids.push(provider),
            None => {
                for member in root.members() {
                    table::insert_sorted(&mut ids, self.called(&member.key.as_str().unwrap_or_default()));
                }
            }
        }
        ids
    }

    /// The object that holds a provider's tokens.
    pub(super) fn node<'a>(&self, root: Value<'a>, provider: &str) -> Option<Value<'a>> {
        let node = match self.get("provider") {
            Some(ours) if ours.is_str(provider) => {
                root.pointer(&self.get("at").and_then(|at| at.as_str()).unwrap_or_default())
            }
            Some(_) => None,
            None => {
                let is_its = |key: Value<'_>| key.as_str().is_some_and(|key| self.called(&key) == provider);
                root.members().find(|member| is_its(member.key)).map(|member| member.value)
            }
        };
        node.filter(|node| node.kind() == Kind::Object)
    }

    pub(super) fn places(&self, root: Value<'_>, provider: &str, warnings: &mut Vec<String>) -> Vec<Place> {
        let mut places = Vec::new();
        if !self.ids(root).iter().any(|id| id == provider) {
            return places;
        }
        let layout = Value::at(&self.text, self.span.clone());
        let node = self.node(root, provider).filter(|node| is_known(layout, *node));
        let Some(node) = node else {
            warnings.push(format!("what {} keeps for {provider} is of no known kind: it is ignored", self.name));
            return places;
        };
        if holds(self.get("login_if"), node) {
            let name = || format!("the {} login of {provider}", self.name);
            places.push(place(node, Spot::Login, &self.layout, &name, warnings));
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

    fn read_as(text: &str, id: &str) -> super::super::Reading {
        let profile = Catalog::new(None).unwrap().profile(id).unwrap().unwrap();
        Vault::open(text).unwrap().read(&profile)
    }

    #[test]
    fn every_layout_can_be_read_and_names_a_profile() {
        let text = packed::unpack(&PACKED_LAYOUTS);
        let catalog = Catalog::new(None).unwrap();
        for layout in Value::trusted(&text).get("layouts").unwrap().members() {
            let read = Layers::read(vec![layout.value], |layout| {
                layout.only(&[
                    "name",
                    "$source",
                    "marks",
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
    fn a_file_is_known_by_what_is_in_it() {
        for (text, name) in [
            (r#"{"providers":{},"tokens":{}}"#, None),
            (r#"{"credential_pool":{}}"#, None),
            ("{}", None),
            (r#"{"something":"else"}"#, None),
            (r#"{"OPENAI_API_KEY":null}"#, Some("Codex CLI")),
            (r#"{"tokens":null,"auth_mode":"chatgpt"}"#, Some("Codex CLI")),
            (r#"{"claudeAiOauth":{},"mcpOAuth":{}}"#, Some("Claude Code")),
            (r#"{"accessToken":"","refreshToken":"","expiresAt":1}"#, Some("hermes-agent (Anthropic login)")),
            (r#"{"expiry_date":1,"scope":""}"#, Some("Gemini CLI")),
            (r#"{"expiry_date":1,"resource_url":"portal.qwen.ai"}"#, Some("Qwen Code")),
            (r#"{"a":7,"openrouter":{"type":"api","key":"k"}}"#, Some("opencode")),
        ] {
            assert_eq!(Vault::open(text).unwrap().tool(), name, "{text}");
        }
    }

    #[test]
    fn a_login_and_a_key_are_two_credentials_and_a_bad_row_spoils_neither() {
        let text = r#"{"OPENAI_API_KEY":"sk-1","tokens":{"access_token":"a","refresh_token":"r"}}"#;
        let ids: Vec<String> = read_as(text, "openai-codex").credentials.iter().map(|c| c.id().to_owned()).collect();
        assert_eq!(ids, ["login", "key"]);
        let text = r#"{"anthropic":{"type":"oauth","refresh":"r","access":7,"expires":1},"openai":"x","google":{"type":"new"},
            "openrouter":{"type":"api","key":"k"}}"#;
        let claude = read_as(text, "anthropic");
        assert_eq!(claude.credentials.iter().map(Credential::id).collect::<Vec<_>>(), ["login"]);
        assert_eq!(claude.warnings.len(), 1, "{:?}", claude.warnings);
        for id in ["openai-codex", "google"] {
            let reading = read_as(text, id);
            assert_eq!((reading.credentials.len(), reading.warnings.len()), (0, 1), "{id}");
        }
        assert_eq!(Vault::open(text).unwrap().providers(), ["anthropic", "google", "openai-codex", "openrouter"]);
    }
}

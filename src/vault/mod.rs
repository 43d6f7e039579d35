//! A vault is somebody's file: it is read tolerantly, and of it only the values that must change
//! are changed.
//!
//! | question | file |
//! |---|---|
//! | what stands at one spot | `place` |
//! | which spots are one credential | `credential` |
//! | where are the spots | `hermes`, and `foreign` for other tools' own files |
//! | how do fresh tokens get there | `fresh` |
//! | how does everything else stay as it was | [`edit`] |

mod credential;
pub mod edit;
mod foreign;
mod hermes;
mod place;
mod write_tokens;

use std::ops::Range;
use std::rc::Rc;

use crate::json::{self, Fields, JsonError, Kind, Member, Value};
use crate::provider::{Layout, Profile};

pub use credential::{Credential, Reading, is_seeded};
use edit::{Change, EditError, Edits};
use foreign::Whose;
pub use place::{CredentialKind, EntryState, LOGIN, LastError, Place, Spot};
pub use write_tokens::Fresh;

/// Why a text is no vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// It is not JSON.
    NotJson(JsonError),
    /// Its top is not an object.
    NotAnObject(Kind),
    /// It is in no layout for certain, and a person stated this one or none.
    UnknownLayout(Option<String>),
}

/// What is known of a vault beside its text: the evidence by which another tool's file is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The path by which a person named it, or under which it was found.
    pub path: Option<String>,
    /// The layout that a person states.
    pub layout: Option<String>,
}

impl Provenance {
    /// A file that lies there, of which nobody stated more.
    pub fn at(path: &str) -> Self {
        Self { path: Some(path.to_owned()), layout: None }
    }

    /// A file of which a person states the layout.
    pub fn stated(layout: &str) -> Self {
        Self { path: None, layout: Some(layout.to_owned()) }
    }

    /// The names of its folder, empty if that is not known, and of the file.
    fn folder_and_file(&self) -> Option<(&str, &str)> {
        let path = self.path.as_deref()?;
        let (way, file) = path.rsplit_once('/').unwrap_or(("", path));
        Some((way.rsplit_once('/').map_or(way, |(_, folder)| folder), file))
    }
}

impl std::fmt::Display for VaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotJson(error) => write!(f, "it is not JSON: {error}"),
            Self::NotAnObject(kind) => write!(f, "it should hold a JSON object, and holds {kind}"),
            Self::UnknownLayout(stated) => {
                match stated {
                    Some(stated) => write!(f, "there is no layout called {}", json::quote(stated))?,
                    None => {
                        f.write_str("its layout is not known for certain, by its name, its folder and what is in it")?
                    }
                }
                let names = foreign::names().join(", ");
                write!(
                    f,
                    ". If you know which program wrote it, state the layout with --layout NAME, or with {{\"layout\": \"NAME\"}} in \
                     the settings of this vault. NAME is one of {names}"
                )
            }
        }
    }
}

/// A vault's text, and where in it what lies.
///
/// ```
/// use lazaretto::vault::{Provenance, Vault, VaultError};
///
/// let hermes = r#"{"providers": {"nous": {}}, "credential_pool": {}}"#;
/// assert_eq!(Vault::open(hermes, &Provenance::default())?.providers(), ["nous"]);
///
/// // Members alone do not tell whose a file is: its name and its folder count too.
/// let codex = r#"{"OPENAI_API_KEY": null, "tokens": {"access_token": "at", "refresh_token": "rt"}}"#;
/// let known = Provenance::at("/home/you/.codex/auth.json");
/// assert_eq!(Vault::open(codex, &known)?.tool(), Some("Codex CLI"));
/// assert!(matches!(Vault::open(codex, &Provenance::default()), Err(VaultError::UnknownLayout(_))));
/// # Ok::<(), VaultError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Vault<'a> {
    root: Value<'a>,
    /// Its members: to find one of them, a scan of the whole text, is dear in a large vault.
    top: Fields<'a>,
    /// Whose file it is, if it is another tool's.
    form: Option<Rc<foreign::Form>>,
}

/// Where in a vault's text its members stand, and whose file it is.
#[derive(Clone, Debug)]
pub struct Outline {
    root: Range<usize>,
    /// Key and value of each member.
    top: Vec<[Range<usize>; 2]>,
    form: Option<Rc<foreign::Form>>,
}

impl<'a> Vault<'a> {
    /// Returns what a later [`Vault::of_outline`] needs to open the same text without checking it
    /// again.
    pub fn outline(&self) -> Outline {
        let top = self.top.members.iter().map(|member| [member.key.span(), member.value.span()]).collect();
        Outline { root: self.root.span(), top, form: self.form.clone() }
    }

    /// Opens a text that has this outline.
    pub fn of_outline(text: &'a str, outline: &Outline) -> Self {
        let value = |span: &Range<usize>| Value::at(text, span.clone());
        let member = |[key, of_key]: &[Range<usize>; 2]| Member { key: value(key), value: value(of_key) };
        let top = Fields::of_members(outline.top.iter().map(member).collect());
        Self { root: value(&outline.root), top, form: outline.form.clone() }
    }

    /// A vault's text, checked. The reference's form is known by its members; any other needs more.
    pub fn open(text: &'a str, known: &Provenance) -> Result<Self, VaultError> {
        let (root, top) = json::check_fields(text).map_err(VaultError::NotJson)?;
        let is_object = root.kind() == Kind::Object;
        if !is_object {
            return Err(VaultError::NotAnObject(root.kind()));
        }
        if hermes::is_its_form(&top) {
            return Ok(Self { root, form: None, top });
        }
        match foreign::whose(root, known) {
            Whose::Tool(form) => Ok(Self { root, form: Some(form), top }),
            Whose::Reference => Ok(Self { root, form: None, top }),
            Whose::Unknown => Err(VaultError::UnknownLayout(known.layout.clone())),
        }
    }

    /// The tool whose own file it is; none if it is a vault in the reference's form.
    pub fn tool(&self) -> Option<&str> {
        self.form.as_ref().map(|form| form.name.as_str())
    }

    /// The whole of it.
    pub(crate) fn root(&self) -> Value<'a> {
        self.root
    }

    /// What a person does to log in again, where that is another tool's affair.
    pub(crate) fn login_hint(&self) -> Option<&str> {
        self.form.as_ref().map(|form| form.login_hint.as_str())
    }

    /// The ids of all providers it names.
    pub fn providers(&self) -> Vec<String> {
        self.form.as_ref().map_or_else(|| hermes::providers(&self.top), |form| form.ids(self.root))
    }

    /// The credentials of one provider.
    pub fn read(&self, profile: &Profile) -> Reading {
        let mut warnings = Vec::new();
        let places = self.places(profile, &mut warnings);
        Reading { credentials: credential::of_places(places, profile), warnings }
    }

    /// Every place of one provider, in the order of the text.
    pub fn places(&self, profile: &Profile, warnings: &mut Vec<String>) -> Vec<Place> {
        match &self.form {
            Some(form) => form.places(self.root, &profile.id, warnings),
            None => hermes::places(&self.top, profile, warnings),
        }
    }

    /// The object at a spot.
    pub fn node(&self, provider: &str, spot: Spot) -> Option<Value<'a>> {
        match &self.form {
            Some(form) => form.node(self.root, provider),
            None => hermes::node(&self.top, provider, spot),
        }
    }

    /// The list of a provider's entries.
    pub fn pool(&self, provider: &str) -> Option<Value<'a>> {
        if self.form.is_some() { None } else { hermes::pool(&self.top, provider) }
    }

    /// How the tokens lie at a spot.
    pub fn layout<'l>(&'l self, profile: &'l Profile, spot: Spot) -> &'l Layout {
        match (&self.form, spot) {
            (Some(form), _) => &form.layout,
            (None, Spot::Login) => &profile.login,
            (None, Spot::Entry(_)) => &profile.entry,
        }
    }

    /// Writes what a refresh brought to a spot. A rest for too many calls or for money goes on: it
    /// is the account's.
    pub fn renew_tokens(
        &self,
        edits: &mut Edits,
        node: Value<'_>,
        spot: Spot,
        profile: &Profile,
        fresh: &Fresh,
    ) -> Result<(), EditError> {
        self.put_tokens(edits, node, spot, profile, fresh, write_tokens::rests_for_quota(node))
    }

    /// Writes the tokens of a new login to a spot.
    pub fn write_tokens(
        &self,
        edits: &mut Edits,
        node: Value<'_>,
        spot: Spot,
        profile: &Profile,
        fresh: &Fresh,
    ) -> Result<(), EditError> {
        self.put_tokens(edits, node, spot, profile, fresh, false)
    }

    fn put_tokens(
        &self,
        edits: &mut Edits,
        node: Value<'_>,
        spot: Spot,
        profile: &Profile,
        fresh: &Fresh,
        still_rests: bool,
    ) -> Result<(), EditError> {
        let mut changes = write_tokens::changes(node, self.layout(profile, spot), fresh, self.form.is_some());
        changes.retain(|(pointer, _)| !(still_rests && write_tokens::is_status(pointer)));
        if spot == Spot::Login && self.form.is_none() {
            changes.push(("/last_auth_error".to_owned(), Change::Remove));
        }
        edits.members(node, &changes)
    }
}

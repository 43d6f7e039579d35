//! Every text of a simulation, once: a text is a number, and what it says is found out once.

use std::cell::RefCell;
use std::rc::Rc;

use lazaretto::state::fingerprint::Fingerprint;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::server::{MOST_TOKENS, Token};

/// The number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(pub u32);

/// The number of an access token.
pub type Access = u16;

/// A set of refresh tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tokens(pub u64);

impl Tokens {
    pub fn with(self, token: Token) -> Self {
        Self(self.0 | 1 << token)
    }

    pub fn has(self, token: Token) -> bool {
        self.0 >> token & 1 == 1
    }

    pub fn iter(self) -> impl Iterator<Item = Token> {
        (0..MOST_TOKENS as Token).filter(move |token| self.has(*token))
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Three of the four spots that the model knows of; the other is the alias.
pub const LOGIN: usize = 0;
pub const ROW: usize = 1;
pub const ENTRY: usize = 3;

/// One spot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub exists: bool,
    pub refresh: Option<Token>,
    pub access: Option<Access>,
}

/// What a vault says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vault {
    pub places: [Place; 4],
    /// All refresh tokens in it.
    pub tokens: Tokens,
}

/// What a ledger says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ledger {
    pub dead: Tokens,
    pub spent: Tokens,
    pub open: Tokens,
    /// Those of the dead of which the server's refusal alone is the reason.
    pub refused: Tokens,
    /// Cooling down, held or parked.
    pub paused: Tokens,
    /// Nothing that looks like a token stands in it.
    pub is_clean: bool,
}

/// What a sealed document says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sealed {
    /// Successors that are in no vault yet, and copies that were kept of some that are.
    pub successors: Tokens,
    /// The first of these.
    pub waiting: Tokens,
    pub quarantined: Tokens,
}

/// All of them.
#[derive(Default)]
pub struct Texts {
    numbers: FxHashMap<Rc<str>, Text>,
    texts: Vec<Rc<str>>,
    vaults: RefCell<FxHashMap<Text, Vault>>,
    ledgers: RefCell<FxHashMap<Text, Ledger>>,
    sealed: RefCell<FxHashMap<Text, Sealed>>,
    fingerprints: RefCell<FxHashMap<String, Token>>,
    pub(super) edits: FxHashMap<(Text, super::outside::Edit), Text>,
    pub(super) compared: super::check::Compared,
}

impl Texts {
    pub fn number(&mut self, text: &str) -> Text {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let (shared, number) = (Rc::<str>::from(text), Text(self.texts.len() as u32));
        self.texts.push(shared.clone());
        self.numbers.insert(shared, number);
        number
    }

    pub fn text(&self, number: Text) -> Rc<str> {
        self.texts[number.0 as usize].clone()
    }

    pub fn json(&self, number: Text) -> Value {
        serde_json::from_str(&self.text(number)).expect("a document is JSON")
    }

    /// The token that a fingerprint in a document is of.
    pub fn token_of(&self, fingerprint: &str) -> Option<Token> {
        let mut known = self.fingerprints.borrow_mut();
        if known.is_empty() {
            known.extend(
                (0..MOST_TOKENS as Token)
                    .map(|token| (Fingerprint::of(&refresh_token(token)).as_str().to_owned(), token)),
            );
        }
        known.get(fingerprint).copied()
    }

    pub fn vault(&self, number: Text) -> Vault {
        *self.vaults.borrow_mut().entry(number).or_insert_with(|| read_vault(&self.json(number)))
    }

    pub fn ledger(&self, number: Text) -> Ledger {
        if let Some(known) = self.ledgers.borrow().get(&number) {
            return *known;
        }
        let (json, text) = (self.json(number), self.text(number));
        let mut ledger = Ledger { is_clean: !shows_a_token(&text), ..Ledger::default() };
        for (fingerprint, record) in json["tokens"].as_object().into_iter().flatten() {
            let Some(token) = self.token_of(fingerprint) else { continue };
            match record["state"].as_str() {
                Some("dead") => {
                    ledger.dead = ledger.dead.with(token);
                    if record["tombstone"]["reason"] == "refresh-refused" {
                        ledger.refused = ledger.refused.with(token);
                    }
                }
                Some("spent") => ledger.spent = ledger.spent.with(token),
                _ => {}
            }
            if record["pause"].is_object() {
                ledger.paused = ledger.paused.with(token);
            }
            if record["intent"].is_object() {
                ledger.open = ledger.open.with(token);
            }
        }
        self.ledgers.borrow_mut().insert(number, ledger);
        ledger
    }

    pub fn sealed(&self, number: Text) -> Sealed {
        if let Some(known) = self.sealed.borrow().get(&number) {
            return *known;
        }
        let json = self.json(number);
        let mut sealed = Sealed::default();
        let tokens = |table: &Value| {
            let successors = table.as_object().into_iter().flatten();
            let tokens = successors.filter_map(|(_, successor)| as_refresh_token(successor["refresh_token"].as_str()?));
            tokens.fold(Tokens::default(), Tokens::with)
        };
        sealed.waiting = tokens(&json["successors"]);
        sealed.successors = sealed.waiting.and(tokens(&json["kept"]));
        // Wherever in what was removed they stand.
        for found in json["quarantined"].to_string().split("Rt_").skip(1) {
            let digits = found.chars().take_while(char::is_ascii_digit).collect::<String>();
            if let Ok(token) = digits.parse() {
                sealed.quarantined = sealed.quarantined.with(token);
            }
        }
        self.sealed.borrow_mut().insert(number, sealed);
        sealed
    }
}

fn read_vault(json: &Value) -> Vault {
    let login = &json["providers"]["xai-oauth"];
    let rows = &json["credential_pool"]["xai-oauth"];
    let row = |id: &str| rows.as_array().into_iter().flatten().find(|row| row["id"] == id).unwrap_or(&Value::Null);
    let place = |node: &Value, tokens: &Value| Place {
        exists: node.is_object(),
        refresh: tokens["refresh_token"].as_str().and_then(as_refresh_token),
        access: tokens["access_token"].as_str().and_then(as_access_token),
    };
    let alias = &json["credential_pool"]["grok"][0];
    let places = [
        place(login, &login["tokens"]),
        place(row("row1"), row("row1")),
        place(alias, alias),
        place(row("man1"), row("man1")),
    ];
    let tokens = places.iter().filter_map(|place| place.refresh).fold(Tokens::default(), Tokens::with);
    Vault { places, tokens }
}

pub fn refresh_token(token: Token) -> String {
    format!("Rt_{token}")
}

pub fn access_token(access: Access) -> String {
    format!("At_{access}")
}

pub fn as_refresh_token(text: &str) -> Option<Token> {
    text.strip_prefix("Rt_")?.parse().ok()
}

pub fn as_access_token(text: &str) -> Option<Access> {
    text.strip_prefix("At_")?.parse().ok()
}

/// Whether a text that should hold no secret holds one.
pub fn shows_a_token(text: &str) -> bool {
    text.contains("Rt_") || text.contains("At_")
}

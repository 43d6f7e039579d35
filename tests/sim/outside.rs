//! Everybody else who touches the vault: the user, and the reference with its habits. It takes its lock for each write, and
//! writes what it read earlier; it copies a login over its row, older or newer; it writes row and login one after the other;
//! it clears the login when it is refused itself.

use lazaretto::time::{self, Zone};
use serde_json::{Value, json};

use super::check::Broken;
use super::server::{Answer, Kind, NO_TOKEN, Token};
use super::session::{About, EPOCH_MS, Right, Sessions};
use super::text::{self, Access, LOGIN, Text, Texts, Tokens};
use super::world::{Flaw, World};

/// What they remember, and what they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outside {
    /// The vault, as the reference read it some time ago.
    snapshot: Option<Text>,
    /// Tokens that it wrote to the row, and not to the login yet.
    half_written: Option<(Access, Token, u32)>,
    /// Live tokens that it wrote over.
    pub lost: Tokens,
    /// Families that a newer login or a logout ended.
    left: u8,
}

impl Outside {
    /// With the vault as it was when somebody copied it.
    pub fn with_a_copy(vault: Text) -> Self {
        Self { snapshot: Some(vault), ..Self::default() }
    }

    pub fn has_left(&self, family: u8) -> bool {
        self.left >> family & 1 == 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The reference reads the vault, and keeps what it read.
    Read,
    /// It writes the rows that it read, over whatever they are now.
    WriteStaleRows,
    /// It copies the login that it read over the row.
    LoginOverRow,
    /// It refreshes, and writes its row; or clears the login, as it is refused.
    Refresh,
    /// It writes the login that belongs to that row.
    WriteLogin,
    /// Somebody puts the login back as it was.
    PutBack,
    LogIn,
    /// A login, at a server that gives the same refresh token again.
    LogInAgain,
    LogOut,
}

impl Act {
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "reference reads",
            Self::WriteStaleRows => "reference writes stale rows",
            Self::LoginOverRow => "reference copies login over row",
            Self::Refresh => "reference refreshes",
            Self::WriteLogin => "reference writes login",
            Self::PutBack => "an ancestor is put back",
            Self::LogIn => "user logs in",
            Self::LogInAgain => "user logs in, same token",
            Self::LogOut => "user logs out",
        }
    }
}

/// What they may do now.
pub fn acts(world: &World, sessions: &Sessions, actions: &mut Vec<super::action::Action>) {
    let outside = &world.outside;
    let vault = sessions.texts.borrow().vault(world.vault());
    let mut may = |act: Act| actions.push(super::action::Action::Outside(act));
    if (world.setting.is_shared || world.setting.is_wide) && outside.snapshot.is_none() {
        may(Act::Read);
    }
    // Whoever shares the vault takes its lock to write it; where it is ours alone, only its user does what he likes.
    if world.setting.is_shared && !world.is_free(Right::Vault) && world.flaw != Flaw::ForeignLockIsIgnored {
        return;
    }
    // Nobody else refreshes that entry, or logs in to it.
    if world.setting.about == About::Entry {
        if outside.snapshot.is_some() {
            may(Act::WriteStaleRows);
        }
        return;
    }
    if world.setting.is_shared && vault.places[LOGIN].exists {
        if outside.snapshot.is_some() {
            may(Act::WriteStaleRows);
            may(Act::LoginOverRow);
            may(Act::PutBack);
        }
        if outside.half_written.is_some() {
            may(Act::WriteLogin);
        } else if vault.places[LOGIN].refresh.is_some() {
            may(Act::Refresh);
        }
    }
    if world.setting.is_wide {
        if outside.snapshot.is_some() && !world.setting.is_shared {
            may(Act::PutBack);
        }
        match vault.places[LOGIN].exists {
            // So that something comes after it.
            true if world.meddling_left > 1 => may(Act::LogOut),
            true => {}
            false => may(Act::LogIn),
        }
    }
    if vault.places[LOGIN].exists {
        if !world.setting.is_shared || world.meddling_left == 1 {
            may(Act::LogIn);
        }
        if matches!(world.setting.kind, Kind::SameToken | Kind::Omits) {
            may(Act::LogInAgain);
        }
        // Rarely: nothing much comes after it.
        if world.meddling_left == 1 && world.setting.faults > 1 {
            may(Act::LogOut);
        }
    }
}

pub fn act(world: &mut World, act: Act, sessions: &Sessions) -> Result<(), Broken> {
    world.meddling_left -= 1;
    let mut texts = sessions.texts.borrow_mut();
    let old = world.vault();
    let login = texts.vault(old).places[LOGIN].refresh;
    if matches!(act, Act::Refresh | Act::LogIn | Act::LogInAgain) {
        // Nobody gets new tokens in no time.
        world.pass(1_000);
    }
    let now_ms = world.now.wall_ms;
    let edit = match act {
        Act::Read => {
            world.outside.snapshot = Some(old);
            return Ok(());
        }
        Act::WriteStaleRows => world.outside.snapshot.take().map(Edit::Rows),
        Act::LoginOverRow => world.outside.snapshot.take().map(Edit::LoginOverRow),
        Act::PutBack => world.outside.snapshot.take().map(Edit::PutBack),
        Act::WriteLogin => {
            world.outside.half_written.take().map(|(access, refresh, now_ms)| Edit::Login { access, refresh, now_ms })
        }
        Act::Refresh => refresh(world, login)?.map(|answer| match answer {
            Some((access, refresh)) => {
                world.outside.half_written = Some((access, refresh, now_ms));
                Edit::Row { access, refresh, now_ms }
            }
            None => Edit::Clear { now_ms },
        }),
        Act::LogIn => {
            leave(world);
            world.server.log_in().map(|(access, refresh)| Edit::Login { access, refresh, now_ms })
        }
        Act::LogInAgain => match login {
            Some(refresh) => {
                world.buried = world.buried.minus(Tokens::default().with(refresh));
                world.server.log_in_again(refresh).map(|access| Edit::Login { access, refresh, now_ms })
            }
            None => None,
        },
        Act::LogOut => {
            leave(world);
            Some(Edit::LogOut)
        }
    };
    let Some(edit) = edit else { return Ok(()) };
    let new = texts.edited(old, edit);
    let (before, after) = (texts.vault(old).tokens, texts.vault(new).tokens);
    world.shelves[0].put(Some(new), true);
    // Whether it was spent, the intent that stayed open does not say.
    for back in after.minus(before).iter().filter(|back| world.unresolved.has(*back)) {
        world.server.excuse(back);
        world.is_excused = true;
    }
    // What it wrote over, nobody else can know of; and whoever then sends an ancestor does not know better.
    let sealed = world.shelves[2].now.map(|text| texts.sealed(text)).unwrap_or_default();
    for gone in before.minus(after).iter() {
        // What waits in the sealed document is found by its parent.
        let leads_to_a_sealed_one = sealed.successors.iter().any(|token| world.server.is_ancestor(gone, token));
        if world.setting.about == About::Entry && sealed.successors.has(gone) {
            continue;
        }
        // A session may have its successor in hand, and not have stored it yet.
        let held = (0..world.setting.sessions).map(|session| world.holding(session));
        let is_being_replaced =
            held.filter(|token| *token != NO_TOKEN).any(|token| world.server.is_ancestor(gone, token));
        if !world.server.is_alive(gone) && !leads_to_a_sealed_one && !is_being_replaced {
            continue;
        }
        if world.setting.about == About::Entry && world.is_quiet() {
            let what = format!("Rt_{gone} is written over in its only place, and no copy of it was kept");
            return Err(Broken::new("kept", what));
        }
        world.outside.lost = world.outside.lost.with(gone);
        world.is_excused = true;
        let mut at = world.server.tokens[usize::from(gone)].parent;
        while at != NO_TOKEN {
            world.server.excuse(at);
            at = world.server.tokens[usize::from(at)].parent;
        }
    }
    Ok(())
}

/// The reference's own exchange: under its lock, so nobody comes between.
fn refresh(world: &mut World, login: Option<Token>) -> Result<Option<Option<(Access, Token)>>, Broken> {
    let Some(token) = login else { return Ok(None) };
    // It asks nobody whether it may.
    world.server.excuse(token);
    world.is_excused = true;
    Ok(match world.server.exchange(token, world.real_ms) {
        Answer::Tokens { access, refresh } => {
            // Whatever was thought of it, it is good.
            let good = [token, refresh].into_iter().filter(|token| *token != NO_TOKEN);
            world.buried = world.buried.minus(good.fold(Tokens::default(), Tokens::with));
            Some(Some((access, if refresh == NO_TOKEN { token } else { refresh })))
        }
        Answer::Refused => Some(None),
        _ => None,
    })
}

fn leave(world: &mut World) {
    // All but the manual entry's were this login's.
    for family in (0..world.server.families).filter(|family| *family != 1) {
        world.outside.left |= 1 << family;
    }
}

/// An edit of the vault, as Python's `json` makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edit {
    Rows(Text),
    LoginOverRow(Text),
    PutBack(Text),
    Row { access: Access, refresh: Token, now_ms: u32 },
    Login { access: Access, refresh: Token, now_ms: u32 },
    Clear { now_ms: u32 },
    LogOut,
}

impl Texts {
    pub fn edited(&mut self, old: Text, edit: Edit) -> Text {
        if let Some(new) = self.edits.get(&(old, edit)) {
            return *new;
        }
        let mut json = self.json(old);
        match edit {
            Edit::Rows(from) => rows(&mut json, &self.json(from)),
            Edit::LoginOverRow(from) => {
                let login = self.json(from)["providers"]["xai-oauth"].clone();
                if let Some(row) = row(&mut json) {
                    row["access_token"] = login["tokens"]["access_token"].clone();
                    row["refresh_token"] = login["tokens"]["refresh_token"].clone();
                    row["last_refresh"] = login["last_refresh"].clone();
                }
            }
            Edit::PutBack(from) => {
                let from = self.json(from);
                json["providers"]["xai-oauth"] = from["providers"]["xai-oauth"].clone();
                rows(&mut json, &from);
            }
            Edit::Row { access, refresh, now_ms } => {
                if let Some(row) = row(&mut json) {
                    write(row, access, refresh);
                    row["last_refresh"] = moment(now_ms);
                }
            }
            Edit::Login { access, refresh, now_ms } => {
                let login = &mut json["providers"]["xai-oauth"];
                write(&mut login["tokens"], access, refresh);
                login["last_refresh"] = moment(now_ms);
                if let Some(login) = login.as_object_mut() {
                    login.shift_remove("last_auth_error");
                }
            }
            Edit::Clear { now_ms } => {
                let login = &mut json["providers"]["xai-oauth"];
                login["tokens"]["access_token"] = json!("");
                login["tokens"]["refresh_token"] = json!("");
                login["last_auth_error"] = json!({ "provider": "xai-oauth", "code": "refresh_failed", "message": "no",
                    "reason": "", "relogin_required": true, "at": moment(now_ms) });
                remove_row(&mut json);
            }
            Edit::LogOut => {
                if let Some(providers) = json["providers"].as_object_mut() {
                    providers.shift_remove("xai-oauth");
                }
                remove_row(&mut json);
            }
        }
        let text = serde_json::to_string_pretty(&json).expect("JSON") + "\n";
        let new = self.number(&text);
        self.edits.insert((old, edit), new);
        new
    }
}

fn row(json: &mut Value) -> Option<&mut Value> {
    json["credential_pool"]["xai-oauth"].as_array_mut()?.iter_mut().find(|row| row["id"] == "row1")
}

/// The rows that were read, and those on disk that were not read.
fn rows(json: &mut Value, from: &Value) {
    let mut rows = from["credential_pool"]["xai-oauth"].as_array().cloned().unwrap_or_default();
    let known: Vec<Value> = rows.iter().map(|row| row["id"].clone()).collect();
    let others = json["credential_pool"]["xai-oauth"].as_array().into_iter().flatten();
    rows.extend(others.filter(|row| !known.contains(&row["id"])).cloned());
    json["credential_pool"]["xai-oauth"] = Value::Array(rows);
}

fn remove_row(json: &mut Value) {
    if let Some(rows) = json["credential_pool"]["xai-oauth"].as_array_mut() {
        rows.retain(|row| row["id"] != "row1");
    }
}

fn write(node: &mut Value, access: Access, refresh: Token) {
    node["access_token"] = json!(text::access_token(access));
    node["refresh_token"] = json!(text::refresh_token(refresh));
    node["expires_in"] = json!(3600);
}

fn moment(now_ms: u32) -> Value {
    json!(time::to_rfc3339(EPOCH_MS + u64::from(now_ms), Zone::Letter))
}

//! `lazaretto providers`: which providers are known, how each is spoken to, and how to log in.
//! Nothing is sent, and no secret is shown.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::ProvidersArgs;
use super::failure::Failure;
use super::setup::Setup;
use super::table::{self, Look, Row};
use super::terminal::{self, Style};
use super::{known_vaults, output, text};
use lazaretto_host::ProviderInfo;
use lazaretto_host::storage::shell_path;

pub(super) fn run(setup: &Setup, args: &ProvidersArgs) -> Result<(), Failure> {
    // Profiles are no vault's: none need be there.
    let open = setup.open()?;
    let admin = open.keeper.admin();
    let mut known = admin.providers(args.provider.as_deref()).map_err(|error| open.failure(error))?;
    let file = setup.providers()?.or_else(default_file);
    let file = file.map(|file| file.display().to_string());
    if setup.json {
        return output::print(&format!("{}\n", json!({ "file": file, "providers": known })));
    }
    let style = terminal::stdout_style();
    if let (Some(_), [one]) = (&args.provider, known.as_slice()) {
        let run = open.reach(&next(one));
        return output::print(&show(one, file.as_deref(), &run, style));
    }
    known.sort_by_key(rank);
    output::print(&list(&known, style, terminal::stdout_columns()))?;
    terminal::note("run: lazaretto providers PROVIDER");
    Ok(())
}

/// Where the user's profiles would be.
fn default_file() -> Option<PathBuf> {
    known_vaults::config_directory().map(|directory| directory.join("providers.json"))
}

/// Where one can log in first, then what needs something written, then what has keys alone.
fn rank(info: &ProviderInfo) -> (u8, u8) {
    let of_user = u8::from(info.whose == "built-in");
    match (info.flows.is_empty(), info.keys_only) {
        (false, _) => (0, of_user),
        (true, false) => (1, of_user),
        (true, true) => (2, of_user),
    }
}

fn list(known: &[ProviderInfo], style: Style, columns: Option<usize>) -> String {
    let row = |info: &ProviderInfo| {
        let (login, look) = login(info);
        let from = if info.whose == "built-in" { String::new() } else { "providers.json".to_owned() };
        Row {
            cells: [
                (text::escape(&info.id), Look::Plain),
                (login, look),
                (text::escape(&info.aliases.join(", ")), Look::Plain),
                (text::escape(if info.keys_only { "" } else { &info.name }), Look::Plain),
                (from, Look::Plain),
            ],
            notes: Vec::new(),
        }
    };
    let rows: Vec<Row<5>> = known.iter().map(row).collect();
    let heads = ["PROVIDER", "LOGIN", "ALSO CALLED", "NAME", "FROM"];
    table::draw(heads, [false, false, true, true, false], &rows, style, columns)
}

/// In a word or two: how to log in, or what is missing.
fn login(info: &ProviderInfo) -> (String, Look) {
    if info.wrong.is_some() {
        return ("wrong profile".to_owned(), Look::Bad);
    }
    if info.keys_only {
        return ("keys only".to_owned(), Look::Faint);
    }
    if !info.flows.is_empty() {
        return (info.flows.iter().map(|flow| word(flow)).collect::<Vec<_>>().join(", "), Look::Good);
    }
    let has_endpoints = info.device_authorization_endpoint.is_some() || info.authorization_endpoint.is_some();
    let needs_client = has_endpoints && info.token_endpoint.is_some() && info.client_id.is_none();
    (if needs_client { "needs a client id" } else { "none" }.to_owned(), Look::Faint)
}

fn word(flow: &str) -> &str {
    match flow {
        "device-code" => "device",
        "loopback-pkce" => "browser",
        other => other,
    }
}

/// What is run next, where anything is.
fn next(info: &ProviderInfo) -> String {
    let id = shell_path(Path::new(&info.id));
    if info.keys_only { format!("add {id} --api-key") } else { format!("login {id}") }
}

fn show(info: &ProviderInfo, file: Option<&str>, run: &str, style: Style) -> String {
    let mut shown = format!("{}\n", style.strong(&text::escape(&info.id)));
    let mut line = |name: &str, what: &str| shown += &format!("  {name:<15}{}\n", text::escape(what));
    if info.name != info.id && !info.name.is_empty() {
        line("name", &info.name);
    }
    if !info.aliases.is_empty() {
        line("also called", &info.aliases.join(", "));
    }
    line("profile", &profile(info, file));
    if info.wrong.is_none() && !info.keys_only {
        line("token endpoint", info.token_endpoint.as_deref().unwrap_or("none"));
        line("client id", info.client_id.as_deref().unwrap_or("none"));
        line("client auth", client_auth(&info.client_auth));
    }
    for flow in &info.flows {
        line("login", &by(info, flow));
    }
    if let Some(scope) = info.scope.as_deref().filter(|_| !info.flows.is_empty()) {
        line("scope", scope);
    }
    if !info.flows.is_empty() {
        line(
            "revoked at",
            info.revocation_endpoint.as_deref().unwrap_or("nowhere: a logout removes the tokens here only"),
        );
    }
    if !info.environment.is_empty() {
        line("keys in", &info.environment.join(", "));
    }
    if let Some(why) = &info.no_login {
        line("login", &format!("none: {why}"));
        if !info.keys_only {
            shown += &what_to_write(info, file);
        }
    }
    if info.keys_only || info.no_login.is_none() {
        shown += &format!("run: {}\n", text::escape(run));
    }
    shown
}

fn profile(info: &ProviderInfo, file: Option<&str>) -> String {
    let file = file.unwrap_or("providers.json");
    match info.whose.as_str() {
        _ if info.keys_only => "none".to_owned(),
        "changed" => format!("built in, with {file} over it"),
        "user" => file.to_owned(),
        _ => "built in".to_owned(),
    }
}

fn client_auth(word: &str) -> &str {
    match word {
        "none" => "none (a public client)",
        "body" => "its secret in the body of each request",
        "basic" => "its secret as HTTP Basic",
        other => other,
    }
}

fn by(info: &ProviderInfo, flow: &str) -> String {
    let (at, back) = match flow {
        "device-code" => (info.device_authorization_endpoint.as_deref(), None),
        _ => (info.authorization_endpoint.as_deref(), info.redirect_url.as_deref()),
    };
    let back = back.map(|back| format!(", back to {}", back.replacen(":0/", ":PORT/", 1))).unwrap_or_default();
    format!("{} ({flow}): {}{back}", word(flow), at.unwrap_or("?"))
}

/// What makes a login offered, to be written where.
fn what_to_write(info: &ProviderInfo, file: Option<&str>) -> String {
    let file = text::escape(file.unwrap_or("the file that --providers names"));
    let Some(to_write) = &info.to_write else { return format!("  mend it in {file}\n") };
    let spelled = serde_json::from_str::<serde_json::Value>(to_write).map(|value| format!("{value:#}"));
    let mut shown = format!("  to offer one, write into {file}, with your provider's own values for the dots:\n\n");
    for line in spelled.as_deref().unwrap_or(to_write).lines() {
        shown += &format!("    {}\n", text::escape(line));
    }
    if to_write.contains("authorization_endpoint") {
        shown += "\n  For a login by device code it is `device_authorization_endpoint`.\n";
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ProviderInfo {
        ProviderInfo {
            id: "acme".into(),
            name: "Acme".into(),
            aliases: vec!["a".into()],
            whose: "user".into(),
            keys_only: false,
            token_endpoint: Some("https://a.example/t".into()),
            client_id: None,
            client_auth: "none".into(),
            device_authorization_endpoint: None,
            authorization_endpoint: Some("https://a.example/a".into()),
            redirect_url: Some("http://127.0.0.1:0/callback".into()),
            revocation_endpoint: None,
            scope: None,
            environment: Vec::new(),
            flows: Vec::new(),
            no_login: Some("its profile has no `client_id`".into()),
            to_write: Some(r#"{"profiles":{"acme":{"client_id":"..."}}}"#.into()),
            wrong: None,
        }
    }

    #[test]
    fn one_without_a_login_says_why_and_what_to_write_where() {
        assert_eq!(
            show(&info(), Some("/c/providers.json"), "", Style::PLAIN),
            "acme\n  name           Acme\n  also called    a\n  profile        /c/providers.json\n  \
             token endpoint https://a.example/t\n  client id      none\n  client auth    none (a public client)\n  \
             login          none: its profile has no `client_id`\n  \
             to offer one, write into /c/providers.json, with your provider's own values for the dots:\n\n    {\n      \
             \"profiles\": {\n        \"acme\": {\n          \"client_id\": \"...\"\n        }\n      }\n    }\n"
        );
    }

    #[test]
    fn one_with_a_login_ends_with_its_command() {
        let offered = ProviderInfo {
            client_id: Some("c".into()),
            flows: vec!["loopback-pkce".into()],
            no_login: None,
            to_write: None,
            ..info()
        };
        let shown = show(&offered, None, &format!("lazaretto --vault /v {}", next(&offered)), Style::PLAIN);
        assert!(
            shown.contains("browser (loopback-pkce): https://a.example/a, back to http://127.0.0.1:PORT/callback\n")
        );
        assert!(shown.ends_with("run: lazaretto --vault /v login acme\n"), "{shown}");
        assert_eq!(login(&offered).0, "browser");
        assert_eq!(login(&info()).0, "needs a client id");
    }

    #[test]
    fn text_of_a_profile_cannot_touch_the_terminal() {
        let bad = "\u{1b}[31m\n\u{202e}";
        let hostile = ProviderInfo { id: bad.into(), name: bad.into(), aliases: vec![bad.into()], ..info() };
        for shown in
            [show(&hostile, Some(bad), bad, Style::PLAIN), list(std::slice::from_ref(&hostile), Style::PLAIN, Some(80))]
        {
            assert!(shown.chars().all(|char| char == '\n' || (!char.is_control() && char != '\u{202e}')), "{shown:?}");
        }
    }
}

//! Logging in, refreshing and logging out against a server that somebody else wrote: oidc-provider, through the compiled component.

use crate::common::Home;
use crate::common::oidc::OidcServer;
use lazaretto_host::storage::VAULT;
use lazaretto_host::{Admin, KeeperError, LoginBegun, Selector};
use serde_json::{Value, json};

const REDIRECT: &str = "http://127.0.0.1:45678/callback";

/// None where there is no Node.
fn home() -> Option<Home<OidcServer>> {
    let server = OidcServer::start("lazaretto-test")?;
    let profile = json!({
        "token_endpoint": server.token_endpoint, "client_id": "lazaretto-test", "authorization": server.authorization(),
    });
    Some(Home::around(server, &json!({ "acme": profile })))
}

fn begin(admin: &Admin, flow: &str) -> LoginBegun {
    let redirect_url = (flow == "loopback-pkce").then_some(REDIRECT);
    admin.login_start(VAULT, "acme", flow, redirect_url).expect("it begins")
}

/// A whole login, by a person who approves.
fn log_in(home: &Home<OidcServer>, admin: &Admin, flow: &str) -> String {
    let begun = begin(admin, flow);
    let status = if flow == "device-code" {
        let pending = admin.login_poll(&begun.state).expect("not yet");
        assert!(pending.done.is_none() && pending.interval_s == begun.interval_s);
        home.server.approve(begun.user_code.as_deref().expect("a code"), true);
        let progress = admin.login_poll(&pending.state).expect("approved");
        progress.done.expect("it is done")
    } else {
        let redirected = home.server.browse(&begun.url, true);
        assert!(redirected.starts_with(REDIRECT) && redirected.contains("iss="), "{redirected}");
        admin.login_finish(&begun.state, &redirected).expect("approved")
    };
    assert_eq!((status.credential.as_str(), status.state.as_str()), ("login", "valid"));
    let token = refresh_token(home);
    assert!(home.server.is_live(&token));
    token
}

fn refresh_token(home: &Home<OidcServer>) -> String {
    home.json()["providers"]["acme"]["tokens"]["refresh_token"].as_str().expect("a token").to_owned()
}

fn selector() -> Selector {
    Selector { vault: VAULT.into(), provider: "acme".into(), credential: None }
}

fn refused(result: Result<impl Sized, KeeperError>) -> String {
    result.err().expect("refused").code
}

/// A person logs in by either way and the login is refreshed and revoked.
#[test]
fn a_login_by_either_flow_is_refreshed_and_revoked() {
    let Some(home) = home() else { return };
    for flow in ["device-code", "loopback-pkce"] {
        let admin = home.session().admin();
        let first = log_in(&home, &admin, flow);
        let token = home.refresh_entry("acme", "login").expect("refreshed");
        assert_eq!(token.origin, "refreshed");
        let second = refresh_token(&home);
        assert!(home.server.is_live(&second) && !home.server.is_live(&first), "{flow}");

        let before = home.server.revoked_grants();
        let left = home.session().admin().logout(&selector(), true).expect("logged out");
        assert_eq!(left.revocation, "revoked");
        assert!(!home.server.is_live(&second) && home.server.revoked_grants() == before + 1, "{flow}");
        let text = home.text();
        assert!(!text.contains(&second) && !text.contains(&token.token), "{text}");
        assert_eq!(home.json()["providers"], json!({}));
    }
}

#[test]
fn what_is_revoked_and_put_back_by_another_program_is_not_sent() {
    let Some(home) = home() else { return };
    log_in(&home, &home.session().admin(), "device-code");
    let before = home.json();
    home.session().admin().logout(&selector(), false).expect("logged out");
    home.write_json(&before);
    let error = home.refresh_entry("acme", "login").expect_err("dead");
    assert!(error.code == "quarantined" && error.message.contains("put back"), "{error}");
    assert_eq!(home.server.exchanges_after(0).len(), 0, "the server was not asked");
    // A login makes all of it good again.
    log_in(&home, &home.session().admin(), "loopback-pkce");
    home.refresh_entry("acme", "login").expect("refreshed");
    assert!(home.json()["providers"]["acme"].get("last_auth_error").is_none());
}

#[test]
fn a_person_who_refuses_is_believed_and_nothing_is_written() {
    let Some(home) = home() else { return };
    home.write_json(&json!({ "providers": {}, "mine": 1 }));
    let before = home.text();
    let admin = home.session().admin();
    let begun = begin(&admin, "device-code");
    home.server.approve(begun.user_code.as_deref().expect("a code"), false);
    assert_eq!(refused(admin.login_poll(&begun.state)), "login-refused");
    let begun = begin(&admin, "loopback-pkce");
    let redirected = home.server.browse(&begun.url, false);
    assert_eq!(refused(admin.login_finish(&begun.state, &redirected)), "login-refused");
    assert_eq!(home.text(), before);
}

/// An answer is taken once and only if it is to our own question.
#[test]
fn a_login_answer_is_accepted_once_and_only_if_ours() {
    let Some(home) = home() else { return };
    let admin = home.session().admin();
    let (ours, other) = (begin(&admin, "loopback-pkce"), begin(&admin, "loopback-pkce"));
    let redirected = home.server.browse(&ours.url, true);
    assert_eq!(refused(admin.login_finish(&other.state, &redirected)), "bad-request", "another state");
    let elsewhere = redirected.replace("/callback", "/other");
    assert_eq!(refused(admin.login_finish(&ours.state, &elsewhere)), "bad-request");
    let (start, _) = redirected.split_once("iss=").expect("an issuer");
    let forged = format!("{start}iss=https%3A%2F%2Fevil.example");
    assert_eq!(refused(admin.login_finish(&ours.state, &forged)), "wrong-issuer");
    // The code was not sent to anybody yet.
    admin.login_finish(&ours.state, &redirected).expect("it is good");
    let stored: Value = home.json();
    assert_eq!(refused(admin.login_finish(&ours.state, &redirected)), "login-failed", "the server takes a code once");
    assert_eq!(home.json(), stored);
}

/// A client with a secret, at a server that lets no other in: by code and by device, refreshed and revoked.
#[test]
fn a_client_with_a_secret_logs_in_refreshes_and_revokes() {
    for (auth, word) in [("client_secret_basic", "basic"), ("client_secret_post", "body")] {
        let Some(server) = OidcServer::start_confidential("lazaretto-test", "s3cret:+ /", auth) else { return };
        let mut profile = json!({
            "token_endpoint": server.token_endpoint, "client_id": "lazaretto-test", "client_auth": word,
            "client_secret_file": "client-secret", "authorization": server.authorization(),
        });
        let home = Home::around(server, &json!({ "acme": profile }));
        let secret = home.folder.path().join("client-secret");
        std::fs::write(&secret, "s3cret:+ /\n").expect("written");
        for flow in ["device-code", "loopback-pkce"] {
            let first = log_in(&home, &home.session().admin(), flow);
            assert_eq!(home.refresh_entry("acme", "login").expect("refreshed").origin, "refreshed");
            let second = refresh_token(&home);
            assert!(home.server.is_live(&second) && !home.server.is_live(&first), "{word} {flow}");
            let left = home.session().admin().logout(&selector(), true).expect("logged out");
            assert_eq!((left.revocation.as_str(), home.server.is_live(&second)), ("revoked", false), "{word} {flow}");
            assert!(!home.text().contains("s3cret"));
        }
        // Another secret is refused, and the profile is what must change; so it is without one.
        std::fs::write(&secret, "wrong").expect("written");
        let error = home.session().admin().login_start(VAULT, "acme", "device-code", None).expect_err("refused");
        assert_eq!((error.code.as_str(), error.action.as_str()), ("login-misconfigured", "configure"), "{error}");
        let members = profile.as_object_mut().expect("members");
        members.remove("client_secret_file");
        home.write_profiles(&json!({ "acme": profile }));
        let error = home.session().admin().login_start(VAULT, "acme", "device-code", None).expect_err("refused");
        assert!(error.action == "configure" && error.message.contains("`client_secret_file`"), "{error}");
    }
}

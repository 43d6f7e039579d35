//! The seed's story against a server that somebody else wrote: oidc-provider, with rotation, and with reuse ending the grant.

use std::sync::Barrier;
use std::thread;

use crate::common::oidc::{Counted, OidcServer};
use crate::common::{Home, client_id, household};
use lazaretto_host::storage::VAULT;
use lazaretto_host::{AccessToken, KeeperError, TokenRequest};
use lazaretto_testing::demo_server::Login;
use serde_json::{Value, json};

/// A provider of the user's own, and a built-in one with the seed's status rule and seeded entries.
const PLAYED: [&str; 2] = ["acme", "xai-oauth"];

struct Story {
    provider: &'static str,
    home: Home<OidcServer>,
    own: Login,
    manual: Login,
}

impl Story {
    /// A household at each provider that the server plays; none where there is no Node.
    fn each() -> impl Iterator<Item = Self> {
        PLAYED.into_iter().map_while(|provider| {
            let client_id = if provider == "acme" { "lazaretto-test" } else { client_id(provider) };
            let server = OidcServer::start(client_id)?;
            let (own, manual) = (server.log_in(), server.log_in());
            let mut profile = json!({ "token_endpoint": server.token_endpoint });
            if provider == "acme" {
                profile["client_id"] = json!(client_id);
            }
            let home = Home::around(server, &json!({ provider: profile }));
            home.write_json(&household(provider, &own, &manual));
            Some(Self { provider, home, own, manual })
        })
    }

    /// The login's access token expired long ago.
    fn expire(&self) {
        let (mut vault, long_ago) = (self.home.json(), json!("2020-01-01T00:00:00Z"));
        vault["providers"][self.provider]["last_refresh"] = long_ago.clone();
        vault["credential_pool"][self.provider][0]["last_refresh"] = long_ago;
        self.home.write_json(&vault);
    }

    fn refresh(&self) -> Result<AccessToken, KeeperError> {
        self.home.refresh_entry(self.provider, "login")
    }

    fn counted(&self) -> Counted {
        self.home.server.counted()
    }

    fn tokens(&self) -> Value {
        self.home.json()["providers"][self.provider]["tokens"].clone()
    }

    fn stored_token(&self) -> String {
        self.tokens()["refresh_token"].as_str().expect("a token").to_owned()
    }

    fn reason(&self) -> Value {
        self.home.json()["providers"][self.provider]["last_auth_error"]["reason"].clone()
    }

    /// The login is out of the vault, and what is not of it is as it was.
    fn assert_only_the_login_was_taken_out(&self, before: &Value) {
        let after = self.home.json();
        assert!(self.tokens().get("access_token").is_none() && self.tokens().get("refresh_token").is_none());
        assert_eq!(after["providers"][self.provider]["last_auth_error"]["relogin_required"], true);
        let text = self.home.text();
        assert!(!text.contains(&self.own.refresh_token) && !text.contains(&self.own.access_token));
        let pool = |vault: &Value| vault["credential_pool"][self.provider].as_array().expect("a pool").clone();
        let ids: Vec<Value> = pool(&after).iter().map(|row| row["id"].clone()).collect();
        if self.provider == "xai-oauth" {
            assert_eq!(ids, ["bbbbbb", "dddddd"], "its seeded entries went with it");
        } else {
            assert_eq!(
                ids,
                ["aaaaaa", "bbbbbb", "c0ffee", "dddddd"],
                "no entry of this provider is a copy by its source"
            );
            assert_eq!(pool(&after)[0]["last_status"], "dead");
        }
        for kept in ["bbbbbb", "dddddd"] {
            let row = |vault: &Value| pool(vault).into_iter().find(|row| row["id"] == kept);
            assert_eq!(row(&after), row(before), "{kept}");
        }
        assert_eq!(after["providers"]["other"], before["providers"]["other"]);
        assert_eq!(after["credential_pool"]["openrouter"], before["credential_pool"]["openrouter"]);
    }
}

/// Ten refreshes in a row each bring a new token that the server takes.
#[test]
fn ten_refreshes_in_a_row_each_bring_an_accepted_token() {
    for story in Story::each() {
        for round in 1..=10 {
            let before = story.stored_token();
            let token = story.refresh().expect("refreshed");
            assert_eq!(token.origin, "refreshed");
            let now = story.stored_token();
            assert_ne!(now, before);
            assert_eq!(story.tokens()["access_token"], token.token.as_str());
            let row = &story.home.json()["credential_pool"][story.provider][0];
            assert_eq!((&row["access_token"], &row["refresh_token"]), (&json!(token.token), &json!(now)));
            assert!(story.home.server.is_live(&now) && !story.home.server.is_live(&before));
            let expected = Counted { refresh_requests: round, refreshed: round, ..Counted::default() };
            assert_eq!(story.counted(), expected, "{}", story.provider);
        }
    }
}

/// A withdrawn grant is quarantined and sent by no later session and by no re seeding.
#[test]
fn a_withdrawn_grant_is_quarantined_and_never_sent_again() {
    for story in Story::each() {
        let before = story.home.json();
        story.home.server.revoke(&story.own.refresh_token);
        let error = story.refresh().expect_err("withdrawn");
        assert_eq!((error.code.as_str(), error.action.as_str()), ("quarantined", "login"));
        story.assert_only_the_login_was_taken_out(&before);
        assert_eq!(story.reason(), "refresh-refused");
        // The grant is gone, so the server knows no such token: a refusal, and not a replay.
        let once = Counted { refresh_requests: 1, refused: 1, revoked_grants: 1, ..Counted::default() };
        assert_eq!(story.counted(), once);

        let quarantined = story.home.text();
        for _ in 0..3 {
            story.refresh().expect_err("a new session");
        }
        assert_eq!(story.home.text(), quarantined);
        assert_eq!(story.counted(), once);

        for _ in 0..3 {
            story.home.write_json(&before);
            assert_eq!(story.home.state(story.provider, "login"), "dead");
            let error = story.refresh().expect_err("put back by another program");
            assert!(error.message.contains("put back"), "{error}");
            story.assert_only_the_login_was_taken_out(&before);
            assert_eq!(story.reason(), "re-seeded");
        }
        assert_eq!(story.counted(), once, "{}: sent once in its life", story.provider);

        story.home.refresh_entry(story.provider, "dddddd").expect("the manual entry lives");
        assert!(!story.home.server.is_live(&story.manual.refresh_token), "it was spent for another");
    }
}

/// An overloaded server and a proxys page change no byte and the token works afterwards.
#[test]
fn an_overloaded_server_or_a_proxy_page_changes_no_byte() {
    for fault in ["status-503", "html-403"] {
        for story in Story::each() {
            let before = story.home.text();
            story.home.server.fault(fault, 1);
            let error = story.refresh().expect_err("no token");
            assert_eq!(error.action, "retry", "{} {fault}: {error}", story.provider);
            story.refresh().expect_err("it cools down");
            assert_eq!(story.home.text(), before, "{} {fault}", story.provider);
            assert_eq!(story.counted(), Counted { refresh_requests: 1, ..Counted::default() }, "{fault}");

            story.home.session().reset(&story.home.selector(story.provider)).expect("there is a cooldown");
            story.refresh().expect("the same token");
            assert_eq!(story.counted(), Counted { refresh_requests: 2, refreshed: 1, ..Counted::default() }, "{fault}");
        }
    }
}

/// An answer lost before the server did anything is asked for again with the same token.
#[test]
fn a_request_lost_before_rotation_is_repeated() {
    for story in Story::each() {
        story.home.server.fault("drop-before", 1);
        story.refresh().expect("the second request was answered");
        assert_eq!(story.counted(), Counted { refresh_requests: 2, refreshed: 1, ..Counted::default() });
        assert!(story.home.server.is_live(&story.stored_token()));
    }
}

/// No client can do better: the successor was in the answer only, and a server without a grace window takes the question for
/// it for a theft. What is left is to say what happened, and not to ask again.
#[test]
fn an_answer_lost_after_rotation_costs_the_login_with_a_reason() {
    for story in Story::each() {
        let before = story.home.json();
        story.home.server.fault("drop-after", 1);
        let error = story.refresh().expect_err("its successor is lost");
        assert_eq!((error.code.as_str(), error.action.as_str()), ("quarantined", "login"));
        assert!(error.message.contains("answer to an earlier refresh was lost"), "{error}");
        story.assert_only_the_login_was_taken_out(&before);
        assert_eq!(story.reason(), "answer-lost");
        let counted = Counted { refresh_requests: 2, refreshed: 1, refused: 1, replays: 1, revoked_grants: 1 };
        assert_eq!(story.counted(), counted, "the whole family ended at the server");
        story.refresh().expect_err("a new session");
        assert_eq!(story.counted(), counted);
        assert!(story.home.server.is_live(&story.manual.refresh_token), "another grant");
    }
}

/// Sessions that find the same expired token at once make one request and no replay.
#[test]
fn concurrent_sessions_make_one_request_and_no_replay() {
    for sessions in [2, 20] {
        for story in Story::each() {
            story.expire();
            // Late enough that the others have come to the lock before the answer comes. One that is later still finds the new
            // token in the vault.
            story.home.server.answer_late(300);
            let start = Barrier::new(sessions);
            let tokens: Vec<String> = thread::scope(|scope| {
                let ask = || {
                    let request =
                        TokenRequest { credential: Some("login".into()), ..TokenRequest::new(VAULT, story.provider) };
                    let session = story.home.session();
                    start.wait();
                    session.token(&request).expect("a token").token
                };
                let callers: Vec<_> = (0..sessions).map(|_| scope.spawn(ask)).collect();
                callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
            });
            let stored = story.tokens()["access_token"].clone();
            assert!(tokens.iter().all(|token| stored == token.as_str()), "{}: all have the same token", story.provider);
            assert_ne!(stored, story.own.access_token.as_str());
            let once = Counted { refresh_requests: 1, refreshed: 1, ..Counted::default() };
            assert_eq!(story.counted(), once, "{} {sessions}", story.provider);
            assert!(story.home.server.is_live(&story.stored_token()));
        }
    }
}

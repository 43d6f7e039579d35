//! What a timer or a monitor is told by an exit code alone: `status --check` and `refresh --all --due`.

use crate::home::Home;
use lazaretto_testing::demo_server::Fault;
use serde_json::Value;

fn answer(status: u16, error: &str) -> Fault {
    Fault::status(status, "application/json", &format!(r#"{{"error":"{error}"}}"#))
}

/// What is told of a login that the server has answered so.
fn told(faults: Vec<Fault>) -> (Option<i32>, Option<i32>, Value) {
    let home = Home::with_expired_login();
    home.server.fault(faults);
    home.run(&["refresh", "acme"]);
    let (check, json) = (home.run(&["status", "--check"]), home.run(&["status", "--check", "--json"]));
    assert_eq!(check.code, json.code);
    assert_eq!(home.run(&["status"]).code, Some(0), "it could be read");
    let json: Value = serde_json::from_str(&json.out).expect("json");
    assert_eq!(json["check"]["exit_code"], Value::from(check.code));
    let due = home.run(&["refresh", "--all", "--due"]);
    (check.code, due.code, json["credentials"][0].clone())
}

#[test]
fn the_exit_code_says_what_is_needed() {
    for (faults, check, due, renewal) in [
        (vec![Fault::None], 0, 0, "ok"),
        // Expired, and the pause is not over: only time helps. It is not due before.
        (vec![answer(429, "slow_down")], 4, 0, "paused"),
        (vec![answer(400, "invalid_grant")], 3, 3, "quarantined"),
        (vec![answer(400, "interaction_required")], 3, 3, "needs-login"),
        (vec![answer(401, "invalid_client")], 5, 5, "needs-configuration"),
    ] {
        let what = format!("{faults:?}");
        let (checked, swept, credential) = told(faults);
        assert_eq!((checked, swept), (Some(check), Some(due)), "{what} {credential}");
        assert_eq!(credential["renewal"], renewal, "{what}");
    }
}

/// What the next call refreshes is well and what cannot be read is not.
#[test]
fn a_due_refresh_is_healthy_and_an_unreadable_vault_is_not() {
    let home = Home::with_expired_login();
    assert_eq!(home.run(&["status", "--check"]).code, Some(0), "expired, and it can be refreshed");
    home.write("{");
    assert_eq!(home.run(&["status", "--check"]).code, Some(1));
    home.write(r#"{"providers":{}}"#);
    assert_eq!(home.run(&["status", "--check"]).code, Some(0));
}

#[test]
fn a_provider_of_which_there_is_nothing_is_wrong_usage() {
    let home = Home::with_expired_login();
    let config = home.path("config");
    for arguments in [&["status", "xai"][..], &["status", "xai", "--check"], &["status", "xai", "--all"]] {
        let mut command = home.command(arguments);
        let ran = crate::home::Ran::of(command.env("XDG_CONFIG_HOME", &config).output().expect("it runs"));
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        let run = ran.err.lines().find_map(|line| line.strip_prefix("run: ")).expect("a command");
        assert!(run.starts_with("lazaretto ") && run.contains("status"), "{run}");
    }
    let ran = home.run(&["status", "xai", "--json"]);
    let error: Value = serde_json::from_str(&ran.err).expect("json");
    assert_eq!((ran.code, &error["error"]["code"]), (Some(2), &Value::from("unknown-credential")), "{ran:?}");
    assert_eq!(home.run(&["status", "acme"]).code, Some(0));
}

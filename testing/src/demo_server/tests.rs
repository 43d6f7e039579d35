//! Through the wire, as a client of any kind sees it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::*;

const CLIENT: &str = "demo-client";
const FORM: &str = "application/x-www-form-urlencoded";

/// Whatever came back, to the end of the connection.
fn exchange(server: &TokenServer, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(server.address()).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut request = format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    socket.write_all(format!("{request}\r\n{body}").as_bytes()).expect("written");
    let mut answer = Vec::new();
    // An endless answer is left after a while; a reset ends like an end.
    let _ = socket.take(1 << 18).read_to_end(&mut answer);
    answer
}

fn refresh(server: &TokenServer, refresh_token: &str) -> (u16, Value, String) {
    let body = format!("grant_type=refresh_token&client_id={CLIENT}&refresh_token={refresh_token}");
    parse(&exchange(server, &[("content-type", FORM)], &body))
}

fn parse(answer: &[u8]) -> (u16, Value, String) {
    let text = String::from_utf8_lossy(answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, serde_json::from_str(body).unwrap_or(Value::Null), head.to_owned())
}

fn start(rotate: Rotation) -> TokenServer {
    TokenServer::start(Behaviour { rotate, ..Behaviour::default() }).expect("a server")
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}

#[test]
fn a_refresh_is_answered_as_rfc_6749_has_it() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    let (status, answer, head) = refresh(&server, &login.refresh_token);
    assert_eq!(status, 200);
    assert_ne!(text(&answer, "access_token"), login.access_token);
    assert_ne!(text(&answer, "refresh_token"), login.refresh_token);
    assert_eq!(text(&answer, "token_type"), "Bearer");
    assert_eq!(text(&answer, "scope"), "openid offline_access");
    assert_eq!(answer["expires_in"], 3600);
    assert!(head.contains("date: ") && head.contains(" GMT"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert!(server.is_live(text(&answer, "refresh_token")) && !server.is_live(&login.refresh_token));
}

#[test]
fn each_kind_of_rotation_answers_a_second_use_in_its_own_way() {
    for (rotate, second_status, lives_on) in [
        (Rotation::RevokeFamilyOnReuse, 400, false),
        (Rotation::RefuseReuse, 400, true),
        (Rotation::Grace { window_ms: 60_000 }, 200, true),
        (Rotation::Grace { window_ms: 0 }, 400, false),
        (Rotation::SameToken, 200, true),
        (Rotation::OmitToken, 200, true),
    ] {
        let server = start(rotate);
        let login = server.login(CLIENT);
        let (_, first, _) = refresh(&server, &login.refresh_token);
        std::thread::sleep(Duration::from_millis(2));
        let (status, second, _) = refresh(&server, &login.refresh_token);
        assert_eq!(status, second_status, "{rotate:?}");
        if status == 400 {
            assert_eq!(text(&second, "error"), "invalid_grant", "{rotate:?}");
        } else {
            assert_eq!(first["refresh_token"], second["refresh_token"], "{rotate:?}");
        }
        assert_eq!(first.get("refresh_token").is_none(), rotate == Rotation::OmitToken, "{rotate:?}");
        assert_eq!(server.live_tokens().len(), usize::from(lives_on), "{rotate:?}");
        let rotates = !matches!(rotate, Rotation::SameToken | Rotation::OmitToken);
        assert_eq!((server.requests(), server.replays()), (2, u64::from(rotates)), "{rotate:?}");
    }
}

#[test]
fn the_token_may_come_in_a_form_in_json_or_in_a_header() {
    let server = start(Rotation::SameToken);
    let token = server.login(CLIENT).refresh_token;
    let without = format!("grant_type=refresh_token&client_id={CLIENT}");
    let form = format!("{without}&refresh_token={token}");
    let json = serde_json::json!({"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": token});
    let json_type = "application/json; charset=utf-8";
    for (headers, body) in [
        (vec![("Content-Type", FORM), ("User-Agent", "a/1")], form),
        (vec![("content-type", json_type)], json.to_string()),
        (vec![("content-type", FORM), ("X-Nous-Refresh-Token", &token)], without),
    ] {
        assert_eq!(parse(&exchange(&server, &headers, &body)).0, 200, "{headers:?}");
    }
    let received = server.received();
    let seen = |index: usize| {
        let Received { content_type, had_header_token, user_agent, .. } = &received[index];
        (content_type.as_deref(), *had_header_token, user_agent.as_deref())
    };
    assert_eq!(seen(0), (Some(FORM), false, Some("a/1")));
    assert_eq!(seen(1), (Some(json_type), false, None));
    assert_eq!(seen(2), (Some(FORM), true, None));
    for one in &received {
        assert_eq!(one.refresh_token_fingerprint, Some(message::fingerprint(&token)));
        assert_eq!(one.client_id.as_deref(), Some(CLIENT));
        assert_eq!(one.target, "POST /oauth/token");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_an_oauth_code() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    let token = &login.refresh_token;
    for (body, status, code) in [
        (format!("grant_type=refresh_token&client_id={CLIENT}&refresh_token=x"), 400, "invalid_grant"),
        (format!("grant_type=refresh_token&client_id=nobody&refresh_token={token}"), 401, "invalid_client"),
        (format!("grant_type=refresh_token&refresh_token={token}"), 401, "invalid_client"),
        (format!("grant_type=refresh_token&client_id={CLIENT}"), 400, "invalid_request"),
        (format!("grant_type=password&client_id={CLIENT}"), 400, "unsupported_grant_type"),
        (String::new(), 400, "invalid_request"),
    ] {
        let (seen, answer, _) = parse(&exchange(&server, &[("content-type", FORM)], &body));
        assert_eq!((seen, text(&answer, "error")), (status, code));
        assert!(!text(&answer, "error_description").is_empty());
    }
    let (status, answer, _) = parse(&exchange(&server, &[("content-type", "application/json")], "[1"));
    assert_eq!((status, text(&answer, "error")), (400, "invalid_request"));
    assert!(server.is_live(token));
}

#[test]
fn a_revoked_grant_is_refused() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    server.revoke(&login.refresh_token);
    let (status, answer, _) = refresh(&server, &login.refresh_token);
    assert_eq!((status, text(&answer, "error")), (400, "invalid_grant"));
    assert_eq!(server.replays(), 0);
}

#[test]
fn a_jwt_access_token_says_when_it_expires_by_the_servers_clock() {
    let server = TokenServer::start(Behaviour {
        jwt_access_tokens: true,
        access_ttl_s: 60,
        scope: "inference:invoke".into(),
        clock_offset_s: 7 * 86400,
        ..Behaviour::default()
    })
    .expect("a server");
    let login = server.login(CLIENT);
    let parts: Vec<_> = login.access_token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let payload: Value = serde_json::from_slice(&from_base64url(parts[1])).expect("JSON");
    let in_a_week = std::time::SystemTime::now() + Duration::from_secs(7 * 86400);
    let in_a_week = in_a_week.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let issued_at = payload["iat"].as_u64().expect("a time");
    assert!(issued_at.abs_diff(in_a_week) <= 2, "{payload}");
    assert_eq!(payload["exp"], issued_at + 60);
    assert_eq!(text(&payload, "scope"), "inference:invoke");
    assert_eq!(text(&payload, "client_id"), CLIENT);
}

fn from_base64url(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0u32;
    let mut bytes = Vec::new();
    for (index, letter) in text.chars().enumerate() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(letter).expect("a letter")).expect("small");
        if index % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (index % 4))) as u8);
        }
    }
    bytes
}

#[test]
fn of_many_at_once_with_one_token_one_wins() {
    let server = start(Rotation::RefuseReuse);
    let login = server.login(CLIENT);
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| refresh(&server, &login.refresh_token).0)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!((server.requests(), server.replays()), (16, 15));
}

#[test]
fn faults_meet_the_next_requests_in_order_and_then_are_over() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    server.fault([
        Fault::status(503, "text/plain", "later"),
        Fault::Status {
            code: 403,
            content_type: "text/html".into(),
            body: "<html>".into(),
            headers: vec![("cf-ray".into(), "1".into())],
        },
    ]);
    assert_eq!(refresh(&server, &login.refresh_token).0, 503);
    let (status, _, head) = refresh(&server, &login.refresh_token);
    assert_eq!(status, 403);
    assert!(head.contains("content-type: text/html") && head.contains("cf-ray: 1"), "{head}");
    assert!(server.is_live(&login.refresh_token));
    assert_eq!(refresh(&server, &login.refresh_token).0, 200);
    assert_eq!(server.requests(), 3);
}

#[test]
fn a_fault_uses_the_token_only_where_it_says_so() {
    for (fault, processed, status) in [
        (Fault::None, true, 200),
        (Fault::DropBeforeProcessing, false, 0),
        (Fault::DropAfterProcessing, true, 0),
        (Fault::HalfBody, true, 200),
        (Fault::Slow { ms: 50 }, true, 200),
        (Fault::Redirect { to: "http://127.0.0.1:1/".into() }, false, 307),
        (Fault::EndlessBody, false, 200),
        (Fault::NotUtf8, false, 200),
    ] {
        let server = start(Rotation::RevokeFamilyOnReuse);
        let login = server.login(CLIENT);
        server.fault([fault.clone()]);
        let (seen, ..) = refresh(&server, &login.refresh_token);
        assert_eq!(seen, status, "{fault:?}");
        assert_eq!(server.is_live(&login.refresh_token), !processed, "{fault:?}");
        assert_eq!((server.requests(), server.live_tokens().len()), (1, 1), "{fault:?}");
    }
}

#[test]
fn half_a_body_is_shorter_than_it_says() {
    let server = start(Rotation::SameToken);
    let token = server.login(CLIENT).refresh_token;
    server.fault([Fault::HalfBody]);
    let body = format!("grant_type=refresh_token&client_id={CLIENT}&refresh_token={token}");
    let answer = exchange(&server, &[], &body);
    let (_, parsed, head) = parse(&answer);
    let said: usize = head.split("content-length: ").nth(1).expect("a length").parse().expect("a number");
    assert_eq!(answer.len() - head.len() - 4, said / 2);
    assert!(parsed.is_null());
}

#[test]
fn a_slow_answer_comes_late_and_was_decided_at_once() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    server.fault([Fault::Slow { ms: 300 }]);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| refresh(&server, &login.refresh_token).0);
        assert!(server.wait_for_requests(1, Duration::from_secs(5)));
        assert!(!server.is_live(&login.refresh_token));
        assert!(start.elapsed() < Duration::from_millis(300));
        assert_eq!(slow.join().expect("no panic"), 200);
    });
    assert!(start.elapsed() >= Duration::from_millis(300));
}

/// A held answer was decided at once and comes when it is let go.
#[test]
fn a_held_answer_is_decided_at_once_and_sent_on_release() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    server.fault([Fault::Held]);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| refresh(&server, &login.refresh_token).0);
        assert!(server.wait_for_requests(1, Duration::from_secs(5)));
        assert!(!server.is_live(&login.refresh_token));
        assert!(!held.is_finished());
        server.let_go();
        assert_eq!(held.join().expect("no panic"), 200);
    });
}

/// The books say what each request came to whatever its client heard.
#[test]
fn the_books_record_each_request_whatever_its_client_heard() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    server.fault([Fault::DropBeforeProcessing, Fault::DropAfterProcessing]);
    for _ in 0..3 {
        refresh(&server, &login.refresh_token);
    }
    let received = server.received();
    let books: Vec<_> = received.iter().map(|one| (&one.processed, one.replay, &one.fault)).collect();
    let Processed::Refreshed { successor: Some(successor) } = &received[1].processed else { panic!("{books:?}") };
    assert_ne!(Some(successor), received[1].refresh_token_fingerprint.as_ref());
    let refreshed = Processed::Refreshed { successor: Some(successor.clone()) };
    assert_eq!(
        books,
        [
            (&Processed::No, false, &Fault::DropBeforeProcessing),
            (&refreshed, false, &Fault::DropAfterProcessing),
            (&Processed::Refused, true, &Fault::None)
        ]
    );
}

#[test]
fn a_body_that_is_not_utf_8_is_not() {
    let server = start(Rotation::SameToken);
    server.fault([Fault::NotUtf8]);
    assert!(str::from_utf8(&exchange(&server, &[], "")).is_err());
}

/// Dropping the last handle stops the server whatever its clients do.
#[test]
fn dropping_the_last_handle_stops_the_server() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    let address = server.address();
    server.fault([Fault::EndlessBody, Fault::Slow { ms: 60_000 }]);
    let idle = TcpStream::connect(address).expect("a connection");
    let mut endless = TcpStream::connect(address).expect("a connection");
    endless.write_all(b"POST /oauth/token HTTP/1.1\r\n\r\n").expect("written");
    assert!(server.wait_for_requests(1, Duration::from_secs(5)));
    let mut slow = TcpStream::connect(address).expect("a connection");
    slow.write_all(b"POST /oauth/token HTTP/1.1\r\n\r\n").expect("written");
    assert!(server.wait_for_requests(2, Duration::from_secs(5)));

    let handle = server.clone();
    drop(server);
    assert!(handle.is_live(&login.refresh_token));
    let start = Instant::now();
    drop(handle);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(TcpStream::connect(address).is_err());
    drop((idle, endless, slow));
}

#[test]
fn debug_shows_no_token() {
    let server = start(Rotation::RevokeFamilyOnReuse);
    let login = server.login(CLIENT);
    let (_, answer, _) = refresh(&server, &login.refresh_token);
    let fault = Fault::status(200, "application/json", &answer.to_string());
    let shown = format!("{server:?} {login:?} {:?} {fault:?}", server.received());
    assert!(!shown.contains("demo-rt-") && !shown.contains("demo-at-"), "{shown}");
}

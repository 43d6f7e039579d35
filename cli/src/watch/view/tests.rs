use super::super::super::need::example;
use super::super::super::screens;
use super::super::tests::{NOW_MS, report};
use super::*;

fn view<'a>(vaults: &'a [Shown<'a>], happenings: &'a [Happening]) -> View<'a> {
    View {
        vaults,
        happenings,
        selected: None,
        is_help: false,
        now_ms: NOW_MS,
        style: Style::PLAIN,
        glyphs: &Glyphs::UNICODE,
    }
}

fn happening(what: &str) -> Happening {
    let of = "xai-oauth (login): ".into();
    Happening { at_ms: NOW_MS, vault: "/home/me/auth.json".into(), of, what: what.into(), look: Look::Good }
}

/// Nothing is wider or higher than the screen and nothing hidden reaches it.
#[test]
fn the_view_fits_the_screen_and_shows_nothing_hidden() {
    let bad = "\u{1b}[2J\u{202e}日本語\n".repeat(20);
    let hostile = CredentialStatus {
        provider: bad.clone(),
        credential: bad.clone(),
        label: format!("{bad}!"),
        account: Some(bad.clone()),
        note: Some(bad.clone()),
        todo: Some(bad.clone()),
        refreshing_by: Some(bad.clone()),
        ..example("yes", "refreshing")
    };
    let mut broken = report(vec![hostile; 30]);
    broken.warnings.push(bad.clone());
    let (first, second) = (Ok(broken), Err(bad.clone()));
    let vaults = [Shown { path: bad.clone(), report: &first }, Shown { path: bad, report: &second }];
    let happenings = vec![happening(&"x".repeat(200)); 9];
    for (columns, rows) in [(1, 1), (2, 2), (10, 3), (40, 10), (80, 24), (200, 60)] {
        for is_help in [false, true] {
            let view = View { is_help, ..view(&vaults, &happenings) };
            let drawn = view.draw(columns, rows);
            assert_eq!(drawn.len(), rows);
            for line in drawn {
                assert!(text::width(&line) <= columns, "{columns}: {line}");
                assert!(!line.chars().any(|char| char.is_control() || char == '\u{202e}'), "{line:?}");
            }
        }
    }
}

#[test]
fn a_long_list_follows_the_selection() {
    let key = |number| CredentialStatus {
        credential: format!("k{number}"),
        label: String::new(),
        kind: "api-key".into(),
        ..example("yes", "none")
    };
    let report = Ok(report((0..50).map(key).collect()));
    let vaults = [Shown { path: "/a".into(), report: &report }];
    let selected = |name: &str| ("/a".to_owned(), "xai-oauth".to_owned(), name.to_owned());
    for (name, shown, hidden) in [("k0", "k3 ", "k40 "), ("k49", "k45 ", "k3 "), ("k20", "k22 ", "k49 ")] {
        let selected = selected(name);
        let view = View { selected: Some(&selected), ..view(&vaults, &[]) };
        let drawn = view.draw(80, 12).join("\n");
        assert!(drawn.contains(&format!("▸ xai-oauth  {name} ")), "{drawn}");
        assert!(drawn.contains(shown) && !drawn.contains(hidden), "{drawn}");
    }
    let gone = selected("gone");
    let drawn = View { selected: Some(&gone), ..view(&vaults, &[]) }.draw(80, 12).join("\n");
    assert!(drawn.contains("▸ xai-oauth  k0 ") && drawn.contains("1 of 50"), "{drawn}");
}

#[test]
fn the_selected_rows_whole_command_stands_at_the_bottom() {
    let command = format!("lazaretto --vault '/home/me/{}/auth.json' login nous", "a".repeat(60));
    let sick = CredentialStatus { todo: Some(command.clone()), ..example("no", "needs-login") };
    let report = Ok(report(vec![example("yes", "ok"), sick]));
    let vaults = [Shown { path: "/a".into(), report: &report }];
    for columns in [40, 60, 80, 120] {
        let drawn = view(&vaults, &[]).draw(columns, 24);
        let at = drawn.iter().position(|line| line.starts_with("run: ")).expect("a command");
        let whole: String = drawn[at..drawn.len() - 1].join("").replace(' ', "");
        assert_eq!(whole, format!("run: {command}").replace(' ', ""), "{columns}: {drawn:#?}");
    }
}

#[test]
fn the_screen_is_as_it_is_kept() {
    let (first, second) = (Ok(screens::one_of_each()), Err("it is not JSON (line 1, column 2)".to_owned()));
    let vaults =
        [Shown { path: "/home/me/auth.json".into(), report: &first }, Shown { path: "/b".into(), report: &second }];
    let happenings = [happening("being refreshed by pid 4711 on build-3"), happening("refreshed, good for 60 min")];
    let nous = ("/home/me/auth.json".to_owned(), "nous".to_owned(), "login".to_owned());
    for columns in [40, 60, 80, 120] {
        let view = View { selected: Some(&nous), ..view(&vaults, &happenings) };
        screens::compare(&format!("watch-{columns}.txt"), columns, &view.draw(columns, 30).join("\n"));
    }
    let ascii = View { glyphs: &Glyphs::ASCII, ..view(&vaults, &happenings) };
    let drawn = ascii.draw(80, 30).join("\n");
    screens::compare("watch-ascii-80.txt", 80, &drawn);
    assert!(drawn.replace("日本語のラベル", "").is_ascii(), "a label is as it is: {drawn}");
    screens::compare(
        "watch-help-80.txt",
        80,
        &View { is_help: true, ..view(&vaults, &happenings) }.draw(80, 30).join("\n"),
    );
}

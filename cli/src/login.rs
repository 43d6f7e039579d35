//! `lazaretto login` and `lazaretto logout`. The waiting, the listening and the browser are here; what is sent and what is made of the
//! answers is the component's.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{LoginArgs, LogoutArgs};
use super::failure::Failure;
use super::open::Open;
use super::page::Page;
use super::redirect::{Heard, Listener};
use super::setup::Setup;
use super::signals::{self, Signals};
use super::{output, qr, terminal, text, time, unseen};
use lazaretto_host::storage::{VAULT, shell_path};
use lazaretto_host::{CredentialStatus, KeeperError, LoginBegun};

const DEVICE: &str = "device-code";

/// What a login needs all the time.
struct Login<'a> {
    setup: &'a Setup,
    args: &'a LoginArgs,
    open: Open,
    signals: std::sync::Arc<Signals>,
}

/// Logs in, and says so.
pub(super) fn login(setup: &Setup, args: &LoginArgs) -> Result<(), Failure> {
    let (open, signals) = setup.open_listening(&args.provider)?;
    let login = Login { setup, args, open, signals };
    let flows = login.open.keeper.admin().login_flows(&args.provider).map_err(|error| login.open.failure(error))?;
    let chosen = flows.iter().find(|flow| args.flow.as_ref().is_none_or(|wanted| wanted.word() == flow.flow));
    let wanted = args.flow.as_ref().map_or(DEVICE, |flow| flow.word());
    let status = match chosen.and_then(|flow| flow.redirect_url.as_deref()) {
        Some(redirect_url) => login.by_loopback(redirect_url)?,
        None => login.by_device(chosen.map_or(wanted, |flow| flow.flow.as_str()))?,
    };
    setup.events.drop_last("logged-in");
    if setup.json {
        return output::print(&format!("{}\n", json!(status)));
    }
    output::print(&format!("{}\n", text::escape(&said(&status, time::now_ms()))))
}

/// What a login came to, in a line.
fn said(status: &CredentialStatus, now_ms: u64) -> String {
    let who = status.account.as_ref().map_or_else(String::new, |account| format!(" as {account}"));
    let ends = status.expires_at_ms.filter(|at_ms| *at_ms > now_ms).map(|at_ms| time::relative(at_ms, now_ms));
    let until = match (status.renewal.as_str(), ends) {
        ("none", Some(ends)) => format!(". There is no refresh token, so this login ends {ends}"),
        ("none", None) => ". There is no refresh token, so this login ends with its access token".to_owned(),
        _ => String::new(),
    };
    format!("{} ({}): logged in{who}{until}", status.provider, status.credential)
}

impl Login<'_> {
    fn start(&self, flow: &str, redirect_url: Option<&str>) -> Result<LoginBegun, Failure> {
        let (provider, label) = (&self.args.provider, self.args.label.as_deref());
        self.done(self.open.keeper.admin().login_start_as(VAULT, provider, flow, redirect_url, label))
    }

    fn by_device(&self, flow: &str) -> Result<CredentialStatus, Failure> {
        let admin = self.open.keeper.admin();
        let begun = self.start(flow, None)?;
        self.show(&begun, None)?;
        let (mut state, mut interval_s) = (begun.state, begun.interval_s);
        loop {
            thread::sleep(Duration::from_secs(interval_s));
            let progress = self.done(admin.login_poll(&state))?;
            if let Some(status) = progress.done {
                return Ok(status);
            }
            (state, interval_s) = (progress.state, progress.interval_s);
        }
    }

    fn by_loopback(&self, redirect_url: &str) -> Result<CredentialStatus, Failure> {
        let listener = Listener::at(redirect_url)?;
        let begun = self.start("loopback-pkce", Some(&listener.redirect_url))?;
        if self.show(&begun, Some(&listener.redirect_url))? {
            listener.hear_pasted()?;
        }
        let provider = &self.args.provider;
        loop {
            let (browser, url) = match listener.next(begun.expires_at_ms.saturating_sub(time::now_ms())) {
                Some(Heard::Browser(browser)) => {
                    let url = browser.url.clone();
                    (Some(browser), url)
                }
                Some(Heard::Pasted(pasted)) => (None, pasted?.trim().to_owned()),
                None => {
                    let label = self.args.label.as_ref();
                    let label =
                        label.map_or_else(String::new, |label| format!(" --label={}", shell_path(Path::new(label))));
                    let again = self.open.reach(&format!("login {provider}{label}"));
                    return Err(Failure::login("login: no browser came back in time").run(again));
                }
            };
            let finished = self.open.keeper.admin().login_finish(&begun.state, &url);
            let (page, is_stray) = match &finished {
                Ok(status) => (Page::done(provider, status.account.as_deref()), false),
                Err(error) if error.code == "bad-request" => (Page::stray(), true),
                Err(error) if error.code == "login-refused" => (Page::refused(provider), false),
                Err(_) => (Page::failed(provider), false),
            };
            match browser {
                Some(browser) => browser.answer(&page),
                None if is_stray => terminal::warn(&format!(
                    "that is not the address that the browser was sent to: it begins with {}?",
                    listener.redirect_url
                )),
                None => {}
            }
            if !is_stray {
                unseen::restore();
                return self.done(finished);
            }
        }
    }

    /// What a person must do. Whether the answer may come by being pasted, where `redirect_url` is: there a browser elsewhere is sent
    /// to, and cannot open it.
    fn show(&self, begun: &LoginBegun, redirect_url: Option<&str>) -> Result<bool, Failure> {
        let opens = self.opens_browser();
        let may_paste = redirect_url.is_some() && !opens && (self.args.no_browser || unseen::is_possible());
        if self.setup.json {
            let shown = json!({ "login": {
                "url": begun.url,
                "url_complete": begun.url_complete,
                "user_code": begun.user_code,
                "expires_at": time::rfc3339(begun.expires_at_ms),
            } });
            output::print(&format!("{shown}\n"))?;
        } else {
            self.show_person(begun, opens);
            if let Some(redirect_url) = redirect_url.filter(|_| may_paste) {
                let redirect_url = text::escape(redirect_url);
                terminal::complain(&format!(
                    "The browser is then sent to {redirect_url}?...\nIf it is on another machine, it cannot open that: paste the \
                     address here and press Enter. It is not shown."
                ));
            }
        }
        if opens {
            browse(begun.url_complete.as_deref().unwrap_or(&begun.url));
        }
        Ok(may_paste)
    }

    fn show_person(&self, begun: &LoginBegun, opens: bool) {
        let style = terminal::stderr_style();
        let where_to = if opens { "Your browser opens this address" } else { "Open this address in a browser" };
        terminal::complain(&format!("{where_to}:\n\n  {}\n", text::escape(&begun.url)));
        if let Some(code) = &begun.user_code {
            let (wanted, code) = (if opens { "and this code" } else { "and type this code" }, text::escape(code));
            terminal::complain(&format!("{wanted}:\n\n  {}\n", style.strong(&code)));
        }
        if let Some(complete) = &begun.url_complete {
            terminal::complain(&format!("This address has the code in it:\n\n  {}\n", text::escape(complete)));
        }
        let scanned = begun.url_complete.as_deref().or(begun.user_code.as_ref().map(|_| begun.url.as_str()));
        let columns = terminal::stderr_columns();
        if let (Some(url), Some(columns), false) = (scanned, columns, opens)
            && let Some(lines) = qr::lines(url, qr::look(style.is_coloured()), columns)
        {
            terminal::complain(&format!("{}\n", lines.join("\n")));
        }
        let left = time::span(begun.expires_at_ms.saturating_sub(time::now_ms()));
        terminal::complain(&format!("Waiting for at most {left} ..."));
    }

    /// Whether a browser on this machine is the person's own.
    fn opens_browser(&self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_remote = ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"].into_iter().any(set);
        let has_desktop = cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY");
        let is_at_it = unseen::is_possible() && !self.setup.json;
        self.args.open || has_desktop && is_at_it && !is_remote && !self.args.no_browser
    }

    /// What a call came to; a signal that came while its request was on its way ends the process now, with all stored.
    fn done<T>(&self, result: Result<T, KeeperError>) -> Result<T, Failure> {
        let done = result.map_err(|error| self.open.failure(error));
        if let Some(signal) = self.signals.finished() {
            let failure = done.as_ref().err();
            self.setup.events.finish(failure.map(|failure| failure.message.as_str()));
            if let Some(failure) = failure {
                failure.print(self.setup.json);
            }
            signals::end(signal);
        }
        done
    }
}

/// Only an address, which says nothing that only we may know. If it does not open, it has been told.
fn browse(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started =
        Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match started {
        Ok(mut browser) => drop(thread::spawn(move || browser.wait())),
        Err(error) => terminal::warn(&format!("no browser was opened: {program}: {error}")),
    }
}

/// Logs out, and says what the server said.
pub(super) fn logout(setup: &Setup, args: &LogoutArgs) -> Result<(), Failure> {
    let signals = Signals::listen(setup.events.clone(), &args.which.provider)?;
    let leave = |open: &Open| open.keeper.admin().logout(&args.which.selector(), args.keep_if_not_revoked);
    let credential = args.which.credential.as_deref();
    let (open, left) = setup.in_its_vault(&args.which.provider, credential, Some(&signals), leave)?;
    let left = left.map_err(|error| open.failure(error));
    if let Some(signal) = signals.finished() {
        setup.events.finish(None);
        signals::end(signal);
    }
    let left = left?;
    setup.events.drop_last("logged-out");
    let (provider, credential) = (&args.which.provider, args.which.credential.as_deref());
    if setup.json {
        let said: Value = json!({ "provider": provider, "credential": credential, "revocation": left.revocation, "message": left.message });
        return output::print(&format!("{}\n", json!({ "logged_out": said })));
    }
    let what = match left.revocation.as_str() {
        "revoked" => "revoked at the server, and removed",
        "not-offered" => "removed; its profile names no place to revoke it, so the server may still take it",
        "nothing" => "removed; there was no token to revoke",
        _ => "removed; the server did not revoke it, and may still take it",
    };
    let line = format!("{provider} ({}): {what}", credential.unwrap_or("login"));
    output::print(&format!("{}\n", text::escape(&line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_says_who_it_is_and_when_it_ends_if_it_does() {
        let status =
            CredentialStatus { provider: "acme".into(), credential: "login".into(), ..CredentialStatus::default() };
        assert_eq!(said(&status, 0), "acme (login): logged in");
        let status = CredentialStatus { account: Some("a@example.com".into()), renewal: "ok".into(), ..status };
        assert_eq!(said(&status, 0), "acme (login): logged in as a@example.com");
        let status = CredentialStatus { renewal: "none".into(), expires_at_ms: Some(600_000), ..status };
        let wanted =
            "acme (login): logged in as a@example.com. There is no refresh token, so this login ends in 10 min";
        assert_eq!(said(&status, 0), wanted);
    }
}

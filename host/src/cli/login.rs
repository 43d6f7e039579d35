//! `lazaret login` and `lazaret logout`. The waiting, the listening and the browser are here; what is sent and what is made of the
//! answers is the component's.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{LoginArgs, LogoutArgs};
use super::failure::Failure;
use super::redirect::Listener;
use super::setup::{Open, Setup};
use super::signals::{self, Signals};
use super::{mend, terminal, text, time};
use crate::storage::VAULT;
use crate::{CredentialStatus, KeeperError, LoginBegun};

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
    mend::report(setup, &status, "logged in")
}

impl Login<'_> {
    fn by_device(&self, flow: &str) -> Result<CredentialStatus, Failure> {
        let admin = self.open.keeper.admin();
        let begun = self.done(admin.login_start(VAULT, &self.args.provider, flow, None))?;
        self.show(&begun)?;
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
        let admin = self.open.keeper.admin();
        let listener = Listener::at(redirect_url)?;
        let begun =
            self.done(admin.login_start(VAULT, &self.args.provider, "loopback-pkce", Some(&listener.redirect_url)))?;
        self.show(&begun)?;
        loop {
            let Some(redirected) = listener.next(begun.expires_at_ms.saturating_sub(time::now_ms())) else {
                return Err(Failure::login("login: no browser came back in time. Begin anew"));
            };
            let finished = admin.login_finish(&begun.state, &redirected.url);
            match &finished {
                Ok(_) => redirected.answer(200, "You are logged in. You can close this window."),
                Err(error) if error.code == "bad-request" => {
                    redirected.answer(400, "This is no answer to the login that lazaret waits for.");
                    continue;
                }
                Err(_) => redirected.answer(200, "The login failed. The terminal says why."),
            }
            return self.done(finished);
        }
    }

    /// What a person must do. He may be on another machine, so the address is always told.
    fn show(&self, begun: &LoginBegun) -> Result<(), Failure> {
        if self.setup.json {
            let shown = json!({ "login": {
                "url": begun.url,
                "url_complete": begun.url_complete,
                "user_code": begun.user_code,
                "expires_at": time::rfc3339(begun.expires_at_ms),
            } });
            terminal::print(&format!("{shown}\n"))?;
        } else {
            terminal::complain(&format!("Open this address in a browser:\n\n  {}\n", text::escape(&begun.url)));
            if let Some(code) = &begun.user_code {
                let style = terminal::stderr_style();
                terminal::complain(&format!("and type this code:\n\n  {}\n", style.strong(&text::escape(code))));
            }
            terminal::complain(&format!("Waiting until {} ...", time::clock(begun.expires_at_ms)));
        }
        if self.args.open {
            browse(&begun.url);
        }
        Ok(())
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
        return terminal::print(&format!("{}\n", json!({ "logged_out": said })));
    }
    let what = match left.revocation.as_str() {
        "revoked" => "revoked at the server, and removed",
        "not-offered" => "removed; its profile names no place to revoke it, so the server may still take it",
        "nothing" => "removed; there was no token to revoke",
        _ => "removed; the server did not revoke it, and may still take it",
    };
    let line = format!("{provider} ({}): {what}", credential.unwrap_or("login"));
    terminal::print(&format!("{}\n", text::escape(&line)))
}

//! A git credential helper. git runs it with `get`, `store` or `erase` as its last argument and
//! writes attributes to standard input; what is printed for a host that it was not set up for is
//! nothing.
//!
//! gitcredentials(7), *Custom helpers*; git-credential(1), *Input/output format*, with
//! `capability[]`, `authtype`, `credential` and `ephemeral` of git 2.46. Since git 2.41 a password
//! may be given with the time at which it ends.

use super::super::args::TokenArgs;
use super::super::failure::{Exit, Failure};
use super::super::setup::{Obtained, Setup};
use super::super::token;
use super::exchange;
use super::format::Format;
use super::host::{self, Host};
use lazaretto_host::{AccessToken, Keeper, TokenRequest};

/// GitLab takes an OAuth token with this name only; GitHub and others with any.
const USUAL_NAME: &str = "oauth2";

pub(super) fn run(setup: &Setup, args: &TokenArgs) -> Result<(), Failure> {
    // What is not known yet is ignored in silence, says gitcredentials(7); and a token is not ours
    // to store.
    let operation = args.operation.as_deref().unwrap_or_default();
    if !matches!(operation, "get" | "erase") {
        return Ok(());
    }
    let asked = Asked::read(&exchange::question(Format::GitCredential)?);
    if !asked.is_for(args) {
        return Ok(());
    }
    if operation == "erase" {
        return asked.refused.map_or(Ok(()), |refused| renew(setup, args, refused));
    }
    let (token, saved) = exchange::ask(setup, args)?;
    exchange::answer(&asked.answer(args, &token)?, saved)
}

/// A server refused this token. That makes no login dead: a new token is fetched at once, so that
/// the next try has it, unless the vault holds another one already. Of a key nothing better can be
/// had.
fn renew(setup: &Setup, args: &TokenArgs, refused: String) -> Result<(), Failure> {
    let request = TokenRequest { refused_access_token: Some(refused), ..args.request() };
    match setup.access_token(&request, Keeper::refresh) {
        Ok(Obtained { token, saved, .. }) => {
            token::warn(setup, &token);
            saved
        }
        Err(failure) if failure.exit == Exit::Usage && failure.code() == "nothing-to-do" => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// What git wants to know.
#[derive(Default)]
struct Asked {
    host: Option<Host>,
    is_plain: bool,
    is_web: bool,
    username: Option<String>,
    /// The password or credential that did not do. Secret.
    refused: Option<String>,
    /// git can send another header than Basic.
    can_bearer: bool,
    /// The server said that it takes a bearer token, and that it takes no password.
    wants_bearer: bool,
}

impl Asked {
    fn read(question: &str) -> Self {
        let mut asked = Self::default();
        let (mut offers_bearer, mut offers_basic) = (false, false);
        // A blank line ends it. `\r` is part of a value: a host that ends so is no host.
        for line in question.split('\n').take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once('=') else { continue };
            match name {
                "protocol" => (asked.is_web, asked.is_plain) = (matches!(value, "https" | "http"), value == "http"),
                "host" => asked.host = Host::parse(value).ok(),
                "username" => asked.username = Some(value.to_owned()),
                "password" | "credential" => asked.refused = Some(value.to_owned()).filter(|value| !value.is_empty()),
                "capability[]" => asked.can_bearer |= value == "authtype",
                "wwwauth[]" => {
                    let scheme = value.split(' ').next().unwrap_or_default();
                    offers_bearer |= scheme.eq_ignore_ascii_case("bearer");
                    offers_basic |= scheme.eq_ignore_ascii_case("basic");
                }
                _ => {}
            }
        }
        asked.wants_bearer = offers_bearer && !offers_basic;
        asked
    }

    fn is_for(&self, args: &TokenArgs) -> bool {
        let is_host = |asked| self.is_web && host::may_go(&args.for_host, asked, self.is_plain);
        let is_user = match (&self.username, &args.username) {
            (Some(asked), Some(mine)) => asked == mine,
            _ => true,
        };
        self.host.as_ref().is_some_and(is_host) && is_user
    }

    fn answer(&self, args: &TokenArgs, token: &AccessToken) -> Result<String, Failure> {
        let name = self.username.as_deref().or(args.username.as_deref()).unwrap_or(USUAL_NAME);
        let mut answer = if self.can_bearer && (args.bearer || self.wants_bearer) {
            // Ephemeral: no other helper should keep it.
            format!("capability[]=authtype\nauthtype={}\ncredential={}\nephemeral=1\n", token.token_type, token.token)
        } else {
            format!("username={name}\npassword={}\n", token.token)
        };
        let lines = answer.matches('\n').count();
        if let Some(at_ms) = token.expires_at_ms {
            answer += &format!("password_expiry_utc={}\n", at_ms / 1_000);
        }
        // The protocol cannot quote: such a token would be taken for more attributes.
        let wanted = if answer.starts_with("capability") { 4 } else { 2 };
        if lines != wanted || answer.contains('\0') {
            let message = "the token, or what it is called, holds a line break, which git's protocol cannot carry";
            return Err(Failure::configure(message).coded("unfit").of(&token.provider, &token.credential));
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::token::example;
    use super::super::exchange::typed;
    use super::*;

    const QUESTION: &str =
        "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example\npath=a/b.git\n";
    const TYPED: &str = "lazaretto token a --format git-credential --for-host git.example get";

    fn answered(question: &str, line: &str) -> String {
        let (asked, args) = (Asked::read(question), typed(line));
        if asked.is_for(&args) { asked.answer(&args, &example()).unwrap() } else { String::new() }
    }

    #[test]
    fn a_password_is_given_with_its_end_in_seconds() {
        let wanted = "username=oauth2\npassword=at-secret\npassword_expiry_utc=1784541600\n";
        assert_eq!(answered(QUESTION, TYPED), wanted);
        let asked = answered(&format!("{QUESTION}username=me\n"), TYPED);
        assert!(asked.starts_with("username=me\n"), "{asked}");
        let named = answered(QUESTION, &TYPED.replace("get", "--username x get"));
        assert!(named.starts_with("username=x\n"), "{named}");
    }

    /// A bearer header is given where git can and the server or the user wants one.
    #[test]
    fn git_gets_a_bearer_header_where_it_is_wanted_and_known() {
        let bearer = "capability[]=authtype\nauthtype=Bearer\ncredential=at-secret\nephemeral=1\npassword_expiry_utc=1784541600\n";
        let forced = TYPED.replace("get", "--bearer get");
        let only = format!("{QUESTION}wwwauth[]=Bearer realm=\"x\"\n");
        let both = format!("{only}wwwauth[]=basic realm=\"x\"\n");
        assert_eq!(answered(QUESTION, &forced), bearer);
        assert_eq!(answered(&only, TYPED), bearer);
        assert!(answered(&both, TYPED).starts_with("username="));
        let old_git = only.replace("capability[]=authtype\n", "");
        assert!(answered(&old_git, &forced).starts_with("username="));
    }

    /// Nothing is said to another host over plain http or for another user.
    #[test]
    fn git_gets_nothing_for_another_host_user_or_plain_http() {
        for (from, to) in [
            ("git.example", "evil.example"),
            ("git.example", "git.example:444"),
            ("git.example", "git.example\r"),
            ("https", "http"),
            ("https", "ssh"),
            ("protocol=https\n", ""),
            ("host=git.example\n", ""),
        ] {
            assert_eq!(answered(&QUESTION.replace(from, to), TYPED), "", "{from} {to}");
        }
        let other = format!("{QUESTION}username=other\n");
        assert_eq!(answered(&other, &TYPED.replace("get", "--username me get")), "");
        // What comes after the blank line is not read.
        assert_eq!(answered(&format!("\n{QUESTION}"), TYPED), "");
    }

    #[test]
    fn a_token_that_would_be_read_as_attributes_is_not_given() {
        let token = AccessToken { token: "a\nhost=evil.example".into(), ..example() };
        let failure = Asked::read(QUESTION).answer(&typed(TYPED), &token).unwrap_err();
        assert!(!failure.message.contains("evil"), "{}", failure.message);
    }
}

//! An open vault: its keeper, and how a person reaches it. What the component calls `vault` is
//! named by its path to a person.

use std::path::PathBuf;

use lazaretto_host::{Keeper, KeeperError};

use super::failure::Failure;

/// A keeper, and where its documents lie.
pub(super) struct Open {
    pub(super) keeper: Keeper,
    pub(super) places: Places,
    /// By which this command is about the vault.
    pub(super) command: String,
    /// This very command with http on this machine allowed, where it is not.
    pub(super) with_plain_http: Option<String>,
}

/// Where the documents lie.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) vault: PathBuf,
    pub(super) providers: Option<PathBuf>,
}

impl Open {
    /// A command of ours about the vault, as a shell takes it.
    pub(super) fn reach(&self, rest: &str) -> String {
        format!("{} {rest}", self.command)
    }

    /// What the component says, with paths for its names of documents.
    pub(super) fn failure(&self, error: KeeperError) -> Failure {
        let message = self.places.locate(&error);
        let again = self.with_plain_http.as_ref().filter(|_| self.is_on_plain_http(&error));
        let failure = Failure::keeper(error, message);
        match again {
            Some(again) => failure.run(again),
            None => failure,
        }
    }

    /// Whether nothing was sent for the provider's endpoint being on http without TLS, which a
    /// profile may name on this machine only.
    fn is_on_plain_http(&self, error: &KeeperError) -> bool {
        let Some(provider) = error.provider.as_deref().filter(|_| error.code == "host-forbids") else { return false };
        let known = self.keeper.admin().providers(Some(provider)).unwrap_or_default();
        known.iter().any(|known| known.token_endpoint.as_ref().is_some_and(|url| url.starts_with("http://")))
    }
}

impl Places {
    fn beside(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.vault.display())
    }

    /// The message of an error, with the path of the document it is about.
    fn locate(&self, error: &KeeperError) -> String {
        let (message, mut path) = (error.message.as_str(), None);
        let mut rest = message;
        for (name, suffix) in [
            ("vault", ""),
            ("vault.lazaretto", ".lazaretto"),
            ("vault.lazaretto-sealed", ".lazaretto-sealed"),
            ("settings.json", ""),
        ] {
            if let Some(what) = message.strip_prefix(&format!("the document `{name}`: ")) {
                (rest, path) = (what, Some(self.beside(suffix)));
            }
        }
        if let Some(what) = message.strip_prefix("the document `providers.json`: ") {
            (rest, path) = (what, self.providers.as_deref().map(|path| path.display().to_string()));
        }
        let path = path.or_else(|| match error.code.as_str() {
            "corrupt-vault" | "no-credential" | "unknown-credential" | "unknown-layout" => Some(self.beside("")),
            "corrupt-ledger" | "newer-ledger" if message.starts_with("the sealed") => {
                Some(self.beside(".lazaretto-sealed"))
            }
            "corrupt-ledger" | "newer-ledger" => Some(self.beside(".lazaretto")),
            "bad-settings" => Some(self.beside(".lazaretto-settings.json")),
            "bad-profile" if message.contains("providers.json") => {
                self.providers.as_deref().map(|path| path.display().to_string())
            }
            _ => None,
        });
        match path {
            // What the component calls it is not said beside its path.
            Some(path) if error.code == "bad-profile" => {
                let rest = rest.strip_prefix("providers.json: ").unwrap_or(rest);
                format!("{path}: {}", rest.replacen(" in providers.json", "", 1))
            }
            Some(path) if !rest.contains(&path) => format!("{path}: {rest}"),
            _ => rest.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(code: &str, message: &str) -> String {
        let places = Places { vault: "/v/auth.json".into(), providers: Some("/p/providers.json".into()) };
        places.locate(&KeeperError { code: code.into(), ..KeeperError::internal(message.into()) })
    }

    #[test]
    fn a_message_about_a_document_names_its_path_once() {
        for (code, message, wanted) in [
            ("corrupt-vault", "it is not JSON", "/v/auth.json: it is not JSON"),
            ("storage", "the document `vault`: cannot read /v/auth.json: denied", "cannot read /v/auth.json: denied"),
            ("storage", "the document `vault.lazaretto`: is full", "/v/auth.json.lazaretto: is full"),
            ("storage", "the document `vault.lazaretto-sealed`: is full", "/v/auth.json.lazaretto-sealed: is full"),
            ("corrupt-ledger", "the ledger cannot be read", "/v/auth.json.lazaretto: the ledger cannot be read"),
            ("newer-ledger", "the sealed document has", "/v/auth.json.lazaretto-sealed: the sealed document has"),
            ("bad-profile", "the profile `a` in providers.json: no", "/p/providers.json: the profile `a`: no"),
            ("bad-profile", "providers.json: it has no `profiles`", "/p/providers.json: it has no `profiles`"),
            (
                "bad-settings",
                "the settings of this vault",
                "/v/auth.json.lazaretto-settings.json: the settings of this vault",
            ),
            ("quarantined", "xai-oauth (login): it is dead", "xai-oauth (login): it is dead"),
        ] {
            assert_eq!(located(code, message), wanted);
        }
    }
}

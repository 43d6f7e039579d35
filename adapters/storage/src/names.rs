//! A document's name leads to one file beside the vault's, and no name leads anywhere else.

use crate::problem::Problem;

/// What the vault is called.
const VAULT: &str = "vault";

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A file.
    File(Kind),
    /// An environment variable, by its own name.
    Variable(String),
    /// Where the vault lies, and what is stated of it.
    Place,
    /// There is none, and that is well.
    Never,
}

/// The documents that have a place on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Logins and pools.
    Vault,
    /// What is known of each refresh token.
    Ledger,
    /// Tokens taken out of use.
    Sealed,
    /// Whose turn it is.
    Pool,
    /// The user's policy.
    Settings,
    /// The user's provider profiles.
    Profiles,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Vault, Self::Ledger, Self::Sealed, Self::Pool, Self::Settings, Self::Profiles];

    /// Returns what `storage` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vault => VAULT,
            Self::Ledger => "vault.lazaretto",
            Self::Sealed => "vault.lazaretto-sealed",
            Self::Pool => "vault.lazaretto-pool",
            Self::Settings => "settings.json",
            Self::Profiles => "providers.json",
        }
    }

    /// Returns what follows the vault's path in this document's.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Vault | Self::Profiles => "",
            Self::Ledger => ".lazaretto",
            Self::Sealed => ".lazaretto-sealed",
            Self::Pool => ".lazaretto-pool",
            Self::Settings => ".lazaretto-settings.json",
        }
    }

    /// Returns what files that belong to it begin with in the folder `T.lazaretto-wasi`.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Ledger => "ledger",
            Self::Sealed => "sealed",
            Self::Pool => "pool",
            Self::Settings => "settings",
            Self::Profiles => "profiles",
        }
    }

    /// Returns whether tokens lie in it.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Vault | Self::Sealed)
    }

    /// Returns whether lazaretto writes it. The others are the user's.
    #[must_use]
    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Settings | Self::Profiles)
    }
}

/// Returns what a document's name stands for.
///
/// # Errors
/// `invalid-name` if it is none, `unsupported` if there is no such document here.
pub fn find(name: &str) -> Result<Name, Problem> {
    check(name)?;
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) {
        return Ok(Name::File(kind));
    }
    if name == "also.json" {
        return Ok(Name::Never);
    }
    if name == "vault.lazaretto-place" {
        return Ok(Name::Place);
    }
    if let Some(variable) = name.strip_prefix("env/") {
        let variable = variable.to_ascii_uppercase();
        let is_for_keys = ["_KEY", "_TOKEN", "_PAT"].iter().any(|end| variable.ends_with(end));
        if is_for_keys && !variable.contains('/') {
            return Ok(Name::Variable(variable));
        }
    }
    if name.starts_with("secret/") {
        return Err(Problem::new(
            "unsupported",
            "a WASI host reads no client secrets: write `client_secret` into the profile, or use another host",
        ));
    }
    let known = Kind::ALL.map(Kind::name).join(", ");
    Err(Problem::new("unsupported", format!("there is no document {name:?} here, only {known}")))
}

/// Returns the document that says where the vault lies, as the user named it, and what else is
/// stated of it, by name.
#[must_use]
pub fn place_document(path: &str, stated: &[(&str, Option<String>)]) -> String {
    let member = |(name, value): &(&str, Option<String>)| Some(format!(",\"{name}\":{}", quoted(value.as_deref()?)));
    let stated: String = stated.iter().filter_map(member).collect();
    format!("{{\"path\":{}{stated}}}", quoted(path))
}

/// Returns a text as JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\0'..='\u{1f}' => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// One or more segments of `[a-z0-9._-]+` joined by `/`, none of them `.` or `..`.
fn check(name: &str) -> Result<(), Problem> {
    let segment_is_good = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
    };
    if name.split('/').all(segment_is_good) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Problem::new(
        "invalid-name",
        format!(
            "{shown:?} is no document's name: it is segments of a-z, 0-9, `.`, `_` and `-`, joined by `/`, none of them `.` or `..`"
        ),
    ))
}

/// Returns where a path that the user gave lies: the index of the folder among those that the host
/// granted, and the path in it.
///
/// # Errors
/// It leads outside of all of them, or names no file.
pub fn place(path: &str, granted: &[String]) -> Result<(usize, String), Problem> {
    let refused = |why: &str| Problem::new("denied", format!("{path:?} cannot be used: {why}"));
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(refused("a path with `..` leads out of what the host granted; name the file without it"));
    }
    if parts.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(refused("it names no file"));
    }
    if granted.is_empty() {
        return Err(refused("the host grants no folder at all. Start it with one, for example `--dir .`"));
    }
    let of = |granted: &str| {
        granted.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect::<Vec<_>>()
    };
    if !path.starts_with('/') {
        // A relative path is one in the working folder, or else in the only one there is.
        let at = granted.iter().position(|granted| granted == ".").unwrap_or(0);
        return Ok((at, parts.join("/")));
    }
    granted
        .iter()
        .enumerate()
        .filter(|(_, granted)| granted.starts_with('/'))
        .map(|(at, granted)| (at, of(granted)))
        .filter(|(_, granted)| {
            granted.len() < parts.len() && granted.iter().zip(&parts).all(|(one, other)| one == other)
        })
        .max_by_key(|(_, granted)| granted.len())
        .map(|(at, granted)| (at, parts[granted.len()..].join("/")))
        .ok_or_else(|| refused(&format!("it is in no folder that the host grants, which are {}", granted.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_refused_before_a_path_is_made_of_it() {
        for bad in [
            "",
            ".",
            "..",
            "../vault",
            "/etc/passwd",
            "vault/..",
            "a//b",
            "vault/",
            "Vault",
            "va ult",
            "vault\0",
            "a\\b",
            "é",
        ] {
            assert_eq!(find(bad).unwrap_err().code, "invalid-name", "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_nothing_here_has_is_unsupported() {
        for other in
            ["vaults", "vault.json", "also/0", "also/0.lazaretto", "env/home", "env/a/b_key", "vault.lazaretto-wasi"]
        {
            assert_eq!(find(other).unwrap_err().code, "unsupported", "{other}");
        }
    }

    #[test]
    fn each_document_has_its_file_and_each_variable_its_own_name() {
        for kind in Kind::ALL {
            assert_eq!(find(kind.name()).unwrap(), Name::File(kind));
        }
        assert_eq!(find("env/xai_api_key").unwrap(), Name::Variable("XAI_API_KEY".into()));
        assert!(find("secret/acme").unwrap_err().message.contains("write `client_secret` into the profile"));
        assert_eq!(find("also.json").unwrap(), Name::Never);
        assert_eq!(find("vault.lazaretto-place").unwrap(), Name::Place);
    }

    #[test]
    fn where_the_vault_lies_is_said_in_json() {
        assert_eq!(place_document("a/b.json", &[("layout", None)]), r#"{"path":"a/b.json"}"#);
        assert_eq!(
            place_document("/a \"b\"\\\n/é", &[("layout", Some("codex".into()))]),
            r#"{"path":"/a \"b\"\\\u000a/é","layout":"codex"}"#
        );
    }

    #[test]
    fn no_two_documents_share_what_their_files_begin_with() {
        for (at, one) in Kind::ALL.iter().enumerate() {
            for other in &Kind::ALL[at + 1..] {
                assert_ne!(one.short(), other.short());
            }
        }
    }

    fn granted(list: &[&str]) -> Vec<String> {
        list.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_path_is_looked_for_in_the_folder_that_is_nearest_to_it() {
        let all = granted(&["/", "/home/you", "."]);
        assert_eq!(place("auth.json", &all), Ok((2, "auth.json".into())));
        assert_eq!(place("./a/./b.json", &all), Ok((2, "a/b.json".into())));
        assert_eq!(place("/home/you/auth.json", &all), Ok((1, "auth.json".into())));
        assert_eq!(place("/home/yours/auth.json", &all), Ok((0, "home/yours/auth.json".into())));
        assert_eq!(place("auth.json", &granted(&["/store"])), Ok((0, "auth.json".into())));
    }

    #[test]
    fn a_path_out_of_what_is_granted_is_denied() {
        for bad in ["../auth.json", "/store/../auth.json", "/etc/auth.json", "/store", "/store/", "", "/"] {
            assert_eq!(place(bad, &granted(&["/store"])).unwrap_err().code, "denied", "{bad:?}");
        }
        assert!(place("auth.json", &[]).unwrap_err().message.contains("--dir"));
    }
}

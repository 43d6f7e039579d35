//! Whose file a vault is decides whose lock is taken, and place and content decide whose file it
//! is: a file's name alone proves nothing, for several tools call theirs the same.
//!
//! | tool | what it locks | where that is known from |
//! |---|---|---|
//! | Claude Code | the folder `.oauth_refresh.lock` in its folder, and then the folder `<its folder, links followed>.lock` beside it (proper-lockfile), which is all that versions up to 2.1.110 take | `@anthropic-ai/claude-code` 2.1.332: `stale:60000,update:5000` for both; it goes on without the second if that cannot be made |
//! | Qwen Code | the file `oauth_creds.lock`, without a sign of life | `@qwen-code/qwen-code` 0.24.4: `LOCK_TIMEOUT_MS = 35e3` |
//!
//! Older versions take a lock for dead after 10 s, so a sign of life each 5 s is one for them too.

use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use serde::de::IgnoredAny;

use super::folder::{Folder, Spot, Stat, suffixed};
use super::foreign_marks::Mark;
use super::safe_path::Way;
use super::text::MAX_BYTES;

const CLAUDE_STALE: Duration = Duration::from_secs(60);
const QWEN_STALE: Duration = Duration::from_secs(35);

/// What other tools make while they refresh a login in their own file.
pub(super) fn marks(vault: &Way, wanted: Option<bool>) -> Vec<Mark> {
    let mut marks = Vec::new();
    for file in vault.links.iter().cloned().chain([vault.spot()]).filter(|_| wanted != Some(false)) {
        let is_of = |name: &str, variables: &[&str], member: &str| {
            file.folder.path.file_name() == Some(OsStr::new(name))
                || variables.iter().any(|variable| is_named_by(variable, &file.folder))
                || has_member(&file, member)
        };
        let variables = ["CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CONFIG_DIR"];
        if file.name == ".credentials.json" && is_of(".claude", &variables, "claudeAiOauth") {
            let mark = |at: Spot, is_optional: bool| Mark {
                at,
                tool: "Claude Code",
                is_folder: true,
                stale_after: CLAUDE_STALE,
                is_optional,
            };
            marks.push(mark(file.beside(".oauth_refresh.lock"), false));
            marks.extend(beside(&file.folder).map(|at| mark(at, true)));
        }
        if file.name == "oauth_creds.json" && is_of(".qwen", &["QWEN_HOME"], "resource_url") {
            marks.push(Mark {
                at: file.beside("oauth_creds.lock"),
                tool: "Qwen Code",
                is_folder: false,
                stale_after: QWEN_STALE,
                is_optional: false,
            });
        }
    }
    marks.sort_by_key(|mark| mark.at.path());
    marks.dedup_by(|one, other| one.at.is(&other.at));
    marks
}

/// The lock of a folder itself, which lies beside it. Its path has no links.
fn beside(folder: &Folder) -> Option<Spot> {
    let name = suffixed(folder.path.file_name()?, ".lock");
    Some(Spot { folder: Arc::new(folder.above().ok()?), name })
}

/// Whether a variable of the environment names this folder.
fn is_named_by(variable: &str, folder: &Folder) -> bool {
    let named = env::var_os(variable).filter(|value| !value.is_empty());
    let identity = |path: &Path| fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()));
    named.is_some_and(|named| named == folder.path || identity(Path::new(&named)) == Some(folder.stat.identity))
}

/// Whether the file is an object with this member. What cannot be read is not sent from either.
fn has_member(at: &Spot, member: &str) -> bool {
    let mut text = Vec::new();
    let file = at.folder.open_file(&at.name, OFlags::RDONLY | OFlags::NONBLOCK).ok();
    let file = file.filter(|file| Stat::of(file).is_ok_and(|stat| stat.is_file()));
    file.is_some_and(|file| file.take(MAX_BYTES).read_to_end(&mut text).is_ok())
        && serde_json::from_slice::<HashMap<String, IgnoredAny>>(&text).is_ok_and(|object| object.contains_key(member))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn paths_of(file: &Path) -> Vec<PathBuf> {
        let vault = Way::walk(file).expect("a way");
        marks(&vault, None).into_iter().map(|mark| mark.at.path()).collect()
    }

    #[test]
    fn a_lock_is_taken_by_place_or_content_and_never_by_name_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        let claude =
            |place: &str| vec![root.join(place).join(".oauth_refresh.lock"), root.join(format!("{place}.lock"))];
        let mcp = r#"{"linear|1":{"server_name":"linear","client_id":"c","access_token":"a"}}"#;
        for (file, content, expected) in [
            (".claude/.credentials.json", "{}", claude(".claude")),
            ("elsewhere/.credentials.json", r#"{"claudeAiOauth":{}}"#, claude("elsewhere")),
            // Codex CLI's MCP logins, and an MCP store of anybody's.
            (".codex/.credentials.json", mcp, Vec::new()),
            ("else/.credentials.json", "{}", Vec::new()),
            ("broken/.credentials.json", r#"{"claudeAiOauth":"#, Vec::new()),
            (".claude/other.json", r#"{"claudeAiOauth":{}}"#, Vec::new()),
            (".qwen/oauth_creds.json", "{}", vec![root.join(".qwen/oauth_creds.lock")]),
            ("q/oauth_creds.json", r#"{"resource_url":"x"}"#, vec![root.join("q/oauth_creds.lock")]),
            (".gemini/oauth_creds.json", r#"{"scope":"x"}"#, Vec::new()),
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, content).expect("written");
            assert_eq!(paths_of(&path), expected, "{file}");
        }
    }

    /// A folder that is reached by a link is locked where the tool locks it.
    #[test]
    fn a_linked_folder_is_locked_where_its_tool_locks_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        fs::create_dir(root.join("real")).expect("made");
        fs::write(root.join("real/.credentials.json"), r#"{"claudeAiOauth":{}}"#).expect("written");
        std::os::unix::fs::symlink("real", root.join(".claude")).expect("linked");
        let found = paths_of(&root.join(".claude/.credentials.json"));
        assert_eq!(found, [root.join("real/.oauth_refresh.lock"), root.join("real.lock")]);
    }
}

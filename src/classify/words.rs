//! The closed list of words that error codes and messages are made of. Only these may leave in the
//! evidence: a list of what may be shown cannot be talked round by a secret of a shape nobody
//! thought of.

/// What a word can say, as bits.
pub(super) const REFRESH: u16 = 1;
pub(super) const TOKEN: u16 = 1 << 1;
pub(super) const GRANT: u16 = 1 << 2;
pub(super) const SESSION: u16 = 1 << 3;
/// Of a token: it does not work and never will.
pub(super) const DEAD: u16 = 1 << 4;
/// Of a user: there is none.
pub(super) const GONE: u16 = 1 << 5;
pub(super) const NOT: u16 = 1 << 6;
/// With [`NOT`] before it, the same as [`DEAD`].
pub(super) const LIVE: u16 = 1 << 7;
/// Another kind of token or code than the refresh token.
pub(super) const OTHER: u16 = 1 << 8;
/// Part of the client, its registration or the request.
pub(super) const CLIENT: u16 = 1 << 9;
/// Says by itself that the set-up is wrong.
pub(super) const CONFIG: u16 = 1 << 10;
/// Says by itself that it passes.
pub(super) const FAULT: u16 = 1 << 11;
/// The user has to do something at the server.
pub(super) const INTERACT: u16 = 1 << 12;
/// What was bought, or where it may be used.
pub(super) const PLAN: u16 = 1 << 13;
pub(super) const USER: u16 = 1 << 14;

/// What a lower-case word says; 0 for a word that says nothing or is not known.
pub(super) fn meaning(word: &str) -> u16 {
    find(word).unwrap_or_default()
}

/// Whether a word is on the list, in any case.
pub(super) fn known(word: &str) -> bool {
    find(&word.to_ascii_lowercase()).is_some()
}

/// Returns what a word of the list says.
fn find(word: &str) -> Option<u16> {
    match MEANINGS.binary_search_by_key(&word, |(known, _)| known) {
        Ok(at) => Some(MEANINGS[at].1),
        Err(_) => SHOWN.binary_search(&word).ok().map(|_| 0),
    }
}

/// Returns whether `word` is in `words`, which are separated by single spaces.
pub(super) fn is_one_of(word: &str, words: &str) -> bool {
    words.split(' ').any(|known| known == word)
}

/// `invalidGrant`, `INVALID-GRANT` and `ns#InvalidGrant:` are all `invalid_grant`.
pub(super) fn snake(code: &str) -> String {
    let code = code.rsplit_once('#').map_or(code, |(_, name)| name);
    let mut out = Vec::with_capacity(code.len() + 8);
    join(&mut out, code, b'_');
    text(out)
}

/// Lower-case words with one space before, between and after, so that a phrase can be looked for
/// with its edges.
pub(super) fn plain(sent: &str) -> String {
    let mut out = Vec::with_capacity(sent.len() + 16);
    out.push(b' ');
    join(&mut out, sent, b' ');
    if out.last() != Some(&b' ') {
        out.push(b' ');
    }
    text(out)
}

/// The bytes are those of a text, lower-cased and with separators: they stay UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

/// The words of a text in lower case. A hump in camel case begins a word; what is not ASCII is
/// taken for letters.
fn join(out: &mut Vec<u8>, sent: &str, by: u8) {
    let begin = out.len();
    let mut before = b' ';
    let bytes = sent.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        if !is_word(byte) {
            before = byte;
            continue;
        }
        let hump = byte.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || (before.is_ascii_uppercase() && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase)));
        if (hump || !is_word(before)) && out.len() > begin {
            out.push(by);
        }
        out.push(byte.to_ascii_lowercase());
        before = byte;
    }
}

/// Words with what they say, sorted.
#[rustfmt::skip]
const MEANINGS: &[(&str, u16)] = &[
    ("access", OTHER), ("accesstoken", OTHER), ("account", USER), ("active", LIVE), ("allowed", CONFIG),
    ("api", OTHER), ("app", CLIENT), ("application", CLIENT), ("argument", CLIENT), ("arguments", CLIENT),
    ("assertion", CLIENT), ("audience", CLIENT), ("backend", FAULT), ("bad", DEAD), ("banned", CONFIG),
    ("billing", PLAN), ("blacklisted", DEAD), ("blank", CONFIG), ("blocked", CONFIG), ("blocklisted", DEAD),
    ("bot", OTHER), ("busy", FAULT), ("cannot", NOT), ("captcha", INTERACT), ("certificate", CLIENT),
    ("challenge", INTERACT), ("client", CLIENT), ("clientid", CLIENT), ("closed", DEAD), ("code", OTHER),
    ("concurrency", FAULT), ("concurrent", FAULT), ("config", CLIENT), ("configuration", CLIENT), ("conflict", FAULT),
    ("consent", INTERACT), ("consumed", DEAD), ("cookie", OTHER), ("couldn", NOT), ("country", PLAN),
    ("credit", PLAN), ("credits", PLAN), ("csrf", OTHER), ("deadline", FAULT), ("deleted", DEAD | GONE),
    ("deprecated", CONFIG), ("destroyed", DEAD), ("device", OTHER), ("disabled", CONFIG), ("doesn", NOT),
    ("dpop", CLIENT), ("early", OTHER), ("email", OTHER), ("empty", CONFIG), ("enabled", CONFIG), ("ended", DEAD),
    ("endpoint", CLIENT), ("enroll", INTERACT), ("enrollment", INTERACT), ("enrolment", INTERACT), ("entitled", PLAN),
    ("entitlement", PLAN), ("entitlements", PLAN), ("exceeded", FAULT), ("exchanged", DEAD), ("exhausted", FAULT),
    ("exist", LIVE), ("exists", LIVE), ("expire", DEAD), ("expired", DEAD), ("factor", INTERACT), ("field", CLIENT),
    ("found", LIVE), ("gone", DEAD), ("grant", GRANT), ("id", OTHER), ("identity", USER), ("idtoken", OTHER),
    ("inactive", DEAD), ("inactivity", DEAD), ("incorrect", DEAD), ("integration", CLIENT), ("interaction", INTERACT),
    ("internal", FAULT), ("invalid", DEAD), ("invalidate", DEAD), ("invalidated", DEAD), ("isn", NOT),
    ("issuer", CLIENT), ("jwt", OTHER), ("key", OTHER), ("known", LIVE), ("licence", PLAN), ("license", PLAN),
    ("licensed", PLAN), ("limit", FAULT), ("limited", FAULT), ("limits", FAULT), ("locked", CONFIG),
    ("login", INTERACT), ("longer", LIVE), ("maintenance", FAULT), ("malformed", DEAD), ("many", FAULT),
    ("member", USER), ("mfa", INTERACT), ("misconfigured", CONFIG), ("mismatch", CONFIG), ("mismatching", CONFIG),
    ("missing", CONFIG), ("multifactor", INTERACT), ("never", NOT), ("no", NOT), ("nonce", OTHER), ("not", NOT),
    ("notfound", DEAD | GONE), ("otp", OTHER), ("outage", FAULT), ("overload", FAULT), ("overloaded", FAULT),
    ("owner", USER), ("paid", PLAN), ("param", CLIENT), ("parameter", CLIENT), ("parameters", CLIENT),
    ("params", CLIENT), ("password", OTHER), ("payment", PLAN), ("pending", FAULT), ("permission", CONFIG),
    ("permissions", CONFIG), ("permitted", CONFIG), ("pkce", CLIENT), ("plan", PLAN), ("plans", PLAN),
    ("premium", PLAN), ("principal", USER), ("progress", FAULT), ("proof", CLIENT), ("purchase", PLAN),
    ("quota", FAULT), ("ratelimit", FAULT), ("ratelimited", FAULT), ("realm", CLIENT), ("reauth", INTERACT),
    ("reauthenticate", INTERACT), ("reauthentication", INTERACT), ("recognised", LIVE), ("recognized", LIVE),
    ("reconsent", INTERACT), ("redeemed", DEAD), ("redirect", CLIENT), ("redirecturi", CLIENT), ("refresh", REFRESH),
    ("refreshtoken", REFRESH | TOKEN), ("region", PLAN), ("registered", CONFIG), ("replay", DEAD), ("replayed", DEAD),
    ("reset", OTHER), ("resource", CLIENT), ("retry", FAULT), ("reuse", DEAD), ("reused", DEAD), ("revoked", DEAD),
    ("rotated", DEAD), ("scope", CLIENT), ("scopes", CLIENT), ("seat", PLAN), ("seats", PLAN), ("secret", CLIENT),
    ("session", SESSION), ("signature", CLIENT), ("signin", INTERACT), ("slow", FAULT), ("spending", PLAN),
    ("spent", DEAD), ("sso", INTERACT), ("stale", DEAD), ("state", OTHER), ("stepup", INTERACT), ("subscribe", PLAN),
    ("subscriber", PLAN), ("subscription", PLAN), ("subscriptions", PLAN), ("superseded", DEAD),
    ("supported", CONFIG), ("suspended", CONFIG), ("temporarily", FAULT), ("temporary", FAULT), ("tenant", CLIENT),
    ("terminated", DEAD), ("terms", INTERACT), ("territory", PLAN), ("throttle", FAULT), ("throttled", FAULT),
    ("throttling", FAULT), ("tier", PLAN), ("timedout", FAULT), ("timeout", FAULT), ("token", TOKEN),
    ("tokens", TOKEN), ("type", CLIENT), ("unapproved", CONFIG), ("unavailable", FAULT), ("unexpected", FAULT),
    ("unknown", DEAD), ("unrecognised", DEAD), ("unrecognized", DEAD), ("unsupported", CONFIG),
    ("unverified", CONFIG), ("upgrade", PLAN), ("used", DEAD), ("user", USER), ("valid", LIVE),
    ("verification", OTHER), ("verifier", CLIENT), ("wasn", NOT), ("wrong", DEAD), ("xsrf", OTHER),
];

/// Words without a meaning of their own that may be shown, sorted.
#[rustfmt::skip]
const SHOWN: &[&str] = &[
    "a", "aborted", "about", "accept", "accepted", "accessdenied", "add", "admin", "administrator", "after", "again",
    "ago", "already", "also", "although", "an", "and", "another", "any", "appears", "are", "as", "at", "attempt",
    "attempted", "attempts", "auth", "authenticate", "authenticated", "authentication", "authenticator",
    "authenticity", "authorisation", "authorised", "authorization", "authorize", "authorized", "automatically",
    "back", "basic", "be", "bearer", "because", "been", "before", "being", "belong", "belongs", "body", "bound",
    "bucket", "but", "by", "cache", "call", "caller", "can", "canceled", "cancelled", "case", "cause", "change",
    "changed", "changes", "chars", "check", "claim", "claims", "cluster", "common", "completed", "condition",
    "conditional", "configured", "connect", "connection", "contact", "contacted", "contains", "content", "cors",
    "could", "create", "created", "credential", "credentials", "current", "currently", "data", "database", "date",
    "day", "days", "decode", "decoded", "decrypt", "decrypted", "delete", "denied", "deny", "detected", "developer",
    "did", "different", "digest", "do", "doc", "docs", "document", "documentation", "does", "domain", "don", "down",
    "due", "duplicate", "during", "each", "edge", "either", "elapsed", "encountered", "end", "enforced", "enough",
    "ensure", "entity", "error", "errors", "escalated", "event", "exception", "existing", "expected", "expiration",
    "expires", "expiry", "external", "fail", "failed", "failing", "failure", "fault", "few", "fields", "first",
    "flagged", "flow", "for", "forbidden", "format", "from", "further", "gateway", "generic", "get", "given", "go",
    "granted", "grants", "had", "handle", "has", "have", "header", "help", "here", "host", "hour", "hours", "how",
    "http", "https", "hub", "if", "illegal", "implemented", "in", "includes", "incompatible", "incomplete",
    "inconsistent", "information", "infrastructure", "inner", "instance", "insufficient", "integrity", "interactive",
    "into", "invalidation", "invalidgrant", "invoke", "is", "isolated", "issue", "issued", "issues", "it", "its",
    "just", "jwks", "kind", "last", "later", "least", "length", "less", "lifetime", "link", "list", "live", "ll",
    "lock", "log", "logged", "logins", "logout", "logs", "long", "lookup", "lost", "make", "manager", "mandatory",
    "match", "matches", "matching", "maximum", "may", "message", "method", "minute", "minutes", "mode", "modified",
    "monthly", "more", "most", "multi", "must", "name", "named", "needed", "needs", "network", "new", "next", "nil",
    "none", "notauthorized", "note", "notice", "now", "null", "number", "oauth", "object", "of", "off", "offline",
    "offset", "old", "on", "once", "one", "only", "open", "operation", "or", "org", "organisation", "organization",
    "original", "other", "our", "out", "outside", "over", "overall", "own", "owned", "page", "parse", "parsed",
    "part", "partner", "party", "passed", "path", "per", "period", "permanently", "please", "point", "policies",
    "policy", "portal", "precondition", "presented", "prevent", "previous", "previously", "problem", "process",
    "processed", "processing", "prohibited", "project", "prompt", "property", "protected", "protocol", "provide",
    "provided", "provider", "proxy", "public", "query", "queue", "rate", "re", "reached", "read", "reason",
    "received", "record", "rejected", "rejects", "related", "relogin", "removed", "renew", "renewed", "replaced",
    "replica", "request", "requested", "requests", "require", "required", "requires", "response", "responses",
    "restricted", "result", "retries", "revocation", "role", "roles", "rotation", "routing", "rule", "s", "same",
    "save", "seconds", "security", "see", "send", "sensitive", "sent", "serialization", "server", "service",
    "serving", "sessions", "set", "settings", "should", "sign", "signed", "since", "single", "so", "some",
    "something", "soon", "source", "start", "started", "status", "still", "stop", "store", "stored", "subject",
    "success", "successful", "such", "supplied", "support", "system", "t", "take", "task", "team", "tenants", "test",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "through", "time",
    "times", "to", "too", "trace", "trust", "try", "trying", "unable", "unauthenticated", "unauthorised",
    "unauthorized", "under", "unimplemented", "unique", "unless", "unprocessable", "unreachable", "unsuccessful",
    "until", "update", "updated", "upstream", "uri", "url", "usage", "use", "useful", "users", "using", "validation",
    "value", "values", "ve", "verified", "verify", "version", "via", "violation", "visit", "waf", "wait", "was", "we",
    "web", "were", "what", "when", "where", "which", "while", "who", "will", "window", "with", "within", "without",
    "work", "workflow", "workspace", "would", "yet", "you", "your", "yours",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_they_can_be_searched() {
        assert!(MEANINGS.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(SHOWN.windows(2).all(|w| w[0] < w[1]));
        let all = || MEANINGS.iter().map(|entry| entry.0).chain(SHOWN.iter().copied());
        assert!(all().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
        assert!(all().all(known) && MEANINGS.iter().all(|entry| meaning(entry.0) == entry.1));
        assert!(known("Token") && !known("zebra") && !known("") && !known("\u{e9}t\u{e9}"));
    }

    #[test]
    fn a_code_reads_the_same_in_every_spelling() {
        for code in
            ["invalidGrant", "InvalidGrant", "INVALID_GRANT", "invalid-grant", "com.x#InvalidGrant:", "Invalid grant"]
        {
            assert_eq!(snake(code), "invalid_grant", "{code}");
        }
        assert_eq!(snake("XMLParseError"), "xml_parse_error");
        assert_eq!(snake("unauthorized.bad_refresh_token"), "unauthorized_bad_refresh_token");
        assert_eq!(plain("Invalid \"refreshToken\" in request."), " invalid refresh token in request ");
    }
}

//! The closed list of words that error codes and messages are made of. Only these may leave in the evidence: a
//! list of what may be shown cannot be talked round by a secret of a shape nobody thought of.

use std::cmp::Ordering;

use crate::packed;

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
    find(word.as_bytes()).unwrap_or_default()
}

/// Whether a word is on the list, in any case.
pub(super) fn known(word: &str) -> bool {
    find(word.to_ascii_lowercase().as_bytes()).is_some()
}

/// What a word of the list says.
fn find(word: &[u8]) -> Option<u16> {
    let letter = usize::from(word.first()?.checked_sub(b'a')?);
    let [start, end] = *STARTS.get(letter..)?.first_chunk()?;
    let entries = ENTRIES.get(usize::from(start)..usize::from(end))?;
    let mut at = 0;
    // How many letters the word has in common with the one before the entry.
    let mut common = 1;
    while let Some(head) = entries.get(at) {
        let (shared, start) = (usize::from(head >> 5) + 1, at + 1);
        at = start + usize::from(head >> 1 & 15);
        if shared > common {
            continue;
        }
        let entry = entries.get(start..at)?;
        let (says, letters) = if head & 1 == 0 { (&0, entry) } else { entry.split_last()? };
        let wanted = word.get(shared..)?;
        let same = letters.iter().zip(wanted).take_while(|(letter, wanted)| letter == wanted).count();
        match letters.get(same).cmp(&wanted.get(same)) {
            Ordering::Less if shared == common => common = MOST_SHARED.min(shared + same),
            // Both are at their end.
            Ordering::Equal if shared == common => {
                return Some(if head & 1 == 0 { 0 } else { 1 << (says >> 4) | 1 << (says & 15) });
            }
            // They are sorted: the word would have come before.
            _ => return None,
        }
    }
    None
}

/// No entry begins with more letters of the word before it.
const MOST_SHARED: usize = 8;

/// All words, sorted, in half the space. An entry is a byte of 3, 4 and 1 bits: how many letters it shares with the word before
/// it, less one, for its place tells the first; how many more it has; whether it says anything. Then these letters, and the
/// first and the last bit of what it says, in 4 bits each.
static ENTRIES: [u8; LISTED.1] = packed::first(&LISTED.0);
/// Where the entries of each letter begin: a message has a hundred words, and most begin with few of ours.
static STARTS: [u16; 27] = LISTED.2;
const LISTED: ([u8; 4096], usize, [u16; 27]) = listed();

/// [`MEANINGS`] and [`SHOWN`] as entries, how many bytes they are, and where those of each letter begin.
const fn listed() -> ([u8; 4096], usize, [u16; 27]) {
    let (mut bytes, mut at, mut starts) = ([0; 4096], 0, [0; 27]);
    let (mut spoken, mut shown) = (0, SHOWN.as_bytes());
    let mut before: &[u8] = b"z";
    while spoken < MEANINGS.len() || !shown.is_empty() {
        let mut length = 0;
        while length < shown.len() && shown[length] != b' ' {
            length += 1;
        }
        let (mut word, mut says) = (shown.split_at(length).0, 0);
        if spoken < MEANINGS.len() && (length == 0 || is_before(MEANINGS[spoken].0.as_bytes(), word)) {
            (word, says) = (MEANINGS[spoken].0.as_bytes(), MEANINGS[spoken].1);
            spoken += 1;
        } else {
            shown = shown.split_at(length + 1).1;
        }
        assert!(says.count_ones() <= 2);
        let mut from = in_common(before, word);
        from = if from > MOST_SHARED {
            MOST_SHARED
        } else if from == 0 {
            1
        } else {
            from
        };
        assert!(word.len() - from < 16);
        bytes[at] = ((from - 1) << 5 | (word.len() - from + (says != 0) as usize) << 1) as u8 | (says != 0) as u8;
        at += 1;
        while from < word.len() {
            bytes[at] = word[from];
            at += 1;
            from += 1;
        }
        if says != 0 {
            bytes[at] = (says.trailing_zeros() << 4 | says.ilog2()) as u8;
            at += 1;
        }
        starts[(word[0] - b'a') as usize + 1] = at as u16;
        before = word;
    }
    // A letter without words begins where the one before it ends.
    let mut letter = 1;
    while letter < starts.len() {
        if starts[letter] == 0 {
            starts[letter] = starts[letter - 1];
        }
        letter += 1;
    }
    (bytes, at, starts)
}

const fn in_common(word: &[u8], other: &[u8]) -> usize {
    let mut same = 0;
    while same < word.len() && same < other.len() && word[same] == other[same] {
        same += 1;
    }
    same
}

const fn is_before(word: &[u8], other: &[u8]) -> bool {
    let same = in_common(word, other);
    same < other.len() && (same == word.len() || word[same] < other[same])
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

/// Lower-case words with one space before, between and after, so that a phrase can be looked for with its edges.
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

/// The words of a text in lower case. A hump in camel case begins a word; what is not ASCII is taken for letters.
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

/// Words without a meaning of their own that may be shown: one text, because a list of texts is twice the size.
const SHOWN: &str = "\
    a aborted about accept accepted accessdenied add admin administrator after again ago already also although an \
    and another any appears are as at attempt attempted attempts auth authenticate authenticated authentication \
    authenticator authenticity authorisation authorised authorization authorize authorized automatically back basic \
    be bearer because been before being belong belongs body bound bucket but by cache call caller can canceled \
    cancelled case cause change changed changes chars check claim claims cluster common completed condition \
    conditional configured connect connection contact contacted contains content cors could create created \
    credential credentials current currently data database date day days decode decoded decrypt decrypted delete \
    denied deny detected developer did different digest do doc docs document documentation does domain don down due \
    duplicate during each edge either elapsed encountered end enforced enough ensure entity error errors escalated \
    event exception existing expected expiration expires expiry external fail failed failing failure fault few \
    fields first flagged flow for forbidden format from further gateway generic get given go granted grants had \
    handle has have header help here host hour hours how http https hub if illegal implemented in includes \
    incompatible incomplete inconsistent information infrastructure inner instance insufficient integrity \
    interactive into invalidation invalidgrant invoke is isolated issue issued issues it its just jwks kind last \
    later least length less lifetime link list live ll lock log logged logins logout logs long lookup lost make \
    manager mandatory match matches matching maximum may message method minute minutes mode modified monthly more \
    most multi must name named needed needs network new next nil none notauthorized note notice now null number \
    oauth object of off offline offset old on once one only open operation or org organisation organization \
    original other our out outside over overall own owned page parse parsed part partner party passed path per \
    period permanently please point policies policy portal precondition presented prevent previous previously \
    problem process processed processing prohibited project prompt property protected protocol provide provided \
    provider proxy public query queue rate re reached read reason received record rejected rejects related relogin \
    removed renew renewed replaced replica request requested requests require required requires response responses \
    restricted result retries revocation role roles rotation routing rule s same save seconds security see send \
    sensitive sent serialization server service serving sessions set settings should sign signed since single so \
    some something soon source start started status still stop store stored subject success successful such \
    supplied support system t take task team tenants test than that the their them then there these they this those \
    through time times to too trace trust try trying unable unauthenticated unauthorised unauthorized under \
    unimplemented unique unless unprocessable unreachable unsuccessful until update updated upstream uri url usage \
    use useful users using validation value values ve verified verify version via violation visit waf wait was we \
    web were what when where which while who will window with within without work workflow workspace would yet you \
    your yours \
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_they_can_be_searched() {
        assert!(MEANINGS.windows(2).all(|w| w[0].0 < w[1].0));
        let shown: Vec<&str> = SHOWN.split_ascii_whitespace().collect();
        assert!(shown.windows(2).all(|w| w[0] < w[1]));
        let all = || MEANINGS.iter().map(|entry| entry.0).chain(shown.iter().copied());
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

//! What a provider means beyond the RFCs is data: rules of one profile, read from JSON, that no
//! code names.

use super::Verdict;
use super::find_codes::Found;
use super::json::Json;
use crate::json;
use crate::layers::Layers;

/// The rules of one profile: the `rules` member of a profile in `providers.json`. Everything may be
/// left out; the default is the generic rules alone.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Where a code more exact than `error` stands.
    pub sub_codes: SubCodes,
    /// Asked in order before the generic rules; the first that fits decides. No rule can make an
    /// HTML page, a 429, a 5xx or a lost answer terminal.
    pub rules: Vec<Rule>,
    /// Codes, in snake case, that say no more at this provider than the HTTP status.
    pub status_words: Vec<String>,
    /// Used only where an answer with a JSON or empty body holds no code and no telling message.
    pub status_rule: StatusRule,
    /// Where the tokens stand in a success.
    pub fields: Fields,
}

/// Where a provider's more exact codes stand.
#[derive(Debug, Clone, Default)]
pub struct SubCodes {
    /// JSON pointers to a text, a number, or a list of them: `/error_codes`.
    pub at: Vec<String>,
    /// In a message one of these words with digits behind it is a sub-code: `AADSTS`. Numbers found
    /// by [`Self::at`] get the first of them too.
    pub prefixes: Vec<String>,
}

/// One rule. It fits when every list that is not empty holds something the answer has; without any
/// it never fits.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Kebab-case name, the evidence for a person: `aadsts-interaction`.
    pub name: String,
    /// What the answer means.
    pub verdict: Verdict,
    /// HTTP statuses.
    pub status: Vec<u16>,
    /// Error codes in snake case: `NotAuthorizedException` is written `not_authorized_exception`.
    pub code: Vec<String>,
    /// Sub-codes as sent, with their prefix; `*` stands for any.
    pub sub_code: Vec<String>,
    /// Phrases of whole words in a message, lower case, one space between words, no punctuation.
    pub text: Vec<String>,
    /// One sentence for the person who reads the verdict.
    pub why: Option<String>,
}

/// Verdicts by HTTP status alone.
#[derive(Debug, Clone, Default)]
pub struct StatusRule {
    /// Statuses that end the grant.
    pub terminal: Vec<u16>,
    /// Statuses that a setting causes.
    pub config: Vec<u16>,
    /// Statuses that pass.
    pub transient: Vec<u16>,
    /// Statuses that say nothing, against the generic rule.
    pub unknown: Vec<u16>,
}

/// Where the tokens stand in a success. Names that are left out are those of RFC 6749, also in
/// camel case.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// JSON pointers to the objects that may hold the tokens, the first with an access token wins.
    pub within: Vec<String>,
    /// Member name of the access token.
    pub access_token: Option<String>,
    /// Member name of the refresh token.
    pub refresh_token: Option<String>,
    /// Member name of the lifetime or the end of it.
    pub expires_in: Option<String>,
    /// What that number counts.
    pub expires_unit: Unit,
    /// Member name of the granted scope.
    pub scope: Option<String>,
    /// Member name of the token type.
    pub token_type: Option<String>,
    /// Member name of the ID token.
    pub id_token: Option<String>,
}

/// What an expiry counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// `s`: seconds from now.
    #[default]
    S,
    /// `ms`: milliseconds from now.
    Ms,
    /// `epoch-s`: seconds since 1970.
    EpochS,
    /// `epoch-ms`: milliseconds since 1970.
    EpochMs,
}

impl SubCodes {
    /// The sub-codes of an answer, those at a known place first.
    pub(super) fn find(&self, json: Option<&Json<'_>>, found: &Found<'_>) -> Vec<String> {
        const LONGEST: usize = 64;
        let mut sub_codes: Vec<String> = Vec::new();
        let mut add = |code: String| {
            if !code.is_empty() && code.len() <= LONGEST && !sub_codes.contains(&code) {
                sub_codes.push(code);
            }
        };
        let prefix = self.prefixes.first().map_or("", String::as_str);
        for value in self.at.iter().filter_map(|pointer| json?.pointer(pointer)) {
            let items =
                if let Json::List(items) = value { &items[..items.len().min(4)] } else { std::slice::from_ref(value) };
            for item in items {
                match (item.text(), item.whole_number()) {
                    (Some(text), _) => add(text.into()),
                    (None, Some(number)) => add(format!("{prefix}{number}")),
                    _ => {}
                }
            }
        }
        for (message, prefix) in
            found.messages.iter().flat_map(|message| self.prefixes.iter().map(move |of| (message, of)))
        {
            if let Some((_, rest)) = message.sent.split_once(prefix).filter(|_| !prefix.is_empty()) {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                if (1..=9).contains(&digits) {
                    add(format!("{prefix}{}", &rest[0..digits]));
                }
            }
        }
        sub_codes
    }
}

/// A rule that fits, with the codes it was about.
pub(super) struct Fit<'r> {
    pub(super) rule: &'r Rule,
    /// Index into the codes of the answer.
    pub(super) code: Option<usize>,
    pub(super) sub_code: Option<String>,
}

impl Rules {
    /// The first rule that fits.
    pub(super) fn fit(&self, status: u16, found: &Found<'_>, sub_codes: &[String]) -> Option<Fit<'_>> {
        self.rules.iter().find_map(|rule| rule.fit(status, found, sub_codes))
    }
}

impl Rule {
    fn fit(&self, status: u16, found: &Found<'_>, sub_codes: &[String]) -> Option<Fit<'_>> {
        if self.code.is_empty() && self.sub_code.is_empty() && self.text.is_empty() {
            return None;
        }
        if !self.status.is_empty() && !self.status.contains(&status) {
            return None;
        }
        let code = found.codes.iter().position(|code| self.code.contains(&code.name));
        let any = self.sub_code.iter().any(|own| own == "*");
        let sub_code = sub_codes.iter().find(|sub| any || self.sub_code.contains(sub));
        let said =
            || self.text.iter().any(|phrase| found.messages.iter().any(|message| has_phrase(message.plain(), phrase)));
        let fits = (self.code.is_empty() || code.is_some())
            && (self.sub_code.is_empty() || sub_code.is_some())
            && (self.text.is_empty() || said());
        fits.then(|| Fit { rule: self, code, sub_code: sub_code.cloned() })
    }
}

fn has_phrase(plain: &str, phrase: &str) -> bool {
    let mut rest = plain;
    while let Some((before, after)) = rest.split_once(phrase) {
        if before.ends_with(' ') && after.starts_with(' ') {
            return true;
        }
        rest = after;
    }
    false
}

impl StatusRule {
    pub(super) fn verdict(&self, status: u16) -> Option<Verdict> {
        let lists = [
            (&self.unknown, Verdict::Unknown),
            (&self.transient, Verdict::Transient),
            (&self.config, Verdict::Config),
            (&self.terminal, Verdict::Terminal),
        ];
        lists.into_iter().find(|(list, _)| list.contains(&status)).map(|(_, verdict)| verdict)
    }
}

/// Reading. A member nobody asks for is refused: a misspelt rule must not be ignored.
impl Rules {
    /// Rules written as JSON.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value = json::check(text).map_err(|error| error.to_string())?;
        Layers::read(vec![value], Self::read).map_err(|misread| misread.to_string())
    }

    /// The rules of a profile that may be laid over another one.
    pub fn read(layers: &Layers<'_>) -> Self {
        layers.only(&["sub_codes", "rules", "status_words", "status_rule", "fields"]);
        let sub_codes = layers.object("sub_codes");
        sub_codes.only(&["at", "prefix"]);
        // One word, or a list of them.
        let prefixes = match sub_codes.one("prefix").and_then(|prefix| prefix.as_str()) {
            Some(prefix) => vec![prefix],
            None => sub_codes.texts("prefix"),
        };
        let status_rule = layers.object("status_rule");
        status_rule.only(&["terminal", "config", "transient", "unknown"]);
        Self {
            sub_codes: SubCodes { at: sub_codes.texts("at"), prefixes },
            rules: layers.items("rules").iter().map(Rule::read).collect(),
            status_words: layers.texts("status_words"),
            status_rule: StatusRule {
                terminal: status_rule.statuses("terminal"),
                config: status_rule.statuses("config"),
                transient: status_rule.statuses("transient"),
                unknown: status_rule.statuses("unknown"),
            },
            fields: Fields::read(&layers.object("fields")),
        }
    }
}

impl Rule {
    fn read(layers: &Layers<'_>) -> Self {
        layers.only(&["name", "verdict", "status", "code", "sub_code", "text", "why"]);
        // No rule makes a success: only an access token does.
        let verdicts = [Verdict::Terminal, Verdict::Interaction, Verdict::Config, Verdict::Transient, Verdict::Unknown];
        Self {
            name: layers.text("name"),
            verdict: layers.one_of("verdict", verdicts.map(Verdict::word), verdicts),
            status: layers.statuses("status"),
            code: layers.texts("code"),
            sub_code: layers.texts("sub_code"),
            text: layers.texts("text"),
            why: layers.maybe_text("why"),
        }
    }
}

impl Fields {
    fn read(layers: &Layers<'_>) -> Self {
        layers.only(&[
            "within",
            "access_token",
            "refresh_token",
            "expires_in",
            "expires_unit",
            "scope",
            "token_type",
            "id_token",
        ]);
        let units = [Unit::S, Unit::Ms, Unit::EpochS, Unit::EpochMs];
        Self {
            within: layers.texts("within"),
            access_token: layers.maybe_text("access_token"),
            refresh_token: layers.maybe_text("refresh_token"),
            expires_in: layers.maybe_text("expires_in"),
            expires_unit: if layers.one("expires_unit").is_some() {
                layers.one_of("expires_unit", ["s", "ms", "epoch-s", "epoch-ms"], units)
            } else {
                Unit::S
            },
            scope: layers.maybe_text("scope"),
            token_type: layers.maybe_text("token_type"),
            id_token: layers.maybe_text("id_token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_fits_only_at_word_edges() {
        assert!(has_phrase(" refresh token is invalid ", "token is invalid"));
        assert!(!has_phrase(" refresh token is invalidated ", "token is invalid"));
    }

    #[test]
    fn a_rule_without_conditions_never_fits() {
        let rules = Rules::parse(r#"{"rules":[{"name":"all","verdict":"terminal","status":[400]}]}"#).expect("rules");
        assert!(rules.fit(400, &Found::default(), &[]).is_none());
    }

    #[test]
    fn a_misspelt_rule_is_refused_instead_of_ignored() {
        for (text, why) in [
            (r#"{"rule":[]}"#, "rule"),
            (r#"{"rules":[{"name":"x","verdict":"dead"}]}"#, "one of terminal"),
            (r#"{"rules":[{"name":"x","verdict":"refreshed"}]}"#, "one of terminal"),
            (r#"{"rules":[{"verdict":"terminal"}]}"#, "`rules[0].name` is missing"),
            (r#"{"status_rule":{"terminal":["400"]}}"#, "`status_rule.terminal`"),
            (r#"{"status_rule":{"terminal":[70000]}}"#, "HTTP statuses"),
            (r#"{"fields":{"expires_unit":"minutes"}}"#, "epoch-ms"),
            ("[]", "object"),
            ("{", "ends"),
        ] {
            let error = Rules::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

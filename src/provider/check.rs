//! A profile that cannot work is refused when it is loaded, not when it has cost a login.
//!
//! What a refresh writes is what the next one reads: a successor that is written elsewhere is lost,
//! and the spent token is sent again.

use super::{ClientAuth, ExpiryAt, Field, Layout, Profile, Source, client_secret};

/// What a refresh request says by itself.
const OF_REQUEST: [&str; 3] = ["grant_type", "refresh_token", "client_id"];
/// What the HTTP client or the shape of the request says by itself.
const OF_HTTP: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "content-encoding", "expect"];
/// What a login in the browser says by itself.
#[cfg(feature = "admin")]
const OF_LOGIN: [&str; 7] =
    ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];

/// Why the profile cannot work, if so.
pub(super) fn can_work(profile: &Profile) -> Result<(), String> {
    layout("login", &profile.login)?;
    layout("entry", &profile.entry)?;
    request(profile)?;
    client_secret::check(profile)?;
    #[cfg(feature = "admin")]
    authorization(profile)?;
    Ok(())
}

fn request(profile: &Profile) -> Result<(), String> {
    let shape = &profile.request;
    for (name, _) in shape.parameters.iter() {
        let is_secret = name.eq_ignore_ascii_case("client_secret") && profile.client_auth != ClientAuth::None;
        if is_secret || is_among(name, &OF_REQUEST) {
            return Err(format!("`request.parameters` must not name `{name}`, which each request has by itself"));
        }
    }
    for (name, _) in shape.headers.iter() {
        let is_authorization = name.eq_ignore_ascii_case("authorization") && profile.client_auth == ClientAuth::Basic;
        if is_authorization || is_among(name, &OF_HTTP) {
            return Err(format!("`request.headers` must not name `{name}`, which each request has by itself"));
        }
    }
    if let Some(header) = &shape.refresh_token_header {
        let is_taken = is_among(header, &OF_HTTP)
            || is_among(header, &["accept", "user-agent"])
            || shape.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header))
            || header.eq_ignore_ascii_case("authorization") && profile.client_auth == ClientAuth::Basic;
        if is_taken {
            return Err(format!("`request.refresh_token_header` is `{header}`, which is another header already"));
        }
    }
    Ok(())
}

/// Whether a layout is read where it is written.
pub(crate) fn layout(name: &str, layout: &Layout) -> Result<(), String> {
    let tokens = [("access_token", &layout.access_token), ("refresh_token", &layout.refresh_token)];
    for (token, at) in tokens {
        if !is_pointer(at) {
            return Err(format!(
                "`{name}.{token}` is `{at}`, which is no pointer to a member, as `/tokens/{token}` is"
            ));
        }
    }
    if overlap(&layout.access_token, &layout.refresh_token) {
        return Err(format!("`{name}` keeps the access token and the refresh token in the same place"));
    }
    for ((token, at), field) in tokens.into_iter().zip([Field::AccessToken, Field::RefreshToken]) {
        if !matches!(layout.write.get(at), Some(Source::Field(written)) if *written == field) {
            return Err(format!(
                "`{name}.{token}` is read at `{at}`, and a refresh does not write it there: `{name}.write` must have \
                 \"{at}\": \"{token}\""
            ));
        }
    }
    for (at, source) in layout.write.iter() {
        if !is_pointer(at) {
            return Err(format!("`{name}.write` names `{at}`, which is no pointer to a member"));
        }
        if let Some((other, _)) = layout.write.iter().find(|(other, _)| *other != at && overlap(at, other)) {
            return Err(format!("`{name}.write` writes `{at}` and `{other}`, and one lies in the other"));
        }
        let is_token = matches!(source, Source::Field(Field::AccessToken | Field::RefreshToken));
        if is_token && !layout.erase.iter().any(|(erased, _)| is_in(at, erased)) {
            return Err(format!(
                "`{name}.write` puts a token at `{at}`, and `{name}.erase` does not take it out of there"
            ));
        }
    }
    layout.expiry.iter().try_for_each(|expiry| ends(name, layout, expiry))
}

/// Whether a token's end is read as it is written.
fn ends(name: &str, layout: &Layout, expiry: &ExpiryAt) -> Result<(), String> {
    let is_written = |at: &str, fields: &[Field]| match layout.write.get(at) {
        Some(Source::Field(field)) => fields.contains(field),
        _ => true,
    };
    let (at, is_well) = match expiry {
        ExpiryAt::Moment { at } => (at, is_written(at, &[Field::ExpiresAtRfc3339, Field::ExpiresAtMs])),
        ExpiryAt::Lifetime { seconds, since } => {
            if layout.write.contains_key(seconds) && !layout.write.contains_key(since) {
                return Err(format!(
                    "`{name}.write` writes the lifetime `{seconds}` and not `{since}`, from which it is counted"
                ));
            }
            let is_now = is_written(since, &[Field::NowRfc3339, Field::NowRfc3339Z]);
            (seconds, is_now && is_written(seconds, &[Field::ExpiresInS]))
        }
    };
    if is_well {
        Ok(())
    } else {
        Err(format!("`{name}.expiry` reads `{at}`, and `{name}.write` writes something else"))
    }
}

#[cfg(feature = "admin")]
fn authorization(profile: &Profile) -> Result<(), String> {
    for (name, _) in profile.authorization.parameters.iter() {
        if is_among(name, &OF_LOGIN) {
            return Err(format!("`authorization.parameters` must not name `{name}`, which each login has by itself"));
        }
    }
    let tokens = [&profile.login.access_token, &profile.login.refresh_token];
    for (at, _) in profile.authorization.login.iter() {
        if tokens.iter().any(|token| overlap(at, token)) {
            return Err(format!("`authorization.login` puts something at `{at}`, where a token belongs"));
        }
    }
    Ok(())
}

fn is_among(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn is_pointer(at: &str) -> bool {
    at.starts_with('/') && at.len() > 1
}

/// Whether `at` is `object`, or lies in it.
fn is_in(at: &str, object: &str) -> bool {
    at.strip_prefix(object).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn overlap(one: &str, other: &str) -> bool {
    is_in(one, other) || is_in(other, one)
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;

    /// What is said of a profile with these members beside its endpoint.
    fn said(more: &str) -> Result<(), String> {
        let text = format!(r#"{{"profiles":{{"a":{{"token_endpoint":"https://a.example/t",{more}}}}}}}"#);
        Catalog::new(Some(&text)).unwrap().profile("a").map(drop).map_err(|error| error.0)
    }

    #[test]
    fn a_profile_that_cannot_work_is_refused_with_the_member() {
        for (more, wanted) in [
            (r#""login":{"refresh_token":"/tokens/rt"}"#, r#"must have "/tokens/rt": "refresh_token""#),
            (r#""login":{"access_token":"/at"}"#, r#"must have "/at": "access_token""#),
            (r#""entry":{"refresh_token":"/rt"}"#, "`entry.refresh_token` is read at `/rt`"),
            (
                r#""login":{"write":{"/tokens/access_token":"access_token","/tokens/refresh_token":"access_token"}}"#,
                "must have",
            ),
            (r#""login":{"write":{"/tokens/access_token":"access_token"}}"#, "`/tokens/refresh_token`"),
            (
                r#""login":{"write":{"/tokens/access_token":"access_token","/tokens/refresh_token":{"value":"x"}}}"#,
                "must have",
            ),
            (r#""login":{"refresh_token":"/tokens/access_token"}"#, "the same place"),
            (r#""login":{"refresh_token":""}"#, "no pointer"),
            (r#""login":{"refresh_token":"tokens"}"#, "no pointer"),
            (r#""login":{"erase":["/tokens/access_token"]}"#, "does not take it out"),
            (
                r#""login":{"write":{"/tokens/access_token":"access_token","/tokens/refresh_token":"refresh_token","/tokens":{"value":1}}}"#,
                "one lies in the other",
            ),
            (
                r#""login":{"write":{"/tokens/access_token":"access_token","/tokens/refresh_token":"refresh_token","/backup":"refresh_token"}}"#,
                "`/backup`",
            ),
            (
                r#""login":{"write":{"/tokens/access_token":"access_token","/tokens/refresh_token":"refresh_token","/tokens/expires_in":"expires_in_s"}}"#,
                "from which it is counted",
            ),
            (
                r#""login":{"write":{"/tokens/access_token":"access_token","/tokens/refresh_token":"refresh_token","/tokens/expires_at":"scope"}}"#,
                "writes something else",
            ),
            (r#""request":{"parameters":{"grant_type":"x"}}"#, "`grant_type`"),
            (r#""request":{"parameters":{"refresh_token":"x"}}"#, "`refresh_token`"),
            (r#""request":{"parameters":{"Client_Id":"x"}}"#, "`Client_Id`"),
            (r#""client_auth":"body","request":{"parameters":{"client_secret":"x"}}"#, "`client_secret`"),
            (r#""request":{"headers":{"Content-Length":"1"}}"#, "`Content-Length`"),
            (r#""client_auth":"basic","request":{"headers":{"authorization":"x"}}"#, "`authorization`"),
            (r#""request":{"refresh_token_header":"Host"}"#, "`Host`"),
            (r#""request":{"refresh_token_header":"x-rt","headers":{"X-Rt":"1"}}"#, "`x-rt`"),
        ] {
            let error = said(more).unwrap_err();
            assert!(
                error.starts_with("the profile `a` in providers.json: ") && error.contains(wanted),
                "{more}: {error}"
            );
        }
    }

    #[test]
    fn a_profile_that_says_all_of_a_layout_is_taken() {
        for more in [
            r#""login":{"refresh_token":"/rt","write":{"/rt":"refresh_token","/tokens/access_token":"access_token"},"erase":["/rt","/tokens"]}"#,
            r#""request":{"parameters":{"client_secret":"s","redirect_uri":"https://a.example/","scope":"s"},"refresh_token_header":"x-rt"}"#,
        ] {
            assert_eq!(said(more), Ok(()), "{more}");
        }
    }

    #[cfg(feature = "admin")]
    #[test]
    fn a_login_that_cannot_work_is_refused_too() {
        for (more, wanted) in [
            (r#""authorization":{"parameters":{"state":"x"}}"#, "`state`"),
            (r#""authorization":{"login":{"/tokens":{}}}"#, "where a token belongs"),
        ] {
            let error = said(more).unwrap_err();
            assert!(error.contains(wanted), "{more}: {error}");
        }
    }
}

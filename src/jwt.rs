//! A JWT is read for its times only. Nothing here verifies it: the resource server does.

use crate::encoding::from_base64;
use crate::json;
use crate::time;

/// The registered time claims (RFC 7519 section 4.1), in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// `exp`
    pub(crate) expires_at_ms: Option<u64>,
    /// `iat`
    pub(crate) issued_at_ms: Option<u64>,
}

/// The times of a token that looks like a JWT; nothing for any other.
pub(crate) fn times(token: &str) -> Times {
    let read = || {
        let text = claims(token)?;
        let claims = json::check(&text).ok()?;
        let moment = |name| claims.get(name).and_then(time::from_json);
        Some(Times { expires_at_ms: moment("exp"), issued_at_ms: moment("iat") })
    };
    read().unwrap_or_default()
}

/// What a token that looks like a JWT claims: a text that should be JSON, and that anybody may have
/// written.
pub(crate) fn claims(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    String::from_utf8(from_base64(payload)?).ok()
}

/// What a token calls its owner: an e-mail address or a name.
pub(crate) fn owner(token: &str) -> Option<String> {
    let text = claims(token)?;
    let claims = json::check(&text).ok()?;
    let names = ["email", "preferred_username", "upn"].into_iter();
    names.filter_map(|claim| claims.get(claim)?.as_str()).find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_anything_else_has_none() {
        // {"iat":1784541600,"exp":1784545200.5}
        let token = "e30.eyJpYXQiOjE3ODQ1NDE2MDAsImV4cCI6MTc4NDU0NTIwMC41fQ.c2ln";
        assert_eq!(
            times(token),
            Times { expires_at_ms: Some(1_784_545_200_500), issued_at_ms: Some(1_784_541_600_000) }
        );
        for token in ["", "opaque", "a.b", "a.b.c", "a.e30.c", "a.bnVsbA.c", "sk-ant-oat01-x.y.z.w"] {
            assert_eq!(times(token), Times::default(), "{token}");
        }
    }
}

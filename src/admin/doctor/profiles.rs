//! Every profile of the user's own file can be used, also one that the vault has no need of yet:
//! the next login may have.

use crate::error::KeeperError;
use crate::ports::Ports;
use crate::provider::Profile;
use crate::session::Session;

use super::{FindingCode, Findings, Help, Level, ProviderView};

pub(crate) fn look_over_profiles<P: Ports>(
    session: &Session<P>,
    held: &[ProviderView],
    findings: &mut Findings,
) -> Result<(), KeeperError> {
    for id in super::own_profiles(session) {
        let profile = session.profile_or_generic(&id)?;
        if let Some(wrong) = &profile.wrong {
            // It names the profile itself. The host knows the file.
            findings.of_provider_said(&id, Level::Error, FindingCode::ProfileWrong, wrong.0.clone(), Help::NONE);
            continue;
        }
        let open = plain_http(&profile);
        if !open.is_empty() {
            let is_used = held.iter().any(|held| held.profile.id == id && held.has_oauth());
            let level = if is_used { Level::Warning } else { Level::Ok };
            let what = format!("plain http is in its {}: only a host that was told to sends there", open.join(", "));
            findings.of_provider(&id, level, FindingCode::PlainHttp, &what, Help::NONE);
        }
    }
    Ok(())
}

/// The members of a profile that name an address without TLS. One beyond this machine is refused as
/// wrong.
fn plain_http(profile: &Profile) -> Vec<&'static str> {
    let login = &profile.authorization;
    let named = [
        ("`token_endpoint`", Some(&profile.token_endpoint)),
        ("`device_authorization_endpoint`", login.device_authorization_endpoint.as_ref()),
        ("`authorization_endpoint`", login.authorization_endpoint.as_ref()),
        ("`revocation_endpoint`", login.revocation_endpoint.as_ref()),
    ];
    let open = named.into_iter().filter(|(_, url)| url.is_some_and(|url| is_plain_http(url)));
    open.map(|(name, _)| name).collect()
}

pub(super) fn is_plain_http(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
}

//! The form of the reference's vault (`auth.json`): logins in `providers`, pools in
//! `credential_pool`. One bad row never spoils the rest.
//!
//! Where in a login or an entry the tokens lie is data: the [`Layout`](crate::provider::Layout)s of
//! the provider's [`Profile`].

use std::collections::BTreeSet;

use crate::json::{Fields, Kind, Value};
use crate::provider::Profile;

use super::place::{Place, Spot, place};

/// Whether it is the reference's vault, whatever else is in it; or one that holds nothing but what
/// only the reference writes, or nothing at all.
pub(super) fn is_its_form(top: &Fields<'_>) -> bool {
    const BESIDE: [&str; 4] = ["version", "updated_at", "active_provider", "suppressed_sources"];
    let is_empty = || top.members.iter().all(|member| BESIDE.iter().any(|name| member.key.is_str(name)));
    top.get("providers").or_else(|| top.get("credential_pool")).is_some() || is_empty()
}

/// The ids of all providers a vault names.
pub(super) fn providers(top: &Fields<'_>) -> Vec<String> {
    let sections = ["providers", "credential_pool"].into_iter().filter_map(|name| top.get(name));
    let ids = sections.flat_map(|section| section.members()).map(|member| member.key.as_str().unwrap_or_default());
    BTreeSet::from_iter(ids).into_iter().collect()
}

/// Every place of one provider, in the order of the text.
pub(super) fn places(top: &Fields<'_>, profile: &Profile, warnings: &mut Vec<String>) -> Vec<Place> {
    let mut places = Vec::new();
    if let Some(login) = section(top, "providers", warnings).and_then(|section| section.get(&profile.id)) {
        if login.kind() == Kind::Object {
            let (login, name) = (Fields::of(login), || format!("providers.{}", profile.id));
            places.push(place(&login, Spot::Login, &profile.login, &name, warnings));
        } else {
            warnings.push(format!("`providers.{}` is {}, not an object: it is ignored", profile.id, login.kind()));
        }
    }
    if let Some(pool) = section(top, "credential_pool", warnings).and_then(|section| section.get(&profile.id)) {
        if pool.kind() != Kind::Array {
            warnings.push(format!("`credential_pool.{}` is {}, not a list: it is ignored", profile.id, pool.kind()));
        }
        for (index, entry) in pool.fields_of_items().enumerate() {
            if entry.kind() == Kind::Object {
                let name = || format!("entry {index} of credential_pool.{}", profile.id);
                places.push(place(&entry, Spot::Entry(index), &profile.entry, &name, warnings));
            } else {
                warnings.push(format!(
                    "entry {index} of `credential_pool.{}` is {}, not an object: it is ignored",
                    profile.id,
                    entry.kind()
                ));
            }
        }
    }
    places
}

/// The object at a spot.
pub(super) fn node<'a>(top: &Fields<'a>, provider: &str, spot: Spot) -> Option<Value<'a>> {
    match spot {
        Spot::Login => top.get("providers")?.get(provider),
        Spot::Entry(index) => top.get("credential_pool")?.get(provider)?.items().nth(index),
    }
    .filter(|node| node.kind() == Kind::Object)
}

/// The list of a provider's entries.
pub(super) fn pool<'a>(top: &Fields<'a>, provider: &str) -> Option<Value<'a>> {
    top.get("credential_pool")?.get(provider).filter(|pool| pool.kind() == Kind::Array)
}

fn section<'a>(top: &Fields<'a>, name: &str, warnings: &mut Vec<String>) -> Option<Value<'a>> {
    let section = top.get(name)?;
    if section.kind() != Kind::Object {
        let warning = format!("`{name}` is {}, not an object: it is ignored", section.kind());
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
        return None;
    }
    Some(section)
}

#[cfg(test)]
mod tests {
    use super::super::{Credential, Provenance, Vault};
    use crate::provider::Catalog;

    #[test]
    fn bad_rows_and_bad_fields_are_named_and_spoil_nothing() {
        let text = r#"{"providers":{"xai-oauth":7},"credential_pool":{"xai-oauth":[5,{"id":3,"access_token":9,"auth_type":"oauth"},
            {"id":"ok","auth_type":"api_key","access_token":"key"}]}}"#;
        let profile = Catalog::new(None).unwrap().profile("xai-oauth").unwrap().unwrap();
        let reading = Vault::open(text, &Provenance::default()).unwrap().read(&profile);
        let ids: Vec<_> = reading.credentials.iter().map(Credential::id).collect();
        assert_eq!(ids, ["#1", "ok"]);
        assert_eq!(reading.warnings.len(), 4, "{:?}", reading.warnings);
    }
}

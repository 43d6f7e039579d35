//! The credentials of one provider: a login with the entries copied from it, and the entries of
//! their own.

use crate::provider::Profile;

use super::place::{LOGIN, Place, Spot};

/// One credential: a login with the entries copied from it, or an entry of its own.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The profile's id.
    pub provider: String,
    /// Where it lies; the one that leads comes first. Never empty.
    pub places: Vec<Place>,
}

impl Credential {
    /// The place whose tokens count.
    pub fn leading(&self) -> &Place {
        &self.places[0]
    }

    /// The id it is addressed by: `login`, or its entry's.
    pub fn id(&self) -> &str {
        let place = self.places.iter().find(|place| place.spot == Spot::Login).unwrap_or(self.leading());
        &place.id
    }

    /// Whether a person means this one by `name`: an id, or a label in any case.
    pub fn answers_to(&self, name: &str) -> bool {
        self.places.iter().any(|place| place.id == name || place.label.eq_ignore_ascii_case(name))
    }

    /// Whether it is the provider's own login.
    pub fn is_login(&self) -> bool {
        self.id() == LOGIN
    }
}

/// What a vault holds of one provider.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// By priority; the login stands where its first copy does, before everything if it has none.
    pub credentials: Vec<Credential>,
    /// What could not be read as it should be.
    pub warnings: Vec<String>,
}

/// The credentials that one provider's places make.
pub(super) fn of_places(places: Vec<Place>, profile: &Profile) -> Vec<Credential> {
    let (mut of_login, own): (Vec<Place>, Vec<Place>) =
        places.into_iter().partition(|place| place.spot == Spot::Login || is_seeded(place, profile));
    // Copies without a login behind them are credentials like any other.
    let (copies, own) = if of_login.iter().any(|place| place.spot == Spot::Login) {
        (of_login, own)
    } else {
        of_login.extend(own);
        (Vec::new(), of_login)
    };
    let rank = |credential: &Credential| {
        let entries = credential.places.iter().filter(|place| place.spot != Spot::Login);
        entries.map(|place| (place.priority, place.spot)).min()
    };
    let credential = |mut places: Vec<Place>| {
        // The later issued leads; the first, which is the login, where there is nothing to tell
        // them apart.
        let weight = |place: &Place| (place.refresh_token.is_some(), !place.is_empty(), place.issued_at_ms);
        let leading =
            (1..places.len()).fold(0, |best, at| if weight(&places[at]) > weight(&places[best]) { at } else { best });
        places.swap(0, leading);
        Credential { provider: profile.id.clone(), places }
    };
    let login = (!copies.is_empty()).then(|| credential(copies));
    let mut all: Vec<Credential> =
        login.into_iter().chain(own.into_iter().map(|place| credential(vec![place]))).collect();
    all.sort_by_key(rank);
    all
}

/// Whether an entry is a copy of its provider's login.
pub fn is_seeded(place: &Place, profile: &Profile) -> bool {
    matches!(place.spot, Spot::Entry(_)) && profile.seeded_sources.contains(&place.source)
}

#[cfg(test)]
mod tests {
    use super::super::{Provenance, Vault};
    use super::*;
    use crate::provider::Catalog;
    use crate::secret::Secret;

    #[test]
    fn a_login_and_its_copy_are_one_credential_and_the_later_issued_leads() {
        let text = r#"{"providers":{"xai-oauth":{"tokens":{"access_token":"a1","refresh_token":"r1"},"last_refresh":"2026-01-01T00:00:00Z"}},
            "credential_pool":{"xai-oauth":[
                {"id":"aa","auth_type":"oauth","source":"manual:device_code","refresh_token":"r9","access_token":"a9","priority":0},
                {"id":"bb","auth_type":"oauth","source":"device_code","refresh_token":"r2","access_token":"a2","priority":1,"last_refresh":"2026-01-02T00:00:00Z"}]}}"#;
        let profile = Catalog::new(None).unwrap().profile("xai-oauth").unwrap().unwrap();
        let reading = Vault::open(text, &Provenance::default()).unwrap().read(&profile);
        let ids: Vec<_> = reading.credentials.iter().map(Credential::id).collect();
        assert_eq!(ids, ["aa", "login"]);
        assert_eq!(reading.credentials[1].leading().refresh_token, Some(Secret::from("r2")));
        assert!(reading.credentials[1].answers_to("bb"));
        assert!(reading.warnings.is_empty(), "{:?}", reading.warnings);
    }
}

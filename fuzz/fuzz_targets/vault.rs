//! Any text at all as a vault: it is read without a panic, and an edit changes what it names and nothing else.
#![no_main]

use std::sync::LazyLock;

use lazaretto::provider::{Catalog, Profile};
use lazaretto::secret::Secret;
use lazaretto::vault::edit::Edits;
use lazaretto::vault::{Fresh, Provenance, Spot, Vault};
use libfuzzer_sys::fuzz_target;

static PROFILES: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    let catalog = Catalog::new(None).expect("the built-in profiles");
    let profile = |id: &str| catalog.profile(id).expect("a good profile").expect("it is there");
    ["xai-oauth", "nous", "anthropic"].map(profile).into()
});

/// Layouts that a person may state of any text.
const STATED: [&str; 5] = ["hermes", "codex", "claude-code", "hermes-nous", "opencode"];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    for stated in STATED {
        one(text, &Provenance::stated(stated));
    }
});

fn one(text: &str, known: &Provenance) {
    let Ok(vault) = Vault::open(text, known) else { return };
    for profile in PROFILES.iter() {
        let reading = vault.read(profile);
        for place in reading.credentials.iter().flat_map(|credential| &credential.places) {
            let node = vault.node(&profile.id, place.spot).expect("it was just read");
            let fresh = Fresh {
                access_token: Secret::from("a-fresh-access-token"),
                refresh_token: Some(Secret::from("a-fresh-refresh-token")),
                expires_in_s: Some(3_600),
                scope: None,
                token_type: None,
                id_token: None,
                received_at_ms: 1_784_541_600_000,
            };
            let mut edits = Edits::default();
            if vault.write_tokens(&mut edits, node, place.spot, profile, &fresh).is_err() {
                continue;
            }
            let edited = edits.apply(text);
            let after = Vault::open(&edited, known).expect("still JSON");
            let now = after.places(profile, &mut Vec::new());
            let written = now.iter().find(|now| now.spot == place.spot).expect("still there");
            assert_eq!(written.refresh_token, fresh.refresh_token);
            // What lies before the edited place, and every other place, is as it was.
            let start = node.span().start;
            assert_eq!(edited.as_bytes()[..start], text.as_bytes()[..start]);
            for other in now.iter().filter(|now| now.spot != place.spot) {
                let (before, after) = (vault.node(&profile.id, other.spot), after.node(&profile.id, other.spot));
                if place.spot != Spot::Login || other.spot != Spot::Login {
                    assert_eq!(before.map(|node| node.raw().to_owned()), after.map(|node| node.raw().to_owned()));
                }
            }
        }
    }
}

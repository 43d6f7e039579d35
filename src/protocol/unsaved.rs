//! What a caller keeps while new tokens can be stored nowhere.

use crate::json::{self, Object};
use crate::layers::Layers;
use crate::secret::Secret;
use crate::state::document;
use crate::state::fingerprint::Fingerprint;
use crate::state::sealed::Successor;

pub(crate) struct Unsaved {
    pub(crate) vault: String,
    pub(crate) spent: Fingerprint,
    pub(crate) successor: Successor,
}

impl Unsaved {
    pub(crate) fn read(text: &str) -> Option<Self> {
        let read = Layers::read(vec![json::check(text).ok()?], |unsaved| Self {
            vault: unsaved.text("vault"),
            spent: document::fingerprint(unsaved, "spent", &unsaved.text("spent")),
            successor: Successor::read(&unsaved.object("successor")),
        });
        read.ok()
    }
}

/// What a caller must keep until the storage works again.
pub(crate) fn unsaved(vault: &str, spent: &Fingerprint, successor: &Successor) -> Secret {
    Secret::new(
        Object::default()
            .text("vault", vault)
            .text("spent", spent.as_str())
            .raw("successor", successor.spelled())
            .line(),
    )
}

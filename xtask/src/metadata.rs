//! What a published component says of itself: name, version, description, licence, source. Only in
//! `dist`, as the core that the command carries has a budget.

use wasm_metadata::{AddMetadata, AddMetadataField, Description, Homepage, Licenses, Source, Version};

use crate::Result;

const REPOSITORY: &str = "https://github.com/lazaretto/lazaretto";

/// The component, or the WIT package, with a name and the rest.
pub(crate) fn said(component: &[u8], name: &str, description: &'static str) -> Result<Vec<u8>> {
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(name.to_owned());
    metadata.description = AddMetadataField::Set(Description::new(description));
    metadata.licenses = AddMetadataField::Set(Licenses::new(env!("CARGO_PKG_LICENSE"))?);
    metadata.source = AddMetadataField::Set(Source::new(REPOSITORY)?);
    metadata.homepage = AddMetadataField::Set(Homepage::new(REPOSITORY)?);
    metadata.version = AddMetadataField::Set(Version::new(env!("CARGO_PKG_VERSION")));
    Ok(metadata.to_wasm(component)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_metadata::Payload;

    #[test]
    fn a_component_says_what_it_is_and_whose() {
        let empty = b"\0asm\x0d\0\x01\0";
        let component = said(empty, "lazaretto", "What it does").expect("metadata");
        let payload = Payload::from_binary(&component).expect("a component");
        let metadata = payload.metadata();
        assert_eq!(metadata.name.as_deref(), Some("lazaretto"));
        assert_eq!(metadata.version.as_ref().map(ToString::to_string).as_deref(), Some("0.1.0"));
        assert_eq!(metadata.licenses.as_ref().map(ToString::to_string).as_deref(), Some("Apache-2.0 OR MIT"));
        assert_eq!(metadata.description.as_ref().map(ToString::to_string).as_deref(), Some("What it does"));
        assert!(metadata.source.is_some() && metadata.homepage.is_some());
    }
}

//! The profiles, as they were read last: the built-in ones with those of the user over them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Code, KeeperError};
use crate::ports::{Loaded, Ports, Version};
use crate::provider::{Catalog, Profile, ProfileError};

const PROFILES: &str = "providers.json";

struct Profiles {
    version: Option<Version>,
    catalog: Catalog,
    read: RefCell<BTreeMap<String, Rc<Profile>>>,
    /// What names were found to stand for.
    ids: RefCell<BTreeMap<String, String>>,
}

impl Profiles {
    fn new(version: Option<Version>, text: Option<&str>) -> Result<Self, ProfileError> {
        Ok(Self { version, catalog: Catalog::new(text)?, read: RefCell::default(), ids: RefCell::default() })
    }
}

thread_local! {
    /// The built-in profiles alone: to unpack and index them is dear, and they are the same for
    /// every session.
    static BUILT_IN: RefCell<Option<Rc<Profiles>>> = const { RefCell::new(None) };
}

/// Holds the profiles that were read last.
#[derive(Default)]
pub(crate) struct ProfileCache {
    current: RefCell<Option<Rc<Profiles>>>,
}

impl From<&ProfileError> for KeeperError {
    fn from(error: &ProfileError) -> Self {
        Self::new(Code::BadProfile, &error.0)
    }
}

#[lazaretto_macros::async_natively]
impl ProfileCache {
    /// Reads the user's profiles again if they have changed. Returns whether they have.
    pub(crate) async fn load<P: Ports>(&self, ports: &P) -> Result<bool, KeeperError> {
        let known = self.current.borrow().as_ref().map(|profiles| profiles.version.clone());
        let loaded = ports.load(PROFILES, known.as_ref().and_then(Option::as_ref)).await;
        let profiles = match loaded.map_err(|error| KeeperError::storage(PROFILES, &error))? {
            Loaded::Unchanged => return Ok(false),
            Loaded::Absent if known == Some(None) => return Ok(false),
            Loaded::Absent => BUILT_IN.with_borrow_mut(|built_in| match built_in {
                Some(profiles) => Ok(profiles.clone()),
                None => Ok(built_in.insert(Rc::new(Profiles::new(None, None)?)).clone()),
            }),
            Loaded::Found(document) => Profiles::new(Some(document.version), Some(document.text.expose())).map(Rc::new),
        };
        *self.current.borrow_mut() = Some(profiles.map_err(|error| KeeperError::from(&error))?);
        Ok(true)
    }

    /// Returns the id that a name stands for.
    pub(crate) fn resolve(&self, name: &str) -> String {
        match self.current.borrow().as_ref() {
            Some(profiles) => {
                let mut ids = profiles.ids.borrow_mut();
                ids.entry(name.to_owned()).or_insert_with(|| profiles.catalog.resolve(name)).clone()
            }
            None => name.to_owned(),
        }
    }

    /// Returns the profile of an id; the generic one, if no profile has this id or its profile is
    /// wrong.
    pub(crate) fn profile_or_generic(&self, id: &str) -> Result<Rc<Profile>, KeeperError> {
        let Some(profiles) = self.current.borrow().clone() else { return Err(not_read()) };
        if let Some(profile) = profiles.read.borrow().get(id) {
            return Ok(profile.clone());
        }
        let (found, wrong) = match profiles.catalog.profile(id) {
            Ok(found) => (found, None),
            Err(error) => (None, Some(error)),
        };
        let mut profile = match found {
            Some(profile) => profile,
            None => profiles.catalog.generic(id).map_err(|error| KeeperError::from(&error))?,
        };
        profile.wrong = wrong;
        let profile = Rc::new(profile);
        profiles.read.borrow_mut().insert(id.to_owned(), profile.clone());
        Ok(profile)
    }

    /// Returns what `look` makes of all profiles.
    pub(crate) fn with_catalog<T>(
        &self,
        look: &mut dyn FnMut(&Catalog) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        match self.current.borrow().clone() {
            Some(profiles) => look(&profiles.catalog),
            None => Err(not_read()),
        }
    }
}

fn not_read() -> KeeperError {
    KeeperError::new(Code::Internal, "a profile was asked for before they were read")
}

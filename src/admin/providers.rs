//! The providers that a person may log in to, or may add keys of.

use lazaretto_macros::async_natively;

use crate::did_you_mean;
use crate::error::KeeperError;
use crate::ports::Ports;
use crate::provider::ProviderInfo;
use crate::provider::list::{info, only_keys};
use crate::session::Session;

/// Every provider that is known, or the one that a name stands for.
#[async_natively]
pub(crate) async fn providers<P: Ports>(
    session: &Session<P>,
    name: Option<&str>,
) -> Result<Vec<ProviderInfo>, KeeperError> {
    session.load_profiles().await?;
    if let Some(name) = name {
        let id = session.with_catalog(&mut |catalog| Ok(catalog.resolve(name)))?;
        did_you_mean::check_known(session, &id, name, None)?;
    }
    session.with_catalog(&mut |catalog| match name {
        None => Ok(catalog.ids().into_iter().chain(only_keys(catalog)).map(|id| info(catalog, &id)).collect()),
        Some(name) => Ok(vec![info(catalog, &catalog.resolve(name))]),
    })
}

//! The refresh: a refresh token leaves this machine only when the steps of `docs/protocol.md` allow it, in their order.
//!
//! | step | file |
//! |---|---|
//! | the steps, in their order | [`refresh`] |
//! | is there a token that need not be refreshed (1, 3) | [`freshness`] |
//! | who may refresh it now (2, 6) | [`lease`] |
//! | may it be sent from this file (5) | [`ownership`] |
//! | the request (7) | [`exchange`], [`request`], [`client_secret`] |
//! | new tokens (8) | [`store_successor`] |
//! | not now (9) | [`backoff`] |
//! | never again (10) | [`quarantine`] |

pub(crate) mod backoff;
pub(crate) mod client_secret;
pub(crate) mod exchange;
pub(crate) mod freshness;
pub(crate) mod lease;
pub(crate) mod ownership;
pub(crate) mod quarantine;
pub(crate) mod refresh;
pub(crate) mod request;
pub(crate) mod store_successor;

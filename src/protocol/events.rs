//! Tells events about the credential that a call is about.

use crate::ports::{Event, Ports, Severity};
use crate::protocol::Demand;
use crate::session::Session;

/// One event about the credential that is asked for.
pub(crate) fn tell<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    name: &'static str,
    severity: Severity,
    what: &str,
) {
    tell_with(
        session,
        demand,
        name,
        severity,
        format!("{} ({}): {what}", demand.profile.id, demand.credential),
        Vec::new(),
    );
}

/// One event with the evidence of a judgement.
pub(crate) fn tell_judged<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    name: &'static str,
    judgement: &crate::classify::Judgement,
    message: &str,
) {
    let mut attributes = vec![("verdict", judgement.verdict.word().to_owned()), ("rule", judgement.rule.clone())];
    attributes.extend(judgement.status.map(|status| ("status", status.to_string())));
    attributes.extend(judgement.code.clone().map(|code| ("code", code)));
    attributes.extend(judgement.retry_after_s.map(|seconds| ("retry-after-s", seconds.to_string())));
    tell_with(session, demand, name, Severity::Warning, message.to_owned(), attributes);
}

fn tell_with<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    name: &'static str,
    severity: Severity,
    message: String,
    attributes: Vec<(&'static str, String)>,
) {
    session.emit(Event {
        name,
        severity,
        at_ms: session.ports.wall_ms(),
        provider: demand.profile.id.clone(),
        credential: Some(demand.credential.clone()),
        message,
        attributes,
    });
}

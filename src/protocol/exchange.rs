//! Step 7 of the protocol, and the one resend of step 10: what was sent, and what became of it. From here on nothing cancels.

use lazaretto_macros::async_natively;

use crate::classify::{self, Answer, Verdict};
use crate::ports::{HttpFailure, Ports, Response, Severity};
use crate::protocol::{Demand, Exchange, Intended, Outcome, events, freshness, lease, request};
use crate::session::Session;

/// Too little for a request.
const LEAST_DEADLINE_MS: u64 = 2_000;
/// A clock that is off by more than this is told of.
const CLOCK_ALLOWANCE_S: u64 = 300;

/// Steps 6 and 7, and the one resend of step 10. None: there is no time left for a send.
#[async_natively]
pub(crate) async fn send<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    intended: &Intended,
) -> Option<Outcome> {
    let answer_lost = intended.intent.sends > 1;
    if !lease::has_time(session, exchange) {
        return None;
    }
    let mut outcome = send_once(session, exchange, exchange.deadline_ms, answer_lost).await;
    // The answer was lost. If the server has spent the token, sending it again soon is the only way to its successor; if
    // it has not, the token is as good as before.
    let is_still_ours = lost(&outcome) && still_stored(session, exchange).await;
    // The checks once more, as the last thing before it leaves.
    let deadline_ms = lease::resend_deadline_ms(session, exchange);
    if is_still_ours && deadline_ms >= LEAST_DEADLINE_MS && lease::has_time(session, exchange) {
        events::tell(
            session,
            exchange.demand,
            "in-doubt",
            Severity::Warning,
            "the answer to a refresh was lost; the same token is sent once more",
        );
        outcome = Outcome { is_resend: true, ..send_once(session, exchange, deadline_ms, true).await };
    }
    Some(outcome)
}

#[async_natively]
async fn send_once<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    deadline_ms: u64,
    answer_lost: bool,
) -> Outcome {
    let request = request::refresh(
        &exchange.demand.profile,
        &exchange.to,
        exchange.token,
        exchange.client_secret.as_ref(),
        deadline_ms,
    );
    let sent_at_ms = session.ports.wall_ms();
    let result = session.ports.send(request).await;
    let now_s = session.ports.wall_ms() / 1_000;
    let mut judgement = match &result {
        Ok(response) => {
            let answer = answer_of(response);
            notice_clock(session, exchange.demand, classify::date_s(&answer), now_s);
            classify::classify(&exchange.demand.profile.rules, &answer, now_s)
        }
        Err(failure) => {
            let mut judgement = classify::classify(&exchange.demand.profile.rules, &no_answer(failure), now_s);
            judgement.in_doubt = failure.maybe_sent;
            judgement
        }
    };
    judgement.tokens = judgement.tokens.map(|tokens| request::received(&exchange.demand.profile, tokens));
    Outcome { judgement, failure: result.err(), sent_at_ms, answer_lost, is_resend: false }
}

/// Expiries are reckoned on this machine's clock: whoever's is wrong should know.
fn notice_clock<P: Ports>(session: &Session<P>, demand: &Demand<'_>, server_s: Option<u64>, now_s: u64) {
    let Some(differs_s) = server_s.map(|server_s| server_s.abs_diff(now_s)) else { return };
    if differs_s > CLOCK_ALLOWANCE_S {
        let what = format!("this machine's clock differs from the server's by {differs_s} s");
        events::tell(session, demand, "clock-differs", Severity::Warning, &what);
    }
}

#[async_natively]
async fn still_stored<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>) -> bool {
    match freshness::find(session, exchange.demand).await {
        Ok((_, credential)) => {
            credential.places.iter().any(|place| place.refresh_token.as_ref() == Some(exchange.token))
        }
        Err(_) => false,
    }
}

/// No answer came although the server may have seen the request, or what came is no answer. One that came in a coding nobody can read
/// is not lost in this way: the next one would come in the same, and the request before it may have spent the token.
fn lost(outcome: &Outcome) -> bool {
    let judgement = &outcome.judgement;
    let gateway = matches!(judgement.status, None | Some(200..=299 | 502 | 504 | 520..=524));
    // Whoever was given a new one, of use or not, had his answer.
    let new_token = judgement.tokens.as_ref().is_some_and(|tokens| tokens.refresh_token.is_there());
    judgement.in_doubt
        && gateway
        && judgement.retry_after_s.is_none()
        && !new_token
        && !judgement.is_unreadable
        && judgement.verdict != Verdict::Refreshed
}

pub(crate) fn answer_of(response: &Response) -> Answer<'_> {
    Answer {
        status: Some(response.status),
        headers: &response.headers,
        body: response.body.expose(),
        body_complete: response.body_complete,
        body_lossy: response.body_lossy,
        transport_error: None,
    }
}

pub(crate) fn no_answer(failure: &HttpFailure) -> Answer<'_> {
    Answer {
        status: None,
        headers: &[],
        body: "",
        body_complete: true,
        body_lossy: false,
        transport_error: Some(&failure.kind),
    }
}

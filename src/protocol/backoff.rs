//! Steps 9 and 10, everything but terminal: the ledger says when a token may be tried again, and the vault stays as it is.

use lazaretto_macros::async_natively;

use crate::classify::{self, Judgement, Verdict};
use crate::error::{Code, KeeperError};
use crate::ports::Ports;
use crate::protocol::{Exchange, Intended, Outcome, client_secret, events};
use crate::session::Session;
use crate::state::ledger::{self, Pause, Until};

/// The first cooldown after a passing fault; it doubles up to the cap.
const COOLDOWN_MS: u64 = 5_000;
const COOLDOWN_CAP_MS: u64 = 300_000;
/// The same after an answer that nobody understands, and how many of those park a credential.
const UNKNOWN_COOLDOWN_MS: u64 = 30_000;
const UNKNOWN_COOLDOWN_CAP_MS: u64 = 3_600_000;
const UNKNOWN_BEFORE_PARK: u32 = 5;
/// The same where the client or the request is refused although it worked before: servers lose a client for a moment. From
/// one minute to one hour, and the eighth refusal holds: two hours after the first.
const REFUSAL_COOLDOWN_MS: u64 = 60_000;
const REFUSAL_COOLDOWN_CAP_MS: u64 = 3_600_000;
const REFUSALS_BEFORE_HOLD: u32 = 8;

pub(crate) fn paused_error(exchange: &Exchange<'_>, pause: &Pause, now_ms: u64) -> KeeperError {
    let (demand, said) = (exchange.demand, classify::in_brackets(&pause.summary));
    match &pause.until {
        Until::Time(until_ms) => {
            let wait_s = until_ms.saturating_sub(now_ms).div_ceil(1_000);
            let what = format!("the last refresh failed ({said}); the next one may be tried in {wait_s} s");
            demand.error(Code::CoolingDown, &what).after(wait_s)
        }
        Until::Change { .. } if pause.needs_login() => {
            let what = format!("the server wants a person to confirm the login ({said})");
            demand.error(Code::InteractionRequired, &what)
        }
        Until::Change { .. } => {
            let has_secret = exchange.client_secret.is_some();
            let missing = client_secret::missing(&demand.profile, has_secret, Some(&pause.code), &pause.summary);
            let missing = missing.map_or_else(String::new, |missing| format!(": {missing}"));
            let what = format!(
                "the server refuses the client or the request, not the token ({said}){missing}. It is not refreshed until the \
                 profile changes, or after a `reset`"
            );
            demand.error(Code::Held, &what)
        }
        Until::Operator => {
            let what = format!(
                "{} answers in a row said nothing clear ({said}). It is not refreshed until a `reset`",
                pause.failures
            );
            demand.error(Code::Parked, &what)
        }
    }
}

/// Steps 9 and 10, everything but terminal: says in the ledger when it may be tried again. The vault stays as it is.
#[async_natively]
pub(crate) async fn back_off<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    outcome: &Outcome,
    intended: Intended,
) -> Result<KeeperError, KeeperError> {
    let (demand, judgement) = (exchange.demand, &outcome.judgement);
    let (now_ms, jitter) = (session.ports.wall_ms(), session.ports.random_u64());
    let named_ms = judgement.retry_after_s.map(|seconds| seconds.saturating_mul(1_000));
    let not_allowed = outcome.failure.as_ref().is_some_and(|failure| failure.kind == "not-allowed");
    let pause = Pause {
        until: Until::Operator,
        failures: 0,
        refusals: 0,
        profile: (judgement.verdict == Verdict::Config).then(|| exchange.to.profile.clone()),
        code: judgement.code.clone().unwrap_or_else(|| judgement.rule.clone()),
        summary: outcome.failure.as_ref().map_or_else(|| judgement.summary.clone(), |failure| failure.message.clone()),
        at_ms: now_ms,
    };
    let in_a_row = |failures: u32, refusals: u32, has_worked: bool| match judgement.verdict {
        Verdict::Config if has_worked && refusals < REFUSALS_BEFORE_HOLD => {
            let own_ms = spread(grown(REFUSAL_COOLDOWN_MS, REFUSAL_COOLDOWN_CAP_MS, refusals), jitter);
            // A person's change ends it sooner, and a server that names a shorter wait does not know this.
            Until::Time(now_ms.saturating_add(own_ms.max(named_ms.unwrap_or_default())))
        }
        Verdict::Config | Verdict::Interaction => Until::Change { profile: exchange.to.profile.clone() },
        Verdict::Unknown if !judgement.in_doubt && failures >= UNKNOWN_BEFORE_PARK => Until::Operator,
        verdict => {
            let (base_ms, cap_ms) = match verdict {
                Verdict::Unknown => (UNKNOWN_COOLDOWN_MS, UNKNOWN_COOLDOWN_CAP_MS),
                _ => (COOLDOWN_MS, COOLDOWN_CAP_MS),
            };
            let own_ms = spread(grown(base_ms, cap_ms, failures), jitter);
            // Who says *at once* has not said how often.
            Until::Time(now_ms.saturating_add(named_ms.map_or(own_ms, |named_ms| named_ms.max(COOLDOWN_MS))))
        }
    };
    let kept = std::cell::RefCell::new(pause);
    ledger::update(&session.ports, demand.vault, true, Some(intended.ledger), &|ledger| {
        let record = ledger.record(&exchange.fingerprint, &exchange.to, now_ms);
        // A plain answer ends the doubt about its own request, but not about one whose answer was lost.
        if !judgement.in_doubt && !outcome.is_resend {
            record.account_for(&intended.intent);
        }
        let (failures, refusals) = record.pause.as_ref().map_or((0, 0), |pause| (pause.failures, pause.refusals));
        let failures = failures.saturating_add(1);
        let refusals = refusals.saturating_add(u32::from(judgement.verdict == Verdict::Config));
        // Each refresh that worked is a generation.
        let has_worked = record.generation > 0;
        let mut pause = kept.borrow_mut();
        pause.until = in_a_row(failures, refusals, has_worked);
        (pause.failures, pause.refusals) = (failures, refusals);
        // What never left, for the profile is wrong, is not the credential's fault.
        record.pause = (!not_allowed).then(|| pause.clone());
    })
    .await?;
    let pause = kept.into_inner();
    if not_allowed {
        return Ok(demand.error(Code::HostForbids, &pause.summary));
    }
    let error = back_off_error(exchange, judgement, &pause, now_ms);
    let name = match (&pause.until, judgement.in_doubt) {
        (Until::Time(_), true) => "in-doubt",
        (Until::Time(_), false) => "cooling",
        (Until::Change { .. }, _) => "held",
        (Until::Operator, _) => "parked",
    };
    events::tell_judged(session, demand, name, judgement, &error.message);
    Ok(error)
}

fn back_off_error(exchange: &Exchange<'_>, judgement: &Judgement, pause: &Pause, now_ms: u64) -> KeeperError {
    let Until::Time(until_ms) = pause.until else { return paused_error(exchange, pause, now_ms) };
    let wait_s = until_ms.saturating_sub(now_ms).div_ceil(1_000);
    let (code, what) = if judgement.in_doubt {
        (Code::InDoubt, "the server may or may not have replaced the refresh token")
    } else {
        (Code::RefreshFailed, "the refresh could not be made")
    };
    let said = classify::in_brackets(&pause.summary);
    let what = format!("{what} ({said}). Nothing in the vault changed; next try in {wait_s} s");
    exchange.demand.error(code, &what).after(wait_s)
}

/// A wait that doubles each time, up to a cap.
fn grown(first_ms: u64, most_ms: u64, times: u32) -> u64 {
    first_ms.saturating_mul(1 << times.saturating_sub(1).min(16)).min(most_ms)
}

/// A fifth more or less, so that not everybody comes back at the same moment.
fn spread(wait_ms: u64, jitter: u64) -> u64 {
    wait_ms - wait_ms / 5 + jitter % (wait_ms / 5 * 2).max(1)
}

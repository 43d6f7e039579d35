//! The component in the Rust host, in this process.

use std::path::Path;

use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{AccessToken, Answer, ApiCall, Keeper, KeeperError, Selector, TokenRequest};
use serde_json::{Value, json};

use super::{Driver, Session, headers, process, text};

pub struct Wasmtime;

impl Driver for Wasmtime {
    fn open(&self, vault: &Path, providers: &Path) -> Box<dyn Session> {
        let storage = FileStorage::open(vault).with_profiles(providers.to_owned());
        let keeper = Keeper::builder().storage(storage).allow_loopback_http(true).build();
        Box::new(Open(keeper.expect("the component loads")))
    }

    fn open_apart(&self, vault: &Path, providers: &Path) -> Box<dyn Session> {
        Box::new(process::this_test_as("wasmtime").start(vault, providers))
    }
}

struct Open(Keeper);

impl Session for Open {
    fn call(&mut self, call: &Value) -> Result<Value, String> {
        let result = self.answer(call).map_err(|error| {
            json!({
                "code": error.code, "action": error.action, "message": error.message, "run": error.run,
                "provider": error.provider, "credential": error.credential, "retry_after_s": error.retry_after_s,
            })
        });
        Ok(result.map_or_else(|error| json!({ "error": error }), |value| json!({ "ok": value })))
    }
}

impl Open {
    fn answer(&self, call: &Value) -> Result<Value, KeeperError> {
        let keeper = &self.0;
        let vault = text(call, "vault").unwrap_or_else(|| VAULT.to_owned());
        let provider = text(call, "provider").unwrap_or_default();
        let request = || TokenRequest {
            credential: text(call, "credential"),
            min_valid_s: call["min_valid_s"].as_u64().unwrap_or_default(),
            refused_access_token: text(call, "refused_access_token"),
            session: text(call, "session"),
            ..TokenRequest::new(vault.clone(), provider.clone())
        };
        let selector =
            || Selector { vault: vault.clone(), provider: provider.clone(), credential: text(call, "credential") };
        Ok(match call["call"].as_str().expect("a call") {
            "token" => token(&keeper.token(&request())?),
            "refresh" => token(&keeper.refresh(&request())?),
            "status" => json!(keeper.status(&vault, call["provider"].as_str())?.credentials),
            "reset" => json!(keeper.reset(&selector())?),
            "unquarantine" => json!(keeper.unquarantine(&selector())?),
            "end_use" => json!(keeper.end_use(&selector())?),
            "origins" => json!(keeper.origins()?),
            "report" => {
                let advice = keeper.report(&ApiCall {
                    vault,
                    provider,
                    credential: text(call, "credential"),
                    session: text(call, "session"),
                    access_token: text(call, "access_token").unwrap_or_default(),
                    status: call["status"].as_u64().map(|status| status as u16),
                    headers: headers(call),
                    body: text(call, "body").unwrap_or_default(),
                })?;
                json!({
                    "advice": advice.advice, "token": advice.token.as_ref().map(token),
                    "retry_after_s": advice.retry_after_s, "message": advice.message, "run": advice.run,
                })
            }
            "classify" => {
                let answer = &call["answer"];
                let judgement = keeper.classify(
                    &Answer {
                        provider: text(answer, "provider").unwrap_or_default(),
                        status: answer["status"].as_u64().map(|status| status as u16),
                        headers: headers(answer),
                        body: text(answer, "body").unwrap_or_default(),
                        body_cut: answer["body_complete"] == false,
                        transport_error: text(answer, "transport_error"),
                    },
                    call["now_s"].as_u64().unwrap_or_default(),
                )?;
                json!({
                    "verdict": judgement.verdict, "status": judgement.status, "code": judgement.code,
                    "sub_code": judgement.sub_code, "rule": judgement.rule, "retry_after_s": judgement.retry_after_s,
                    "in_doubt": judgement.in_doubt,
                })
            }
            other => panic!("{other} is no call"),
        })
    }
}

fn token(token: &AccessToken) -> Value {
    json!({
        "token": token.token, "token_type": token.token_type, "provider": token.provider, "credential": token.credential,
        "expires_at_ms": token.expires_at_ms, "picked": token.picked, "origin": token.origin,
        "warning": token.warning, "run": token.run, "unsaved": token.unsaved,
    })
}

//! The logic as a native library, without any WebAssembly: on the Rust host's files and network.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lazaretto::classify::{self, Answer};
use lazaretto::error::{Code, KeeperError};
use lazaretto::keeper::{AccessToken, Keeper, TokenRequest};
use lazaretto::pool::ApiCall;
use lazaretto::ports::{
    Acquired, Capabilities, Clock, Document, Event, Events, Holder, Http, HttpFailure, Lease, Loaded, Random, Request,
    Response, Scope, Storage, StorageError, Stored, Version,
};
use lazaretto::provider::Catalog;
use lazaretto::secret::Secret;
use lazaretto::status::CredentialStatus;
use lazaretto::vault::CredentialKind;
use lazaretto_host::http::{AllowList, Http as _, HttpRequest, NetworkHttp, Reach, Sent};
use lazaretto_host::storage::{
    AcquireOutcome, FileStorage, LoadOutcome, Scope as HostScope, Storage as _, StorageError as HostError,
    StoreOutcome, VAULT,
};
use serde_json::{Value, json};

use super::{Driver, Session, headers, process, text};

pub struct Native;

impl Driver for Native {
    fn open(&self, vault: &Path, providers: &Path) -> Box<dyn Session> {
        let ports = || Ports {
            files: FileStorage::open(vault).with_profiles(providers.to_owned()),
            begun: Instant::now(),
            network: None,
        };
        // As a host does: the profiles say whom it may speak to, once, and before it speaks.
        let origins = now(Keeper::new(ports()).origins()).unwrap_or_default();
        let allow = AllowList::new(origins, true).expect("origins");
        Box::new(Open(Keeper::new(Ports { network: Some(NetworkHttp::new(allow)), ..ports() })))
    }

    fn open_apart(&self, vault: &Path, providers: &Path) -> Box<dyn Session> {
        Box::new(process::this_test_as("native").start(vault, providers))
    }
}

struct Open(Keeper<Ports>);

impl Session for Open {
    fn call(&mut self, call: &Value) -> Result<Value, String> {
        let (vault, provider) = (vault(call), text(call, "provider"));
        let result = now(self.answer(call)).map_err(|error| {
            let error = now(self.0.advised(&vault, provider.as_deref(), error));
            json!({
                "code": error.code.as_str(), "action": error.action().as_str(), "message": error.message, "run": error.run,
                "provider": error.provider, "credential": error.credential, "retry_after_s": error.retry_after_s,
            })
        });
        Ok(result.map_or_else(|error| json!({ "error": error }), |value| json!({ "ok": value })))
    }
}

impl Open {
    async fn answer(&self, call: &Value) -> Result<Value, KeeperError> {
        let keeper = &self.0;
        let vault = vault(call);
        let provider = text(call, "provider").unwrap_or_default();
        let credential = text(call, "credential");
        let request = TokenRequest {
            vault: vault.clone(),
            provider: provider.clone(),
            credential: credential.clone(),
            min_valid_s: call["min_valid_s"].as_u64().unwrap_or_default(),
            refused_access_token: text(call, "refused_access_token").map(Secret::new),
            session: text(call, "session"),
        };
        Ok(match call["call"].as_str().expect("a call") {
            "token" => self.token(&vault, &keeper.token(&request).await?).await,
            "refresh" => self.token(&vault, &keeper.refresh(&request).await?).await,
            "status" => {
                let report = keeper.status(&vault, call["provider"].as_str()).await?;
                json!(report.credentials.iter().map(status).collect::<Vec<_>>())
            }
            "reset" => status(&keeper.reset(&vault, &provider, credential.as_deref()).await?),
            "unquarantine" => status(&keeper.unquarantine(&vault, &provider, credential.as_deref()).await?),
            "end_use" => json!(keeper.end_use(&vault, &provider, credential.as_deref().unwrap_or_default()).await?),
            "origins" => json!(keeper.origins().await?),
            "report" => {
                let call = ApiCall {
                    vault: vault.clone(),
                    provider,
                    credential,
                    session: text(call, "session"),
                    access_token: Secret::new(text(call, "access_token").unwrap_or_default()),
                    status: call["status"].as_u64().map(|status| status as u16),
                    headers: headers(call),
                    body: Secret::new(text(call, "body").unwrap_or_default()),
                };
                let advice = keeper.report(&call).await?;
                let token = match &advice.token {
                    Some(token) => self.token(&vault, token).await,
                    None => Value::Null,
                };
                json!({
                    "advice": advice.what.as_str(), "token": token, "retry_after_s": advice.retry_after_s,
                    "message": advice.message, "run": advice.run,
                })
            }
            "classify" => classified(&call["answer"], call["now_s"].as_u64().unwrap_or_default())?,
            other => panic!("{other} is no call"),
        })
    }
}

impl Open {
    async fn token(&self, vault: &str, found: &AccessToken) -> Value {
        let mut told = token(found);
        told["run"] = json!(self.0.advised_of(vault, found).await);
        told
    }
}

fn vault(call: &Value) -> String {
    text(call, "vault").unwrap_or_else(|| VAULT.to_owned())
}

fn classified(answer: &Value, now_s: u64) -> Result<Value, KeeperError> {
    let wrong = |what: String| KeeperError::new(Code::BadProfile, what);
    let catalog = Catalog::new(None).map_err(|error| wrong(error.0))?;
    let provider = catalog.resolve(answer["provider"].as_str().unwrap_or_default());
    let profile = match catalog.profile(&provider).map_err(|error| wrong(error.0))? {
        Some(profile) => profile,
        None => catalog.generic("generic").map_err(|error| wrong(error.0))?,
    };
    let (headers, transport_error) = (headers(answer), text(answer, "transport_error"));
    let judgement = classify::classify(
        &profile.rules,
        &Answer {
            status: answer["status"].as_u64().map(|status| status as u16),
            headers: &headers,
            body: answer["body"].as_str().unwrap_or_default(),
            body_complete: answer["body_complete"] != false,
            body_lossy: answer["body_lossy"] == true,
            transport_error: transport_error.as_deref(),
        },
        now_s,
    );
    Ok(json!({
        "verdict": judgement.verdict.word(), "status": judgement.status, "code": judgement.code,
        "sub_code": judgement.sub_code, "rule": judgement.rule, "retry_after_s": judgement.retry_after_s,
        "in_doubt": judgement.in_doubt,
    }))
}

fn token(token: &AccessToken) -> Value {
    json!({
        "token": token.token.expose(), "token_type": token.token_type, "provider": token.provider,
        "credential": token.credential, "expires_at_ms": token.expires_at_ms, "picked": token.picked.as_str(),
        "origin": token.origin.as_str(), "warning": token.warning,
        "unsaved": token.unsaved.as_ref().map(Secret::expose),
    })
}

fn status(status: &CredentialStatus) -> Value {
    let kind = if status.kind == CredentialKind::ApiKey { "api-key" } else { "oauth" };
    let last_error = status.last_error.as_ref().map(
        |error| json!({ "code": error.code, "message": error.message, "reason": error.reason, "at_ms": error.at_ms }),
    );
    json!({
        "provider": status.provider, "credential": status.credential, "label": status.label, "source": status.source,
        "kind": kind, "state": status.state, "expires_at_ms": status.expires_at_ms, "retry_at_ms": status.retry_at_ms,
        "sealed_until_ms": status.sealed_until_ms, "last_error": last_error, "todo": status.todo, "note": status.note,
        "usable": status.usable.as_str(), "renewal": status.renewal.as_str(), "account": status.account,
        "refreshing_by": status.refreshing_by, "refreshing_since_ms": status.refreshing_since_ms,
    })
}

/// What a call comes to whose ports answer at once.
fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("every port answers at once"),
    }
}

struct Ports {
    files: FileStorage,
    network: Option<NetworkHttp>,
    begun: Instant,
}

fn storage_error(error: HostError) -> StorageError {
    StorageError { code: error.code.to_owned(), message: error.message }
}

fn document(document: lazaretto_host::storage::Document) -> Document {
    Document { version: Version(document.version), text: Secret::new(document.text) }
}

fn of_the_host(scope: &Scope) -> HostScope {
    match scope.clone() {
        Scope::Document(name) => HostScope::Document(name),
        Scope::Grant { document, fingerprint } => HostScope::Grant { document, fingerprint },
    }
}

impl Storage for Ports {
    async fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError> {
        let outcome = self.files.load(name, known.map(|version| version.0.as_str())).map_err(storage_error)?;
        Ok(match outcome {
            LoadOutcome::Unchanged => Loaded::Unchanged,
            LoadOutcome::Absent => Loaded::Absent,
            LoadOutcome::Loaded(found) => Loaded::Found(document(found)),
        })
    }

    async fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&Version>,
        durable: bool,
        lease: Option<&Lease>,
    ) -> Result<Stored, StorageError> {
        let expected = expected.map(|version| version.0.as_str());
        let outcome = self.files.store(name, text, expected, durable, lease.map(|lease| lease.0.as_str()));
        Ok(match outcome.map_err(storage_error)? {
            StoreOutcome::Stored(version) => Stored::Done(Version(version)),
            StoreOutcome::Stale(current) => Stored::Stale(current.map(document)),
            StoreOutcome::Unknown => Stored::Unknown,
        })
    }

    async fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<Acquired, StorageError> {
        Ok(match self.files.acquire(&of_the_host(scope), ttl_ms, wait_ms).map_err(storage_error)? {
            AcquireOutcome::Acquired(grant) => {
                Acquired::Granted { lease: Lease(grant.lease), granted_ttl_ms: grant.granted_ttl_ms }
            }
            AcquireOutcome::Busy(holder) => Acquired::Busy(holder.name),
        })
    }

    async fn release(&self, lease: &Lease) {
        self.files.release(&lease.0);
    }

    async fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        let holder = self.files.holder_of(&of_the_host(scope)).map_err(storage_error)?;
        Ok(holder.map(|holder| Holder { name: holder.name, since_ms: holder.since_ms }))
    }

    fn describe(&self) -> Capabilities {
        let known = self.files.describe();
        Capabilities { reads_are_linearizable: known.reads == "linearizable", excludes_foreign: known.excludes_foreign }
    }
}

impl Http for Ports {
    async fn send(&self, request: Request) -> Result<Response, HttpFailure> {
        let request = HttpRequest {
            method: request.method.to_owned(),
            url: request.url,
            headers: request.headers.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect(),
            body: request.body.expose().to_owned(),
            deadline_ms: request.deadline_ms,
            reach: Reach::Any,
        };
        let network = self.network.as_ref().expect("only origins are asked for without it");
        match network.send(&request) {
            Ok(response) => Ok(Response {
                status: response.status,
                headers: response.headers,
                body: Secret::new(response.body),
                body_complete: response.body_complete,
                body_lossy: response.body_lossy,
            }),
            Err(failure) => Err(HttpFailure {
                kind: failure.kind.to_string(),
                maybe_sent: failure.sent == Sent::Maybe,
                message: failure.message,
            }),
        }
    }
}

impl Clock for Ports {
    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
    }

    fn monotonic_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

impl Random for Ports {
    fn random_u64(&self) -> u64 {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(self.begun.elapsed().as_nanos())
    }
}

impl Events for Ports {
    fn emit(&self, _: Event) {}
}

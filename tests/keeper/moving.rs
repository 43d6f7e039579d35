//! A login leaves another tool's file for a vault: whenever that is interrupted it is in one of them, and once more completes it.

use std::cell::{Cell, RefCell};
use std::fs;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use lazaretto::admin::Admin;
use lazaretto::error::{Code, KeeperError};
use lazaretto::ports::{
    Acquired, Capabilities, Clock, Document, Event, Events, Holder, Http, HttpFailure, Lease, Loaded, Random, Request,
    Response, Scope, Storage, StorageError, Stored, Version,
};
use lazaretto::secret::Secret;
use lazaretto_host::storage::{self as host, FileStorage, Storage as _};

const FILE: &str =
    r#"{"claudeAiOauth":{"accessToken":"a1","refreshToken":"r1","expiresAt":1, "scopes":[]},"other":1.0}"#;
const EMPTIED: &str =
    r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":1, "scopes":[]},"other":1.0}"#;

/// A file, and a world that ends before a given call.
struct World {
    storage: FileStorage,
    calls_left: Cell<u32>,
    events: RefCell<Vec<&'static str>>,
}

fn failed(error: host::StorageError) -> StorageError {
    StorageError { code: error.code.to_owned(), message: error.message }
}

fn document(document: host::Document) -> Document {
    Document { version: Version(document.version), text: Secret::new(document.text) }
}

impl World {
    /// Nothing, or the end of the process.
    fn next(&self) -> Result<(), StorageError> {
        let left = self.calls_left.get().checked_sub(1);
        let ended = || StorageError { code: "other".into(), message: "the process has ended".into() };
        self.calls_left.set(left.ok_or_else(ended)?);
        Ok(())
    }
}

fn of_the_host(scope: &Scope) -> host::Scope {
    match scope.clone() {
        Scope::Document(name) => host::Scope::Document(name),
        Scope::Grant { document, fingerprint } => host::Scope::Grant { document, fingerprint },
    }
}

impl Storage for World {
    async fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError> {
        self.next()?;
        Ok(match self.storage.load(name, known.map(|version| version.0.as_str())).map_err(failed)? {
            host::LoadOutcome::Unchanged => Loaded::Unchanged,
            host::LoadOutcome::Absent => Loaded::Absent,
            host::LoadOutcome::Loaded(found) => Loaded::Found(document(found)),
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
        self.next()?;
        let expected = expected.map(|version| version.0.as_str());
        let stored = self.storage.store(name, text, expected, durable, lease.map(|lease| lease.0.as_str()));
        Ok(match stored.map_err(failed)? {
            host::StoreOutcome::Stored(version) => Stored::Done(Version(version)),
            host::StoreOutcome::Stale(now) => Stored::Stale(now.map(document)),
            host::StoreOutcome::Unknown => Stored::Unknown,
        })
    }

    async fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<Acquired, StorageError> {
        self.next()?;
        Ok(match self.storage.acquire(&of_the_host(scope), ttl_ms, wait_ms).map_err(failed)? {
            host::AcquireOutcome::Acquired(grant) => {
                Acquired::Granted { lease: Lease(grant.lease), granted_ttl_ms: grant.granted_ttl_ms }
            }
            host::AcquireOutcome::Busy(holder) => Acquired::Busy(holder.name),
        })
    }

    async fn release(&self, lease: &Lease) {
        self.storage.release(&lease.0);
    }

    async fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        self.next()?;
        let holder = self.storage.holder_of(&of_the_host(scope)).map_err(failed)?;
        Ok(holder.map(|holder| Holder { name: holder.name, since_ms: holder.since_ms }))
    }

    fn describe(&self) -> Capabilities {
        Capabilities { reads_are_linearizable: true, excludes_foreign: true }
    }
}

impl Http for World {
    async fn send(&self, _: Request) -> Result<Response, HttpFailure> {
        panic!("nothing is sent")
    }
}

impl Clock for World {
    fn wall_ms(&self) -> u64 {
        1_784_541_600_000
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

impl Random for World {
    fn random_u64(&self) -> u64 {
        7
    }
}

impl Events for World {
    fn emit(&self, event: Event) {
        self.events.borrow_mut().push(event.name);
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        fs::write(folder.path(), text).expect("written");
        folder
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join(".credentials.json")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("a file")
    }

    /// One process that ends before its n-th call, with a taker of its own.
    fn hand_over(&self, calls: u32, mut take: impl FnMut(&str) -> Result<(), KeeperError>) -> Result<(), KeeperError> {
        let world =
            World { storage: FileStorage::open(self.path()), calls_left: Cell::new(calls), events: RefCell::default() };
        let admin = Admin::new(world);
        let moving = admin.hand_over("vault", "anthropic", async |place| {
            take(place.refresh_token.as_ref().expect("a token").expose())
        });
        // Every port answers at once.
        match pin!(moving).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("nothing waits"),
        }
    }
}

/// Wherever it is interrupted the login is somewhere and once more completes it.
#[test]
fn an_interrupted_move_keeps_the_login_and_can_be_repeated() {
    let mut calls = 0;
    loop {
        let folder = Folder::new(FILE);
        let mut taken = Vec::new();
        let mut take = |token: &str| {
            assert_eq!(folder.text(), FILE, "it is durable there before it is erased here");
            if !taken.iter().any(|known| known == token) {
                taken.push(token.to_owned());
            }
            Ok(())
        };
        let first = folder.hand_over(calls, &mut take);
        match &first {
            Ok(()) => assert_eq!(folder.text(), EMPTIED),
            Err(_) => assert_eq!(folder.text(), FILE, "interrupted before call {calls}"),
        }
        if first.is_err() {
            folder.hand_over(u32::MAX, &mut take).expect("completed");
        }
        assert_eq!((folder.text().as_str(), taken.as_slice()), (EMPTIED, ["r1".to_owned()].as_slice()));
        if first.is_ok() {
            assert!(calls >= 8, "{calls}");
            break;
        }
        calls += 1;
    }
}

/// What could not be taken stays and what is gone is not taken twice.
#[test]
fn a_failed_move_leaves_the_login_and_moves_nothing_twice() {
    let folder = Folder::new(FILE);
    let full = || KeeperError::new(Code::Storage, "full");
    assert_eq!(folder.hand_over(u32::MAX, |_| Err(full())).expect_err("not taken").code, Code::Storage);
    assert_eq!(folder.text(), FILE);
    folder.hand_over(u32::MAX, |_| Ok(())).expect("taken");
    let error = folder.hand_over(u32::MAX, |_| panic!("there is nothing")).expect_err("gone");
    assert_eq!((error.code, folder.text().as_str()), (Code::NothingToDo, EMPTIED));
}

#[test]
fn a_login_anew_that_comes_between_is_not_erased() {
    let folder = Folder::new(FILE);
    let anew = FILE.replace("r1", "r2");
    folder
        .hand_over(u32::MAX, |_| {
            fs::write(folder.path(), &anew).expect("written");
            Ok(())
        })
        .expect("what was there was taken");
    assert_eq!(folder.text(), anew);
}

/// Nobody else refreshes it meanwhile and a vault of our own form is not emptied.
#[test]
fn a_login_being_moved_is_not_refreshed_by_others() {
    let folder = Folder::new(FILE);
    folder
        .hand_over(u32::MAX, |_| {
            assert!(folder.0.path().join(".oauth_refresh.lock").exists(), "its tool is kept out");
            let other = FileStorage::open(folder.path());
            let scope = host::Scope::Document("vault".into());
            assert!(matches!(other.acquire(&scope, 1, 0), Ok(host::AcquireOutcome::Busy(_))));
            Ok(())
        })
        .expect("taken");
    let own = r#"{"providers":{"anthropic":{"tokens":{"access_token":"a","refresh_token":"r"}}}}"#;
    let folder = Folder::new(own);
    let error = folder.hand_over(u32::MAX, |_| panic!("not taken")).expect_err("refused");
    assert_eq!((error.code, folder.text().as_str()), (Code::NothingToDo, own));
}

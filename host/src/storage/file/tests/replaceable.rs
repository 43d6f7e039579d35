//! No grant is leased whose vault could not take a successor: so nothing is sent. The error says why, and what to do.

use rustix::io::Errno;

use super::crashes::{errno, rigged};
use super::*;

fn grant() -> Scope {
    Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) }
}

/// Runs the rest of the calling test in a process whose mounts are its own. False: it has been run, or cannot be here.
fn with_own_mounts(test: &str) -> bool {
    const VARIABLE: &str = "LAZARETTO_TEST_OWN_MOUNTS";
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let command = leases::this_test_binary(&format!("replaceable::{test}"));
    let binary = std::env::current_exe().expect("a path");
    let output = Command::new("unshare").arg("-m").arg(binary).args(command.get_args()).env(VARIABLE, "1").output();
    match output {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "no such test: {test}");
        }
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare failed") || !is_root() => skip(test),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => skip(test),
    }
    false
}

/// Says that something could not be tried here; where all must be tried that is a failure.
fn skip(test: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs root, unshare and mounts");
    println!("SKIPPED {test}: it needs root, unshare and mounts");
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let output = Command::new(program).args(arguments).arg(path).output().expect("it runs");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn refused(vault: &Path) -> StorageError {
    let storage = FileStorage::open(vault);
    assert!(storage.load(VAULT, None).is_ok(), "it can be read");
    storage.acquire(&grant(), 1, 0).expect_err("refused")
}

fn doctor(vault: &Path) -> Vec<String> {
    let findings = FileStorage::open(vault).checkup().into_iter();
    findings.filter(|finding| finding.severity == "error").map(|finding| finding.code).collect()
}

#[test]
fn a_vault_that_is_mounted_as_a_single_file_is_refused() {
    if !with_own_mounts("a_vault_that_is_mounted_as_a_single_file_is_refused") {
        return;
    }
    let (dir, vault, _) = with_vault("auth.json", "");
    let outside = dir.path().join("outside.json");
    fs::write(&outside, TEXT).expect("written");
    chmod(&outside, 0o600);
    run("mount", &["--bind", &outside.display().to_string()], &vault);
    for options in ["remount,bind,rw", "remount,bind,ro"] {
        run("mount", &["-o", options], &vault);
        let error = refused(&vault);
        assert_eq!(error.code, "read-only", "{options}: {error}");
        assert!(
            error.message.contains("is mounted as a single file") && error.message.contains("mount its folder"),
            "{error}"
        );
        assert_eq!(doctor(&vault), ["vault-mounted"], "{options}");
    }
    assert_eq!(names_in(dir.path()), ["auth.json", "outside.json"]);
    run("umount", &[], &vault);
    acquired(FileStorage::open(&vault).acquire(&grant(), 1, 0));
    // A folder that is mounted is what the advice says.
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).expect("made");
    run("mount", &["--bind", &dir.path().display().to_string()], &folder);
    acquired(FileStorage::open(folder.join("auth.json")).acquire(&grant(), 1, 0));
    run("umount", &[], &folder);
}

#[test]
fn a_vault_on_a_file_system_that_is_read_only_is_refused() {
    if !with_own_mounts("a_vault_on_a_file_system_that_is_read_only_is_refused") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let vault = dir.path().join("auth.json");
    run("mount", &["-t", "tmpfs", "tmpfs"], dir.path());
    fs::write(&vault, TEXT).expect("written");
    chmod(&vault, 0o600);
    chmod(dir.path(), 0o700);
    // The locks are there already, as after a refresh of an earlier day.
    drop(FileStorage::open(&vault).acquire(&grant(), 1, 0));
    run("mount", &["-o", "remount,ro"], dir.path());
    assert_eq!(refused(&vault).code, "read-only");
    assert_eq!(doctor(&vault), ["vault-read-only"]);
    run("umount", &[], dir.path());
}

#[test]
fn a_vault_that_is_immutable_or_can_only_grow_is_refused() {
    /// Taken away again whatever happens, or the folder stays for ever.
    struct Attribute<'a>(&'a Path);
    impl Drop for Attribute<'_> {
        fn drop(&mut self) {
            let _ = Command::new("chattr").args(["-i", "-a"]).arg(self.0).status();
        }
    }
    let (dir, vault, storage) = with_vault("auth.json", TEXT);
    storage.release(&acquired(storage.acquire(&grant(), 1, 0)));
    for path in [vault.as_path(), dir.path()] {
        for attribute in ["+i", "+a"] {
            let set = Command::new("chattr").arg(attribute).arg(path).output();
            if !set.is_ok_and(|output| output.status.success()) {
                return skip("a_vault_that_is_immutable_or_can_only_grow_is_refused");
            }
            let unset = Attribute(path);
            let error = refused(&vault);
            assert_eq!(error.code, "read-only", "{attribute} {}: {error}", path.display());
            assert!(error.message.contains("immutable or append-only") && error.message.contains("chattr"), "{error}");
            assert_eq!(doctor(&vault), ["vault-immutable"]);
            drop(unset);
            storage.release(&acquired(storage.acquire(&grant(), 1, 0)));
        }
    }
}

/// Whatever stops the temporary file stops the lease and leaves nothing.
#[test]
fn what_stops_the_temporary_file_stops_the_lease() {
    for (operation, error, expected) in [
        ("open_temp", Errno::ROFS, "read-only"),
        ("open_temp", Errno::PERM, "read-only"),
        ("open_temp", Errno::ACCESS, "denied"),
        ("open_temp", Errno::NOSPC, "full"),
        ("open_temp", Errno::DQUOT, "full"),
        ("allocate", Errno::NOSPC, "full"),
        ("allocate", Errno::DQUOT, "full"),
        ("allocate", Errno::FBIG, "full"),
        ("allocate", Errno::IO, "other"),
    ] {
        let (dir, vault, plain) = with_vault("auth.json", TEXT);
        let storage = rigged(&vault, move |told, _| if told == operation { Err(errno(error)) } else { Ok(()) });
        let refused = storage.acquire(&grant(), 1, 0).expect_err("refused");
        assert_eq!(refused.code, expected, "{operation} {error:?}: {refused}");
        assert_eq!(names_in(dir.path()), ["auth.json"], "{operation} {error:?}");
        acquired(plain.acquire(&grant(), 1, 0)); // the lock was given back
        // Other leases are for what sends nothing, and fail by themselves.
        acquired(storage.acquire(&Scope::Document(VAULT.into()), 1, 0));
    }
}

#[test]
fn a_lease_leaves_no_trace_of_the_look() {
    let (dir, _, storage) = with_vault("auth.json", TEXT);
    let lease = acquired(storage.acquire(&grant(), 1, 0));
    assert_eq!(names_in(dir.path()), ["auth.json"]);
    storage.release(&lease);
    let (dir, _, storage) = empty("new/auth.json");
    acquired(storage.acquire(&grant(), 1, 0));
    assert_eq!(names_in(&dir.path().join("new")), Vec::<String>::new(), "a vault that is not there yet can be made");
}

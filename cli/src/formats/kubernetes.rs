//! An exec credential plugin of Kubernetes: the token as an `ExecCredential` on standard output.
//! kubectl and client-go run it again once the time in it has passed, and once after a 401.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>

use std::env;

use serde_json::{Value, json};

use super::super::args::TokenArgs;
use super::super::failure::Failure;
use super::super::setup::Setup;
use super::super::time;
use super::exchange;
use super::host::{self, Host};
use lazaretto_host::AccessToken;

const VARIABLE: &str = "KUBERNETES_EXEC_INFO";
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

pub(super) fn run(setup: &Setup, args: &TokenArgs) -> Result<(), Failure> {
    let info = env::var(VARIABLE).ok().filter(|info| !info.is_empty());
    let version = read(info.as_deref(), &args.for_host)?;
    let (token, saved) = exchange::ask(setup, args)?;
    exchange::answer(&format!("{}\n", credential(version, &token)), saved)
}

/// In which version the answer is to be, if the cluster is one that the token is for.
fn read(info: Option<&str>, hosts: &[Host]) -> Result<&'static str, Failure> {
    let wrong = |what: &str| Failure::usage(format_args!("${VARIABLE} {what}"));
    // Whoever tries the command by hand has no such variable.
    let Some(info) = info else {
        return if hosts.is_empty() { Ok(VERSIONS[0]) } else { Err(unnamed()) };
    };
    let info: Value = serde_json::from_str(info).map_err(|_| wrong("is not JSON"))?;
    let version = info["apiVersion"].as_str().unwrap_or_default();
    let version = VERSIONS.into_iter().find(|known| *known == version).ok_or_else(|| {
        wrong(&format!(
            "asks for another version than {} and {}; set apiVersion in the kubeconfig",
            VERSIONS[0], VERSIONS[1]
        ))
    })?;
    if !hosts.is_empty() {
        let server = info.pointer("/spec/cluster/server").and_then(Value::as_str).ok_or_else(unnamed)?;
        let goes = Host::of_url(server).is_some_and(|(asked, is_plain)| host::may_go(hosts, &asked, is_plain));
        if !goes {
            return Err(Failure::usage("this cluster is none of those named with --for-host: it gets no token"));
        }
    }
    Ok(version)
}

fn unnamed() -> Failure {
    Failure::usage(
        "--for-host needs the cluster's address: set `provideClusterInfo: true` in the kubeconfig's exec section",
    )
}

fn credential(version: &str, token: &AccessToken) -> Value {
    let mut status = json!({ "token": token.token });
    // Without a time kubectl uses the token until the server answers 401.
    if let Some(at_ms) = token.expires_at_ms {
        status["expirationTimestamp"] = time::rfc3339(at_ms).into();
    }
    json!({ "apiVersion": version, "kind": "ExecCredential", "status": status })
}

#[cfg(test)]
mod tests {
    use super::super::super::token::example;
    use super::*;

    fn info(version: &str, server: Option<&str>) -> String {
        let cluster = server.map(|server| json!({ "server": server }));
        json!({ "apiVersion": format!("client.authentication.k8s.io/{version}"), "kind": "ExecCredential",
            "spec": { "interactive": false, "cluster": cluster } })
        .to_string()
    }

    #[test]
    fn the_answer_is_in_the_version_asked_for() {
        assert_eq!(read(None, &[]).unwrap(), VERSIONS[0]);
        assert_eq!(read(Some(&info("v1", None)), &[]).unwrap(), VERSIONS[0]);
        assert_eq!(read(Some(&info("v1beta1", None)), &[]).unwrap(), VERSIONS[1]);
        for bad in ["secret", "{}", "[]", &info("v1alpha1", None), &info("v2", None)] {
            let failure = read(Some(bad), &[]).unwrap_err();
            assert!(failure.message.contains(VARIABLE) && !failure.message.contains("secret"), "{}", failure.message);
        }
    }

    #[test]
    fn a_token_for_one_cluster_is_not_given_to_another() {
        let hosts = [Host::parse("k8s.example:6443").unwrap()];
        assert!(read(Some(&info("v1", Some("https://k8s.example:6443"))), &hosts).is_ok());
        for bad in
            [Some("https://k8s.example"), Some("https://evil.example:6443"), Some("http://k8s.example:6443"), None]
        {
            assert!(read(Some(&info("v1", bad)), &hosts).is_err(), "{bad:?}");
        }
        assert!(read(None, &hosts).is_err());
    }

    #[test]
    fn it_is_an_exec_credential_with_its_end() {
        assert_eq!(
            credential(VERSIONS[0], &example()).to_string(),
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"at-secret","expirationTimestamp":"2026-07-20T10:00:00Z"}}"#
        );
        let endless = credential(VERSIONS[1], &AccessToken { expires_at_ms: None, ..example() });
        assert!(endless["status"].get("expirationTimestamp").is_none());
    }
}

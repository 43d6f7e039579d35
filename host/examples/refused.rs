//! Reports what an API answered: a 401 is one refresh, for all who name the same token, and then one more try.

use std::error::Error;

use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{ApiCall, Keeper, TokenRequest};

/// Calls an API, which answers to an access token with a status and a body.
pub fn call(keeper: &Keeper, provider: &str, api: impl Fn(&str) -> (u16, String)) -> Result<String, Box<dyn Error>> {
    let mut token = keeper.token(&TokenRequest::new(VAULT, provider))?;
    // Each round has another token: the refreshed one, or that of another credential.
    for _ in 0..4 {
        let (status, body) = api(&token.token);
        if status < 400 {
            return Ok(body);
        }
        let advice = keeper.report(&ApiCall {
            vault: VAULT.into(),
            provider: provider.into(),
            credential: Some(token.credential.clone()),
            access_token: token.token.clone(),
            status: Some(status),
            body: body.clone(),
            ..ApiCall::default()
        })?;
        token = match (advice.advice.as_str(), advice.token) {
            ("use", Some(another)) => another,
            ("go-on", _) => return Err(format!("the API says {status}, and not for the token: {body}").into()),
            // `wait` and `give-up`: the message says for how long, or what a person must do.
            _ => return Err(advice.message.into()),
        };
    }
    Err("the API refuses every token".into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let keeper = Keeper::builder().storage(FileStorage::open("auth.json")).build()?;
    let answer = call(&keeper, "xai-oauth", |_token| (200, "a client of the API sends the token here".into()))?;
    println!("{answer}");
    Ok(())
}

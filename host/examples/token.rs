use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{Keeper, TokenRequest};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vault = std::env::home_dir().unwrap_or_default().join(".hermes/auth.json");
    let keeper = Keeper::builder().storage(FileStorage::open(vault)).build()?;
    let token = keeper.token(&TokenRequest::new(VAULT, "xai-oauth"))?; // refreshed if need be, by one process only
    println!("Authorization: {} {}", token.token_type, token.token);
    Ok(())
}

use super::CommandError;
use crate::config::Config;
#[derive(Debug, Clone, clap::Args)]
pub struct SeedOptions {}
pub async fn seed(_o: &SeedOptions, _yes: bool, _config: &Config) -> Result<String, CommandError> {
    Ok(String::new())
}

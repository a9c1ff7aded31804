//! The process: reads the command line and the configuration, and does what was asked for.

use std::process::ExitCode;

use api::{
    command::{self, Cli, CommandError, Exit, output},
    config::Config,
    wiring,
};
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return output::print_parsed(&answer).into(),
    };
    let json = cli.json;
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::print_error(&error, json);
            error.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, CommandError> {
    let config = Config::from_process()?;
    let _log = wiring::log(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command::run(cli, &config))
}

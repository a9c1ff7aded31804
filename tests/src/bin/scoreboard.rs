//! Prints the scoreboard, and fails when a named test did not run or did not pass.
//!
//! `scoreboard [--partial] [--junit FILE | --libtest FILE]`. Without a report it prints what is claimed; with `--partial`,
//! when only some tests were asked for, those that did not run are no failure.

use std::process::ExitCode;

use tests::scoreboard::{Passed, Scoreboard};

fn main() -> ExitCode {
    match print(std::env::args().skip(1)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("scoreboard: {error}");
            ExitCode::from(2)
        }
    }
}

fn print(mut arguments: impl Iterator<Item = String>) -> Result<ExitCode, String> {
    let (mut passed, mut is_partial) = (None, false);
    while let Some(argument) = arguments.next() {
        let mut report = || {
            let file = arguments.next().ok_or("which report?")?;
            std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))
        };
        match argument.as_str() {
            "--junit" => passed = Some(Passed::from_junit(&report()?)),
            "--libtest" => passed = Some(Passed::from_libtest(&report()?)),
            "--partial" => is_partial = true,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    let scoreboard = Scoreboard::read()?;
    println!("{}", scoreboard.show(passed.as_ref()));
    let Some(passed) = passed else { return Ok(ExitCode::SUCCESS) };
    if passed.is_empty() {
        return Err("the report has no test that passed".into());
    }
    if is_partial {
        return Ok(ExitCode::SUCCESS);
    }
    let unproven: Vec<_> = scoreboard.unproven(&passed).collect();
    for (row, test) in &unproven {
        eprintln!("scoreboard: {row}: {test} did not run, or did not pass");
    }
    Ok(if unproven.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! The one place that prints. What was asked for goes to standard output, what went wrong to standard error.

use std::{
    fmt::Display,
    io::{self, Write},
};

use serde::Serialize;

use super::{CommandError, Exit};

/// Prints a value: for people, or as JSON for programs. A reader that has gone, as `head` does, is no error.
///
/// # Errors
/// If it cannot be written.
pub fn print(value: &(impl Display + Serialize), json: bool) -> io::Result<()> {
    let mut text = if json { serde_json::to_string_pretty(value)? } else { value.to_string() };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut stdout = io::stdout().lock();
    unless_nobody_reads(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

fn unless_nobody_reads(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints what the command line alone is answered: help, the version, or what is wrong with it.
pub fn print_parsed(answer: &clap::Error) -> Exit {
    let written = answer.print().and_then(|()| io::stdout().flush());
    match unless_nobody_reads(written) {
        _ if answer.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Done,
        Err(error) => {
            let error = CommandError::from(error);
            print_error(&error, false);
            error.exit()
        }
    }
}

/// Prints an error: `error: …` a line, and what to do about it; or a JSON object.
pub fn print_error(error: &CommandError, json: bool) {
    let text = if json {
        let mut told = serde_json::json!({
            "code": error.code(),
            "message": error.to_string(),
            "errors": error.lines(),
            "advice": error.advice(),
            "completed": error.completed(),
        });
        if let Some(report) = error.report() {
            told["lint"] = serde_json::json!(report);
        }
        format!("{}\n", serde_json::json!({ "error": told }))
    } else {
        let lines = error.lines().into_iter().map(|line| format!("error: {line}\n"));
        let report = error.report().map(|report| format!("{report}\n"));
        report.into_iter().chain(lines).chain(error.advice().map(|advice| format!("{advice}\n"))).collect()
    };
    // With nobody to read it there is nothing left to do.
    let _nobody_reads = io::stderr().lock().write_all(text.as_bytes());
}

/// Tells programs how far something is that takes long: a line of JSON.
pub fn print_line(value: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        // With nobody to read it there is nothing to tell.
        let _nobody_reads = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Asks on a terminal whether to go on; without one, or on anything but a yes, the answer is no.
///
/// # Errors
/// If the terminal cannot be written to or read from.
pub fn confirm(question: &str) -> io::Result<bool> {
    use io::IsTerminal;

    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr().lock(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

//! What tells whether a migration is still what it was when it was applied.
//!
//! The checksum is of the source, not of the SQL that it makes: that is another one with another version of the library,
//! or with other data, and then nobody has edited anything. Comments and layout do not count, so that a formatter that
//! is updated changes no history.

use migration::Source;
use sha2::{Digest, Sha256};

/// The checksum of a migration's source, in hexadecimal digits.
pub(super) fn checksum(source: &Source) -> String {
    let text = if source.is_rust { bare_rust(source.text) } else { bare_sql(source.text) };
    hex::encode(Sha256::digest(text))
}

/// SQL whose lines end alike everywhere. Comments count, because where they end is not the same in all SQL.
fn bare_sql(text: &str) -> String {
    text.trim().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Rust without comments, and without blanks but where they separate words; what a formatter adds is left out.
fn bare_rust(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_separated = false;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            _ if first.is_whitespace() || rest.starts_with("//") || rest.starts_with("/*") => {
                rest = &rest[blank(rest, first)..];
                is_separated = true;
                continue;
            }
            '"' => quoted(rest, 1),
            '\'' => character(rest).unwrap_or(1),
            'r' | 'b' | 'c' if !bare.ends_with(is_word) || is_separated => raw(rest).unwrap_or(1),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        if is_separated && is_word(first) && bare.ends_with(is_word) {
            bare.push(' ');
        }
        if matches!(first, ')' | ']' | '}') && bare.ends_with(',') {
            bare.pop();
        }
        bare.push_str(token);
        (rest, is_separated) = (after, false);
    }
    bare
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// How long the blank or comment is that a text begins with.
fn blank(text: &str, first: char) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return first.len_utf8();
    }
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let Some(found) = text[at..].find(['*', '/']) else { return text.len() };
        at += found;
        match text.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
}

/// How long the string is whose quotation mark ends before `start`.
fn quoted(text: &str, start: usize) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip_while(|(at, _)| *at < start) {
        match letter {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// How long the character in quotes is, if it is none of a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        // What is escaped comes first, and may be a quote.
        let after = letters.nth(1)?.0;
        return text[after..].find('\'').map(|found| after + found + 1).filter(|_| text.len() > after);
    }
    letters.next().filter(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1)
}

/// How long the string with a prefix is, such as `r#"…"#`, if it is one.
fn raw(text: &str) -> Option<usize> {
    let prefix = text.find(|letter| !matches!(letter, 'r' | 'b' | 'c'))?;
    let hashes = text[prefix..].find(|letter| letter != '#')?;
    let start = prefix + hashes + 1;
    if prefix > 2 || !text[prefix + hashes..].starts_with('"') {
        return None;
    }
    if !text[..prefix].contains('r') {
        return (hashes == 0).then(|| quoted(text, start));
    }
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[start..].find(&end).map_or(text.len(), |found| start + found + end.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> String {
        checksum(&Source { file: String::new(), text, is_rust: true })
    }

    #[test]
    fn layout_and_comments_do_not_count() {
        let one =
            of("fn up<'a>(x: &'a str) -> char { // as it was\n    call(\"a // b\", 'x', r#\"c \"d\"#,\n    )\n}\n");
        let other = of("/* new /* nested */ */ fn up<'a>( x:&'a str )->char\n{ call( \"a // b\",'x',r#\"c \"d\"# ) }");
        assert_eq!(one, other);
    }

    #[test]
    fn everything_else_counts() {
        let texts = [
            "run(\"a b\")",
            "run(\"ab\")",
            "run(\"a  b\")",
            "run(\"a /* b */\")",
            "run(\"a /* c */\")",
            "r(r\"a\\\")",
            "let a = b;",
            "leta = b;",
            "run('\\'', \"//x\")",
            "run('\\'', \"//y\")",
            "r(b\"\\\"//\")",
            "r(b\"\\\"/\")",
            "run('\"', 1) // \"",
            "run('\"', 2) // \"",
            "x(r##\"a\"# //\"##)",
            "x(r##\"a\"# /\"##)",
            "a / b",
            "a // b",
        ];
        for (at, one) in texts.iter().enumerate() {
            for other in &texts[at + 1..] {
                assert_ne!(of(one), of(other), "{one}  {other}");
            }
        }
    }

    #[test]
    fn ends_of_lines_in_sql_do_not_count() {
        let of = |text| checksum(&Source { file: String::new(), text, is_rust: false });
        assert_eq!(of("SELECT 1;\r\nSELECT 2;"), of("SELECT 1;  \nSELECT 2;\n\n"));
        assert_ne!(of("SELECT 1; -- a"), of("SELECT 1;"));
    }
}

//! Takes plain SQL apart, where each statement is sent by itself.
//!
//! It knows no more of SQL than where a semicolon does not end a statement, so that it means the same in ten years.

/// The statements in a text, each with the comments before it and without its semicolon.
pub(crate) fn statements(sql: &str) -> Vec<&str> {
    let (mut found, mut words) = (Vec::new(), Words::default());
    let (mut start, mut at) = (0, 0);
    while at < sql.len() {
        let rest = &sql[at..];
        let length = skip(rest);
        if rest.starts_with(';') && words.depth == 0 {
            if words.has_any {
                found.push(sql[start..at].trim());
                start = at + length;
            }
            words = Words::default();
        } else {
            words.read(&rest[..length]);
        }
        at += length;
    }
    let rest = sql[start..].trim();
    match found.last_mut() {
        // What only comments on the last one goes with it.
        Some(last) if !words.has_any => {
            let from = last.as_ptr() as usize - sql.as_ptr() as usize;
            *last = sql[from..].trim();
        }
        _ if words.has_any => found.push(rest),
        _ => {}
    }
    found
}

/// SQL with values for `$from` and `$to`, but for what is in strings and comments.
pub(crate) fn bind(sql: &str, from: &str, to: &str) -> String {
    let mut bound = String::with_capacity(sql.len());
    let mut rest = sql;
    while !rest.is_empty() {
        let placeholder = [("$from", from), ("$to", to)].into_iter().find(|(name, _)| {
            let after = rest.strip_prefix(name);
            after.is_some_and(|after| !after.starts_with(|letter| is_word(letter) || letter == '$'))
        });
        let (length, text) = match placeholder {
            Some((name, value)) => (name.len(), value),
            None => {
                let length = skip(rest);
                (length, &rest[..length])
            }
        };
        bound.push_str(text);
        rest = &rest[length..];
    }
    bound
}

/// How many bytes the string, comment, word or other character takes that a text begins with.
fn skip(text: &str) -> usize {
    let ends = |from: usize, end: &str| text[from..].find(end).map_or(text.len(), |found| from + found + end.len());
    let mut letters = text.chars();
    let first = letters.next().unwrap_or(' ');
    match first {
        '-' if text.starts_with("--") => ends(2, "\n"),
        '/' if text.starts_with("/*") => comment(text),
        '\'' | '"' | '`' => quoted(text, first, false),
        'E' | 'e' if text[1..].starts_with('\'') => 1 + quoted(&text[1..], '\'', true),
        '$' => match text[1..].find(|letter: char| !is_word(letter)) {
            Some(end) if text[1 + end..].starts_with('$') && !text[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                ends(end + 2, &text[..end + 2])
            }
            _ => 1,
        },
        _ if is_word(first) => text.find(|letter| !is_word(letter) && letter != '$').unwrap_or(text.len()),
        _ => first.len_utf8(),
    }
}

/// Comments of PostgreSQL can hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// A quote inside is written twice, which reads as two strings side by side; with backslashes, after one.
fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if has_escapes => is_escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What the words of a statement tell: whether it is in the body of a trigger, or of a function after `BEGIN ATOMIC`.
#[derive(Default)]
struct Words {
    has_any: bool,
    creates: bool,
    triggers: bool,
    begins: bool,
    depth: usize,
}

impl Words {
    fn read(&mut self, token: &str) {
        if token.starts_with("--") || token.starts_with("/*") || token.trim().is_empty() {
            return;
        }
        let is = |word: &str| token.eq_ignore_ascii_case(word);
        self.creates |= !self.has_any && is("CREATE");
        self.has_any = true;
        if !self.creates {
            return;
        }
        if self.depth > 0 {
            self.depth += usize::from(is("CASE"));
            self.depth -= usize::from(is("END"));
        } else if is("BEGIN") && self.triggers || self.begins && is("ATOMIC") {
            self.depth = 1;
        }
        self.triggers |= is("TRIGGER");
        self.begins = is("BEGIN");
    }
}

#[cfg(test)]
mod tests {
    use super::{bind, statements};

    #[test]
    fn values_are_for_what_is_neither_in_strings_nor_in_comments() {
        let sql = "a BETWEEN $from AND $to -- $to\nAND '$to' <> $$ $from $$ AND b$to < $total";
        let bound = "a BETWEEN 1 AND '2' -- $to\nAND '$to' <> $$ $from $$ AND b$to < $total";
        assert_eq!(bind(sql, "1", "'2'"), bound);
    }

    #[test]
    fn a_semicolon_ends_a_statement_where_it_is_one() {
        for (sql, expected) in [
            ("", &[][..]),
            (" ; -- nothing\n;", &[]),
            ("-- no transaction\nA;\nB", &["-- no transaction\nA", "B"]),
            ("A; -- said of A\n", &["A; -- said of A"]),
            ("A 'it''s; one';B \"x;y\";C E'\\';';D", &["A 'it''s; one'", "B \"x;y\"", "C E'\\';'", "D"]),
            ("A $$ ; $$; B $b$ ; $$ ; $b$; C $1;D", &["A $$ ; $$", "B $b$ ; $$ ; $b$", "C $1", "D"]),
            ("A -- ; '\n; /* ; /* ; */ ' */ B", &["A -- ; '", "/* ; /* ; */ ' */ B"]),
            ("A / 2; B - 1; é 'é;'", &["A / 2", "B - 1", "é 'é;'"]),
            ("BEGIN; A; END; B", &["BEGIN", "A", "END", "B"]),
            (
                "CREATE TRIGGER t AFTER INSERT ON u BEGIN A; SELECT CASE WHEN x THEN y END; END; B",
                &["CREATE TRIGGER t AFTER INSERT ON u BEGIN A; SELECT CASE WHEN x THEN y END; END", "B"],
            ),
            (
                "create function f() returns int begin atomic select 1; end; B",
                &["create function f() returns int begin atomic select 1; end", "B"],
            ),
        ] {
            assert_eq!(statements(sql), expected, "{sql}");
        }
    }
}

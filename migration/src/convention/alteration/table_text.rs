//! The text that SQLite keeps of a table, to be changed.

use std::fmt;

/// A `CREATE TABLE`, taken apart at the commas between its columns and constraints.
pub(super) struct TableText {
    /// Up to the first parenthesis.
    head: String,
    parts: Vec<Vec<String>>,
    /// Behind the last one.
    tail: String,
}

impl TableText {
    /// None if it cannot be told apart: there are comments in it, say.
    pub(super) fn read(sql: &str) -> Option<Self> {
        let (head, rest) = sql.split_once('(')?;
        let (inner, tail) = rest.rsplit_once(')')?;
        let is_odd = sql.contains("--") || sql.contains("/*");
        let parts = split(inner, |letter| letter == ',')?;
        let words = |part: &String| split(part, char::is_whitespace);
        let parts = parts.iter().map(words).collect::<Option<Vec<_>>>()?;
        (!is_odd).then(|| Self { head: head.to_owned(), parts, tail: tail.to_owned() })
    }

    fn column(&mut self, name: &str) -> Option<&mut Vec<String>> {
        self.parts.iter_mut().find(|part| part.first().is_some_and(|first| is_named(first, name)))
    }

    /// The type of a column.
    pub(super) fn kind(&mut self, column: &str) -> Option<String> {
        let column = self.column(column)?;
        Some(column.get(1..end_of_kind(column))?.join(" "))
    }

    pub(super) fn retype(&mut self, column: &str, kind: &str) -> Option<()> {
        let column = self.column(column)?;
        column.splice(1..end_of_kind(column), [kind.to_owned()]);
        Some(())
    }

    pub(super) fn not_null(&mut self, column: &str) -> Option<()> {
        self.without_not_null(column)?;
        let column = self.column(column)?;
        let end = end_of_kind(column);
        column.splice(end..end, ["NOT".to_owned(), "NULL".to_owned()]);
        Some(())
    }

    pub(super) fn without_not_null(&mut self, column: &str) -> Option<()> {
        let column = self.column(column)?;
        let is_meant = |pair: &[String]| matches!(pair, [not, null] if is_word(not, "NOT") && is_word(null, "NULL"));
        if let Some(at) = column.windows(2).position(is_meant) {
            column.drain(at..at + 2);
        }
        Some(())
    }

    /// What stands in the parentheses of another text.
    pub(super) fn append(&mut self, of: &str) -> Option<()> {
        self.parts.extend(Self::read(of)?.parts);
        Some(())
    }

    /// A reference of one column.
    fn reference(&self, column: &str) -> Option<usize> {
        self.parts.iter().position(|part| {
            let words = named(part).1;
            let columns = words.get(2).map(|columns| columns.trim_matches(['(', ')', ' ']));
            words.first().is_some_and(|first| is_word(first, "FOREIGN"))
                && columns.is_some_and(|found| is_named(found, column))
        })
    }

    pub(super) fn without_reference(&mut self, column: &str) -> Option<()> {
        let at = self.reference(column)?;
        self.parts.remove(at);
        Some(())
    }

    fn constraint(&self, name: &str) -> Option<usize> {
        self.parts.iter().position(|part| named(part).0.is_some_and(|found| is_named(found, name)))
    }

    pub(super) fn without_constraint(&mut self, name: &str) -> Option<()> {
        let at = self.constraint(name)?;
        self.parts.remove(at);
        Some(())
    }

    pub(super) fn rename_constraint(&mut self, from: &str, to: &str) -> Option<()> {
        let at = self.constraint(from)?;
        *self.parts.get_mut(at)?.get_mut(1)? = format!("\"{to}\"");
        Some(())
    }
}

impl fmt::Display for TableText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, parts, tail } = self;
        let parts = parts.iter().map(|part| part.join(" ")).collect::<Vec<_>>().join(", ");
        write!(f, "{head}( {parts} ){tail}")
    }
}

/// The name of a constraint of the table, and what it says.
fn named(part: &[String]) -> (Option<&str>, &[String]) {
    match part {
        [first, name, rest @ ..] if is_word(first, "CONSTRAINT") => (Some(name), rest),
        rest => (None, rest),
    }
}

/// Where the constraints of a column begin.
fn end_of_kind(column: &[String]) -> usize {
    const FIRST: [&str; 9] =
        ["NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "COLLATE", "CONSTRAINT"];
    let is_first = |word: &String| FIRST.iter().any(|first| is_word(word, first));
    column.iter().skip(1).position(is_first).map_or(column.len(), |at| at + 1)
}

fn is_word(found: &str, word: &str) -> bool {
    found.eq_ignore_ascii_case(word)
}

fn is_named(found: &str, name: &str) -> bool {
    found.trim_matches(['"', '`', '[', ']']).eq_ignore_ascii_case(name)
}

/// Parts between separators that are in no quotes and no parentheses; none if those do not come in pairs.
fn split(text: &str, is_separator: impl Fn(char) -> bool) -> Option<Vec<String>> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut depth, mut quote) = (0_u32, None);
    for letter in text.chars() {
        match (quote, letter) {
            (Some(end), _) => quote = Some(end).filter(|&end| end != letter),
            (None, '\'' | '"' | '`') => quote = Some(letter),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.checked_sub(1)?,
            (None, _) => {}
        }
        if quote.is_none() && depth == 0 && is_separator(letter) {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(letter);
        }
    }
    parts.push(part);
    let parts = parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
    (depth == 0 && quote.is_none()).then(|| parts.collect())
}

#[cfg(test)]
mod tests {
    use super::TableText;

    const TEXT: &str = r#"CREATE TABLE "t" ( "id" uuid_text NOT NULL PRIMARY KEY, "a" varchar(40) NOT NULL DEFAULT 'x, y (',
        n integer, CONSTRAINT "ck_t_n" CHECK ("n" IN (1, 2)), FOREIGN KEY ("n") REFERENCES "p" ("id") ) STRICT"#;

    fn changed(change: impl FnOnce(&mut TableText) -> Option<()>) -> String {
        let mut text = TableText::read(TEXT).unwrap();
        change(&mut text).unwrap();
        text.to_string()
    }

    #[test]
    fn what_is_not_changed_stays() {
        let text = changed(|_| Some(()));
        assert_eq!(text, TableText::read(&text).unwrap().to_string());
        assert!(
            text.contains(r#""a" varchar(40) NOT NULL DEFAULT 'x, y (', n integer, CONSTRAINT "ck_t_n""#),
            "{text}"
        );
        assert!(text.ends_with(r#"FOREIGN KEY ("n") REFERENCES "p" ("id") ) STRICT"#), "{text}");
    }

    #[test]
    fn a_column_is_changed_in_its_place() {
        let a = |text: String| text.split(", ").find(|part| part.starts_with("\"a\"")).unwrap().to_owned();
        assert_eq!(a(changed(|text| text.without_not_null("a"))), r#""a" varchar(40) DEFAULT 'x"#);
        assert_eq!(a(changed(|text| text.retype("a", "text"))), r#""a" text NOT NULL DEFAULT 'x"#);
        assert!(changed(|text| text.not_null("n")).contains("n integer NOT NULL,"));
        assert_eq!(TableText::read(TEXT).unwrap().kind("A").unwrap(), "varchar(40)");
    }

    #[test]
    fn constraints_come_and_go() {
        assert!(!changed(|text| text.without_reference("n")).contains("FOREIGN"));
        assert!(!changed(|text| text.without_constraint("ck_t_n")).contains("CHECK"));
        assert!(changed(|text| text.rename_constraint("ck_t_n", "ck_t_m")).contains("CONSTRAINT \"ck_t_m\" CHECK"));
        let more = r#"CREATE TABLE "t" ( CONSTRAINT "ck" CHECK ("a" <> '') )"#;
        assert!(changed(|text| text.append(more)).contains(r#"("id"), CONSTRAINT "ck" CHECK ("a" <> '') ) STRICT"#));
    }

    #[test]
    fn what_cannot_be_told_apart_is_left_alone() {
        for text in ["CREATE TABLE t (a, -- why\n b)", "CREATE TABLE t (a '", "CREATE TABLE t (a)) (", "nothing"] {
            assert!(TableText::read(text).is_none(), "{text}");
        }
        let mut text = TableText::read(TEXT).unwrap();
        assert!(text.without_reference("a").is_none() && text.without_constraint("ck").is_none());
        assert!(text.retype("m", "text").is_none());
    }
}

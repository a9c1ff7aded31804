//! The words of SQL, told from comments and from what is quoted.

/// A word that is in no quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    /// Whether it is the first of a statement.
    pub(crate) is_first: bool,
}

impl Word<'_> {
    /// Whether it is this one, however it is written.
    pub(crate) fn is(self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is one of these.
    pub(crate) fn is_of(self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }
}

/// The words of a text of one statement or several. A comment may have others in it on PostgreSQL; on SQLite it may not, and
/// ends with the first that ends.
pub(crate) fn words(text: &str, comments_nest: bool) -> impl Iterator<Item = Word<'_>> + Clone {
    Words { rest: text, is_first: true, comments_nest }
}

/// All that may be a name, in quotes and comments too.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter| !is_of_a_word(letter)).filter(|name| !name.is_empty())
}

#[derive(Clone)]
struct Words<'a> {
    rest: &'a str,
    is_first: bool,
    comments_nest: bool,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        while let Some(letter) = self.rest.chars().next() {
            let rest = self.rest;
            let after = &rest[letter.len_utf8()..];
            match letter {
                ';' => {
                    self.is_first = true;
                    self.rest = after;
                }
                '-' if after.starts_with('-') => self.rest = rest.split_once('\n').map_or("", |(_, next)| next),
                '/' if after.starts_with('*') => self.rest = after_comment(rest, self.comments_nest),
                '\'' | '"' | '`' => self.rest = after_quoted(after, letter, false),
                '$' => self.rest = after_dollar(rest),
                _ if is_of_a_word(letter) => {
                    let (text, next) = rest.split_at(rest.find(|letter| !is_of_a_word(letter)).unwrap_or(rest.len()));
                    self.rest = next;
                    // In `E'…'` a backslash takes the meaning of a quote away.
                    if let (true, Some(quoted)) = (text.eq_ignore_ascii_case("e"), next.strip_prefix('\'')) {
                        self.rest = after_quoted(quoted, '\'', true);
                        continue;
                    }
                    return Some(Word { text, is_first: std::mem::take(&mut self.is_first) });
                }
                _ => self.rest = after,
            }
        }
        None
    }
}

/// A name may have `$` in it, too; but a body that is quoted as `$function$…$function$` may begin or end with a name.
pub(crate) fn is_of_a_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What comes after a comment.
fn after_comment(text: &str, nest: bool) -> &str {
    let (mut depth, mut rest) = (0_u32, text);
    while !rest.is_empty() {
        if let Some(next) = rest.strip_prefix("/*") {
            depth = if nest { depth + 1 } else { 1 };
            rest = next;
        } else if let Some(next) = rest.strip_prefix("*/") {
            depth = depth.saturating_sub(1);
            rest = next;
            if depth == 0 {
                return rest;
            }
        } else {
            let mut letters = rest.chars();
            letters.next();
            rest = letters.as_str();
        }
    }
    rest
}

/// What comes after the quote that ends what is in quotes. A doubled one begins anew what goes on.
fn after_quoted(text: &str, quote: char, has_escapes: bool) -> &str {
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        if letter == quote {
            return &text[place + quote.len_utf8()..];
        }
        if has_escapes && letter == '\\' {
            letters.next();
        }
    }
    ""
}

/// What comes after `$tag$ … $tag$`, or after the `$` of a parameter.
fn after_dollar(text: &str) -> &str {
    let after = &text[1..];
    let tag = after.find(|letter| !is_of_a_word(letter)).unwrap_or(after.len());
    if !after[tag..].starts_with('$') || after.starts_with(|letter: char| letter.is_ascii_digit()) {
        return after;
    }
    let (quote, quoted) = text.split_at(tag + 2);
    quoted.split_once(quote).map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mark = |word: Word<'_>| if word.is_first { format!("|{}", word.text) } else { word.text.to_owned() };
        words(text, true).map(mark).collect()
    }

    #[test]
    fn words_are_told_from_comments_and_quotes() {
        for (text, expected) in [
            ("SELECT a.b, $1 FROM c;UPDATE d", vec!["|SELECT", "a", "b", "1", "FROM", "c", "|UPDATE", "d"]),
            ("/**/ROLLBACK", vec!["|ROLLBACK"]),
            ("/* ; /* nested */ */ -- ; more\n BEGIN", vec!["|BEGIN"]),
            ("SELECT '; BEGIN', '/*' /* ' */; END", vec!["|SELECT", "|END"]),
            ("SELECT 'it''s; x', E'\\'; BEGIN' x", vec!["|SELECT", "x"]),
            ("SELECT $a$; BEGIN $b$ $a$ x, $$;$$ y", vec!["|SELECT", "x", "y"]),
            ("SELECT \"a;b\", `c;d`, é -- end", vec!["|SELECT", "é"]),
            ("SELECT 'never ends; BEGIN", vec!["|SELECT"]),
            ("/* é never ends", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
        assert_eq!(words("/* /* */ ROLLBACK", false).map(|word| word.text).collect::<Vec<_>>(), ["ROLLBACK"]);
    }
}

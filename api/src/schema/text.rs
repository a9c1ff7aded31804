//! SQLite's text of what it is made of, which is as somebody wrote it: in one way of writing.

use sqlparser::{
    dialect::SQLiteDialect,
    tokenizer::{Token, Tokenizer},
};

/// The words that are no names in SQLite unless they are quoted.
const RESERVED: &[&str] = &[
    "add",
    "all",
    "alter",
    "and",
    "as",
    "autoincrement",
    "between",
    "case",
    "check",
    "collate",
    "commit",
    "constraint",
    "create",
    "default",
    "deferrable",
    "delete",
    "distinct",
    "drop",
    "else",
    "escape",
    "except",
    "exists",
    "foreign",
    "from",
    "group",
    "having",
    "if",
    "in",
    "index",
    "insert",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "limit",
    "not",
    "nothing",
    "notnull",
    "null",
    "on",
    "or",
    "order",
    "primary",
    "references",
    "returning",
    "select",
    "set",
    "table",
    "then",
    "to",
    "transaction",
    "union",
    "unique",
    "update",
    "using",
    "values",
    "when",
    "where",
];

/// The tokens of a statement, without blanks and comments; none if it cannot be told apart.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let tokens = Tokenizer::new(&SQLiteDialect {}, sql).tokenize().unwrap_or_default();
    tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect()
}

/// A statement, or a part of one, whatever its layout, its quotes and its letter case.
pub(super) fn bare(sql: &str) -> String {
    match tokens(sql) {
        // It is compared as it is.
        tokens if tokens.is_empty() => sql.split_whitespace().collect::<Vec<_>>().join(" "),
        tokens => written(&tokens),
    }
}

/// Tokens in one way of writing.
pub(super) fn written(tokens: &[Token]) -> String {
    let mut text = String::new();
    let mut before: Option<&Token> = None;
    for token in tokens {
        let is_joined = match (before, token) {
            (None | Some(Token::LParen | Token::Period), _) => true,
            (_, Token::RParen | Token::Comma | Token::Period | Token::SemiColon) => true,
            (Some(Token::Word(word)), Token::LParen) => !RESERVED.contains(&word.value.to_lowercase().as_str()),
            _ => false,
        };
        if !is_joined {
            text.push(' ');
        }
        text.push_str(&match token {
            Token::Word(word) => name(&word.value, word.quote_style.is_some()),
            other => other.to_string(),
        });
        before = Some(token);
    }
    text
}

fn name(name: &str, is_quoted: bool) -> String {
    let is_plain = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let lower = name.to_ascii_lowercase();
    match is_quoted && (!is_plain || RESERVED.contains(&lower.as_str())) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => lower,
    }
}

/// The tokens with the members of each JSON object in the order of their names, because their order means nothing: a
/// trigger lists them in the order of the columns, which is that in which these came to be.
pub(super) fn with_sorted_objects(tokens: &[Token]) -> Vec<Token> {
    let mut sorted = Vec::with_capacity(tokens.len());
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        sorted.push(first.clone());
        rest = after;
        if !is(Some(first), "json_object") || after.first() != Some(&Token::LParen) {
            continue;
        }
        let Some((inner, behind)) = parenthesised(after) else { continue };
        let values = parts(inner).into_iter().map(with_sorted_objects).collect::<Vec<_>>();
        let mut members = values.chunks(2).map(<[_]>::to_vec).collect::<Vec<_>>();
        members.sort_by_key(|member| member.first().map(|name| written(name)));
        sorted.push(Token::LParen);
        for (at, value) in members.into_iter().flatten().enumerate() {
            if at > 0 {
                sorted.push(Token::Comma);
            }
            sorted.extend(value);
        }
        sorted.push(Token::RParen);
        rest = behind;
    }
    sorted
}

/// What stands between the first parenthesis and the one that closes it, and what comes after that.
pub(super) fn parenthesised(tokens: &[Token]) -> Option<(&[Token], &[Token])> {
    let start = tokens.iter().position(|token| *token == Token::LParen)?;
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((tokens.get(start + 1..at)?, tokens.get(at + 1..)?));
        }
    }
    None
}

/// The parts between commas that are in no parentheses.
pub(super) fn parts(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_usize;
    let parts = tokens.split(|token| {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Comma
    });
    parts.collect()
}

/// Whether a token is this word, without quotes.
pub(super) fn is(token: Option<&Token>, word: &str) -> bool {
    matches!(token, Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// The name that a token is.
pub(super) fn named(token: Option<&Token>) -> Option<String> {
    match token? {
        Token::Word(word) => Some(word.value.clone()),
        Token::SingleQuotedString(name) | Token::DoubleQuotedString(name) => Some(name.clone()),
        _ => None,
    }
}
